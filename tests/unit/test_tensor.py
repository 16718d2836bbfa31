"""Tensor products of covariances against dense Kronecker products."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from covariances import in_order, interval, p1, rectangle
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.covariance import Covariance
from fem_deepest.noise.karhunen_loeve import KarhunenLoeve
from fem_deepest.noise.kernel import KernelCovariance
from fem_deepest.noise.matern import WhittleMatern
from fem_deepest.noise.tensor import TensorCovariance
from fem_deepest.noise.white_covariance import WhiteCovariance

Array = NDArray[np.float64]

QUADS = mesh.CellType.quadrilateral


def _kron(factors: list[Covariance], name: str) -> Array:
    return functools.reduce(np.kron, [in_order(f, getattr(f, name)) for f in factors])


@pytest.mark.parametrize("degree", [1, 2])
def test_product_of_two_covariances(degree: int) -> None:
    V = rectangle(6, 4, (2.0, 1.0), cell=QUADS, degree=degree)
    depth = WhittleMatern(interval(6, 2.0, degree=degree), kappa=2.0, alpha=1.0)
    index = KernelCovariance(
        interval(4, degree=degree), lambda x, y: np.exp(-((x[:, :1] - y[:, 0]) ** 2))
    )
    field = TensorCovariance(V, [depth, index])
    for name in ("apply", "apply_sqrt"):
        expected = _kron([depth, index], name)
        np.testing.assert_allclose(
            in_order(field, getattr(field, name)),
            expected,
            rtol=0,
            atol=1e-13 * np.abs(expected).max(),
        )
    M = in_order(field, field.mass)
    S, C = in_order(field, field.apply_sqrt), in_order(field, field.apply)
    np.testing.assert_allclose(S @ M @ S.T, C, rtol=0, atol=1e-10 * np.abs(C).max())
    assert field.trace() == pytest.approx(np.trace(M @ C), rel=1e-10)
    number = np.lexsort(np.round(V.tabulate_dof_coordinates(), 9).T[::-1])
    np.testing.assert_allclose(field.variance()[number], np.diagonal(C), rtol=1e-10)


def test_prior_of_a_weight_field_is_the_inverse_of_its_precision() -> None:
    # P = lambda (kappa^2 M_t + K_t) (x) M_S (x) M_S on depth x index x index, by hand.
    strength, kappa = 0.3, 1.7
    domain = mesh.create_box(
        MPI.COMM_SELF, ((0.0, 0.0, 0.0), (1.5, 1.0, 1.0)), (4, 3, 3), mesh.CellType.hexahedron
    )
    V = fem.functionspace(domain, ("Lagrange", 1))
    depth = WhittleMatern(interval(4, 1.5), kappa=kappa, alpha=1.0, tau=strength**-0.5)
    field = TensorCovariance(V, [depth, WhiteCovariance(interval(3)), WhiteCovariance(interval(3))])
    (M_t, K_t), (M, _) = p1(np.linspace(0.0, 1.5, 5)), p1(np.linspace(0.0, 1.0, 4))
    P = strength * np.kron(kappa**2 * M_t + K_t, np.kron(M, M))
    C = in_order(field, field.apply)
    np.testing.assert_allclose(P @ C, np.eye(80), rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("alphas", "expected"),
    [
        ((0.0, 0.0), 0.0),
        ((1.0, 0.0), 0.5),
        ((1.0, 2.0), 1.5),
        ((0.25, 0.0), 0.25),
        ((0.5, 3.0), 1.0),
    ],
)
def test_regularity_number_is_where_the_double_sum_diverges(
    alphas: tuple[float, float], expected: float
) -> None:
    V = rectangle(2, 2, cell=QUADS)
    factors = [
        WhittleMatern(interval(2), kappa=1.0, alpha=a) if a else WhiteCovariance(interval(2))
        for a in alphas
    ]
    assert TensorCovariance(V, factors).beta() == pytest.approx(expected)
    # sum over j, k of (j^2 + k^2)^{beta-1} j^{-2a} k^{-2b}: shells of [n, 2n] shrink below the number
    # and grow above it.
    j = np.arange(1.0, 2049.0)
    for shift, sign in ((-0.15, -1.0), (0.15, 1.0)):
        terms = (
            (j[:, None] ** 2 + j**2) ** (expected + shift - 1.0)
            * j[:, None] ** (-2 * alphas[0])
            * j ** (-2 * alphas[1])
        )
        cubes = [terms[:n, :n].sum() for n in (512, 1024, 2048)]
        growth = math.log2((cubes[2] - cubes[1]) / (cubes[1] - cubes[0]))
        assert sign * growth > 0.1


def test_wrong_products_are_refused() -> None:
    white = WhiteCovariance(interval(3))
    with pytest.raises(InputError, match="not the product of those of the factors"):
        TensorCovariance(rectangle(3, 3), [white, white])
    with pytest.raises(InputError, match="1 factors were given, expected 2"):
        TensorCovariance(rectangle(3, 3, cell=QUADS), [white])
    with pytest.raises(InputError, match="do not lie on the grid of 4 x 4 nodes"):
        TensorCovariance(rectangle(3, 4, cell=QUADS), [white, white])
    with pytest.raises(InputError, match="do not lie on the grid"):
        TensorCovariance(rectangle(3, 3, (1.0, 2.0), cell=QUADS), [white, white])
    with pytest.raises(InputError, match="expected 2: one for each coordinate"):
        TensorCovariance(
            rectangle(3, 3, cell=QUADS), [white, WhiteCovariance(rectangle(3, 1, cell=QUADS))]
        )


def test_factors_of_few_modes() -> None:
    V = rectangle(8, 5, cell=QUADS)
    factors: list[Covariance] = [
        KarhunenLoeve(interval(8), [1.0, 0.5]),
        KarhunenLoeve(interval(5), [2.0, 0.1], basis="cosine"),
    ]
    field = TensorCovariance(V, factors)
    both = np.outer(factors[0].eigenvalues, factors[1].eigenvalues)  # type: ignore[attr-defined]
    C, M = in_order(field, field.apply), in_order(field, field.mass)
    found = np.sort(np.linalg.eigvals(M @ C).real)[::-1][:4]
    np.testing.assert_allclose(found, np.sort(both.ravel())[::-1], rtol=1e-10)
