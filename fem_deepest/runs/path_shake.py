"""``[search]`` of an annealing: paths are shaken after chosen rungs of the ladder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from fem_deepest.annealed.flow import AnnealedFlow
from fem_deepest.annealed.paths import PathsLandscape
from fem_deepest.annealed.search import Descent, Plan
from fem_deepest.annealed.shake import shake
from fem_deepest.configuration.noise import ShakeSection
from fem_deepest.errors import Interrupted
from fem_deepest.runs.noise import make_schedule
from fem_deepest.solve.annealing.ladder import Ladder
from fem_deepest.solve.paths.annealing import KINDS
from fem_deepest.solve.paths.newton import NewtonPaths, PathResult

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


class PathShake:
    """Noise at the ends of chosen rungs; fulfils :class:`fem_deepest.solve.paths.annealing.After`.

    Args:
        newton: Newton's method, which takes the shaken paths down.
        ladder: The precisions.
        section: Where and how.
        seed: Seed of the run.

    Raises:
        InputError: The temperatures do not decrease.

    Nothing here is collective. What a path ends at depends on its number alone.
    """

    def __init__(
        self, newton: NewtonPaths, ladder: Ladder, section: ShakeSection, seed: int
    ) -> None:
        self.newton, self.precisions, self.section = newton, ladder.precisions, section
        self.seed, self.schedule = seed, make_schedule(section, section.steps)

    def __call__(
        self, result: PathResult, rung: int, numbers: Numbers, asked: Callable[[], bool]
    ) -> PathResult:
        """See :class:`.After`."""
        if rung not in self.section.rungs:
            return result
        R_f = float(self.precisions[rung])
        landscape = PathsLandscape(self.newton.paths, R_f)
        for number in range(self.section.rounds):
            result = self._round(landscape, result, (rung, number), numbers, asked)
        return result

    def _round(
        self,
        landscape: PathsLandscape,
        result: PathResult,
        name: tuple[int, int],
        numbers: Numbers,
        asked: Callable[[], bool],
    ) -> PathResult:
        """One round; its noise is named by the seed, the rung and the number of the round."""
        ends = list[PathResult]()

        def descend(U: Array) -> Descent:
            end = self.newton.minimise(
                np.ascontiguousarray(U.T), landscape.model_precision, cold=True, asked=asked
            )
            ends.append(end)
            return Descent(end.u.T, end.parts.action, end.converged, np.zeros(len(end.u)))

        def watch(_: AnnealedFlow) -> None:
            if asked():
                raise Interrupted("asked to leave between two steps with noise")

        seed = seed_of(self.seed, *name)
        section = self.section
        plan = Plan(self.schedule, section.steps, section.step, ends=("last",), seed=seed)
        values = result.parts.action
        found, lower = shake(landscape, result.u.T, values, plan, descend, numbers, watch)
        return merged(result, ends[0], lower, found.gradients)


def seed_of(seed: int, *name: int) -> int:
    """A seed for the noise with this name, in a run with that seed."""
    return int(np.random.SeedSequence([seed, *name]).generate_state(1)[0])


def merged(
    result: PathResult, end: PathResult, lower: NDArray[np.bool_], gradients: Array
) -> PathResult:
    """Ends of a rung, or what a search has found where it is lower; the work of both.

    Args:
        result: Ends of the rung.
        end: What has been found.
        lower: Where that is kept, (B,).
        gradients: Gradients of the search, (B,).
    """
    names = [f.name for f in fields(result.parts)]
    old, new = result.parts, end.parts
    parts = {k: np.where(lower, getattr(new, k), getattr(old, k)) for k in names}
    work = {kind: getattr(result, kind) + getattr(end, kind) for kind in KINDS}
    work["evaluations"] = work["evaluations"] + np.ceil(gradients).astype(np.int64)
    return replace(
        result,
        u=np.where(lower[:, None], end.u, result.u),
        parts=type(old)(**parts),
        converged=result.converged | lower,
        **work,
    )
