"""One step of the time schemes of this package on the scalar test equation, sampled."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.noise.finite_rank import scalar_noise
from fem_deepest.spaces.tasks import blocks, dealt
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes import EulerMaruyama, ExponentialEuler, Milstein, Scheme, Theta

Array = NDArray[np.float64]

SAMPLED: dict[str, Callable[[SemilinearSPDE], Scheme]] = {
    "forward_euler": partial(Theta, theta=0.0),
    "backward_euler": EulerMaruyama,
    "crank_nicolson": partial(Theta, theta=0.5),
    "milstein": Milstein,
    "exponential_euler": ExponentialEuler,
}
_BLOCK = 5000  # samples stepped side by side


def squares(name: str, z: float, y: float, seed: int, samples: int, comm: MPI.Intracomm) -> Array:
    """``|X^1|^2`` from ``X^0 = 1`` with ``k lambda = z`` and ``sigma^2 / lambda = y``, (samples,).

    The equation is ``du = -u dtau + sqrt(y) u dbeta`` on an interval with natural boundary conditions,
    where a constant stays constant, with a step of length ``z``.

    Args:
        name: The scheme, one of :data:`SAMPLED`.
        z: ``k lambda``.
        y: ``sigma^2 / lambda``.
        seed: Seed of the noise.
        samples: Number of samples.
        comm: They are spread over its ranks; the result is the same on any number of them.

    Collective.
    """
    V = fem.functionspace(mesh.create_interval(MPI.COMM_SELF, 2, (0.0, 1.0)), ("Lagrange", 1))
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    u0 = fem.Function(V)
    u0.x.array[:] = 1.0
    sigma = float(np.sqrt(y))
    problem = SemilinearSPDE(
        V, A=u * v * ufl.dx, G=lambda w: sigma * w, noise=scalar_noise(V, seed), u0=u0
    )
    scheme = SAMPLED[name](problem)

    def compute(part: range) -> Array:
        dW = problem.noise.increment(0, z, part)
        X = scheme.step(problem.start(len(part)), 0.0, z, dW)
        return problem.inner(X, problem.mass(X))

    return np.concatenate(dealt(blocks(range(samples), _BLOCK), compute, comm))
