"""What an annealing run solves, and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.normalisation import normalisation
from fem_deepest.action.paths.observations import Observations
from fem_deepest.anneal_config import AnnealConfig
from fem_deepest.data.series import TimeSeries, read_series, twin
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.named import named
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.errors import InputError
from fem_deepest.run import EXIT_CODES
from fem_deepest.solve.paths.annealing import Ladder
from fem_deepest.solve.paths.bounds import Bounds
from fem_deepest.solve.paths.levels import Level
from fem_deepest.solve.paths.newton import NewtonPaths

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AnnealingProblem:
    """A configuration made real; not collective, the same on every rank.

    Attributes:
        series: The data.
        newton: Newton's method on the action of the paths.
        ladder: The precisions.
        precision: Mean ``R_m``.
    """

    series: TimeSeries
    newton: NewtonPaths
    ladder: Ladder
    precision: float

    @classmethod
    def create(cls, config: AnnealConfig) -> AnnealingProblem:
        """Read or make the data and set up the action.

        Raises:
            InputError: What is wrong with the data or does not fit together.
        """
        system = named(config.dynamics.name, config.dynamics.states)
        dynamics, section, action = system.dynamics, config.data, config.action
        if section.path is not None:
            series = read_series(section.path, section.time, section.components)
        else:
            series = twin(
                dynamics,
                system.typical if section.parameters is None else section.parameters,
                system.start,
                times=section.times,
                interval=section.interval,
                noise=section.noise,
                components=section.components or range(dynamics.states),
                seed=section.seed,
            )
        known = section.noise**-2 if section.path is None and section.noise > 0.0 else 1.0
        precision = known if action.R_m is None else action.R_m
        observations = Observations(series.times, series.values, series.components, precision)
        ends = cell_ends(series.times, config.dynamics.transcription, config.dynamics.refine)
        paths = Paths(
            Defects(
                dynamics,
                transcription(config.dynamics.transcription),
                ends,
                config.dynamics.varying,
            ),
            observations,
            normalisation=normalisation(action.normalisation),
            prior=action.prior,
            reference=action.reference,
            kappa=action.kappa,
        )
        ladder = config.anneal
        newton = NewtonPaths(
            paths,
            Bounds.of(
                paths,
                _interval(config.bounds.states, dynamics.states, "states"),
                _interval(config.bounds.parameters, len(dynamics.parameters), "parameters"),
            ),
            tolerance=ladder.tolerance,
            iterations=ladder.iterations,
        )
        return cls(
            series,
            newton,
            Ladder(ladder.R_f0, ladder.alpha, ladder.rungs, ladder.adaptive),
            float(np.mean(precision)),
        )


@dataclass(frozen=True)
class Annealed:
    """What :func:`fem_deepest.anneal` returns.

    Attributes:
        directory: The run directory.
        status: "converged", "not_converged", "interrupted" or "failed".
        config: The configuration with all defaults filled in.
        stages: One dictionary a rung.
        metrics: Lowest action and its parts at the last rung, the parameters there, ...
        seconds: Wall time of this call.
        levels: All levels, lowest first within a rung.
        record: Action, measurement, model, prior by path and rung, (B, rungs, 4).
        t: Depths of the nodes, (m,).
        x: The path of the lowest action at the last rung, (m, D).
        w: Its parameters, (P,) or (n + 1, P).
    """

    directory: Path
    status: str
    config: AnnealConfig
    stages: list[dict[str, Any]]
    metrics: dict[str, float]
    seconds: float
    levels: list[Level]
    record: Array = field(repr=False)
    t: Array = field(repr=False)
    x: Array = field(repr=False)
    w: Array = field(repr=False)

    @property
    def exit_code(self) -> int:
        """Exit code of the command for this status."""
        return EXIT_CODES[self.status]


def cell_ends(times: Array, name: str, refine: int) -> Array:
    """Ends of cells whose nodes are the times of the data, and ``refine - 1`` between two of them.

    Raises:
        InputError: There are fewer than two times, or cells with a node in the middle do not fit.
    """
    if times.size < 2:
        raise InputError(
            f"the time series has {times.size} row; a path needs two times or more: give more rows"
        )
    s = np.arange(refine * (times.size - 1) + 1) / refine
    nodes = np.interp(s, np.arange(times.size), times)
    span = transcription(name).nodes.size - 1
    if (nodes.size - 1) % span:
        raise InputError(
            f"{name} has cells over {span} intervals, but there are {nodes.size - 1} between "
            f"{times.size} times; leave out one time, or set dynamics.refine = {span}"
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


def _interval(value: list[Any], count: int, name: str) -> tuple[Array, Array]:
    """Lower and upper bounds, one each or ``count`` of them."""
    table = np.array(value if isinstance(value[0], list) else [value] * count, dtype=np.float64)
    if len(table) != count:
        raise InputError(
            f"bounds.{name} has {len(table)} intervals, expected one, or {count}: one for each"
        )
    table = table.reshape(count, 2)
    return table[:, 0], table[:, 1]
