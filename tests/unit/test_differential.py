"""Differential operators on the neuron index: stencils by hand, polynomials, orders, symmetry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from stencils import differences, plane

from fem_deepest.errors import InputError
from fem_deepest.spaces import NeuronSpace

Array = NDArray[np.float64]

MESHES = Path(__file__).parents[2] / "meshes"


def test_on_grids_they_are_differences() -> None:
    grad, laplace, _ = differences(6, 2.0)
    index = NeuronSpace.interval(6, "P1", extent=2.0)
    np.testing.assert_allclose(index.operator("grad")[0].toarray(), grad, atol=1e-13)
    np.testing.assert_allclose(index.operator("laplace")[0].toarray(), laplace, atol=1e-12)
    shape, lengths = (4, 5), (1.5, 1.0)
    index = NeuronSpace.rectangle(shape, "P1", extent=lengths)
    for name, expected in plane(shape, lengths).items():
        for mine, other in zip(index.operator(name), expected, strict=True):
            np.testing.assert_allclose(mine.toarray(), other, atol=1e-12)


@pytest.mark.parametrize("kind", ["rectangle", "square", "disc"])
def test_polynomials_are_differentiated_exactly(kind: str) -> None:
    """Linear functions everywhere, by ``grad``; the mixed derivative sees none of them, nor the end."""
    if kind == "rectangle":
        index = NeuronSpace.rectangle((5, 4), "P1", extent=(1.0, 2.0))
    else:
        index = NeuronSpace.mesh(MESHES / f"{kind}.msh", "P1")
    x, y = index.coordinates.T
    u = 1.0 + 2.0 * x - 3.0 * y
    dx, dy = index.operator("grad")
    np.testing.assert_allclose(dx @ u, 2.0, atol=1e-10)
    np.testing.assert_allclose(dy @ u, -3.0, atol=1e-10)
    xx, xy, yy = index.operator("hessian")
    scale = abs(xy).max()
    np.testing.assert_allclose(xy @ u, 0.0, atol=1e-12 * scale)
    if kind == "rectangle":  # bilinear functions are in the space
        np.testing.assert_allclose(xy @ (x * y), 1.0, atol=1e-12 * scale)
    (laplace,) = index.operator("laplace")
    assert abs(xx + yy - laplace).max() < 1e-12 * abs(laplace).max()


@pytest.mark.parametrize("dimension", [1, 2])
def test_order_two_inside_and_on_functions_without_a_normal_derivative(dimension: int) -> None:
    """``cos(k pi s)``: the Laplace operator up to the boundary, derivatives inside it."""
    errors = []
    for n in (9, 17, 33):
        if dimension == 1:
            index = NeuronSpace.interval(n, "P1")
        else:
            index = NeuronSpace.rectangle((n, n), "P1")
        s = index.coordinates
        waves = np.pi * np.arange(1, dimension + 1)
        u = np.cos(s * waves).prod(axis=1)
        inside = np.all((s > 1e-9) & (s < 1 - 1e-9), axis=1)
        (laplace,) = index.operator("laplace")
        found = [np.abs(laplace @ u + np.sum(waves**2) * u).max()]
        for k, D in enumerate(index.operator("grad")):
            factors = np.cos(s * waves)
            factors[:, k] = -waves[k] * np.sin(s[:, k] * waves[k])
            found.append(np.abs(D @ u - factors.prod(axis=1))[inside].max())
        if dimension == 2:
            exact = (np.sin(s * waves) * waves).prod(axis=1)
            found.append(np.abs(index.operator("hessian")[1] @ u - exact)[inside].max())
        errors.append(found)
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(orders[-1], 2.0, atol=0.1)


def test_laplace_is_symmetric_in_the_lumped_mass_and_never_positive() -> None:
    index = NeuronSpace.mesh(MESHES / "disc.msh", "P1")
    (laplace,) = index.operator("laplace")
    product = index.node_weights[:, None] * laplace.toarray()
    np.testing.assert_allclose(product, product.T, atol=1e-12 * np.abs(product).max())
    assert np.linalg.eigvalsh(product).max() < 1e-12 * np.abs(product).max()


def test_elements_whose_masses_cannot_be_lumped_are_refused() -> None:
    index = NeuronSpace.mesh(MESHES / "disc.msh", "P2", "consistent")
    with pytest.raises(InputError, match="integrals that are not positive"):
        index.operator("grad")
