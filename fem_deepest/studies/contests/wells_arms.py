"""Arms of the contest of the tilted double well."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.annealed.schedule import Constant, Geometric, Schedule
from fem_deepest.annealed.search import Plan
from fem_deepest.annealed.target import TargetLandscape
from fem_deepest.sample.integral import IntegralTarget
from fem_deepest.spaces.quadrature import Quadrature
from fem_deepest.studies.arms import Trial
from fem_deepest.studies.comparison import MULTISTART, NOISE, PLAIN, Arm, Numbers
from fem_deepest.studies.contests.wells_config import COOLED, RESTARTED, TiltedSection, WellsConfig
from fem_deepest.studies.methods import Go, gaussian, noisy, once, quasi_newton, restarted

_DEGREE = 4  # of the potential in u


def tilted(problem: TiltedSection) -> TargetLandscape:
    """The action on blocks; its metric is that of ``H1``, and the Gaussian of its mean is 0."""
    domain = mesh.create_interval(MPI.COMM_SELF, problem.cells, (0.0, problem.L))
    V = fem.functionspace(domain, ("Lagrange", 1))
    u, b = fem.Function(V), problem.tilt
    target = IntegralTarget(
        u,
        lambda x: (x**2 - 1) ** 2 / 4 - b * (x - x**3 / 3) - x**2 / 2,
        0.5 * u.dx(0) ** 2 + 0.5 * u**2,
        rule=Quadrature(V, _DEGREE),
    )
    return TargetLandscape(target)


class Wells:
    """The contest; see :class:`.Contest`.

    Args:
        config: Numbers of the problem and of the noise.
    """

    name = "tilted double well"
    threshold = 0.0  # the wells lie at +- 2bL/3

    def __init__(self, config: WellsConfig) -> None:
        self._config = config
        self.landscape = tilted(config.problem)
        mean = np.full(self.landscape.rows, -1.0)
        start = gaussian(self.landscape, mean, config.problem.spread, config.seed)
        self._start, self._down = start, quasi_newton(self.landscape, config.problem.tolerance)
        self.arms: Mapping[str, Arm] = {
            PLAIN: once(start, self._down, self.threshold),
            MULTISTART: restarted(start, self._down, self.threshold),
            NOISE: self._long(cooled=False),
            COOLED: self._long(cooled=True),
            RESTARTED: restarted(
                start, self._noisy(config.noise.cycle, cooled=False), self.threshold
            ),
        }

    def _long(self, *, cooled: bool) -> Arm:
        """Noise for a part of the budget, then descent."""

        def arm(numbers: Numbers, budget: int) -> Trial:
            go = self._noisy(max(int(self._config.noise.share * budget), 1), cooled=cooled)
            return once(self._start, go, self.threshold)(numbers, budget)

        return arm

    def _noisy(self, steps: int, *, cooled: bool) -> Go:
        noise = self._config.noise
        schedule: Schedule = Constant(noise.theta)
        if cooled:
            schedule = Geometric(noise.first, noise.last, steps)
        plan = Plan(schedule, steps, noise.step, ends=("last",), seed=self._config.seed)
        return noisy(self.landscape, plan, self._down)
