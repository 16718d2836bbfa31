"""Superposition operators on blocks against forms of one function assembled by DOLFINx."""

from __future__ import annotations

from typing import Any

import basix.ufl
import numpy as np
import pytest
import ufl
from dolfinx import default_scalar_type, fem, mesh
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.noise.nemytskii import Nemytskii
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.spaces.quadrature import Quadrature

COMM = MPI.COMM_SELF
SAMPLES = 3


def _function(V: Any, seed: int) -> fem.Function:
    f = fem.Function(V)
    f.x.array[:] = np.random.default_rng(seed).standard_normal(f.x.array.size)
    return f


def _square(kind: str = "triangle") -> mesh.Mesh:
    domain = mesh.create_unit_square(COMM, 3, 4, getattr(mesh.CellType, kind))
    x = domain.geometry.x
    x[:, 0] += 0.2 * x[:, 0] * x[:, 1]
    return domain


def _oracle(form: Any) -> np.ndarray:
    return fem.assemble_vector(fem.form(form)).array


def _samples(V: Any) -> tuple[np.ndarray, list[fem.Function]]:
    columns = [_function(V, s) for s in range(SAMPLES)]
    return np.column_stack([c.x.array for c in columns]), columns


@pytest.mark.parametrize("kind", ["triangle", "quadrilateral"])
@pytest.mark.parametrize("degree", [1, 2])
def test_forcing_of_a_scalar(kind: str, degree: int) -> None:
    """With ``grad u``, the coordinates, a constant and a function of another space in it."""
    domain = _square(kind)
    V = fem.functionspace(domain, ("Lagrange", degree))
    u, v = fem.Function(V), ufl.TestFunction(V)
    c = fem.Constant(domain, default_scalar_type(0.7))
    g = _function(fem.functionspace(domain, ("Lagrange", 2, (2,))), 9)
    x = ufl.SpatialCoordinate(domain)
    f = u**3 - c * u * x[0] + ufl.dot(g, ufl.grad(u)) * ufl.exp(-(u**2)) + ufl.inner(g, g)
    rule = Quadrature(V, 5)
    operator = Nemytskii(f, u, rule)
    U, columns = _samples(V)
    for value in (0.7, -2.0):  # what the constant and the function are at the time counts
        c.value = value
        g.x.array[:] += value
        found = operator.integrate(U)
        for s, column in enumerate(columns):
            u.x.array[:] = column.x.array
            exact = _oracle(f * v * ufl.dx(metadata={"quadrature_degree": 5}))
            np.testing.assert_allclose(found[:, s], exact, rtol=0, atol=1e-13 * np.abs(exact).max())


@pytest.mark.parametrize("shape", [(2,), (3, 2)])
def test_forcing_of_a_vector_or_a_tensor(shape: tuple[int, ...]) -> None:
    V = fem.functionspace(_square(), ("Lagrange", 1, shape))
    u, v = fem.Function(V), ufl.TestFunction(V)
    f = ufl.inner(u, u) * u + (ufl.dot(ufl.grad(u), u) if len(shape) == 1 else 0 * u)
    U, columns = _samples(V)
    found = Nemytskii(f, u, Quadrature(V, 4)).integrate(U)
    for s, column in enumerate(columns):
        u.x.array[:] = column.x.array
        exact = _oracle(ufl.inner(f, v) * ufl.dx(metadata={"quadrature_degree": 4}))
        np.testing.assert_allclose(found[:, s], exact, rtol=0, atol=1e-13 * np.abs(exact).max())


def _noise_form(G: Any, white: WhiteNoise, dW: np.ndarray, v: Any) -> Any:
    """``int G(u) v dW`` with the noise as a function of a quadrature space, an independent assembly.

    Quadrature spaces number the points of a cell as the rule does, the noise by their keys; they are
    matched by their places.
    """
    V, bs = white.V, white.blocks.bs
    degree = white.quadrature.degree  # type: ignore[attr-defined]
    element = basix.ufl.quadrature_element(
        V.mesh.basix_cell(), value_shape=() if bs == 1 else (bs,), degree=degree
    )
    space = fem.functionspace(V.mesh, element)
    scalar = basix.ufl.quadrature_element(V.mesh.basix_cell(), degree=degree)
    x = fem.Function(fem.functionspace(V.mesh, scalar))
    place = np.empty((white.quadrature.points, 2))
    for i in range(2):
        points = x.function_space.element.interpolation_points
        points = points() if callable(points) else points
        x.interpolate(fem.Expression(ufl.SpatialCoordinate(V.mesh)[i], points))
        place[:, i] = x.x.array
    cells = len(V.dofmap.list)
    own = white.quadrature.x.reshape(cells, -1, 2)
    dofs = x.function_space.dofmap.list
    distance = np.linalg.norm(own[:, :, None] - place[dofs][:, None], axis=-1)
    target = np.take_along_axis(dofs, distance.argmin(axis=2), axis=1).ravel()
    assert np.array_equal(np.sort(target), np.arange(target.size))
    noise = fem.Function(space)
    noise.x.array.reshape(-1, bs)[target] = dW.reshape(-1, bs)
    dx = ufl.dx(metadata={"quadrature_degree": degree, "quadrature_scheme": "default"})
    return ufl.inner(G * noise, v) * dx


