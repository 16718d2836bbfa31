"""What every covariance owes: symmetry, the square root, the load, the trace, samples on a few ranks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import ufl
from covariances import dense, interval, rectangle
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.noise.covariance import Covariance
from fem_deepest.noise.karhunen_loeve import KarhunenLoeve, PowerLaw
from fem_deepest.noise.kernel import KernelCovariance
from fem_deepest.noise.matern import WhittleMatern
from fem_deepest.noise.rescaled import Rescaled
from fem_deepest.noise.white_covariance import WhiteCovariance

Array = NDArray[np.float64]


def _gaussian(x: Array, y: Array) -> Array:
    return np.exp(-(((x[:, None] - y[None]) ** 2).sum(axis=-1)) / 0.1)


def _vector() -> fem.FunctionSpace:
    domain = mesh.create_rectangle(MPI.COMM_SELF, ((0.0, 0.0), (1.0, 0.5)), (5, 3))
    return fem.functionspace(domain, ("Lagrange", 1, (2,)))


def _solid() -> fem.FunctionSpace:
    domain = mesh.create_box(
        MPI.COMM_SELF, ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)), (3, 3, 3), mesh.CellType.tetrahedron
    )
    return fem.functionspace(domain, ("Lagrange", 1))


COVARIANCES: dict[str, Callable[[], Covariance]] = {
    "white": lambda: WhiteCovariance(rectangle(5, 4)),
    "white-p2": lambda: WhiteCovariance(interval(9, degree=2)),
    "matern-1": lambda: WhittleMatern(interval(30), kappa=4.0, alpha=1.0, boundary="robin"),
    "matern-1.5": lambda: WhittleMatern.with_law(rectangle(7, 6), sigma=2.0, length=0.3, alpha=1.5),
    "matern-2": lambda: WhittleMatern(rectangle(7, 6), kappa=4.0, boundary="dirichlet"),
    "matern-2-vector": lambda: WhittleMatern(_vector(), kappa=4.0, boundary="dirichlet"),
    "matern-2-solid": lambda: WhittleMatern(_solid(), kappa=2.0, boundary="robin"),
    "matern-2-quads": lambda: WhittleMatern(
        rectangle(5, 4, cell=mesh.CellType.quadrilateral, degree=2), kappa=4.0
    ),
    "matern-2.6-periodic": lambda: WhittleMatern(
        rectangle(6, 5), kappa=4.0, alpha=2.6, boundary="periodic"
    ),
    "matern-3": lambda: WhittleMatern(rectangle(7, 6), kappa=4.0, alpha=3.0, tau=30.0),
    "matern-4": lambda: WhittleMatern(_vector(), kappa=4.0, alpha=4.0, tau=50.0),
    "matern-rescaled": lambda: Rescaled(WhittleMatern(rectangle(7, 6), kappa=4.0), 2.0),
    "sine": lambda: KarhunenLoeve(interval(20), PowerLaw(0.5), 12),
    "sine-unresolved": lambda: KarhunenLoeve(interval(6), PowerLaw(0.5), 20),
    "cosine": lambda: KarhunenLoeve(
        rectangle(6, 7, (1.0, 2.0)), PowerLaw(1.0, shift=1.0), 15, basis="cosine"
    ),
    "dirichlet": lambda: KarhunenLoeve(
        rectangle(6, 7, (1.0, 1.9)), PowerLaw(1.0), 9, basis="dirichlet"
    ),
    "kernel": lambda: KernelCovariance(rectangle(6, 5), _gaussian),
}


@pytest.fixture(scope="module", params=COVARIANCES)
def covariance(request: pytest.FixtureRequest) -> Covariance:
    return COVARIANCES[request.param]()


def _mass(V: fem.FunctionSpace) -> Array:
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    return fem.assemble_matrix(fem.form(ufl.inner(u, v) * ufl.dx)).to_dense()


def test_square_root_symmetry_load_and_trace(covariance: Covariance) -> None:
    size, M = covariance.blocks.size, _mass(covariance.V)
    C, S, loads = (
        dense(f, size) for f in (covariance.apply, covariance.apply_sqrt, covariance.load)
    )
    # Relative to the largest entry; solves lose condition numbers below 1e3, fractions err by 1e-11.
    scale = np.abs(C).max()
    np.testing.assert_allclose(C, C.T, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(S @ M @ S.T, C, rtol=0, atol=1e-10 * scale)
    np.testing.assert_allclose(loads, M @ S, rtol=0, atol=1e-12 * np.abs(loads).max())
    assert covariance.trace() == pytest.approx(np.trace(M @ C), rel=1e-11)
    np.testing.assert_allclose(covariance.variance(), np.diagonal(C), rtol=1e-9, atol=1e-14 * scale)
    assert np.linalg.eigvalsh(C).min() > -1e-13 * scale * size


def test_adjoint(covariance: Covariance) -> None:
    r, s = np.random.default_rng(1).standard_normal((2, covariance.blocks.size, 3))
    assert (s * covariance.apply(r)).sum() == pytest.approx(
        (covariance.apply(s) * r).sum(), rel=1e-10
    )


def test_columns_of_a_block_do_not_mix(covariance: Covariance) -> None:
    b = np.random.default_rng(2).standard_normal((covariance.blocks.size, 4))
    for operator in (covariance.apply, covariance.apply_sqrt, covariance.load):
        together = operator(b)
        for j in range(4):
            alone = operator(np.ascontiguousarray(b[:, j : j + 1]))[:, 0]
            np.testing.assert_allclose(
                alone, together[:, j], rtol=0, atol=1e-11 * np.abs(together).max()
            )
