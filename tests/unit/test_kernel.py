"""Covariances given by a kernel."""

from __future__ import annotations

import numpy as np
import pytest
from covariances import dense, interval, rectangle
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.kernel import KernelCovariance

Array = NDArray[np.float64]


def _distance(x: Array, y: Array) -> Array:
    return np.linalg.norm(x[:, None] - y[None], axis=-1)


def exponential(x: Array, y: Array) -> Array:
    return 2.0 * np.exp(-_distance(x, y) / 0.3)


def gaussian(x: Array, y: Array) -> Array:
    return np.exp(-(_distance(x, y) ** 2) / 0.2)


def bridge(x: Array, y: Array) -> Array:
    s, t = x[:, :1], y[:, 0]
    return np.minimum(s, t) - s * t


@pytest.mark.parametrize("kernel", [exponential, gaussian])
def test_dofs_have_the_covariance_of_the_kernel(kernel: object) -> None:
    for V in (interval(40), rectangle(9, 7, degree=2)):
        field = KernelCovariance(V, kernel, tolerance=1e-11)
        x = V.tabulate_dof_coordinates()
        expected = kernel(x, x)
        # What is left out has at most its trace.
        np.testing.assert_allclose(
            dense(field.apply, len(x)), expected, rtol=0, atol=2e-11 * np.trace(expected)
        )


def test_a_brownian_bridge_with_zero_variance_at_the_ends() -> None:
    V = interval(25)
    field = KernelCovariance(V, bridge)
    x = V.tabulate_dof_coordinates()
    np.testing.assert_allclose(dense(field.apply, 26), bridge(x, x), rtol=0, atol=1e-11)
    assert field.modes == 24
    # Karhunen-Loeve of the bridge: eigenvalues 1/(j pi)^2.
    np.testing.assert_allclose(
        field.eigenvalues[:3], 1.0 / (np.pi * np.arange(1, 4)) ** 2, rtol=0.02
    )


def test_smooth_kernels_need_few_modes_at_any_mesh() -> None:
    counts = [KernelCovariance(interval(n), gaussian, tolerance=1e-8).modes for n in (50, 100, 200)]
    assert max(counts) - min(counts) <= 1 and max(counts) <= 15


def test_tolerance_bounds_the_variance_left_out() -> None:
    V = interval(60)
    for tolerance in (1e-2, 1e-4, 1e-6):
        field = KernelCovariance(V, exponential, tolerance=tolerance)
        missing = 2.0 - field.variance()
        assert missing.min() > -1e-12
        assert missing.sum() <= tolerance * 2.0 * 61 * (1.0 + 1e-9)
        x = V.tabulate_dof_coordinates()
        # What is left out is itself a covariance.
        rest = np.linalg.eigvalsh(exponential(x, x) - dense(field.apply, 61))
        assert rest.min() > -1e-12


def test_regularity_number_is_that_of_mercer_unless_given() -> None:
    assert KernelCovariance(interval(4), gaussian).beta() == 1.0
    assert KernelCovariance(interval(4), exponential, beta=1.5).beta() == 1.5


def test_wrong_kernels_are_refused() -> None:
    V = interval(30)
    with pytest.raises(InputError, match=r"not symmetric: c\(x, y\)"):
        KernelCovariance(V, lambda x, y: gaussian(x, y) * (1.0 + x[:, :1]))
    with pytest.raises(InputError, match="not positive semidefinite"):
        # A step function is no covariance: it is 1 between neighbours and 0 beyond.
        KernelCovariance(V, lambda x, y: (_distance(x, y) < 0.3).astype(float))
    with pytest.raises(InputError, match=r"negative or infinite variance"):
        KernelCovariance(V, lambda x, y: -gaussian(x, y))
    with pytest.raises(InputError, match="not finite"):
        KernelCovariance(V, lambda x, y: np.full((len(x), len(y)), np.nan))
    with pytest.raises(InputError, match=r"shape \(31,\) for 31 and 31 points"):
        KernelCovariance(V, lambda x, y: np.ones(len(x)))
    with pytest.raises(InputError, match="zero or not finite"):
        KernelCovariance(V, lambda x, y: np.zeros((len(x), len(y))))


def test_a_factor_that_is_too_big_is_refused() -> None:
    with pytest.raises(InputError, match=r"more than 10 modes on 201 dofs, a factor of more than"):
        KernelCovariance(interval(200), exponential, memory=10.5 * 201 * 8 / 2**30)
    KernelCovariance(interval(200), gaussian, tolerance=1e-4, memory=10.5 * 201 * 8 / 2**30)


def test_spaces_without_point_values_are_refused() -> None:
    domain = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
    for element in (("Lagrange", 1, (2,)), ("N1curl", 1)):
        with pytest.raises(InputError, match="expected a scalar Lagrange space"):
            KernelCovariance(fem.functionspace(domain, element), gaussian)