@pytest.mark.parametrize("kind", ["triangle", "quadrilateral"])
@pytest.mark.parametrize("components", [1, 2])
def test_multiplicative_noise(kind: str, components: int) -> None:
    domain = _square(kind)
    shape = () if components == 1 else ((components,),)
    V = fem.functionspace(domain, ("Lagrange", 2, *shape))
    u, v = fem.Function(V), ufl.TestFunction(V)
    x = ufl.SpatialCoordinate(domain)
    gains = [ufl.sin(u) * x[1]] if components == 1 else [x[0] * ufl.dot(u, u), ufl.outer(u, x)]
    white = WhiteNoise(V, 4)
    U, columns = _samples(V)
    dW = white.points(0, 0.2, range(SAMPLES))
    for G in gains:
        found = Nemytskii(G, u, white.quadrature).load(U, dW)
        for s, column in enumerate(columns):
            u.x.array[:] = column.x.array
            exact = _oracle(_noise_form(G, white, dW[:, s].copy(), v))
            np.testing.assert_allclose(found[:, s], exact, rtol=0, atol=1e-13 * np.abs(exact).max())


@pytest.mark.parametrize("lumped", [False, True])
@pytest.mark.parametrize("shape", [(), ((2,),)])
def test_a_constant_gain_is_additive_noise(lumped: bool, shape: tuple) -> None:
    V = fem.functionspace(_square(), ("Lagrange", 1, *shape))
    u, white = fem.Function(V), WhiteNoise(V, 4, lumped=lumped)
    U, dW = np.zeros((white.blocks.owned, 2)), white.points(3, 0.5, [1, 2])
    G = ufl.as_ufl(3.0) if not shape else 3.0 * ufl.Identity(2)
    found = Nemytskii(G, u, white.quadrature).load(U, dW)
    np.testing.assert_allclose(found, 3.0 * white.load(3, 0.5, [1, 2]), rtol=0, atol=1e-14)


def test_lumped_noise_is_taken_at_the_nodes() -> None:
    V = fem.functionspace(_square(), ("Lagrange", 1))
    u, white = fem.Function(V), WhiteNoise(V, 4, lumped=True)
    U, _ = _samples(V)
    dW = white.points(3, 0.5, range(SAMPLES))
    x = V.tabulate_dof_coordinates()
    found = Nemytskii(u**2 * ufl.SpatialCoordinate(V.mesh)[0], u, white.quadrature).load(U, dW)
    mass = _oracle(ufl.TestFunction(V) * ufl.dx)
    exact = mass[:, None] * U**2 * x[:, :1] * dW
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-13 * np.abs(exact).max())


def test_noise_keeps_its_samples_apart_in_chunks() -> None:
    """More points than are evaluated at a time."""
    V = fem.functionspace(mesh.create_unit_interval(COMM, 30000), ("Lagrange", 1))
    u, white = fem.Function(V), WhiteNoise(V, 4)
    U = np.random.default_rng(0).standard_normal((white.blocks.owned, 2))
    dW = white.points(0, 1.0, [0, 1])
    G = Nemytskii(ufl.cos(u), u, white.quadrature)
    both = G.load(U, dW)
    for s in range(2):
        one = G.load(U[:, s : s + 1], dW[:, s : s + 1])
        np.testing.assert_array_equal(both[:, s : s + 1], one)
    at = white.quadrature.evaluate(U)
    np.testing.assert_allclose(G.values(U), np.cos(at), rtol=0, atol=1e-15)


def test_what_has_no_value_at_points_is_refused() -> None:
    domain = _square()
    V = fem.functionspace(domain, ("Lagrange", 1))
    W = fem.functionspace(domain, ("Lagrange", 1, (2,)))
    u, w = fem.Function(V), fem.Function(W)
    rule, wide = Quadrature(V), Quadrature(W)
    with pytest.raises(InputError, match=r"shape \(2,\) for u of shape \(\)"):
        Nemytskii(ufl.grad(u), u, rule)
    with pytest.raises(InputError, match="in the space of the rule"):
        Nemytskii(w[0], w, rule)
    with pytest.raises(InputError, match="has no value at the points"):
        Nemytskii(u * ufl.CellVolume(domain), u, rule)
    with pytest.raises(InputError, match="forcing of shape"):
        Nemytskii(ufl.dot(w, w), w, wide).integrate(np.zeros((wide.blocks.owned, 1)))
    with pytest.raises(InputError, match=r"scalar or a matrix of shape \(2, 2\)"):
        Nemytskii(w, w, wide).load(np.zeros((wide.blocks.owned, 1)), np.zeros((1, 1)))
    lumped = WhiteNoise(V, 0, lumped=True).quadrature
    with pytest.raises(InputError, match="no value at the nodes"):
        Nemytskii(u * u.dx(0), u, lumped).integrate(np.zeros((lumped.blocks.owned, 1)))
    other = fem.Function(fem.functionspace(domain, ("Lagrange", 2)))
    with pytest.raises(InputError, match="no values at the nodes"):
        Nemytskii(u * other, u, lumped)
