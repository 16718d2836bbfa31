"""Escapes of paths of the stochastic Allen-Cahn equation from a well, sampled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import NotConverged
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.white_covariance import WhiteCovariance
from fem_deepest.noise.wiener import QWiener
from fem_deepest.spaces.tasks import blocks, dealt
from fem_deepest.spde.ensemble import Ensemble, State
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes.imex import ImexTrapezoidal

Array = NDArray[np.float64]


class Escape(NamedTuple):
    """Numbers of the problem.

    Attributes:
        L: Length.
        cells: Cells.
        eps: Temperature.
        step: Length of a time step.
        target: Mean at which a path counts as escaped.
        longest: Time after which a path is given up.
    """

    L: float
    cells: int
    eps: float
    step: float
    target: float
    longest: float


def allen_cahn(escape: Escape, seed: int) -> SemilinearSPDE:
    """``du = (u'' + u - u^3) dtau + sqrt(2 eps) dW``, natural ends, from ``u = -1``. Not collective."""
    domain = mesh.create_interval(MPI.COMM_SELF, escape.cells, (0.0, escape.L))
    V = fem.functionspace(domain, ("Lagrange", 1))
    u, v, u0 = ufl.TrialFunction(V), ufl.TestFunction(V), fem.Function(V)
    u0.x.array[:] = -1.0
    strength = float(np.sqrt(2.0 * escape.eps))
    return SemilinearSPDE(
        V,
        A=ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx,
        f=lambda w: w**3 - w,
        G=lambda w: ufl.as_ufl(strength),
        noise=QWiener(WhiteCovariance(V), WhiteNoise(V, seed=seed)),
        u0=u0,
    )


def escape_times(escape: Escape, samples: int, batch: int, seed: int, comm: MPI.Intracomm) -> Array:
    """Times at which the mean of each path first is at the target or above, (samples,).

    A path is looked at after every step, and leaves the ensemble when it has escaped.

    Args:
        escape: The problem.
        samples: Number of paths.
        batch: Paths side by side.
        seed: Seed of the noise.
        comm: The batches are spread over its ranks; the result is the same on any number of them.

    Raises:
        NotConverged: A path has not escaped after the longest time.

    Collective.
    """
    problem = allen_cahn(escape, seed)
    scheme = ImexTrapezoidal(problem)
    weights = problem.mass(np.ones((problem.blocks.owned, 1)))[:, 0] / escape.L

    def compute(part: range) -> Array:
        times, inside = np.empty(len(part)), np.array(range(len(part)))
        paths = Ensemble(scheme, escape.step, part)
        while inside.size:
            out = weights @ paths.advance() >= escape.target
            if paths.time > escape.longest:
                raise NotConverged(
                    f"{inside.size} of {len(part)} paths have not escaped at time {paths.time:g}; take a "
                    "higher temperature"
                )
            if out.any():
                times[inside[out]], inside = paths.time, inside[~out]
                left = State(paths.step, paths.U[:, ~out])
                paths = Ensemble(scheme, escape.step, [part[i] for i in inside], start=left)
        return times

    return np.concatenate(dealt(blocks(range(samples), batch), compute, comm))
