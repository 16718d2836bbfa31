"""Newton's linear system of many paths: block tridiagonal in depth, with a border.

A cell couples its two ends, its inner nodes and the constant parameters. Inner nodes are eliminated
cell by cell (static condensation); what is left is an arrow, block tridiagonal over the ``n + 1``
ends of the cells with a border of ``P`` parameters, and is factorised by block Cholesky from the left
end to the right, ``O(n b^3)``. The node that both ends of a periodic path share goes into the border;
where it stood in the chain the identity stands, which couples to nothing. All paths go through each
step together, as stacks of small matrices.

A path whose matrix is not positive definite is found by the first block that has no Cholesky factor;
the others are not affected.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.paths.action import Paths

Array = NDArray[np.float64]


class Layout:
    """Where the unknowns of a path stand: at the ends of cells, inside of cells, in the border.

    Args:
        paths: The action.

    Attributes:
        left: Places of the unknowns of the left end among the local ones, (b,).
        right: The same of the right end, (b,).
        inner: The same of the inner nodes, (q,).
        border: The same of the constant parameters, (P,).
        ends: Places of the unknowns of the ends among all, (n + 1, b).
        inside: Places of those of the inner nodes, (n, q).
        rest: Places of those of the border, (P,).
        tied: ``D`` for a periodic path, whose first node comes first in the border; else 0.
    """

    def __init__(self, paths: Paths) -> None:
        numbers = paths.gather(np.arange(paths.size, dtype=np.float64)).astype(np.int64)
        (_, states), count = paths.shapes[0], paths.defects.transcription.nodes.size
        cut, parameters = count * states, len(paths.defects.dynamics.parameters)
        local = np.arange(numbers.shape[1])
        first, last = np.arange(states), np.arange(cut - states, cut)
        ends = local[cut:] if paths.defects.varying else local[:0]
        self.left = np.concatenate([first, ends[:parameters]])
        self.right = np.concatenate([last, ends[parameters:]])
        self.inner = np.arange(states, cut - states)
        self.border = local[:0] if paths.defects.varying else local[cut:]
        self.ends = np.concatenate([numbers[:, self.left], numbers[-1:, self.right]])
        self.inside = numbers[:, self.inner]
        self.tied = states if paths.periodic else 0
        self.rest = np.concatenate([numbers[0, : self.tied], numbers[0, self.border]])

    def tie(self, rows: Array) -> Array:
        """Move what both ends of a periodic path share to the border.

        Args:
            rows: (B, n, 2 b + P, ..): left end, right end and parameters.

        Returns:
            The same, or (B, n, 2 b + D + P, ..) for a periodic path.
        """
        if not self.tied:
            return rows
        cut, d = 2 * self.left.size, self.tied
        shape = (*rows.shape[:2], d, *rows.shape[3:])
        out = np.concatenate([rows[:, :, :cut], np.zeros(shape), rows[:, :, cut:]], axis=2)
        for cell, first in ((0, 0), (-1, self.left.size)):
            out[:, cell, cut : cut + d] += out[:, cell, first : first + d]
            out[:, cell, first : first + d] = 0.0
        return out


class Arrow:
    """Cholesky factors of the matrices of many paths.

    Args:
        layout: Where the unknowns stand.
        matrix: Symmetric matrices by cell in the local unknowns, (B, n, L, L).

    Attributes:
        positive: Whether the matrix of a path is positive definite, (B,).
    """

    def __init__(self, layout: Layout, matrix: Array) -> None:
        self.layout = layout
        many, cells = matrix.shape[:2]
        self.positive = np.ones(many, dtype=bool)
        outer = np.concatenate([layout.left, layout.right, layout.border])
        b, p, tied = layout.left.size, layout.rest.size, layout.tied
        reduced = matrix[:, :, outer[:, None], outer]
        if tied:
            reduced = np.swapaxes(layout.tie(np.swapaxes(layout.tie(reduced), 2, 3)), 2, 3)
        # Inner nodes: H_oo - H_oi H_ii^{-1} H_io.
        self._inner = self._inverse_factor(matrix[:, :, layout.inner[:, None], layout.inner])
        coupling = layout.tie(matrix[:, :, outer[:, None], layout.inner])
        self._coupling = self._keep(coupling @ np.swapaxes(self._inner, -1, -2))
        reduced -= self._coupling @ np.swapaxes(self._coupling, -1, -2)
        # The ends, from left to right, each with its border.
        diagonal = np.zeros((cells + 1, many, b, b))
        border = np.zeros((cells + 1, many, p, b))
        diagonal[:-1] = reduced[:, :, :b, :b].swapaxes(0, 1)
        diagonal[1:] += reduced[:, :, b : 2 * b, b : 2 * b].swapaxes(0, 1)
        for end in (0, -1):  # what has gone to the border
            diagonal[end, :, np.arange(tied), np.arange(tied)] = 1.0
        border[:-1] = reduced[:, :, 2 * b :, :b].swapaxes(0, 1)
        border[1:] += reduced[:, :, 2 * b :, b : 2 * b].swapaxes(0, 1)
        corner = reduced[:, :, 2 * b :, 2 * b :].sum(axis=1)
        self._factors = np.empty_like(diagonal)
        self._below = np.empty((cells, many, b, b))
        self._border = border
        for i in range(cells + 1):
            factor = self._inverse_factor(diagonal[i])
            transposed = np.swapaxes(factor, -1, -2)
            self._factors[i] = factor
            border[i] = self._keep(border[i] @ transposed)
            corner -= border[i] @ np.swapaxes(border[i], -1, -2)
            if i < cells:
                below = self._keep(reduced[:, i, b : 2 * b, :b] @ transposed)
                self._below[i] = below
                diagonal[i + 1] -= below @ np.swapaxes(below, -1, -2)
                border[i + 1] -= border[i] @ np.swapaxes(below, -1, -2)
        self._corner = self._inverse_factor(corner)

    def solve(self, r: Array) -> Array:
        """``d`` with ``H d = r``, (B, size); zero where a path is not positive definite."""
        layout, b = self.layout, self.layout.left.size
        cells = layout.inside.shape[0]
        r = self._keep(r)
        inner = _times(self._inner, r[:, layout.inside])
        outer = _times(self._coupling, inner)
        ends = r[:, layout.ends].swapaxes(0, 1).copy()
        ends[0, :, : layout.tied] = ends[-1, :, : layout.tied] = 0.0
        ends[:-1] -= outer[:, :, :b].swapaxes(0, 1)
        ends[1:] -= outer[:, :, b : 2 * b].swapaxes(0, 1)
        rest = r[:, layout.rest] - outer[:, :, 2 * b :].sum(axis=1)
        for i in range(cells + 1):
            if i:
                ends[i] -= _times(self._below[i - 1], ends[i - 1])
            ends[i] = _times(self._factors[i], ends[i])
        rest -= np.einsum("ibpj,ibj->bp", self._border, ends)
        rest = _transposed_times(self._corner, _times(self._corner, rest))
        ends -= _transposed_times(self._border, rest[None])
        for i in reversed(range(cells + 1)):
            if i < cells:
                ends[i] -= _transposed_times(self._below[i], ends[i + 1])
            ends[i] = _transposed_times(self._factors[i], ends[i])
        out = np.empty_like(r)
        out[:, layout.ends] = ends.swapaxes(0, 1)
        out[:, layout.rest] = rest
        sides = ends.swapaxes(0, 1)
        parts = [sides[:, :-1], sides[:, 1:], np.repeat(rest[:, None], cells, axis=1)]
        inner -= _transposed_times(self._coupling, np.concatenate(parts, axis=-1))
        out[:, layout.inside] = _transposed_times(self._inner, inner)
        return out

    def _keep(self, stack: Array) -> Array:
        """Zero for the paths that have no factors: what is left of them must not overflow."""
        if self.positive.all():
            return stack
        return np.where(self.positive.reshape(-1, *[1] * (stack.ndim - 1)), stack, 0.0)

    def _inverse_factor(self, stack: Array) -> Array:
        """``L^{-1}`` of ``L L^T``; a path with a matrix that has none is marked, and given one."""
        if stack.shape[-1] == 0:
            return stack
        try:
            return np.linalg.inv(np.linalg.cholesky(stack))
        except np.linalg.LinAlgError:
            finite: Any = np.isfinite(stack).all(axis=(-1, -2))
            identity = np.eye(stack.shape[-1])
            eigenvalues = np.linalg.eigvalsh(np.where(finite[..., None, None], stack, identity))
        # LAPACK fails somewhere in the stack: find out where, as sharply as it does.
        ratio, least = eigenvalues[..., 0] / eigenvalues[..., -1], 0.0
        while True:
            bad = ~finite | (eigenvalues[..., -1] <= 0.0) | (ratio <= least)
            try:
                factor = np.linalg.cholesky(np.where(bad[..., None, None], identity, stack))
                break
            except np.linalg.LinAlgError:
                least = max(10.0 * least, 1e-16)
        self.positive &= ~bad.reshape(bad.shape[0], -1).any(axis=1)
        return np.linalg.inv(factor)


def _times(matrix: Array, vector: Array) -> Array:
    return (matrix @ vector[..., None])[..., 0]


def _transposed_times(matrix: Array, vector: Array) -> Array:
    return (vector[..., None, :] @ matrix)[..., 0, :]
