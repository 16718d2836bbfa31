"""The parts of a search over paths, out of the configuration of ``fem-deepest anneal``.

Nothing here is collective: every rank makes the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.normalisation import normalisation
from fem_deepest.action.paths.observations import Observations
from fem_deepest.action.weak.ends import (
    End,
    EndConditions,
    Natural,
    background,
    clamped,
    soft,
)
from fem_deepest.configuration.anneal import AnnealConfig, BoundsSection, DynamicsSection
from fem_deepest.data.series import TimeSeries, read_series, twin
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.dynamics import Dynamics
from fem_deepest.dynamics.named import Named, coupling, named
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.dynamics.userfile import load_dynamics
from fem_deepest.errors import InputError

Array = NDArray[np.float64]
Interval = tuple[Array, Array]


def load_system(config: AnnealConfig) -> Named:
    """The dynamical system: by name, a layer of neurons, or that of a file.

    Raises:
        InputError: There is none, or a derivative in the file is wrong.
    """
    section = config.dynamics
    if section.path is not None:
        return load_dynamics(section.path, section.object, section.states)
    if section.name == "coupling":
        return coupling(section.states, section.activation, section.sharpness, section.leak)
    return named(section.name, section.states)


def load_series(config: AnnealConfig, system: Named) -> TimeSeries:
    """The data: a file, or a twin of the system.

    Raises:
        InputError: What is wrong with the file, or missing for a twin.
    """
    section, dynamics = config.data, system.dynamics
    if section.path is not None:
        return read_series(section.path, section.time, section.components)
    parameters = system.typical if section.parameters is None else section.parameters
    start = system.start if section.start is None else section.start
    if start is None or (parameters is None and dynamics.parameters):
        raise InputError(
            f"a twin of {dynamics.name} needs its true parameters and a start: give data.parameters and "
            "data.start, or put the system into a Named with both"
        )
    return twin(
        dynamics,
        parameters or (),
        start,
        times=section.times,
        interval=section.interval,
        noise=section.noise,
        components=section.components or range(dynamics.states),
        seed=section.seed,
        spin_up=system.spin_up if section.spin_up is None else section.spin_up,
    )


def make_paths(config: AnnealConfig, dynamics: Dynamics, series: TimeSeries) -> tuple[Paths, float]:
    """The action of the paths, and the mean ``R_m``.

    Raises:
        InputError: What does not fit together.
    """
    section, action = config.data, config.action
    noise = np.asarray(section.noise)
    known = noise**-2.0 if section.path is None and (noise > 0.0).all() else 1.0
    precision = known if action.R_m is None else action.R_m
    observations = Observations(series.times, series.values, series.components, precision)
    defects = Defects(
        dynamics,
        transcription(config.dynamics.transcription),
        cell_ends(series.times, config.dynamics),
        config.dynamics.varying,
    )
    paths = Paths(
        defects,
        observations,
        normalisation=normalisation(action.normalisation),
        prior=action.prior,
        reference=action.reference,
        kappa=action.kappa,
        conditions=end_conditions(config, dynamics.states),
    )
    return paths, float(np.mean(precision))


def end_conditions(config: AnnealConfig, states: int) -> EndConditions:
    """What is known of the ends.

    Raises:
        InputError: A value or precision is missing, does not fit, or is given for nothing.
    """
    section = config.ends
    start = _end("start", section.start, section.start_value, section.start_precision, states)
    end = _end("end", section.end, section.end_value, section.end_precision, states)
    return EndConditions(start, end, section.periodic)


def _end(side: str, kind: str, value: Any, precision: Any, states: int) -> End:
    wanted = {"natural": (), "clamped": ("value",)}.get(kind, ("value", "precision"))
    for name, given in (("value", value), ("precision", precision)):
        if (given is not None) != (name in wanted):
            what = "needs" if name in wanted else "has no"
            raise InputError(
                f'ends.{side} = "{kind}" {what} {name}; {"give" if name in wanted else "leave out"} '
                f"ends.{side}_{name}"
            )
    if kind == "natural":
        return Natural()
    z = np.array([np.nan if v is None else v for v in value], dtype=np.float64)
    if z.size != states or np.isinf(z).any():
        raise InputError(
            f"ends.{side}_value has {z.size} values, expected {states} finite ones: one for each state"
        )
    if kind == "clamped":
        return clamped(z)
    b = np.asarray(precision, dtype=np.float64)
    if kind == "soft":
        if b.ndim:
            raise InputError(
                f"ends.{side}_precision of a soft condition is one number; take "
                f'ends.{side} = "background" for a list or a matrix'
            )
        return soft(z, float(b))
    return background(z, np.diag(b) if b.ndim == 1 else b)


def cell_ends(times: Array, section: DynamicsSection) -> Array:
    """Ends of the cells: cells of equal length, or nodes at the times of the data and between them.

    Raises:
        InputError: There are fewer than two times, or cells with a node in the middle do not fit.
    """
    if times.size < 2:
        raise InputError(
            f"the time series has {times.size} row; a path needs two times or more: give more rows"
        )
    length = times[-1] - times[0]
    if section.cells is not None or section.interval is not None:
        cells = section.cells or int(np.ceil(length / (section.interval or length) * (1.0 - 1e-12)))
        return np.asarray(np.linspace(times[0], times[-1], cells + 1))
    name, refine = section.transcription, section.refine
    s = np.arange(refine * (times.size - 1) + 1) / refine
    nodes = np.interp(s, np.arange(times.size), times)
    span = transcription(name).nodes.size - 1
    if (nodes.size - 1) % span:
        raise InputError(
            f"{name} has cells over {span} intervals, but there are {nodes.size - 1} between "
            f"{times.size} times; leave out one time, or set dynamics.refine = {span} or "
            "dynamics.cells"
        )
    ends = nodes[::span]
    middle = nodes[1::span] if span > 1 else ends[:0]
    if (
        span > 1
        and np.abs(middle - 0.5 * (ends[1:] + ends[:-1])).max() > 1e-6 * np.diff(ends).min()
    ):
        raise InputError(
            f"{name} has a node in the middle of each cell, but the times are not evenly spaced; set "
            f"dynamics.refine = {span}"
        )
    return ends


def intervals(section: BoundsSection, dynamics: Dynamics) -> tuple[Interval, Interval]:
    """Lower and upper bounds of the states and of the parameters.

    Raises:
        InputError: There is neither one interval nor one for each.
    """
    return (
        _interval(section.states, dynamics.states, "states"),
        _interval(section.parameters, len(dynamics.parameters), "parameters"),
    )


def _interval(value: list[Any], count: int, name: str) -> Interval:
    """Lower and upper bounds, one each or ``count`` of them."""
    table = np.array(value if isinstance(value[0], list) else [value] * count, dtype=np.float64)
    if len(table) != count:
        raise InputError(
            f"bounds.{name} has {len(table)} intervals, expected one, or {count}: one for each"
        )
    table = table.reshape(count, 2)
    return table[:, 0], table[:, 1]
