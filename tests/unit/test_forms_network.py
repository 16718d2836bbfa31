"""One sample of a network is a path whose parameters are the weight field: both actions agree."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import PRECISION, network_action, random_control

from fem_deepest.action.paths.observations import Observations
from fem_deepest.action.paths.prior import WeightPrior
from fem_deepest.action.weak.ends import EndConditions, clamped
from fem_deepest.action.weak.forms import FORMS, make_form
from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.solve.weak.newton import solve

Array = NDArray[np.float64]

NEURONS, CELLS = 3, 4
LAMBDA, KAPPA, R_F = 0.3, 0.7, 5.0


class Coupling:
    """``x' = tanh(W x + b)`` with the parameters ``[W | b]``, row by row."""

    name, states = "coupling", NEURONS
    parameters = tuple(f"w_{i}{j}" for i in range(NEURONS) for j in range(NEURONS + 1))

    def _parts(self, x: Array, w: Array) -> tuple[Array, Array, Array]:
        lead = np.broadcast_shapes(x.shape[:-1], w.shape[:-1])
        x = np.broadcast_to(x, (*lead, NEURONS))
        theta = np.broadcast_to(w, (*lead, w.shape[-1])).reshape(*lead, NEURONS, NEURONS + 1)
        full = np.concatenate([x, np.ones((*lead, 1))], axis=-1)
        return theta[..., :-1], full, np.tanh((theta @ full[..., None])[..., 0])

    def value(self, t: Array, x: Array, w: Array) -> Array:
        return self._parts(x, w)[2]

    def _by_weight(self, full: Array) -> Array:
        """``d(W x + b)_i / d theta`` (..., N, P)."""
        out = np.einsum("ij,...l->...ijl", np.eye(NEURONS), full)
        return out.reshape(*full.shape[:-1], NEURONS, -1)

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        weights, full, y = self._parts(x, w)
        slope = (1 - y**2)[..., None]
        return slope * weights, slope * self._by_weight(full)

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        weights, full, y = self._parts(x, w)
        bend, slope = (-2 * y * (1 - y**2) * p)[..., None], (1 - y**2) * p
        by = self._by_weight(full)
        mixed = np.swapaxes(weights, -1, -2) @ (bend * by)
        # The derivative of W x in W and x: row i of the parameters times x.
        lead = slope.shape[:-1]
        extra = np.zeros((*lead, NEURONS, NEURONS, NEURONS + 1))
        j = np.arange(NEURONS)
        extra[..., j, :, j] = slope
        mixed += extra.reshape(mixed.shape)
        return (
            np.swapaxes(weights, -1, -2) @ (bend * weights),
            mixed,
            np.swapaxes(by, -1, -2) @ (bend * by),
        )


def _pair(scheme: str) -> tuple:
    random = np.random.default_rng(11)
    z, y = random.standard_normal((1, NEURONS)), random.standard_normal((1, 2))
    peer = network_action(
        data=(z, y), loss="least_squares", scheme_name=scheme, readout="observed", outputs=2,
        neurons=NEURONS, inputs=NEURONS, cells=CELLS, strength=LAMBDA, kappa=KAPPA, R_f=R_F,
    )  # fmt: skip
    mesh = peer.network.depth.nodes
    problem = WeakProblem(
        Coupling(),
        transcription(scheme),
        mesh,
        Observations(mesh[-1:], y, [0, 1], PRECISION),
        R_F,
        EndConditions(clamped(z[0])),
        WeightPrior(LAMBDA, 0.0, KAPPA),
        varying=True,
    )
    return peer, problem


@pytest.mark.parametrize("scheme", ["euler", "midpoint"])
def test_value_gradient_and_hessian_are_those_of_the_network(scheme: str) -> None:
    peer, problem = _pair(scheme)
    action = make_form("forcing", problem)

    def moved(v) -> object:
        theta = peer.space.parameters(v.array_r).theta.reshape(CELLS + 1, -1)
        _, xi = peer.space.forcing(v.array_r, 0)
        parts = (action.space.w, theta), (action.space.p, xi.transpose(0, 2, 1))
        return action.fill(action.create(), *parts)

    u, d = random_control(peer, 1), random_control(peer, 2)
    g, h, mine_g, mine_h = peer.create(), peer.create(), action.create(), action.create()
    value = peer.gradient(u, g)
    peer.hessian(u, d, h)
    assert action.gradient(moved(u), mine_g) == pytest.approx(value, rel=1e-13)
    action.hessian(moved(u), moved(d), mine_h)
    np.testing.assert_allclose(mine_g.array, moved(g).array, atol=1e-12)
    np.testing.assert_allclose(mine_h.array, moved(h).array, atol=1e-12)


def test_all_forms_find_a_stationary_point_of_the_network() -> None:
    peer, problem = _pair("midpoint")
    start = random_control(peer, 4, 0.3)
    theta = peer.space.parameters(start.array_r).theta.reshape(CELLS + 1, -1)
    x = np.tile(problem.conditions.start.z, (CELLS + 1, 1))
    for form in FORMS:
        action = make_form(form, problem)
        u = action.pack(x, theta)
        assert solve(action, u).converged
        path, w, p = action.unpack(u)
        v, g = peer.create(), peer.create()
        peer.space.parameters(v.array).theta[...] = w.reshape(CELLS + 1, NEURONS, NEURONS + 1)
        xi = problem.defects().value(path, w)
        peer.space.forcing(v.array, 0)[1][...] = xi.transpose(0, 2, 1)
        value = peer.gradient(v, g)
        assert value == pytest.approx(sum(action.parts.values()), rel=1e-9)
        assert np.abs(g.array).max() < 1e-8
        np.testing.assert_allclose(p, R_F * xi, atol=1e-8)
