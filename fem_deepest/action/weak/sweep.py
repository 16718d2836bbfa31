"""Sweeps through the depth for the defects of a path: forward, tangent and adjoint.

A transcription with as many defects as new nodes in a cell, ``R = A - 1``, is a one-step method: the
cell equations ``d_r(x_0, .., x_{A-1}, w) = xi_r`` give the new nodes ``x_1, .., x_{A-1}`` from the
left one. With ``d' = [C | E | B]`` in the left node, the new nodes and the weights:

    tangent   E_i dy_i = e_i - C_i dx_i - B_i dw,       adjoint   E_i^T m_i = g_i + (0, .., 0, c_{i+1}),
                                                                  c_i = g_{i,0} - C_i^T m_i.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.dynamics.defects import Defects
from fem_deepest.errors import NumericalFailure

Array = NDArray[np.float64]

_NEWTON = 30
_ROUNDING = 4.0 * np.finfo(np.float64).eps


class Sweep:
    """Sweeps with the defects of a path on all its cells; nothing here is collective.

    Args:
        defects: The defects; cells are solved one after the other.

    Attributes:
        by_cell: ``B``, (n, R D, P) or (n, R D, 2 P), at the last linearisation.
    """

    def __init__(self, defects: Defects) -> None:
        self.defects = defects
        self._states = defects.dynamics.states
        self._span = defects.transcription.nodes.size - 1
        self._cells = [
            Defects(
                defects.dynamics, defects.transcription, defects.ends[i : i + 2], defects.varying
            )
            for i in range(defects.cells)
        ]

    def forward(self, x: Array, w: Array, xi: Array) -> None:
        """Solve ``d(x, w) = xi`` for all nodes of ``x`` (m, D) but the first, in place.

        Newton's method in every cell, from its left node.

        Args:
            x: The start ``x_0`` on entry, the path on return.
            w: Weights.
            xi: Forcings (n, R, D).

        Raises:
            NumericalFailure: A cell was not solved; it is too long for an implicit method.
        """
        span, d = self._span, self._states
        for i, cell in enumerate(self._cells):
            local = x[span * i : span * i + span + 1]
            weights = w[i : i + 2] if self.defects.varying else w
            local[1:] = local[0]
            shift, scale = 0.0, 1.0
            for _ in range(_NEWTON):
                value, jacobian = cell.linearise(local, weights)
                matrix = jacobian[0, ..., d : d * (span + 1)].reshape(span * d, span * d)
                residual = (value[0] - xi[i]).ravel()
                try:
                    step = np.linalg.solve(matrix, residual).reshape(span, d)
                except np.linalg.LinAlgError:
                    step = np.full((span, d), np.nan)
                local[1:] -= step
                before, shift = shift, float(np.abs(step).max())
                scale = 1.0 + float(np.abs(local).max())
                if not np.isfinite(shift):
                    break
                # Rounding: small, and no longer shrinking as Newton's method does.
                if shift <= _ROUNDING * scale or (before and before < 1e-10 * scale):
                    break
            if not np.isfinite(shift) or shift > 1e-10 * scale:
                raise NumericalFailure(
                    f"the path could not be continued through cell {i} from depth "
                    f"{self.defects.ends[i]:g}; take more cells or a smaller forcing"
                )

    def linearise(self, x: Array, w: Array) -> None:
        """Keep ``C``, ``E^{-1}`` and ``B`` of all cells for the other sweeps."""
        _, jacobian = self.defects.linearise(x, w)
        n, d, span = self.defects.cells, self._states, self._span
        flat = jacobian.reshape(n, span * d, -1)
        self._left, self.by_cell = flat[:, :, :d], flat[:, :, d * (span + 1) :]
        self._inverse = np.linalg.inv(flat[:, :, d : d * (span + 1)])

    def tangent(self, dx: Array, source: Array) -> Array:
        """Nodes (m, D, ..) of ``d' dx = source``, for ``dx(0)`` (D, ..) and ``source`` (n, R D, ..)."""
        span = self._span
        out = np.empty((span * len(source) + 1, *dx.shape))
        out[0] = dx
        for i in range(len(source)):
            node = span * i
            out[node : node + span + 1] = self.cell_tangent(i, out[node], source[i])
        return out

    def cell_tangent(self, cell: int, dx: Array, source: Array) -> Array:
        """Nodes (A, D, ..) of one cell, for its left node ``dx`` (D, ..) and ``source`` (R D, ..)."""
        new = self._inverse[cell] @ (source - self._left[cell] @ dx)
        return np.concatenate([dx[None], new.reshape(self._span, *dx.shape)])

    def adjoint(self, g: Array) -> tuple[Array, Array]:
        """Transposed sweep: ``m`` (n, R D) and the derivative in ``x(0)`` (D,), of ``g`` (m, D).

        ``<g, tangent(dx, s)> = <c, dx> + <m, s>`` with the results ``m`` and ``c``.
        """
        span = self._span
        carry, out = g[-1].copy(), np.empty((self.defects.cells, span * self._states))
        for i in reversed(range(self.defects.cells)):
            new = g[span * i + 1 : span * i + span + 1].copy()
            new[-1] = carry
            out[i] = self._inverse[i].T @ new.ravel()
            carry = g[span * i] - self._left[i].T @ out[i]
        return out, carry

    def pairs(self, w: Array) -> Array:
        """Weights by cell, (n, P) or (n, 2 P)."""
        if self.defects.varying:
            return np.concatenate([w[:-1], w[1:]], axis=1)
        return np.tile(w, (self.defects.cells, 1))

    def weights(self, dw: Array) -> Array:
        """``B dw`` of every cell, (n, R D)."""
        return (self.by_cell @ self.pairs(dw)[..., None])[..., 0]

    def weights_transposed(self, m: Array) -> Array:
        """``B^T m``, like the weights."""
        return self._by_weight((m[:, None] @ self.by_cell)[:, 0])

    def sums(self, local: Array) -> tuple[Array, Array]:
        """Transpose of taking the local unknowns: (n, L) to nodes (m, D) and weights."""
        n, d, span = self.defects.cells, self._states, self._span
        cut = (span + 1) * d
        by_node = local[:, :cut].reshape(n, span + 1, d)
        x = np.zeros((n * span + 1, d))
        x[:-1] = by_node[:, :-1].reshape(-1, d)
        x[span::span] += by_node[:, -1]
        return x, self._by_weight(local[:, cut:])

    def _by_weight(self, cells: Array) -> Array:
        if not self.defects.varying:
            return cells.sum(axis=0)
        p = cells.shape[1] // 2
        out = np.zeros((self.defects.cells + 1, p))
        out[:-1] = cells[:, :p]
        out[1:] += cells[:, p:]
        return out
