"""The search of ``fem-deepest anneal`` over paths of a dynamical system."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.normalisation import normalisation
from fem_deepest.action.paths.observations import Observations, expected_measurement
from fem_deepest.anneal_config import AnnealConfig
from fem_deepest.data.series import TimeSeries, read_series, twin
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.named import named
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.errors import InputError
from fem_deepest.solve.annealing.ladder import Ladder
from fem_deepest.solve.annealing.search import Batch
from fem_deepest.solve.paths.annealing import KINDS, Annealing, random_starts
from fem_deepest.solve.paths.bounds import Bounds
from fem_deepest.solve.paths.newton import NewtonPaths

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class PathSearch:
    """A configuration made real: a :class:`fem_deepest.solve.annealing.search.Search`.

    Attributes:
        config: The configuration.
        series: The data.
        newton: Newton's method on the action of the paths.
        ladder: The precisions.
        scale: Mean ``R_m``.
    """

    config: AnnealConfig
    series: TimeSeries
    newton: NewtonPaths
    ladder: Ladder
    scale: float
    kinds = KINDS
    files = ("path.csv", "parameters.csv")

    @classmethod
    def create(cls, config: AnnealConfig) -> PathSearch:
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
            config,
            series,
            newton,
            Ladder(ladder.R_f0, ladder.alpha, ladder.rungs, ladder.adaptive),
            float(np.mean(precision)),
        )

    @property
    def paths(self) -> Paths:
        """The action of the paths."""
        return self.newton.paths

    @property
    def title(self) -> str:
        """See :class:`Search`."""
        defects, seen, section = self.paths.defects, self.paths.observations, self.config.anneal
        return (
            f"{defects.dynamics.name}: {defects.dynamics.states} states, parameters "
            f"{', '.join(defects.dynamics.parameters) or 'none'}; {defects.cells} cells "
            f"({defects.transcription.name}); {seen.count} observations of components "
            f"{', '.join(map(str, seen.components))}; {section.paths} paths of "
            f"{self.paths.size} unknowns, {section.rungs} precisions"
        )

    @property
    def precisions(self) -> Array:
        """See :class:`Search`."""
        return self.ladder.precisions

    @property
    def starts(self) -> int:
        """See :class:`Search`."""
        return self.config.anneal.paths

    @property
    def batch(self) -> int:
        """See :class:`Search`."""
        return self.config.anneal.batch

    @property
    def cells(self) -> int:
        """See :class:`Search`."""
        return self.paths.defects.cells

    @property
    def expected(self) -> tuple[float, float]:
        """See :class:`Search`."""
        return expected_measurement(self.paths.observations, self.paths.measurement_weight)

    def checksum(self) -> int:
        """See :class:`Search`."""
        return zlib.crc32(self.series.times.tobytes() + self.series.values.tobytes())

    def begin(self, numbers: Numbers) -> Batch:
        """See :class:`Search`."""
        return Batch(numbers, random_starts(self.newton.bounds, numbers, self.config.seed))

    def climb(self, batch: Batch, asked: Callable[[], bool] = lambda: False) -> Iterator[Batch]:
        """See :class:`Search`."""
        predictor = self.config.anneal.predictor
        return Annealing(self.newton, self.ladder, predictor=predictor).climb(batch, asked)

    def present(self, u: Array) -> LowestPath:
        """See :class:`Search`."""
        x, w = self.paths.split(u)
        defects, truth = self.paths.defects, self.series.truth
        metrics: dict[str, float] = {}
        if not defects.varying:
            metrics |= dict(zip(defects.dynamics.parameters, map(float, w), strict=True))
        if truth is not None and self.config.dynamics.refine == 1:
            metrics["rmse"] = float(np.sqrt(np.mean((x - truth) ** 2)))
        return LowestPath(defects, x, w, metrics)


@dataclass(frozen=True, eq=False)
class LowestPath:
    """A path as the user wants to see it.

    Attributes:
        defects: Dynamics and cells.
        x: The path at its nodes, (m, D).
        w: Its parameters, (P,) or (n + 1, P).
        metrics: Constant parameters by their names, ``rmse`` to a known truth.
    """

    defects: Defects
    x: Array
    w: Array
    metrics: dict[str, float]

    @property
    def t(self) -> Array:
        """Depth of the nodes, (m,)."""
        return self.defects.nodes

    @property
    def tables(self) -> dict[str, tuple[Sequence[str], Array]]:
        """``path.csv`` and ``parameters.csv``; constant parameters have one row."""
        defects, names = self.defects, self.defects.dynamics.parameters
        w = np.broadcast_to(self.w, (defects.ends.size, len(names)))
        values = np.column_stack([defects.ends, w])
        states = [f"x{i}" for i in range(defects.dynamics.states)]
        return {
            "path.csv": (["t", *states], np.column_stack([self.t, self.x])),
            "parameters.csv": (["t", *names], values if defects.varying else values[:1]),
        }


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
