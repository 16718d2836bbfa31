"""Meshes that share an error evenly, against closed forms for ``c(t) = exp(-a t)``."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from fem_deepest.errors import InputError
from fem_deepest.spaces import DepthMesh
from fem_deepest.spaces.equidistribution import equidistributed, gain, refined

T, FLOOR = 3.0, 0.05


def _error(mesh: DepthMesh, a: float, order: int) -> np.ndarray:
    """``c h^{p+1}`` with ``c = exp(-a t)`` in the middle of the cells."""
    middle = 0.5 * (mesh.nodes[:-1] + mesh.nodes[1:])
    return np.exp(-a * middle) * mesh.steps ** (order + 1)


def _exact_nodes(a: float, order: int, cells: int) -> np.ndarray:
    """Nodes with equal integrals of ``exp(-b t) + floor * mean``, ``b = a/(p+1)``, by a root finder."""
    b = a / (order + 1)
    whole = -np.expm1(-b * T) / b

    def mass(t: float) -> float:
        return float(-np.expm1(-b * t) / b + FLOOR * whole * t / T)

    inner = [
        brentq(lambda t, i=i: mass(t) - mass(T) * i / cells, 0.0, T, xtol=1e-14)
        for i in range(1, cells)
    ]
    return np.array([0.0, *inner, T])


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("a", [0.5, 6.0])
def test_nodes_converge_to_those_of_the_closed_form(a: float, order: int) -> None:
    exact = _exact_nodes(a, order, 12)
    errors = []
    for n in (200, 400, 800):
        mesh = DepthMesh.graded(T, n)
        found = equidistributed(mesh, _error(mesh, a, order), order, 12)
        errors.append(np.max(np.abs(found.nodes - exact)))
    # The density is sampled, averaged and integrated with errors of order two.
    slopes = np.log2(np.divide(errors[:-1], errors[1:]))
    assert slopes.min() > 1.7, slopes
    assert errors[-1] < 1e-4


@pytest.mark.parametrize("order", [1, 2])
def test_signs_of_the_errors_do_not_matter(order: int) -> None:
    mesh = DepthMesh.graded(T, 20, 1.4)
    eta = _error(mesh, 3.0, order)
    flipped = eta * np.where(np.arange(20) % 2, 1.0, -1.0)
    for place in (equidistributed, refined):
        np.testing.assert_array_equal(
            place(mesh, eta, order, 33).nodes, place(mesh, flipped, order, 33).nodes
        )


@pytest.mark.parametrize("order", [1, 2])
def test_gain_of_the_closed_form(order: int) -> None:
    a, mesh = 5.0, DepthMesh.graded(T, 4000)
    b = a / (order + 1)
    whole, root = -np.expm1(-a * T) / a, -np.expm1(-b * T) / b
    expected = (T**order * whole / root ** (order + 1)) ** (1 / order)
    assert gain(mesh, _error(mesh, a, order), order) == pytest.approx(expected, rel=1e-6)
    assert gain(mesh, np.full(4000, 1e-3), order) == pytest.approx(1.0, rel=1e-12)
    assert gain(mesh, np.zeros(4000), order) == 1.0


@pytest.mark.parametrize("order", [1, 2])
def test_error_falls_as_the_gain_says(order: int) -> None:
    """``n`` cells placed by the error have that of ``gain * n`` equal cells, but for floor and halving."""
    a, start = 6.0, DepthMesh.graded(T, 64)
    expected = gain(start, _error(start, a, order), order) ** order
    assert expected > 1.8
    uniform = _error(DepthMesh.graded(T, 128), a, order).sum()
    moved = _error(equidistributed(start, _error(start, a, order), order, 128), a, order).sum()
    assert uniform / moved == pytest.approx(expected, rel=0.1)
    # Lengths spread over [h, 2h] cost int 2^{-u} du to the power p times int 2^{pu} du: 1.04 and 1.13.
    coarse = DepthMesh.graded(T, 16)
    halved = _error(refined(coarse, _error(coarse, a, order), order, 128), a, order).sum()
    assert uniform / halved > expected / 1.13 * 0.9


def test_halved_cells_keep_the_nodes_and_share_the_error() -> None:
    mesh, order = DepthMesh.graded(T, 5, 1.7), 2
    fine = refined(mesh, _error(mesh, 6.0, order), order, 90)
    assert fine.cells == 90
    assert set(mesh.nodes) <= set(fine.nodes)
    eta = _error(fine, 6.0, order)
    # The last cell halved had at least the error of every other: all are within 2^{p+1} of it, but for
    # what the density of the middle of the coarse cell says of its halves, exp(a h/4).
    slack = np.exp(6.0 * mesh.steps.max())
    assert eta.max() / eta.min() < 2.0 ** (order + 1) * slack


def test_without_errors_the_layers_stay_equal() -> None:
    mesh = DepthMesh.graded(T, 4)
    for place in (equidistributed, refined):
        found = place(mesh, np.zeros(4), 1, 8)
        np.testing.assert_allclose(found.nodes, np.linspace(0.0, T, 9), rtol=0.0, atol=1e-15)


def test_bad_input() -> None:
    mesh = DepthMesh.graded(T, 4)
    with pytest.raises(InputError, match="expected 4 numbers"):
        equidistributed(mesh, np.ones(3), 1, 8)
    with pytest.raises(InputError, match="not finite"):
        refined(mesh, np.array([1.0, np.nan, 1.0, 1.0]), 1, 8)
    with pytest.raises(InputError, match="4 cells cannot be refined to 3"):
        refined(mesh, np.ones(4), 1, 3)
