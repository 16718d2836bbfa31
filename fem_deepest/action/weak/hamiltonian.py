"""Hamiltonian picture: momenta at the nodes, the Hamiltonian, the discrete phase flow, the two-form.

With ``L = R_f/2 |x' - F|^2 + phi`` and ``p = R_f (x' - F)``

    H(x, p, w, t) = |p|^2/(2 R_f) + p . F(x, w) - phi,     x' = dH/dp,  -p' = dH/dx.

A cell contributes ``S_i = h sum_r omega_r (p_r . d_r - p_r^T R_f^{-1} p_r/2)``, stationary in its
inner nodes and in its ``p_r``, to the action. It generates the map ``(x_i, p_i) -> (x_{i+1}, p_{i+1})``
by ``p_i = -dS_i/dx_i`` and ``p_{i+1} = dS_i/dx_{i+1}``, so the map is symplectic for every
transcription and every ``R_f``, infinity included; with Gauss points it is the Gauss method for
``H`` (J. E. Marsden, M. West, Discrete mechanics and variational integrators (2001),
doi:10.1017/S096249290100006X). Observations act at their depths like kicks ``p -> p + dphi/dx``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.dynamics import Dynamics
from fem_deepest.dynamics.transcription import Transcription
from fem_deepest.errors import NumericalFailure

Array = NDArray[np.float64]

_NEWTON = 30


def hamiltonian(
    dynamics: Dynamics, R_f: ArrayLike, t: Array, x: Array, p: Array, w: Array
) -> Array:
    """``H = p^T R_f^{-1} p/2 + p . F(x, w; t)`` without observations, for ``x``, ``p`` (..., D)."""
    drift = dynamics.value(np.asarray(t, dtype=np.float64), x, w)
    return np.sum(0.5 * p**2 / np.asarray(R_f) + p * drift, axis=-1)


def node_momenta(problem: WeakProblem, x: Array, w: Array, p: Array) -> Array:
    """Momenta at the ends of the cells, (n + 1, D), of a solution with ``p`` (n, R, D).

    ``p_i = -dS_i/dx_i``, the limit from the right where the node is observed; the last one is the
    limit from the left. Under the strong constraint ``p_i = -q_i`` with the adjoint ``q``.

    Not collective.
    """
    slab = problem.slab(0, problem.cells)
    _, jacobian = slab.defects.linearise(x, w)
    force = np.einsum("nri,nril->nl", slab.weight * p, jacobian)
    d, cut = problem.states, problem.transcription.nodes.size * problem.states
    return np.concatenate([-force[:, :d], force[-1:, cut - d : cut]])


class PhaseFlow:
    """The discrete flow ``(x_i, p_i) -> (x_{i+1}, p_{i+1})`` of the Hamiltonian without observations.

    Args:
        dynamics: ``F``.
        transcription: Discrete defects.
        R_f: Precision of the model, a number or (D,), ``0 < R_f <= inf``.
        mesh: Ends of the cells, (n + 1,).
        w: Weights, constant in depth, (P,).

    Nothing here is collective.
    """

    def __init__(
        self,
        dynamics: Dynamics,
        transcription: Transcription,
        R_f: ArrayLike,
        mesh: Array,
        w: Array | None = None,
    ) -> None:
        self.dynamics, self.transcription = dynamics, transcription
        self.mesh = np.asarray(mesh, dtype=np.float64)
        self.precision = np.broadcast_to(np.asarray(R_f, dtype=np.float64), (dynamics.states,))
        self.w = np.zeros(0) if w is None else np.asarray(w, dtype=np.float64)
        self._cut = transcription.nodes.size * dynamics.states

    def energy(self, t: Array, x: Array, p: Array) -> Array:
        """``H`` at ``x``, ``p`` (..., D)."""
        return hamiltonian(self.dynamics, self.precision, t, x, p, self.w)

    def trajectories(self, x: Array, p: Array) -> tuple[Array, Array, Array]:
        """Flow of many points ``x``, ``p`` (B, D) through the whole mesh.

        Returns:
            Positions and momenta at the ends of the cells, (n + 1, B, D), and the derivative of the
            flow there, (n + 1, B, 2 D, 2 D), in the order ``(x, p)``.

        Raises:
            NumericalFailure: A step has no solution near its start; it is too long.
        """
        d = self.dynamics.states
        shape = (self.mesh.size, *x.shape)
        xs, ps = np.empty(shape), np.empty(shape)
        maps = np.empty((*shape[:2], 2 * d, 2 * d))
        xs[0], ps[0], maps[0] = x, p, np.eye(2 * d)
        for i in range(self.mesh.size - 1):
            xs[i + 1], ps[i + 1], tangent = self.step(i, xs[i], ps[i])
            maps[i + 1] = tangent @ maps[i]
        return xs, ps, maps

    def step(self, cell: int, x: Array, p: Array) -> tuple[Array, Array, Array]:
        """One cell for points (B, D): new positions, momenta, and the derivative (B, 2 D, 2 D).

        Raises:
            NumericalFailure: No solution near the start.
        """
        t, d, cut = self.transcription, self.dynamics.states, self._cut
        defects = Defects(self.dynamics, t, self.mesh[cell : cell + 2])
        weight = defects.steps[0] * t.weights[:, None]
        many, rows = len(x), t.weights.size
        w = np.broadcast_to(self.w, (many, self.w.size))
        nodes = np.repeat(x[:, None], t.nodes.size, axis=1)
        momenta = np.repeat(p[:, None], rows, axis=1)
        scale = 1.0 + np.abs(x).max(initial=0.0) + np.abs(p).max(initial=0.0)
        shift = np.inf
        for _ in range(_NEWTON):
            matrix, force, gap = self._cell(defects, weight, nodes, w, momenta)
            residual = np.concatenate([force[:, : cut - d], gap], axis=1)
            residual[:, :d] += p
            new = np.linalg.solve(self._rows(matrix)[..., d:], residual[..., None])[..., 0]
            nodes[:, 1:] -= new[:, : cut - d].reshape(many, -1, d)
            momenta -= new[:, cut - d :].reshape(momenta.shape)
            before, shift = shift, float(np.abs(new).max())
            if not np.isfinite(shift) or shift <= 1e-15 * scale or shift >= before < 1e-12 * scale:
                break
        if not shift <= 1e-10 * scale:
            raise NumericalFailure(
                f"the phase flow found no solution in cell {cell} of length {defects.steps[0]:g}; "
                "take shorter cells"
            )
        matrix, force, _ = self._cell(defects, weight, nodes, w, momenta)
        # p_0 = -dS/dx_0, 0 = dS/d(inner), 0 = dS/dp, differentiated in (x_0, p_0).
        source = np.zeros((many, self._rows(matrix).shape[1], 2 * d))
        source[..., :d] = -self._rows(matrix)[..., :d]
        source[:, :d, d:] -= np.eye(d)
        change = np.linalg.solve(self._rows(matrix)[..., d:], source)
        tangent = np.empty((many, 2 * d, 2 * d))
        tangent[:, :d] = change[:, cut - 2 * d : cut - d]
        last = matrix[:, cut - d : cut]
        tangent[:, d:] = last[..., d:] @ change
        tangent[:, d:, :d] += last[..., :d]
        return nodes[:, -1], force[:, cut - d :], tangent

    def _cell(
        self, defects: Defects, weight: Array, nodes: Array, w: Array, p: Array
    ) -> tuple[Array, Array, Array]:
        """Second derivatives of ``S`` in ``(x_0, .., x_{A-1}, p)``, and its first ones in both."""
        value, jacobian = defects.linearise(nodes, w)
        many, cut = len(nodes), self._cut
        rows = (weight[..., None] * jacobian[:, 0])[..., :cut].reshape(many, -1, cut)
        curvature = defects.curvature(nodes, w, (weight * p)[:, None])
        matrix = np.zeros((many, cut + rows.shape[1], cut + rows.shape[1]))
        matrix[:, :cut, :cut] = curvature[:, 0, :cut, :cut]
        matrix[:, cut:, :cut], matrix[:, :cut, cut:] = rows, np.swapaxes(rows, 1, 2)
        i = np.arange(cut, matrix.shape[1])
        matrix[:, i, i] = -(weight / self.precision).ravel()
        force = (p.reshape(many, 1, -1) @ rows)[:, 0]
        return matrix, force, (weight * (value[:, 0] - p / self.precision)).reshape(many, -1)

    def _rows(self, matrix: Array) -> Array:
        """The equations of a step: all but the derivative in the last node."""
        d, cut = self.dynamics.states, self._cut
        return np.concatenate([matrix[:, : cut - d], matrix[:, cut:]], axis=1)


def two_form(tangents: Array) -> Array:
    """``dx_a . dp_b - dx_b . dp_a`` of all pairs of tangents (..., 2 D, k), shape (..., k, k)."""
    d = tangents.shape[-2] // 2
    dx, dp = tangents[..., :d, :], tangents[..., d:, :]
    product = np.swapaxes(dx, -1, -2) @ dp
    return product - np.swapaxes(product, -1, -2)
