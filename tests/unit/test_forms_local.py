"""A network with local coupling is a Lagrangian on depth x index: both actions agree to rounding.

The form is written in UFL with trilinear elements. Nodal quadrature along the index and the midpoint rule
in depth make it the implicit midpoint rule at the nodes. The nodal derivatives ``y_m = D_m x`` are fields
of their own, held by multipliers ``mu_m``:

    L = R_f/2 |x_t - sigma(w_0 x + sum_m w_m y_m + b)|^2,    + mu_m y_m  (lumped)  - mu_m D_m x  (exact).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray
from stencils import differences, plane

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.action import FormAction
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.network.activation import activation
from fem_deepest.network.coupling.differential import local
from fem_deepest.network.loss import LeastSquares
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.solve.lmvm import minimise
from fem_deepest.solve.memory import LimitedMemory
from fem_deepest.solve.newton import polish
from fem_deepest.solve.stationary import stationary
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid
from fem_deepest.spaces.axis import NODAL, DepthAxis, gauss
from fem_deepest.spaces.constrained import Clamped

Array = NDArray[np.float64]

T, CELLS, SAMPLES = 1.2, 3, 2
R_F, R_M, LAMBDA, KAPPA, ELL = 5.0, 2.0, 0.3, 0.7, 0.4
OPERATORS = ["1", "grad", "laplace"]
LINE, PLANE = ((5,), (3.0,)), ((3, 4), (2.0, 2.4))  # nodes and lengths, down and across


class Pair:
    """The two actions and the bijection ``(x, w) -> (xi, w)`` between them, in NumPy."""

    def __init__(self, shape: tuple[int, ...], lengths: tuple[float, ...]) -> None:
        random = np.random.default_rng(2)
        if len(shape) == 1:
            self.index = NeuronSpace.interval(shape[0], "P1", extent=lengths[0])
            grad, laplace, _ = differences(shape[0], lengths[0])
            self.D = [np.eye(shape[0]), grad, laplace]
        else:
            self.index = NeuronSpace.rectangle(shape, "P1", extent=lengths)
            self.D = [d for ds in plane(shape, lengths).values() for d in ds]
        self.N, self.M = len(self.D[0]), len(self.D)
        self.z, self.targets = random.standard_normal((2, SAMPLES, self.N))
        self.net = NetworkAction(
            ProcessGrid.create(MPI.COMM_SELF),
            Network(
                DepthMesh.graded(T, CELLS),
                self.index,
                scheme("midpoint"),
                activation("tanh"),
                self.N,
                self.N,
                linear_readout=False,
                coupling=local(self.index, OPERATORS),
            ),
            LeastSquares(R_M),
            self.z,
            self.targets,
            strength=LAMBDA,
            kappa=KAPPA,
            ell=ELL,
            model_precision=R_F,
        )
        self._make_form(shape, lengths)

    def _make_form(self, shape: tuple[int, ...], lengths: tuple[float, ...]) -> None:
        ends = [T, *lengths[::-1]]  # x before y
        cells = [CELLS, *(n - 1 for n in shape[::-1])]
        corners = [np.zeros(len(ends)), np.array(ends)]
        if len(shape) == 1:
            domain = mesh.create_rectangle(
                MPI.COMM_SELF, corners, cells, mesh.CellType.quadrilateral
            )
        else:
            domain = mesh.create_box(MPI.COMM_SELF, corners, cells, mesh.CellType.hexahedron)

        def field(name: str, count: int) -> fem.Function:
            return fem.Function(fem.functionspace(domain, ("Lagrange", 1, (count,))), name=name)

        K, extra = SAMPLES, (self.M - 1) * SAMPLES
        counts = {"x": K, "w": self.M, "b": 1, "y": extra, "mu": extra}
        self.fields = {name: field(name, count) for name, count in counts.items()}
        self.places = {name: self._place(f.function_space) for name, f in self.fields.items()}
        x, w, b, y, mu = self.fields.values()
        self.write({"x": np.broadcast_to(self.z, (CELLS + 1, K, self.N)).swapaxes(1, 2)})

        axis = DepthAxis(domain)
        density = 0.0
        for k in range(K):
            z = w[0] * x[k] + sum(w[m] * y[(m - 1) * K + k] for m in range(1, self.M)) + b[0]
            density += 0.5 * R_F / K * (x[k].dx(0) - ufl.tanh(z)) ** 2
        s = range(1, len(ends))

        def along(u: Any, v: Any) -> Any:
            return sum(u.dx(k) * v.dx(k) for k in s)

        # Prior: exact in depth, lumped along the index; the ell^2 terms are exact.
        u = [*(w[m] for m in range(self.M)), b[0]]
        exact, lumped = axis.product(gauss(2), gauss(2)), axis.product(gauss(2), NODAL)
        terms = sum(0.5 * LAMBDA * (KAPPA**2 * v**2 + v.dx(0) ** 2) for v in u) * lumped
        terms += sum(0.5 * LAMBDA * ELL**2 * along(v, v) for v in u) * exact
        # Observations at the nodes of t = T: a sum of values, so that each is divided by its mass.
        target, mass = field("target", K), field("mass", 1)
        self._fill(target, np.broadcast_to(self.targets, (CELLS + 1, K, self.N)).swapaxes(1, 2))
        self._fill(mass, np.broadcast_to(self.index.weights[:, None], (CELLS + 1, self.N, 1)))
        end = axis.end("end", 1)(metadata={"quadrature_rule": "vertex", "quadrature_degree": 1})
        terms += 0.5 * R_M / K * ufl.inner(x - target, x - target) / mass[0] * end
        # Nodal in depth, so that y is D x at every node and not on average.
        left, right = axis.product(NODAL, NODAL), axis.product(NODAL, gauss(2))
        terms += ufl.inner(mu, y) * left
        for k in range(K):
            for j in s:
                terms -= mu[(j - 1) * K + k] * x[k].dx(j) * right
            terms += along(mu[len(s) * K + k], x[k]) * right
        self.form = FormAction(
            density,
            list(self.fields.values()),
            clamped=[Clamped(x, "start")],
            terms=terms,
            measure=axis.product(gauss(1), NODAL),
        )

    def _place(self, space: fem.FunctionSpace) -> tuple[Array, Array]:
        """Depth node and neuron of every (blocked) dof."""
        points = space.tabulate_dof_coordinates()
        i = np.rint(points[:, 0] * CELLS / T).astype(int)
        apart = points[:, None, 1 : 1 + self.index.dimension] - self.index.coordinates[None]
        return i, np.linalg.norm(apart, axis=-1).argmin(axis=1)

    def _fill(self, function: fem.Function, values: Array) -> None:
        i, node = self._place(function.function_space)
        function.x.array.reshape(len(i), -1)[:] = values[i, node]

    def write(self, values: dict[str, Array]) -> None:
        """Values (n + 1, N, components) into fields."""
        for name, value in values.items():
            self._fill(self.fields[name], value)

    def vector(self, **values: Array) -> PETSc.Vec:
        """A vector of the form action, zero but for these values."""
        for name, field in self.fields.items():
            field.x.array[:] = 0.0
            if name in values:
                self._fill(field, values[name])
        return self.form.pack()

    def values(self, u: PETSc.Vec) -> dict[str, Array]:
        """Entries of a vector or covector by depth node and neuron, (n + 1, N, components)."""
        self.form.unpack(u)
        out = {}
        for name, field in self.fields.items():
            i, node = self.places[name]
            out[name] = np.empty((CELLS + 1, self.N, field.x.array.size // len(i)))
            out[name][i, node] = field.x.array.reshape(len(i), -1)
        return out

    def derivatives(self, x: Array) -> Array:
        """``y_m = D_m x``, (n + 1, N, (M - 1) K)."""
        return np.concatenate([np.einsum("ij,tjk->tik", d, x) for d in self.D[1:]], axis=-1)

    def point(self, x: Array, theta: Array) -> PETSc.Vec:
        """``(x, w, b)`` with ``y = D x`` and the multipliers for which ``dA/dy = 0``."""
        parts = {"x": x, "w": theta[..., :-1], "b": theta[..., -1:], "y": self.derivatives(x)}
        u, g = self.vector(**parts), self.form.create()
        self.form.gradient(u, g)
        slope = self.values(g)["y"]
        h = T / CELLS * np.where(np.isin(np.arange(CELLS + 1), (0, CELLS)), 0.5, 1.0)
        mass = h[:, None, None] * self.index.weights[:, None]
        return self.vector(**parts, mu=-slope / mass)

    def defect(self, x: Array, theta: Array) -> Array:
        """``xi`` (n, N, K) of states (n + 1, N, K) and parameters (n + 1, N, M + 1); also complex."""
        middle, w = 0.5 * (x[1:] + x[:-1]), 0.5 * (theta[1:] + theta[:-1])
        z = w[..., -1:] + sum(w[..., m, None] * (d @ middle) for m, d in enumerate(self.D))
        return (x[1:] - x[:-1]) * (CELLS / T) - np.tanh(z)

    def control(self, x: Array, theta: Array) -> PETSc.Vec:
        """The control of the network that has these states and parameters."""
        v = self.net.create()
        self.net.space.parameters(v.array).theta[...] = theta
        self.force(v, self.defect(x, theta))
        return v

    def force(self, v: PETSc.Vec, xi: Array) -> None:
        """Write a forcing (n, N, K) into a control; every tile has its samples."""
        start, array = 0, v.array
        for tile, width in enumerate(self.net.space.tiles):
            self.net.space.forcing(array, tile)[1][...] = xi[..., start : start + width]
            start += width

    def split(self, flat: Array) -> tuple[Array, Array]:
        """States after the first node and parameters from one array."""
        size = CELLS * self.N * SAMPLES
        x = flat[:size].reshape(CELLS, self.N, SAMPLES)
        return x, flat[size:].reshape(CELLS + 1, self.N, self.M + 1)

    def jacobian(self, x: Array, theta: Array) -> Array:
        """``d(xi, theta)/d(x, theta)``, column by column, by complex steps or of complex arrays."""
        size = x[1:].size + theta.size
        eps, columns = 1e-30, []
        for unit in np.eye(size):
            dx, d_theta = self.split(unit)
            moved = np.concatenate([x[:1], x[1:] + 1j * eps * dx])
            columns.append(self.defect(moved, theta + 1j * eps * d_theta).imag.ravel() / eps)
        lower = np.concatenate(
            [np.zeros((theta.size, size - theta.size)), np.eye(theta.size)], axis=1
        )
        return np.concatenate([np.stack(columns, axis=1), lower])

    def flat(self, v: PETSc.Vec) -> Array:
        """``(xi, theta)`` of a control or its dual."""
        space, array = self.net.space, v.array_r
        xi = [space.forcing(array, tile)[1] for tile in range(len(space.tiles))]
        theta = space.parameters(array).theta
        return np.concatenate([np.concatenate(xi, axis=-1).ravel(), theta.ravel()])

    def of_form(self, g: PETSc.Vec) -> Array:
        """The part of a covector of the form in ``(x, theta)``."""
        parts = self.values(g)
        theta = np.concatenate([parts["w"], parts["b"]], axis=-1)
        return np.concatenate([parts["x"][1:].ravel(), theta.ravel()])


@pytest.fixture(scope="module", params=[LINE, PLANE], ids=["line", "plane"])
def pair(request: pytest.FixtureRequest) -> Pair:
    """The actions over an interval and over a rectangle."""
    return Pair(*request.param)


def _random(pair: Pair, seed: int) -> tuple[Array, Array]:
    """States from the inputs, and parameters."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((CELLS + 1, pair.N, SAMPLES))
    x[0] = pair.z.T
    # Derivatives are large, so that coefficients are small, not to see the flat parts of tanh only.
    scale = np.array([0.5] + [0.5 / np.linalg.norm(d, 2) for d in pair.D[1:]] + [0.5])
    return x, scale * random.standard_normal((CELLS + 1, pair.N, pair.M + 1))


