"""Networks whose data enter by projection and leave as cell means: derivatives, and refinement."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI
from problems import random_control

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.states import StateAction
from fem_deepest.network.activation import activation
from fem_deepest.network.loss import LeastSquares
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid
from fem_deepest.spaces.control import Parameters

PIXELS = (2, 3)


def network(index: NeuronSpace, leak: float = 0.0) -> Network:
    return Network(
        DepthMesh.graded(1.5, 4, 1.3),
        index,
        scheme("midpoint"),
        activation("tanh"),
        6,
        6,
        leak,
        linear_readout=False,
        enter=index.enter(PIXELS),
        leave=index.leave(PIXELS),
    )


def action(index: NeuronSpace, R_f: float = np.inf) -> NetworkAction:
    random = np.random.default_rng(2)
    z, y = random.standard_normal((2, 7, 6))
    return NetworkAction(
        ProcessGrid.create(MPI.COMM_SELF),
        network(index),
        LeastSquares(2.0),
        z,
        y,
        strength=1e-2,
        model_precision=R_f,
    )


INDICES = [
    NeuronSpace.rectangle((3, 3)),
    NeuronSpace.rectangle((2, 3), "P0", channels=2),
    NeuronSpace.rectangle((3, 3), "P2", "consistent"),
]


@pytest.mark.parametrize("state_form", [False, True])
@pytest.mark.parametrize("index", INDICES)
def test_taylor(index: NeuronSpace, state_form: bool) -> None:
    """Remainders fall with slope 2 with the gradient, 3 with the Hessian product."""
    problem = action(index, R_f=5.0)
    problem = StateAction(problem) if state_form else problem
    u, d = random_control(problem), random_control(problem, 1)
    g, r = problem.create(), problem.create()
    value = problem.gradient(u, g)
    problem.hessian(u, d, r)
    first, second = [], []
    for h in 2.0 ** -np.arange(5, 9):
        w = u.copy()
        w.axpy(h, d)
        remainder = problem.value(w) - value - h * g.dot(d)
        first.append(abs(remainder))
        second.append(abs(remainder - 0.5 * h**2 * r.dot(d)))
    slopes = [np.log2(np.array(e[:-1]) / e[1:])[-1] for e in (first, second)]
    assert slopes[0] == pytest.approx(2.0, abs=0.05)
    assert slopes[1] == pytest.approx(3.0, abs=0.1)


def test_without_weights_the_output_is_the_projected_image() -> None:
    """``sigma(0) = 0``: the flow stands still, and what leaves is what entered."""
    index = NeuronSpace.rectangle((4, 6), "P0")
    net = network(index)
    flat = np.zeros(net.shapes.size)
    z = np.random.default_rng(0).standard_normal((6, 5))
    np.testing.assert_allclose(net.output(Parameters.view(flat, net.shapes), z), z, atol=1e-13)


def test_a_nested_refinement_has_the_same_outputs() -> None:
    """P0 kernels that are constant on the coarse cells: the finer network is the same network."""
    coarse, fine = (NeuronSpace.rectangle(shape, "P0") for shape in ((2, 3), (4, 6)))
    nets = [network(index, leak=0.2) for index in (coarse, fine)]
    z, P = np.random.default_rng(0).standard_normal((6, 5)), coarse.prolongation(fine).toarray()
    flats = [np.zeros(net.shapes.size) for net in nets]
    a, b = (Parameters.view(f, n.shapes) for f, n in zip(flats, nets, strict=True))
    a.theta[...] = np.random.default_rng(1).standard_normal(a.theta.shape)
    b.theta[..., :-1] = P @ a.theta[..., :-1] @ P.T
    b.theta[..., -1] = a.theta[..., -1] @ P.T
    np.testing.assert_allclose(nets[1].output(b, z), nets[0].output(a, z), atol=1e-12)


def test_networks_side_by_side_share_the_projection() -> None:
    net = network(INDICES[0])
    flat = np.random.default_rng(0).standard_normal((3, net.shapes.size))
    z = np.random.default_rng(1).standard_normal((6, 5))
    together = net.output(Parameters.view(flat, net.shapes), z)
    for one, y in zip(flat, together, strict=True):
        np.testing.assert_allclose(net.output(Parameters.view(one, net.shapes), z), y, atol=1e-13)
