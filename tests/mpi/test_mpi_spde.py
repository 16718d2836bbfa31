"""A path of an SPDE is the same on any number of ranks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import spde_problems as sp
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.errors import NotConverged
from fem_deepest.noise.finite_rank import FiniteRank
from fem_deepest.noise.matern import WhittleMatern
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.white_covariance import WhiteCovariance
from fem_deepest.noise.wiener import QWiener
from fem_deepest.spde.ensemble import Ensemble
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes import (
    DriftImplicitEuler,
    EulerMaruyama,
    ExponentialEuler,
    ImexTrapezoidal,
    Milstein,
    TamedEuler,
)
from fem_deepest.spde.timestepper import TimeStepper

WORLD = MPI.COMM_WORLD


def _problem(comm: MPI.Intracomm) -> SemilinearSPDE:
    """Allen-Cahn on a square with multiplicative noise of two modes, the boundary held at 0.2."""
    V = fem.functionspace(mesh.create_unit_square(comm, 6, 5), ("Lagrange", 1))
    modes = []
    for j in (1, 2):
        e = fem.Function(V)
        e.interpolate(lambda x, j=j: 1.0 + np.sin(j * np.pi * x[0]) * np.cos(np.pi * x[1]))
        modes.append(e)
    return SemilinearSPDE(
        V,
        A=sp.laplace(V),
        f=lambda u: u**3 - u + 0.1 * ufl.sin(u),
        G=lambda u: 0.5 + u,
        noise=FiniteRank(V, modes, 4),
        bcs=[sp.clamped(V, 0.2)],
        interpretation="stratonovich",
    )


def _sorted(problem: SemilinearSPDE, block: Any) -> np.ndarray:
    """The block on every rank, in the order of the coordinates."""
    x = problem.V.tabulate_dof_coordinates()[: problem.blocks.owned]
    comm = problem.V.mesh.comm
    x, block = (np.concatenate(comm.allgather(a)) for a in (x, block))
    return block[np.lexsort(np.round(x, 9).T)]


@pytest.mark.parametrize(
    "kind",
    [EulerMaruyama, ImexTrapezoidal, Milstein, ExponentialEuler, TamedEuler, DriftImplicitEuler],
)
def test_the_path_does_not_depend_on_the_ranks(kind) -> None:
    blocks = []
    for comm in (WORLD, MPI.COMM_SELF):
        scheme = kind(_problem(comm))
        U = Ensemble(scheme, 0.01, (0, 3)).advance(3)
        blocks.append(_sorted(scheme.problem, U))
    np.testing.assert_allclose(blocks[0], blocks[1], rtol=0, atol=1e-12)


def _driven(comm: MPI.Intracomm, coloured: bool) -> SemilinearSPDE:
    """White noise in 1D, Matern noise in 2D; multiplicative."""
    if coloured:
        V = fem.functionspace(mesh.create_unit_square(comm, 5, 4), ("Lagrange", 1))
    else:
        V = sp.interval(13, 2, comm)
    C = WhittleMatern(V, kappa=4.0, tau=2.0) if coloured else WhiteCovariance(V)
    return SemilinearSPDE(
        V,
        A=sp.laplace(V),
        f=lambda u: u**3 - u,
        G=lambda u: 1.0 + 0.3 * u,
        noise=QWiener(C, WhiteNoise(V, 6)),
        bcs=[sp.clamped(V)],
        interpretation="stratonovich" if coloured else "ito",
    )


@pytest.mark.parametrize("coloured", [False, True])
def test_the_noise_of_a_path_does_not_depend_on_the_ranks(coloured: bool) -> None:
    """With a rejected step, so that bridges are drawn too."""
    blocks = []
    for comm in (WORLD, MPI.COMM_SELF):
        scheme = _Halves(_driven(comm, coloured))
        ensemble = Ensemble(scheme, 0.01, (2, 0, 5))
        blocks.append(_sorted(scheme.problem, ensemble.advance(2)))
        assert ensemble.rejected == 2
    assert np.abs(blocks[1]).max() > 1e-3
    np.testing.assert_allclose(blocks[0], blocks[1], rtol=0, atol=1e-12)


class _Halves(EulerMaruyama):
    def step(self, U, t, dt, dW):
        if dt > 0.006:
            raise NotConverged("too long")
        return super().step(U, t, dt, dW)


def test_ts_on_several_ranks() -> None:
    scheme = EulerMaruyama(_problem(WORLD))
    U = Ensemble(scheme, 0.01, (3,)).advance(3)
    stepper = TimeStepper(scheme, 0.01, 0.025, sample=3)
    stepper.solve()
    assert stepper.time == 0.025
    stepper = TimeStepper(scheme, 0.01, 0.03, sample=3)
    u = stepper.solve()
    np.testing.assert_allclose(u.x.array[: len(U)], U[:, 0], rtol=0, atol=1e-13)


class _Fails(EulerMaruyama):
    def step(self, U, t, dt, dW):
        raise NotConverged("never")


def test_a_failure_is_one_of_all_ranks() -> None:
    stepper = TimeStepper(_Fails(_problem(WORLD)), 0.01, 0.03)
    with pytest.raises(NotConverged, match="after 10 rejections"):
        stepper.solve()
    assert stepper.time == 0.0