def _close(mine: Array, other: Array) -> None:
    np.testing.assert_allclose(mine, other, rtol=0.0, atol=1e-10 * np.abs(other).max())


def test_value_and_gradient_are_those_of_the_network(pair: Pair) -> None:
    for seed in range(3):
        x, theta = _random(pair, seed)
        u, v = pair.point(x, theta), pair.control(x, theta)
        g, mine = pair.net.create(), pair.form.create()
        value = pair.net.gradient(v, g)
        assert pair.form.gradient(u, mine) == pytest.approx(value, rel=1e-12)
        expected = pair.jacobian(x, theta).T @ pair.flat(g)
        _close(pair.of_form(mine), expected)
        parts = pair.values(mine)
        for name in ("y", "mu"):
            assert np.abs(parts[name]).max() < 1e-10 * np.abs(expected).max()


def test_second_variation_is_that_of_the_network(pair: Pair) -> None:
    x, theta = _random(pair, 4)
    dx, d_theta = _random(pair, 5)
    dx[0] = 0.0
    u, v = pair.point(x, theta), pair.control(x, theta)
    direction = np.concatenate([dx[1:].ravel(), d_theta.ravel()])
    J = pair.jacobian(x, theta)
    # The network: J^T A'' J d and, because the bijection is curved, dJ^T/d(x, w) d times dA/dxi.
    d, g, r = pair.net.create(), pair.net.create(), pair.net.create()
    forward = J @ direction
    pair.net.space.parameters(d.array).theta[...] = d_theta
    pair.force(d, forward[: dx[1:].size].reshape(dx[1:].shape))
    pair.net.gradient(v, g)
    pair.net.hessian(v, d, r)
    step = 1e-3
    turned = [
        pair.jacobian(x + c * step * dx, theta + c * step * d_theta).T @ pair.flat(g)
        for c in (-2, -1, 1, 2)
    ]
    bend = (turned[0] - 8 * turned[1] + 8 * turned[2] - turned[3]) / (12 * step)
    expected = J.T @ pair.flat(r) + bend
    # The form: y and mu follow, dy = D dx and d(dA/dy) = 0.
    parts = {"x": dx, "w": d_theta[..., :-1], "b": d_theta[..., -1:], "y": pair.derivatives(dx)}
    mine, first = pair.form.create(), pair.vector(**parts)
    pair.form.hessian(u, first, mine)
    slope = pair.values(mine)["y"]
    h = T / CELLS * np.where(np.isin(np.arange(CELLS + 1), (0, CELLS)), 0.5, 1.0)
    mass = h[:, None, None] * pair.index.weights[:, None]
    pair.form.hessian(u, pair.vector(**parts, mu=-slope / mass), mine)
    _close(pair.of_form(mine), expected)


