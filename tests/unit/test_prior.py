"""The prior, which is the metric, against dense Kronecker matrices and integrals by hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import dense, index_matrices, network_action, p1, random_control
from scipy.linalg import block_diag

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.network.coupling.lowrank import LowRank
from fem_deepest.spaces import Parameters

Array = NDArray[np.float64]

LAMBDA, KAPPA, ELL, R_F, R_0 = 0.3, 1.7, 0.4, 5.0, 4.0
EVERYTHING = {
    "strength": LAMBDA,
    "kappa": KAPPA,
    "R_f": R_F,
    "R_0": R_0,
    "lift": "linear",
    "neurons": 2,
    "count": 3,
}


def _precision(action: NetworkAction, kind: str, ell: float) -> Array:
    """``P`` of a serial action with three samples, each of them a tile, as a dense matrix."""
    net = action.network
    M, K = index_matrices(kind, net.index.neurons)
    h, (M_t, K_t), lumped = net.depth.steps, p1(net.depth.nodes), np.diag(M.sum(axis=1))
    M_1, K_1 = (np.pad(m, (0, 1)) for m in (M, K))  # with the point of the bias
    M_1[-1, -1] = 1.0
    one, other = np.eye(net.outputs), np.eye(net.inputs + 1)
    along = np.kron(K, M_1) + np.kron(M, K_1)
    blocks = [
        np.kron(KAPPA**2 * M_t + K_t, np.kron(M, M_1)) + ell**2 * np.kron(M_t, along),
        np.kron(one, M_1 + ell**2 * K_1),
        np.kron(M + ell**2 * K, other),
    ]
    blocks = [LAMBDA * block for block in blocks]
    for _ in range(3):
        blocks.append(R_0 / 3 * lumped)
        blocks.append(R_F / 3 * np.kron(np.diag(h), lumped))
    size = sum(len(block) for block in blocks)
    full, start = np.zeros((size, size)), 0
    for block in blocks:
        end = start + len(block)
        full[start:end, start:end] = block
        start = end
    return full


@pytest.mark.parametrize(
    ("kind", "ell"),
    [
        ("points", 0.0),
        ("points", ELL),
        ("interval", 0.0),
        ("interval", ELL),
        ("lumped", 0.0),
        ("lumped", ELL),
        ("consistent", 0.0),
        ("consistent", ELL),
    ],
)
@pytest.mark.parametrize("cells", [1, 4])
def test_precision_is_the_kronecker_matrix(cells: int, kind: str, ell: float) -> None:
    options = EVERYTHING | {"neurons": 3 if kind in ("lumped", "consistent") else 2}
    action = network_action(cells=cells, index=kind, inputs=2, ell=ell, **options)
    prior, expected = action.metric, _precision(action, kind, ell)
    np.testing.assert_allclose(dense(prior.apply, action), expected, rtol=1e-12, atol=1e-14)
    inverse = np.linalg.inv(expected)
    assert np.linalg.cond(expected) < 2e4
    tolerance = 1e-11 * inverse.max()
    np.testing.assert_allclose(dense(prior.solve, action), inverse, atol=tolerance)
    root = dense(prior.inverse_root, action)
    np.testing.assert_allclose(root @ root.T, inverse, atol=tolerance)


@pytest.mark.parametrize("kind", ["lumped", "consistent"])
@pytest.mark.parametrize("ell", [0.0, ELL])
def test_precision_of_a_kernel_of_low_rank(ell: float, kind: str) -> None:
    """Its columns are functions of the index, five of them for the rank two."""
    action = network_action(
        cells=2, index=kind, neurons=3, inputs=2, lift="linear", strength=LAMBDA, kappa=KAPPA, ell=ell,
        coupling=partial(LowRank, rank=2),
    )  # fmt: skip
    (M, K), (M_t, K_t) = index_matrices(kind, 3), p1(action.network.depth.nodes)
    field = np.kron(KAPPA**2 * M_t + K_t, np.kron(M, np.eye(5)))
    field += ell**2 * np.kron(M_t, np.kron(K, np.eye(5)))
    M_1 = np.pad(M + ell**2 * K, (0, 1))
    M_1[-1, -1] = 1.0
    ends = np.kron(np.eye(3), M_1), np.kron(M + ell**2 * K, np.eye(3))
    expected = LAMBDA * block_diag(field, *ends)
    inverse = np.linalg.inv(expected)
    tolerance = 1e-11 * inverse.max()
    np.testing.assert_allclose(dense(action.metric.apply, action), expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(dense(action.metric.solve, action), inverse, atol=tolerance)
    root = dense(action.metric.inverse_root, action)
    np.testing.assert_allclose(root @ root.T, inverse, atol=tolerance)


@pytest.mark.parametrize("ell", [0.0, ELL])
def test_parameters_side_by_side(ell: float) -> None:
    """What several networks have together is what each has alone."""
    action = network_action(
        index="lumped", neurons=3, inputs=2, ell=ell, strength=LAMBDA, lift="linear"
    )
    prior, shapes = action.metric, action.network.shapes
    many = np.random.default_rng(5).standard_normal((4, shapes.size))
    for name, alone in (
        ("on_parameters", prior.apply),
        ("solve_parameters", prior.solve),
        ("root_parameters", prior.inverse_root),
    ):
        together, u, r = np.empty_like(many), action.create(), action.create()
        getattr(prior, name)(*(Parameters.view(a, shapes) for a in (many, together)))
        for row, expected in zip(together, many, strict=True):
            u.array[...] = expected
            alone(u, r)
            np.testing.assert_allclose(row, r.array, rtol=1e-12, atol=1e-13)


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
    # C is a field of measure one over the index, c is a number, for three outputs.
    assert _norm(action, u) == pytest.approx(LAMBDA / 2 * 4.0 * 3 * (1 + 1), rel=1e-14)
    u.array[...] = 0.0
    action.space.parameters(u.array).lift[...] = 2.0
    assert _norm(action, u) == pytest.approx(LAMBDA / 2 * 4.0 * 1 * 3, rel=1e-14)
    for forcing, energy in ((0, R_0 / 2), (1, R_F / 2 * 1.5)):
        u.array[...] = 0.0
        for tile in range(len(action.space.tiles)):
            action.space.forcing(u.array, tile)[forcing][...] = 1.0
        # The mean over the samples of the L2(S) norm of one, squared.
        assert _norm(action, u) == pytest.approx(energy, rel=1e-14)
