"""Arms of the contest of Lorenz 96."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.normalisation import normalisation
from fem_deepest.action.paths.observations import Observations, expected_measurement
from fem_deepest.annealed.hopping import Hopping
from fem_deepest.annealed.paths import PathsLandscape
from fem_deepest.annealed.search import Descent
from fem_deepest.data.series import read_series
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.errors import InputError
from fem_deepest.solve.annealing.ladder import Ladder
from fem_deepest.solve.paths.annealing import Annealing, random_starts
from fem_deepest.solve.paths.bounds import Bounds
from fem_deepest.solve.paths.newton import NewtonPaths, PathResult
from fem_deepest.studies.arms import Trial
from fem_deepest.studies.comparison import (
    ANNEALING,
    MULTISTART,
    NOISE,
    NOISE_ANNEALING,
    PLAIN,
    Arm,
    Numbers,
)
from fem_deepest.studies.contests.lorenz96_config import FLOW, MIDWAY, LorenzConfig, PathsSection
from fem_deepest.studies.contests.lorenz96_midway import Flows, Ground, Hops, Midway, Starts
from fem_deepest.studies.methods import Tally, turn_seed

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_LOWER = 1e-3  # relative: a path that is lower by so much than the last that climbed may climb
_DESCENT = 20  # Newton steps after a hop at the last precision


def make_paths(problem: PathsSection) -> Paths:
    """The action of the data.

    Raises:
        InputError: What is wrong with the data.
    """
    series = read_series(problem.path, "t", None)
    states = series.values.shape[1]
    if not all(0 <= c < states for c in problem.components):
        raise InputError(
            f"problem.components are {problem.components}, but {problem.path} has the states 0 to "
            f"{states - 1}"
        )
    return Paths(
        Defects(Lorenz96(states), transcription("simpson_hermite"), series.times[::2]),
        Observations(
            series.times, series.values[:, problem.components], problem.components, problem.R_m
        ),
        normalisation=normalisation("varanneal"),
    )


class LorenzContest:
    """The contest; see :class:`.Contest`.

    Args:
        config: All numbers.

    Attributes:
        paths: The action.
        newton: Newton's method on it.
        whole: The climb from the first precision to the last.
        midway: The climb from the precision midway.
        precisions: ``R_f`` of the latter.
        ceiling: Action that the data do not allow.
        ground: What the searches midway stand on.

    Raises:
        InputError: What is wrong with the data.

    Nothing here is collective.
    """

    name = "Lorenz 96"

    def __init__(self, config: LorenzConfig) -> None:
        problem, anneal = config.problem, config.anneal
        self.config, self.paths = config, make_paths(problem)
        (low, high), (least, most) = problem.states, problem.f
        self.newton = NewtonPaths(self.paths, Bounds.of(self.paths, (low, high), (least, most)))
        self.threshold = (1.0 + problem.within) * problem.lowest
        mean, deviation = expected_measurement(
            self.paths.observations, self.paths.measurement_weight
        )
        self.ceiling = mean + anneal.deviations * deviation
        self.midway, self.whole = self._climber(anneal.midway), self._climber(0)
        self.precisions = self.midway.ladder.precisions
        landscape = PathsLandscape(self.paths, float(self.precisions[0]))
        self.ground = Ground(landscape, self.start, config.noise, config.seed)
        self.arms: Mapping[str, Arm] = {
            PLAIN: self._arm(self._newton, again=False),
            MULTISTART: self._arm(self._newton),
            ANNEALING: self._arm(self._anneal),
            NOISE: self._arm(self._hop_at_last, again=False),
            NOISE_ANNEALING: self._searched(Hops),
            MIDWAY: self._searched(Starts),
            FLOW: self._searched(Flows),
        }

    def start(self, numbers: Numbers, turn: int) -> Array:
        """Paths uniform in the bounds, (n, S)."""
        seed = turn_seed(self.config.seed, turn)
        return random_starts(self.newton.bounds, numbers, seed).T

    def cost(self, result: PathResult) -> Array:
        """What Newton's method has cost, in gradients."""
        cost = self.config.cost
        values = np.maximum(result.evaluations - result.hessians, 0)
        return np.asarray(
            values + cost.curvature * result.hessians + cost.system * result.factorisations
        )

    # Ways that end at the last precision ---------------------------------------------------------

    def climb(self, u: Array, columns: Index, tally: Tally, annealing: Annealing) -> None:
        """Precision annealing of ``u`` (k, size) from the first precision of a ladder to its last.

        A path whose action is beyond what the data allow is given up: at a minimum the action grows with
        ``R_f``. Its action at the last precision is noted all the same.
        """
        precisions = annealing.ladder.precisions
        last: float | None = None if annealing is self.whole else float(precisions[0])
        live = np.arange(columns.size)
        for R_f in precisions[last is not None :]:
            result = annealing.rung(u[live], last, float(R_f))
            u[live], last = result.u, float(R_f)
            values = result.parts.action
            top = R_f == precisions[-1]
            noted = values if top else np.full(live.size, np.inf)
            tally.note(columns[live], noted, self.cost(result))
            stay = (values <= self.ceiling) & (tally.left[columns[live]] >= 1.0)
            if not top and not stay.all():
                out = live[~stay]
                tally.note(columns[out], self.paths.value(u[out], precisions[-1]).action)
            live = live[stay]
            if not live.size:
                break

    def _climber(self, beta: int) -> Annealing:
        """A climb from the precision of a number to the last."""
        anneal = self.config.anneal
        rungs = -(-(anneal.last - beta) // anneal.skip)
        factor = anneal.alpha ** ((anneal.last - beta) / rungs)
        first = anneal.R_f0 * anneal.alpha**beta
        return Annealing(self.newton, Ladder(first, factor, rungs + 1, adaptive=True))

    def _anneal(self, U: Array, columns: Index, tally: Tally, turn: int) -> None:
        self.climb(U.T.copy(), columns, tally, self.whole)

    def _newton(self, U: Array, columns: Index, tally: Tally, turn: int) -> None:
        self._down(U, columns, tally, tally.left[columns])

    def _down(self, U: Array, columns: Index, tally: Tally, most: Array) -> Descent:
        """Newton's method at the last precision for at most some cost, (k,).

        A step may need several systems, so the steps that fit are known only afterwards: half of them
        are taken at once, then half of those that are left.
        """
        step, R_f = self.config.cost.curvature + self.config.cost.system, self.precisions[-1]
        u, live = U.T.copy(), np.arange(columns.size)
        values, spent = np.full(columns.size, np.inf), np.zeros(columns.size)
        converged = np.zeros(columns.size, dtype=bool)
        while live.size:
            room = np.minimum(most - spent, tally.left[columns])[live]
            steps = np.maximum(room // (2.0 * step), 1.0).astype(np.int64)
            result = self.newton.minimise(u[live], float(R_f), True, iterations=steps)
            cost = self.cost(result)
            tally.note(columns[live], result.parts.action, cost)
            u[live], values[live], converged[live] = result.u, result.parts.action, result.converged
            spent[live] += cost
            live = live[~result.converged & (room - cost >= 2.0 * step)]
        return Descent(u.T, values, converged, spent)

    def _hop_at_last(self, U: Array, columns: Index, tally: Tally, turn: int) -> None:
        """Hops at the last precision until the budget is used."""
        cost = self.config.cost

        def down(U: Array) -> Descent:
            most = np.full(columns.size, _DESCENT * (cost.curvature + cost.system))
            return self._down(U, columns, tally, most)

        hopping = Hopping(
            self.ground.windows, down, U, numbers=tally.numbers[columns], seed=self.config.seed
        )
        while np.any(tally.left[columns] >= 1.0) and np.isinf(tally.hit[columns]).any():
            hopping.advance()

    # Arms ----------------------------------------------------------------------------------------

    def _arm(self, go: Callable[[Array, Index, Tally, int], None], *, again: bool = True) -> Arm:
        """A way to the last precision from random starts, until it succeeds or the budget is used."""

        def arm(numbers: Numbers, budget: int) -> Trial:
            tally, turn = Tally(numbers, budget, self.threshold), 0
            while (columns := _open(tally)).size and (again or not turn):
                go(self.start(numbers[columns], turn), columns, tally, turn)
                turn += 1
            return tally.trial()

        return arm

    def _searched(self, kind: Callable[[Ground, Numbers], Midway]) -> Arm:
        """Rounds of a search midway; after each its lowest path climbs, if it is a new one."""

        def arm(numbers: Numbers, budget: int) -> Trial:
            tally, search, turn = (
                Tally(numbers, budget, self.threshold),
                kind(self.ground, numbers),
                0,
            )
            climbed = np.full(numbers.size, np.inf)
            first = self.paths.value(self.start(numbers, 0).T, self.precisions[-1]).action
            tally.note(np.arange(numbers.size), first)
            while (columns := _open(tally)).size:
                tally.note(columns, np.full(columns.size, np.inf), search.round(columns, turn))
                new = search.best_values < (1.0 - _LOWER) * climbed
                columns = np.intersect1d(np.flatnonzero(new), _open(tally))
                if columns.size:
                    self.climb(search.best_U[:, columns].T.copy(), columns, tally, self.midway)
                climbed[columns] = search.best_values[columns]
                turn += 1
            return tally.trial()

        return arm


def _open(tally: Tally) -> Index:
    """Columns that have not succeeded and have evaluations left."""
    return np.flatnonzero(np.isinf(tally.hit) & (tally.left >= 1.0))