def test_newton_of_the_form_stays_at_the_minimiser_of_the_network(pair: Pair) -> None:
    """And comes back to it from nearby: the same stationary point, with its multipliers."""
    v = pair.net.create()
    pair.net.space.parameters(v.array).theta[...] = 0.1 * _random(pair, 7)[1]
    memory = LimitedMemory(pair.net.metric, 20)
    minimise(pair.net, v, memory, tolerance=1e-4, iterations=500)
    outcome = polish(pair.net, v, tolerance=1e-12, iterations=100)
    assert outcome.converged
    theta = pair.net.space.parameters(v.array_r).theta.copy()
    xi = pair.flat(v)[: CELLS * pair.N * SAMPLES].reshape(CELLS, pair.N, SAMPLES)
    x = np.empty((CELLS + 1, pair.N, SAMPLES))
    x[0] = pair.z.T
    for i in range(CELLS):  # the implicit midpoint rule with a forcing, by fixed-point iteration
        x[i + 1] = x[i]
        for _ in range(200):
            defect = pair.defect(x[i : i + 2], theta[i : i + 2])[0]
            x[i + 1] += 0.5 * (xi[i] - defect) * T / CELLS
    np.testing.assert_allclose(pair.defect(x, theta), xi, atol=1e-12)
    u = pair.point(x, theta)
    kept = u.copy()
    g = pair.form.create()
    pair.form.gradient(u, g)
    assert np.abs(g.array).max() < 1e-9
    assert stationary(pair.form, u, tolerance=1e-12, iterations=2).converged
    np.testing.assert_allclose(u.array, kept.array, atol=1e-9)
    u.array[...] += 1e-3 * np.sin(np.arange(u.getSize()))
    assert stationary(pair.form, u, tolerance=1e-11, iterations=10).converged
    np.testing.assert_allclose(u.array, kept.array, atol=1e-8)
