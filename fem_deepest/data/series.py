"""Time series: a CSV file of the user's, or a twin experiment with a named dynamical system."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import solve_ivp

from fem_deepest.dynamics.dynamics import Dynamics
from fem_deepest.errors import InputError

Array = NDArray[np.float64]

_FAR = 1e8  # a state beyond it has left every attractor


@dataclass(frozen=True)
class TimeSeries:
    """``M`` observations of ``L`` components.

    Attributes:
        times: (M,), increasing.
        values: (M, L); NaN where there is none.
        components: Numbers of the components, (L,).
        truth: The states without noise, (M, D), of a twin.
    """

    times: Array
    values: Array
    components: list[int]
    truth: Array | None = None


def twin(
    dynamics: Dynamics,
    parameters: Sequence[float],
    start: ArrayLike,
    *,
    times: int,
    interval: float,
    noise: float | Sequence[float],
    components: Sequence[int],
    seed: int,
    spin_up: float = 0.0,
) -> TimeSeries:
    """Solution of ``x' = F(x, w)`` with independent Gaussian noise on some components.

    The start is disturbed by the seed, and runs for a while before the first observation. The
    solution is exact to ten digits (DOP853).

    Args:
        dynamics: The system.
        parameters: Its true parameters, (P,).
        start: Where it starts, (D,).
        times: Number of observations ``M``.
        interval: Time between two of them.
        noise: Standard deviation, of all components or (L,).
        components: Components observed, (L,).
        seed: Of the noise and of the disturbance of the start.
        spin_up: Time before the first observation.

    Raises:
        InputError: A component or the number of parameters does not fit the system, or the solution
            leaves every bound.

    Not collective: the same on every rank.
    """
    if len(parameters) != len(dynamics.parameters):
        raise InputError(
            f"{dynamics.name} got {len(parameters)} true parameters, expected "
            f"{len(dynamics.parameters)}: {', '.join(dynamics.parameters)}"
        )
    if max(components) >= dynamics.states:
        raise InputError(
            f"observed components {list(components)} of a system with {dynamics.states} states, "
            f"expected numbers from 0 to {dynamics.states - 1}"
        )
    for what, got, wanted in (
        ("start", np.shape(start), [(dynamics.states,)]),
        ("noise", np.shape(noise), [(), (len(components),)]),
    ):
        if got not in wanted:
            raise InputError(
                f"the {what} of a twin of {dynamics.name} has shape {got}, expected {wanted[-1]}"
            )
    rng = np.random.default_rng(seed)
    w, x0 = np.array(parameters), np.asarray(start, dtype=np.float64)
    x0 = x0 + 0.1 * rng.standard_normal(dynamics.states)
    t: Array = np.asarray(interval * np.arange(times))

    def near(s: float, x: Array) -> float:
        return _FAR - float(np.abs(x).max())

    near.terminal = True  # type: ignore[attr-defined]
    with np.errstate(over="ignore", invalid="ignore"):
        solution = solve_ivp(
            lambda s, x: dynamics.value(np.asarray(s), x, w),
            (0.0, spin_up + t[-1]),
            x0,
            method="DOP853",
            t_eval=np.minimum(spin_up + t, spin_up + t[-1]),
            rtol=1e-10,
            atol=1e-10,
            events=near,
        )
    if solution.status != 0:
        raise InputError(
            f"the twin of {dynamics.name} with the parameters {list(parameters)} has no solution up to "
            f"the last observation: it grows without bound; give other data.parameters"
        )
    truth = solution.y.T
    error = np.asarray(noise) * rng.standard_normal((times, len(components)))
    values = truth[:, list(components)] + error
    return TimeSeries(t, values, list(components), truth)


def read_series(path: str | Path, time: str, components: Sequence[int] | None) -> TimeSeries:
    """Read a CSV file with a header: the column of the time, and one for each component.

    Args:
        path: The file; an empty cell is no observation.
        time: Name of the column with the time.
        components: Components observed. With as many columns beside the time as components, each is
            one of them in order; with more, they are the columns of these numbers. Default: all.

    Raises:
        InputError: What is wrong with the file.

    Not collective.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            head, *rows = list(csv.reader(file))
        table = np.array([[float(c) if c.strip() else np.nan for c in row] for row in rows if row])
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the time series {path}: {error}") from None
    except ValueError as error:
        raise InputError(
            f"{path} is not a table of numbers with a header ({error}); mend that line"
        ) from None
    head = [name.strip() for name in head]
    if time not in head or table.ndim != 2 or table.shape[1] != len(head):
        raise InputError(
            f"{path} needs a column '{time}' and rows as long as its header ({', '.join(head)}); "
            "name the time with data.time"
        )
    place = head.index(time)
    times, values = table[:, place], np.delete(table, place, axis=1)
    if not (np.isfinite(times).all() and (np.diff(times) > 0.0).all()):
        raise InputError(f"the column '{time}' of {path} must increase; sort the rows")
    if np.isinf(values).any():
        raise InputError(
            f"{path} holds an infinite value; leave the cell empty where there is none"
        )
    chosen = list(range(values.shape[1]) if components is None else components)
    if len(chosen) != values.shape[1]:
        if not chosen or max(chosen) >= values.shape[1]:
            raise InputError(
                f"{path} has {values.shape[1]} columns beside the time, but data.components is "
                f"{chosen}; name one component for every column, or columns by their numbers"
            )
        values = values[:, chosen]
    return TimeSeries(times, values, chosen)
