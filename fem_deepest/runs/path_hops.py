"""``[search]`` of an annealing with noise in windows: basin hopping of each path at chosen rungs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fem_deepest.annealed.hopping import Hopping, HoppingState
from fem_deepest.annealed.paths import PathsLandscape
from fem_deepest.annealed.search import Descent
from fem_deepest.annealed.windows import Windows
from fem_deepest.configuration.noise import PathShakeSection
from fem_deepest.errors import Interrupted
from fem_deepest.runs.path_shake import merged, seed_of
from fem_deepest.solve.annealing.ladder import Ladder
from fem_deepest.solve.columns import descend
from fem_deepest.solve.paths.newton import NewtonPaths, PathResult

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

_TOLERANCE = 1e-8  # dual norm of the gradient
_PAIRS = 6  # of the quasi-Newton descents


class PathHops:
    """Hops at the ends of chosen rungs; fulfils :class:`fem_deepest.solve.paths.annealing.After`.

    A hop draws a window of the path anew and descends by so many gradients; what is lower stays. After
    the last hop Newton's method takes the lowest path to its minimum.

    Args:
        newton: Newton's method.
        ladder: The precisions.
        section: Where and how.
        seed: Seed of the run.

    Raises:
        InputError: The windows are none, or parameters vary in depth.

    Nothing here is collective. What a path ends at depends on its number alone.
    """

    def __init__(
        self, newton: NewtonPaths, ladder: Ladder, section: PathShakeSection, seed: int
    ) -> None:
        self.newton, self.precisions, self.section = newton, ladder.precisions, section
        self.seed = seed
        (width, wide), (breadth, broad) = section.width, section.breadth
        self.windows = Windows(
            newton.paths, (width, wide), (breadth, broad), section.length, section.variance
        )

    def __call__(
        self, result: PathResult, rung: int, numbers: Numbers, asked: Callable[[], bool]
    ) -> PathResult:
        """See :class:`.After`."""
        if rung not in self.section.rungs:
            return result
        R_f, U, values = float(self.precisions[rung]), result.u.T, result.parts.action
        landscape = PathsLandscape(self.newton.paths, R_f)

        def down(U: Array) -> Descent:
            most = self.section.descent
            found = descend(landscape, U, tolerance=_TOLERANCE, most=most, memory=_PAIRS)
            return Descent(found.U, found.value, found.converged, found.gradients)

        none, start = np.empty((0, numbers.size)), np.zeros(numbers.size)
        hopping = Hopping(
            self.windows,
            down,
            HoppingState(0, U, values, U, values, none, start),
            numbers=numbers,
            seed=seed_of(self.seed, rung),
        )
        for _ in range(self.section.rounds):
            if asked():
                raise Interrupted("asked to leave between two hops")
            hopping.advance()
        end = self.newton.minimise(np.ascontiguousarray(hopping.best_U.T), R_f, asked=asked)
        lower = end.converged & (end.parts.action < values)
        return merged(result, end, lower, hopping.gradients)
