"""Cyclic reduction in depth: exact block elimination of the systems of a path, as a preconditioner.

A cell matrix couples ``[left node | one dual | right node | border]``, the border being weights that
are constant in depth. Two neighbours merge to one of the same shape when their common node is
eliminated *together with* the dual of the left one,

    [ W    J^T ]        W: what is known of the node,   J = dd/dx: the constraint of the left cell,
    [ J    -Q  ]        Q = h omega / R_f,

which is invertible for ``Q = 0`` and for ``W = 0``. So ``log2 n`` batched merges reduce the cells of
a rank to one, the ranks exchange those, and a small dense system for the ends and the border remains
(G. H. Golub, C. F. Van Loan, Matrix Computations (2013), section 4.5; S. J. Wright, Stable parallel
algorithms for two-point boundary value problems (1992), doi:10.1137/0913044). Eigenvalues of the
eliminated blocks add up to the inertia of the matrix (Haynsworth). Nothing is pivoted across
cells: GMRES around it restores what that may cost.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.spaces.path import PathSpace

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]


class Eliminated:
    """Schur complements of a stack of symmetric matrices (n, m, m) on their last variables.

    Args:
        matrices: The matrices.
        count: Variables to eliminate, the first ones.

    Attributes:
        schur: Schur complements, (n, m - count, m - count).
        negative: Negative eigenvalues of all eliminated blocks.
        regular: Whether all of them are regular; what is not finite counts as singular.
    """

    def __init__(self, matrices: Array, count: int) -> None:
        self._count = count
        pivot, coupling = matrices[:, :count, :count], matrices[:, :count, count:]
        # One scaling of rows and columns: the entries differ by R_f.
        size = np.abs(pivot).max(axis=2, initial=0.0)
        scale = 1.0 / np.sqrt(np.where(size > 0.0, size, 1.0))
        scaled = scale[:, :, None] * pivot * scale[:, None, :]
        finite = np.isfinite(scaled).all(axis=(1, 2))
        values, vectors = np.linalg.eigh(np.where(finite[:, None, None], scaled, 0.0))
        self._vectors, self._inverse = scale[:, :, None] * vectors, 1.0 / values[:, :, None]
        self.negative = int(np.count_nonzero(values < 0.0))
        self.regular = bool(values.all())
        self._coupling = self._solve(coupling)
        self.schur = matrices[:, count:, count:] - np.swapaxes(coupling, 1, 2) @ self._coupling

    def _solve(self, rhs: Array) -> Array:
        return self._vectors @ (self._inverse * (np.swapaxes(self._vectors, 1, 2) @ rhs))

    def forward(self, rhs: Array) -> tuple[Array, Array]:
        """Right-hand sides (n, m) to those of the Schur complements, and what ``back`` needs."""
        first, rest = rhs[:, : self._count], rhs[:, self._count :]
        moved = (first[:, None] @ self._coupling)[:, 0]
        return rest - moved, self._solve(first[..., None])[..., 0]

    def back(self, solution: Array, kept: Array) -> Array:
        """All variables (n, m) of the solution of the Schur complements."""
        first = kept - (self._coupling @ solution[..., None])[..., 0]
        return np.concatenate([first, solution], axis=1)


class CyclicReduction:
    """PETSc preconditioner (type ``python``) of the matrices on a path space.

    Args:
        space: The unknowns.

    Attributes:
        negative: Negative eigenvalues of the matrix at the last update, None if a block was singular.

    Collective.
    """

    def __init__(self, space: PathSpace) -> None:
        self.space = space
        self.negative: int | None = None
        n, states = space.cell_numbers.shape[0], space.x.shape[1]
        nodes = states * ((space.x.shape[0] - 1) // space.cells + 1)
        duals = space.p.shape[1] * states
        weights = np.arange(nodes, space.local - duals)
        p = np.arange(space.local - duals, space.local)
        half = weights.size // 2 if space.varying else 0
        left = np.concatenate([np.arange(states), weights[:half]])
        right = np.concatenate([np.arange(nodes - states, nodes), weights[half : 2 * half]])
        border = weights[2 * half :]
        # With R nodes in a cell R - 1 of them are inner; each goes with a dual, the first one stays.
        inner = np.concatenate([np.arange(states, nodes - states), p[states:]])
        self._order = np.concatenate([inner, left, p[:states], right, border])
        self._inner = inner.size
        a, k, b = left.size, p[:states].size, border.size
        cuts = np.cumsum([0, a, k, a, k, a, b])
        middle, first, l, second, r, w = (np.arange(*cuts[i : i + 2]) for i in range(6))
        self._merged = a + k
        self._one = np.concatenate([l, first, middle, w])
        self._two = np.concatenate([middle, second, r, w])
        # Every unknown has one place in the cells of its owner.
        self._own = np.zeros((n, space.local), dtype=bool)
        self._own[:, np.concatenate([left, inner, p[:states]])] = True
        if space.last == space.cells:
            self._own[-1, right[states if space.closed else 0 :]] = True
            self._own[-1, border] = True
        self._own &= space.cell_numbers >= 0
        # The reduced cell of a rank: left of its first cell; dual, right and border of its last.
        head, tail = space.cell_numbers[0], space.cell_numbers[-1]
        mine = np.concatenate([head[left], tail[p[:states]], tail[right], tail[border]])
        self._numbers = np.array(space.comm.allgather(mine))
        self._unknown, self._places = np.unique(self._numbers, return_inverse=True)
        self._places = self._places.reshape(self._numbers.shape)
        self._levels: list[Eliminated] = []

    def update(self, cells: Array) -> int | None:
        """Eliminate with the cell matrices (n, L, L); returns ``negative``. Collective."""
        unknown = self.space.cell_numbers >= 0
        cells = np.where(unknown[:, :, None] & unknown[:, None, :], cells, 0.0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            level = Eliminated(cells[:, self._order[:, None], self._order], self._inner)
            self._levels = [level]
            stack = level.schur
            while len(stack) > 1:
                level = Eliminated(self._union(stack[:-1:2], stack[1::2]), self._merged)
                self._levels.append(level)
                stack = np.concatenate([level.schur, stack[len(stack) // 2 * 2 :]])
            gathered = np.array(self.space.comm.allgather(stack[0]))
            dense = np.zeros((self._unknown.size, self._unknown.size))
            np.add.at(dense, (self._places[:, :, None], self._places[:, None, :]), gathered)
            start = int(self._unknown[0] < 0)  # entries that are no unknowns stand first
            self._dense = Eliminated(dense[None, start:, start:], self._unknown.size - start)
        comm, blocks = self.space.comm, self._levels
        negative = comm.allreduce(sum(b.negative for b in blocks)) + self._dense.negative
        regular = comm.allreduce(all(b.regular for b in blocks), MPI.LAND) and self._dense.regular
        self.negative = negative if regular else None
        return self.negative

    def _union(self, one: Array, two: Array) -> Array:
        size = self._merged + self._one.size
        out = np.zeros((len(one), size, size))
        out[:, self._one[:, None], self._one] += one
        out[:, self._two[:, None], self._two] += two
        return out

    def apply(self, _: PETSc.PC, r: PETSc.Vec, z: PETSc.Vec) -> None:
        """``z = K^{-1} r``, not a number if a block was singular. Collective."""
        with np.errstate(invalid="ignore", over="ignore"):
            self._solve(r, z)

    def _solve(self, r: PETSc.Vec, z: PETSc.Vec) -> None:
        space = self.space
        rhs = np.where(self._own, space.at(space.gather(r), space.cell_numbers), 0.0)
        stack, kept = self._levels[0].forward(rhs[:, self._order])
        track = [(kept, len(stack))]
        for level in self._levels[1:]:
            one, two = stack[: len(stack) // 2 * 2 : 2], stack[1::2]
            union = np.zeros((len(one), self._merged + self._one.size))
            union[:, self._one] += one
            union[:, self._two] += two
            reduced, kept = level.forward(union)
            stack = np.concatenate([reduced, stack[len(stack) // 2 * 2 :]])
            track.append((kept, len(stack)))
        dense = np.zeros(self._unknown.size)
        np.add.at(dense, self._places, np.array(space.comm.allgather(stack[0])))
        start = int(self._unknown[0] < 0)
        _, solution = self._dense.forward(dense[None, start:])
        dense[start:], dense[:start] = solution[0], 0.0
        stack = dense[self._places[space.comm.rank]][None]
        for level, (kept, _) in zip(self._levels[:0:-1], track[:0:-1], strict=True):
            union = level.back(stack[: len(kept)], kept)
            pair = np.stack([union[:, self._one], union[:, self._two]], axis=1)
            stack = np.concatenate([pair.reshape(-1, pair.shape[2]), stack[len(kept) :]])
        local = np.empty_like(rhs)
        local[:, self._order] = self._levels[0].back(stack, track[0][0])
        z.array_w[space.cell_numbers[self._own] - space.begin] = local[self._own]
