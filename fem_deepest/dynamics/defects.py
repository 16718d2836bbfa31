"""Defects of a discrete path: how far it is from solving ``dx/dt = F(x, w; t)``, with derivatives.

A path has ``A - 1`` nodes for each of the ``n`` cells and one more; a cell sees its ``A`` nodes and
its parameters: ``w`` itself where it is constant in depth, the values at both ends where it is P1.
Those are the cell's *local* unknowns ``z = (x_0, .., x_{A-1}, w)``, of length ``L``, and all that an
action over paths needs are dense arrays over the cells. Leading axes are those of many paths.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.dynamics.dynamics import Dynamics, Transposable
from fem_deepest.dynamics.transcription import Transcription
from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class Defects:
    """``d_r = sum_a D_ra x_a/h - sum_q E_rq F(X_q, w_q; t_q)`` with ``X_q = sum_a B_qa x_a``.

    Args:
        dynamics: Right-hand side, ``D`` states and ``P`` parameters.
        transcription: Nodes, points and rule of a cell.
        ends: Ends of the cells, (n + 1,), increasing.
        varying: Whether ``w`` is P1 in depth, (..., n + 1, P), instead of constant, (..., P).

    Attributes:
        cells: ``n``.
        steps: Lengths of the cells, (n,).
        nodes: Depth of the nodes, (n (A - 1) + 1,).
        points: Depth of the points, (n, Q).
        local: ``L = A D + P``, or ``A D + 2 P`` with varying parameters.

    Nothing here is collective.
    """

    def __init__(
        self, dynamics: Dynamics, transcription: Transcription, ends: Array, varying: bool = False
    ) -> None:
        ends = np.asarray(ends, dtype=np.float64)
        if ends.ndim != 1 or ends.size < 2 or not np.all(np.diff(ends) > 0.0):
            raise InputError(f"a path needs two or more increasing cell ends, got {ends}")
        self.dynamics, self.transcription, self.varying = dynamics, transcription, varying
        self.ends, self.steps = ends, np.diff(ends)
        self.cells = self.steps.size
        t = transcription
        self.points = ends[:-1, None] + self.steps[:, None] * t.points
        inner = ends[:-1, None] + self.steps[:, None] * t.nodes[:-1]
        self.nodes = np.append(inner.ravel(), ends[-1])
        self._span = t.nodes.size - 1
        self._states, self._parameters = dynamics.states, len(dynamics.parameters)
        self.local = t.nodes.size * self._states + self._parameters * (2 if varying else 1)
        # Values of the two P1 functions at the points: what a cell's parameters contribute there.
        self._ends = (
            np.stack([1.0 - t.points, t.points]) if varying else np.ones((1, t.points.size))
        )

    def gather(self, x: Array) -> Array:
        """Nodes by cell: ``x`` (..., m, D) to (..., n, A, D), a copy."""
        cell = self._span * np.arange(self.cells)[:, None] + np.arange(self._span + 1)
        return x[..., cell, :]

    def value(self, x: Array, w: Array) -> Array:
        """Defects (..., n, R, D) of the path ``x`` (..., m, D) with the parameters ``w``."""
        local, at, w_at = self._at_points(x, w)
        f = self.dynamics.value(self.points, at, w_at)
        return self._slopes() @ local - self.transcription.rule @ f

    def linearise(self, x: Array, w: Array) -> tuple[Array, Array]:
        """Defects (..., n, R, D) and their derivative in the local unknowns, (..., n, R, D, L)."""
        t, (local, at, w_at) = self.transcription, self._at_points(x, w)
        f = self.dynamics.value(self.points, at, w_at)
        f_x, f_w = self.dynamics.jacobian(self.points, at, w_at)
        defects = self._slopes() @ local - t.rule @ f
        weights = np.einsum("rq,qa->raq", t.rule, t.basis)
        d_x = -np.einsum("raq,...qij->...riaj", weights, f_x, optimize=True)
        i = np.arange(self._states)
        d_x[..., i, :, i] += self._slopes()
        ends = np.einsum("rq,eq->req", t.rule, self._ends)
        d_w = -np.einsum("req,...qip->...riep", ends, f_w, optimize=True)
        shape = (*defects.shape, -1)
        return defects, np.concatenate([d_x.reshape(shape), d_w.reshape(shape)], axis=-1)

    def adjoint(self, x: Array, w: Array, p: Array) -> Array:
        """``sum_r (d_r')^T p_r`` in the local unknowns, (..., n, L), for ``p`` (..., n, R, D).

        The transpose of :meth:`linearise` without its matrices.
        """
        t, (_, at, w_at) = self.transcription, self._at_points(x, w)
        at_points = np.swapaxes(t.rule, 0, 1) @ p
        if isinstance(self.dynamics, Transposable):
            by_x, by_w = self.dynamics.adjoint(self.points, at, w_at, at_points)
        else:
            f_x, f_w = self.dynamics.jacobian(self.points, at, w_at)
            by_x = (at_points[..., None, :] @ f_x)[..., 0, :]
            by_w = (at_points[..., None, :] @ f_w)[..., 0, :]
        g_x = np.swapaxes(self._slopes(), -1, -2) @ p
        g_x -= t.basis.T @ by_x
        g_w = -self._ends @ by_w
        flat = (*g_x.shape[:-2], -1)
        return np.concatenate([g_x.reshape(flat), g_w.reshape(flat)], axis=-1)

    def curvature(self, x: Array, w: Array, p: Array) -> Array:
        """``sum_r p_r . d_r''`` in the local unknowns, (..., n, L, L), for ``p`` (..., n, R, D)."""
        t, (_, at, w_at) = self.transcription, self._at_points(x, w)
        f_xx, f_xw, f_ww = self.dynamics.curvature(
            self.points, at, w_at, -(np.swapaxes(t.rule, 0, 1) @ p)
        )
        basis, ends = t.basis, self._ends
        cut = t.nodes.size * self._states
        out = np.empty((*f_xx.shape[:-3], self.local, self.local))

        def block(first: Array, second: Array, f: Array, rows: slice, columns: slice) -> None:
            part = np.einsum("qa,qb,...qij->...aibj", first, second, f, optimize=True)
            out[..., rows, columns] = part.reshape(out[..., rows, columns].shape)

        states, parameters = slice(0, cut), slice(cut, None)
        block(basis, basis, f_xx, states, states)
        block(basis, ends.T, f_xw, states, parameters)
        block(ends.T, ends.T, f_ww, parameters, parameters)
        out[..., parameters, states] = np.swapaxes(out[..., states, parameters], -1, -2)
        return out

    def _slopes(self) -> Array:
        """``D/h`` of every cell, (n, R, A)."""
        return self.transcription.derivative / self.steps[:, None, None]

    def _at_points(self, x: Array, w: Array) -> tuple[Array, Array, Array]:
        """Local nodes (..., n, A, D), states (..., n, Q, D) and parameters there."""
        local = self.gather(x)
        at = self.transcription.basis @ local
        if not self.varying:
            return local, at, w[..., None, None, :]
        pair = np.stack([w[..., :-1, :], w[..., 1:, :]], axis=-2)
        return local, at, self._ends.T @ pair
