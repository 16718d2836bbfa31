"""The prior, which is the metric, against dense Kronecker matrices and integrals by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import dense, network_action, random_control

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction

Array = NDArray[np.float64]

LAMBDA, KAPPA, R_F, R_0 = 0.3, 1.7, 5.0, 4.0
EVERYTHING = {
    "strength": LAMBDA,
    "kappa": KAPPA,
    "R_f": R_F,
    "R_0": R_0,
    "lift": "linear",
    "neurons": 2,
    "count": 3,
}


def _p1(nodes: Array) -> tuple[Array, Array]:
    mass, stiffness = np.zeros((2, nodes.size, nodes.size))
    for i, h in enumerate(np.diff(nodes)):
        mass[i : i + 2, i : i + 2] += h / 6 * np.array([[2, 1], [1, 2]])
        stiffness[i : i + 2, i : i + 2] += 1 / h * np.array([[1, -1], [-1, 1]])
    return mass, stiffness


def _precision(action: NetworkAction) -> Array:
    """``P`` of a serial action with three samples, each of them a tile, as a dense matrix."""
    net = action.network
    n, h, cell = net.index.neurons, net.depth.steps, net.index.mass
    mass, stiffness = _p1(net.depth.nodes)
    in_depth = (LAMBDA * KAPPA**2) * mass + LAMBDA * stiffness
    row = np.diag([cell] * n + [1.0])  # the second M_S of the kernel; a bias has none
    blocks = [
        np.kron(in_depth, np.kron(cell * np.eye(n), row)),
        LAMBDA * np.eye(net.outputs * (n + 1)),
        LAMBDA * np.eye(n * (net.inputs + 1)),
    ]
    for _ in range(3):
        blocks.append(R_0 / 3 * cell * np.eye(n))
        blocks.append(R_F / 3 * np.kron(np.diag(h), cell * np.eye(n)))
    size = sum(len(block) for block in blocks)
    full, start = np.zeros((size, size)), 0
    for block in blocks:
        end = start + len(block)
        full[start:end, start:end] = block
        start = end
    return full


@pytest.mark.parametrize("index", ["points", "interval"])
@pytest.mark.parametrize("cells", [1, 4])
def test_precision_is_the_kronecker_matrix(cells: int, index: str) -> None:
    action = network_action(cells=cells, index=index, inputs=2, **EVERYTHING)
    prior, expected = action.metric, _precision(action)
    np.testing.assert_allclose(dense(prior.apply, action), expected, rtol=1e-13, atol=1e-14)
    inverse = np.linalg.inv(expected)
    # Condition numbers are below 1e3 here.
    np.testing.assert_allclose(dense(prior.solve, action), inverse, atol=1e-12 * inverse.max())


@pytest.mark.parametrize("index", ["points", "interval"])
def test_solve_inverts_apply_and_both_are_symmetric(index: str) -> None:
    action = network_action(index=index, cells=30, grading=2.0, R_f=R_F, R_0=R_0, lift="linear")
    a, b = random_control(action, 1), random_control(action, 2)
    image, back = action.create(), action.create()
    apply, solve = action.metric.apply, action.metric.solve
    for first, second in ((apply, solve), (solve, apply)):
        first(a, image)
        symmetric = b.dot(image)
        second(image, back)
        # cond(P) of the graded mesh is about 1e6.
        np.testing.assert_allclose(back.array, a.array, atol=1e-9)
        first(b, image)
        assert a.dot(image) == pytest.approx(symmetric, rel=1e-11)


def _norm(action: NetworkAction, u: PETSc.Vec) -> float:
    image = action.create()
    action.metric.apply(u, image)
    return 0.5 * u.dot(image)


@pytest.mark.parametrize("index", ["points", "interval"])
def test_norms_of_constant_and_linear_fields(index: str) -> None:
    depth, neurons = 1.5, 4
    action = network_action(
        strength=LAMBDA, kappa=KAPPA, index=index, depth=depth, neurons=neurons, cells=7
    )
    t = action.network.depth.nodes
    # ||w||^2 in L2(S x S) of a kernel of ones, ||b||^2 in L2(S) of a bias of ones.
    kernel, bias = {"points": (neurons**2, neurons), "interval": (1.0, 1.0)}[index]
    for field, square, slope in (
        (np.ones_like(t), depth, 0.0),
        (t, depth**3 / 3, depth),
        (2.0 - t, (8.0 - (2.0 - depth) ** 3) / 3, depth),
    ):
        energy = LAMBDA / 2 * (KAPPA**2 * square + slope)
        for entries, factor in ((np.s_[:, :, :-1], kernel), (np.s_[:, :, -1:], bias)):
            u = action.create()
            action.space.parameters(u.array).theta[entries] = field[:, None, None]
            assert _norm(action, u) == pytest.approx(factor * energy, rel=1e-13)


def test_norm_of_readout_lift_and_forcings() -> None:
    action = network_action(index="interval", inputs=2, **EVERYTHING)  # T = 1.5, N = 2, K = 3
    u = action.create()
    action.space.parameters(u.array).readout[...] = 2.0
    assert _norm(action, u) == pytest.approx(LAMBDA / 2 * 4.0 * 3 * 3, rel=1e-14)
    u.array[...] = 0.0
    action.space.parameters(u.array).lift[...] = 2.0
    assert _norm(action, u) == pytest.approx(LAMBDA / 2 * 4.0 * 2 * 3, rel=1e-14)
    for forcing, energy in ((0, R_0 / 2), (1, R_F / 2 * 1.5)):
        u.array[...] = 0.0
        for tile in range(len(action.space.tiles)):
            action.space.forcing(u.array, tile)[forcing][...] = 1.0
        # The mean over the samples of the L2(S) norm of one, squared.
        assert _norm(action, u) == pytest.approx(energy, rel=1e-14)
