"""Arms of the contest of contours."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.annealed.schedule import Geometric
from fem_deepest.contours import synthetic
from fem_deepest.contours.descent import descend
from fem_deepest.contours.energy import ContourEnergy
from fem_deepest.contours.flow import ContourFlow, good_step
from fem_deepest.contours.noise import normal_noise
from fem_deepest.contours.phasefield import PhaseField
from fem_deepest.contours.regions.chan_vese import ChanVese
from fem_deepest.contours.regions.gaussian import Gaussian
from fem_deepest.contours.regions.mixture import Mixture
from fem_deepest.contours.seen import Seen
from fem_deepest.solve.columns import Index
from fem_deepest.spaces.domain import create_domain
from fem_deepest.studies.comparison import MULTISTART, NOISE, PLAIN, Arm, Numbers
from fem_deepest.studies.contests.contours_config import ContoursConfig
from fem_deepest.studies.methods import Tally, once, restarted

Array = NDArray[np.float64]

_WIDTH = 1.5  # cells that eps is long


class Contours:
    """The contest; see :class:`.Contest`. One evaluation gives an energy and the force.

    Args:
        config: Numbers of the problem and of the noise.
    """

    name = "active contours"

    def __init__(self, config: ContoursConfig) -> None:
        self._config, problem = config, config.problem
        made = synthetic.create(problem.image)
        domain = create_domain(MPI.COMM_SELF, [1.0, 1.0], [problem.cells, problem.cells])
        V = fem.functionspace(domain, ("Lagrange", 1))
        self._field = PhaseField(V, _WIDTH / problem.cells)
        seen = Seen(self._field, made.image)
        region = {"chan_vese": ChanVese, "gaussian": Gaussian, "mixture": Mixture}[problem.region]
        self.energy = ContourEnergy(self._field, seen, region(seen.grey), problem.nu)
        self._dt = good_step(self.energy)
        objects = self._field.start(synthetic.SYNTHETIC[problem.image][0])
        known = descend(self.energy, objects, dt=self._dt, tolerance=problem.tolerance)
        none = float(self.energy.value(np.full_like(objects, -1.0))[0])
        low = float(known.energies[0])
        self.threshold = low + problem.margin * (none - low)
        noise = config.noise
        self._noise = normal_noise(
            V, "matern", strength=noise.strength, length=noise.length, seed=config.seed
        )
        self.arms: Mapping[str, Arm] = {
            PLAIN: once(self.start, self.down, self.threshold),
            MULTISTART: restarted(self.start, self.down, self.threshold),
            NOISE: once(self.start, self.shaken, self.threshold),
        }

    def start(self, numbers: Numbers, turn: int) -> Array:
        """Circles anywhere on the image, whole; (n, S)."""
        r = self._config.problem.radius
        blocks = []
        for number in numbers:
            generator = np.random.default_rng([self._config.seed, int(number), turn])
            x, y = r + (1.0 - 2.0 * r) * generator.random(2)
            blocks.append(self._field.start(synthetic.circle((x, y), r)))
        return np.concatenate(blocks, axis=1)

    def down(self, U: Array, columns: Index, tally: Tally, turn: int) -> None:
        """The contour without noise."""
        descend(
            self.energy,
            U,
            dt=self._dt,
            tolerance=self._config.problem.tolerance,
            most=np.floor(tally.left[columns]).astype(np.int64),
            watch=lambda which, values: tally.note(columns[which], values),
        )

    def shaken(self, U: Array, columns: Index, tally: Tally, turn: int) -> None:
        """Noise that is cooled, then descent from the last contour."""
        noise = self._config.noise
        flow = ContourFlow(
            self.energy,
            U,
            dt=self._dt,
            noise=self._noise,
            schedule=Geometric(noise.first, noise.last, noise.steps),
            samples=[int(n) for n in tally.numbers[columns]],
            seed=self._config.seed,
            cooled=True,
        )
        tally.note(columns, flow.energies)
        while flow.step < noise.steps and tally.left[columns].min() > 1.0:
            flow.advance()
            # What was refused has been evaluated too, but it is not where the contour is.
            tally.note(columns, flow.energies)
        self.down(flow.U, columns, tally, turn)
