"""A quadratic with a noisy gradient: many runs of stochastic gradient descent at once, and their moments.

    A(u) = 1/2 sum_i mu_i (u_i - 1)^2,    G_n(u)_i = (mu_i + rho zeta_ni) (u_i - 1) + sigma z_ni

with independent standard normals ``zeta, z``. The error ``e = u - 1`` has independent components,

    e_ni = (1 - g_n (mu_i + rho zeta_ni)) e_{n-1,i} - g_n sigma z_ni,      g_n = eta / n^nu,

so that its second and fourth moments go from step to step by closed forms.

Nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.noise.philox import normals
from fem_deepest.solve.sgd import Gains, advance

Array = NDArray[np.float64]


class NoisyQuadratic:
    """``A`` and ``G`` for several runs: the columns of an array (d, S), which is a vector row by row.

    Args:
        curvature: ``mu``, (d,).
        spread: ``rho``, deviation of the curvature from step to step.
        noise: ``sigma``.
        start: ``e_0i``, the same for all ``i``.
    """

    def __init__(
        self, curvature: Sequence[float], spread: float, noise: float, start: float
    ) -> None:
        self.curvature = np.array(curvature, dtype=np.float64)
        self.spread, self.noise, self.start = spread, noise, start
        self._keys = np.arange(self.curvature.size, dtype=np.uint64)

    def errors(self, gains: Gains, steps: int, seed: int, stream: int, runs: range) -> Array:
        """``|e_n|`` after so many steps, (S,).

        Args:
            gains: ``g``.
            steps: ``n``.
            seed: Seed of the noise.
            stream: Stream of the noise.
            runs: Numbers of the runs.
        """
        shape = (self.curvature.size, len(runs))
        z = np.empty((2 * shape[0], len(runs)))

        def estimate(u: PETSc.Vec, g: PETSc.Vec, step: int) -> float:
            normals(seed, self._keys, step, stream, runs, 2, out=z)
            e, target = u.array_r.reshape(shape) - 1.0, g.array_w.reshape(shape)
            np.multiply(z[0::2], self.spread, out=target)
            target += self.curvature[:, None]
            target *= e
            value = 0.5 * float(np.vdot(target, e))
            target += self.noise * z[1::2]
            return value

        u = PETSc.Vec().createMPI(z.size // 2, comm=MPI.COMM_SELF)
        u.set(1.0 + self.start)
        advance(estimate, u, gains, range(1, steps + 1))
        e = u.array.reshape(shape) - 1.0
        u.destroy()
        return np.sqrt(np.einsum("is,is->s", e, e))

    def strong(self, gains: Gains, steps: int, p: int) -> float:
        """``(E |e_n|^p)^{1/p}``, exactly, for ``p`` 2 or 4."""
        second = np.full(self.curvature.shape, self.start**2)
        fourth = second**2
        for n in range(1, steps + 1):
            gain = gains(n)
            mean, square = 1.0 - gain * self.curvature, (gain * self.spread) ** 2
            added, factor = (gain * self.noise) ** 2, mean**2 + square
            fourth *= mean**4 + 6.0 * mean**2 * square + 3.0 * square**2
            fourth += 6.0 * factor * added * second + 3.0 * added**2
            second = factor * second + added
        if p == 2:
            return float(np.sqrt(second.sum()))
        return float((fourth.sum() + second.sum() ** 2 - np.sum(second**2)) ** 0.25)
