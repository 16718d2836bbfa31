"""The search of ``fem-deepest anneal`` over paths of a dynamical system."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.observations import expected_measurement
from fem_deepest.configuration.anneal import AnnealConfig
from fem_deepest.data.series import TimeSeries
from fem_deepest.dynamics.defects import Defects
from fem_deepest.runs.path_hops import PathHops
from fem_deepest.runs.path_setup import intervals, load_series, load_system, make_paths
from fem_deepest.runs.path_shake import PathShake
from fem_deepest.solve.annealing.ladder import Ladder
from fem_deepest.solve.annealing.search import Batch
from fem_deepest.solve.paths.annealing import KINDS, After, Annealing, random_starts
from fem_deepest.solve.paths.bounds import Bounds
from fem_deepest.solve.paths.forms import FORM_KINDS, FormAnnealing
from fem_deepest.solve.paths.newton import NewtonPaths

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class PathSearch:
    """A configuration made real: a :class:`fem_deepest.solve.annealing.search.Search`.

    Attributes:
        config: The configuration.
        series: The data.
        newton: Newton's method on the action of the paths, in the state form.
        annealing: The climb, in the form that the configuration names.
        scale: Mean ``R_m``.
    """

    config: AnnealConfig
    series: TimeSeries
    newton: NewtonPaths
    annealing: Annealing | FormAnnealing
    scale: float
    files = ("path.csv", "parameters.csv")

    @classmethod
    def create(cls, config: AnnealConfig) -> PathSearch:
        """Read or make the data and set up the action.

        Raises:
            InputError: What is wrong with the data or does not fit together.
        """
        system = load_system(config)
        series = load_series(config, system)
        paths, precision = make_paths(config, system.dynamics, series)
        section = config.anneal
        newton = NewtonPaths(
            paths,
            Bounds.of(paths, *intervals(config.bounds, system.dynamics)),
            tolerance=section.tolerance,
            iterations=section.iterations,
        )
        ladder = Ladder(section.R_f0, section.alpha, section.rungs, section.adaptive, section.exact)
        form, predictor = config.action.form, section.predictor
        annealing: Annealing | FormAnnealing
        if form == "state":
            after: After | None = None
            if config.search.rungs:
                hops = config.search.noise == "windows"
                kind: type[PathHops] | type[PathShake] = PathHops if hops else PathShake
                after = kind(newton, ladder, config.search, config.seed)
            annealing = Annealing(newton, ladder, predictor=predictor, after=after)
        else:
            annealing = FormAnnealing(newton, ladder, form, predictor=predictor)
            annealing.check(random_starts(newton.bounds, np.arange(1), config.seed)[0])
        return cls(config, series, newton, annealing, precision)

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
            f"{self.paths.size} unknowns, {self.config.action.form} form, {self.precisions.size} "
            "precisions"
        )

    @property
    def precisions(self) -> Array:
        """See :class:`Search`."""
        return self.annealing.ladder.precisions

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
    def kinds(self) -> tuple[str, ...]:
        """See :class:`Search`."""
        return KINDS if self.config.action.form == "state" else FORM_KINDS

    @property
    def floor(self) -> float:
        """See :class:`Search`."""
        return self.paths.floor

    @property
    def expected(self) -> tuple[float, float]:
        """See :class:`Search`."""
        return expected_measurement(self.paths.observations, self.paths.measurement_weight)

    def checksum(self) -> int:
        """See :class:`Search`."""
        content = self.series.times.tobytes() + self.series.values.tobytes()
        if self.config.dynamics.path is not None:
            content += Path(self.config.dynamics.path).read_bytes()
        return zlib.crc32(content)

    def begin(self, numbers: Numbers) -> Batch:
        """See :class:`Search`."""
        return Batch(numbers, random_starts(self.newton.bounds, numbers, self.config.seed))

    def climb(self, batch: Batch, asked: Callable[[], bool] = lambda: False) -> Iterator[Batch]:
        """See :class:`Search`."""
        return self.annealing.climb(batch, asked)

    def present(self, u: Array) -> LowestPath:
        """See :class:`Search`."""
        x, w = self.paths.path(u)
        defects, truth = self.paths.defects, self.series.truth
        metrics: dict[str, float] = {}
        if not defects.varying:
            metrics |= dict(zip(defects.dynamics.parameters, map(float, w), strict=True))
        if truth is not None:
            at_data = self.paths.observed.matrix @ x
            metrics["rmse"] = float(np.sqrt(np.mean((at_data - truth) ** 2)))
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
