"""The tensor-product H1 precision of a field of which every rank has some nodes in depth and some rows.

It is that of :mod:`.separable`: the same recurrences in depth with the same factors, handed on from slab
to slab in pieces. Operators of the columns are applied where the rows are; those of the rows, which their
neighbours are needed for, in a transposed layout that has all rows of some columns.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.linalg import lapack

from fem_deepest.spaces.chain import Chain
from fem_deepest.spaces.factor import Factor
from fem_deepest.spaces.grid import deal
from fem_deepest.spaces.transposition import Tally, Transposition

Array = NDArray[np.float64]
Bands = tuple[Array, Array]

_BATCH = 2**18  # numbers of a rank that are turned at once


class SlabPrecision:
    """``P = A (x) M_r (x) M_c + B (x) (K_r (x) M_c + M_r (x) K_c)`` on arrays (own nodes, own rows, C).

    Args:
        chain: Slabs of the depth, and nodes of this rank.
        data: Ranks that share the rows of these nodes.
        depth: ``A`` at all nodes: diagonal (m,) and off-diagonal (m - 1,).
        along: ``B``, likewise; None for none.
        rows: Factor of all rows.
        columns: Factor of the columns.
        tally: Counts what is sent.

    Attributes:
        mixed: Whether there is a ``B``, and a factor with a stiffness for it.

    Collective on ``data`` and on the ranks of the chain: the methods.
    """

    def __init__(
        self,
        chain: Chain,
        data: MPI.Intracomm,
        depth: Bands,
        along: Bands | None,
        rows: Factor,
        columns: Factor,
        tally: Tally,
    ) -> None:
        self.chain, self.depth, self.columns = chain, depth, columns
        self.mixed = along is not None and (rows.has_stiffness or columns.has_stiffness)
        self._along = along if along is not None else (0.0 * depth[0], 0.0 * depth[1])
        self._lumped = rows.mass_lumped and columns.mass_lumped
        edges = deal(rows.size, data.size)
        self._weights = rows.weights[edges[data.rank] : edges[data.rank + 1], None]
        # Rows that have nothing to do with each other stay where they are.
        coupled = not rows.mass_lumped or (self.mixed and rows.has_stiffness)
        whole = coupled or data.size == 1
        self.rows = rows if whole else Factor(self._weights[:, 0])
        parts = deal(columns.size, data.size) if whole else [0, columns.size]
        self._turn = Transposition(
            data if whole else MPI.COMM_SELF, edges if whole else [0, self.rows.size], parts, tally
        )

    @property
    def is_diagonal(self) -> bool:
        """Whether ``P = A (x) diag(...)``."""
        return self._lumped and not self.mixed

    @cached_property
    def measure(self) -> Array:
        """Lumped ``M_r (x) M_c`` of the own rows, (own rows, C)."""
        return self._weights * self.columns.weights

    @cached_property
    def _unit(self) -> bool:
        return self._lumped and bool(np.all(self.measure == 1.0))

    def apply(self, a: Array, out: Array) -> None:
        """``out = P a``."""
        if self._idle(a):
            return
        columns, b = self.columns, np.empty_like(a) if self.mixed else None
        products = [(self.depth, out)] if b is None else [(self.depth, out), (self._along, b)]
        self.chain.banded(a, *products)
        if self._lumped and not self._unit:
            out *= self.measure
        for part in self._batches():
            if not self._lumped:
                out[part] = self._row_mass(columns.apply_mass(out[part], -1))
            if b is not None and self.rows.has_stiffness:
                right = columns.apply_mass(b[part], -1)
                out[part] += self._on_rows(self.rows.apply_stiffness, right)
            if b is not None and columns.has_stiffness:
                out[part] += self._row_mass(columns.apply_stiffness(b[part], -1))

    def solve(self, r: Array, out: Array) -> None:
        """``out = P^{-1} r``."""
        if self._idle(r):
            return
        if self.mixed:
            x = np.empty(self._turned)
            for part in self._batches():
                x[part] = self._modal(r[part])
            self._eliminate(x)
            for part in self._batches():
                out[part] = self._nodal(x[part])
            return
        out[...] = r
        self._eliminate(out)
        if self._lumped:
            if not self._unit:
                out /= self.measure
            return
        for part in self._batches():
            right = self.columns.solve_mass(out[part], -1) if out.size else out[part]
            out[part] = self._on_rows(self.rows.solve_mass, right)

    def inverse_root(self, z: Array, out: Array) -> None:
        """``out = R z`` with ``R R^T = P^{-1}``, the ``R`` of :class:`.SeparablePrecision`.

        Where there are modes, ``z`` is a coefficient for each of them.
        """
        if self._idle(z):
            return
        x = self._forth(z) if self.mixed else np.array(z)
        pivots, _ = self.depth_factor
        flat = x.reshape(len(x), -1)
        flat /= np.sqrt(pivots)
        self._substitute(flat)
        if self._lumped and not self.mixed:
            np.divide(x, np.sqrt(self.measure), out=out)
            return
        for part in self._batches():
            y = x[part] if self.mixed else self._turn.forth(x[part])
            out[part] = self._nodal(y)

    @cached_property
    def depth_factor(self) -> Bands:
        """``D`` (own nodes, E) and the subdiagonal of ``L`` before, between and after them, (+ 1, E).

        ``E`` is one, or the number of pairs of modes of this rank. See :meth:`.Chain.beside`.
        """
        chain = self.chain
        if not self.mixed:
            diagonal, off = self.depth
            # SciPy wants an entry beside the diagonal even where there is none.
            pivots, below, _ = lapack.dpttrf(diagonal, off if off.size else np.zeros(1))
            return chain.own(pivots)[:, None], chain.beside(below)[:, None]
        mu, nu = self.rows.modes[0], self.columns.modes[0][self._turn.columns]
        shift = np.add.outer(mu, nu).ravel()
        diagonal, b_diagonal = chain.own(self.depth[0]), chain.own(self._along[0])
        off, b_off = chain.beside(self.depth[1]), chain.beside(self._along[1])
        pivots, below = np.empty((diagonal.size, shift.size)), np.zeros((off.size, shift.size))

        def step(i: int, piece: slice, beside: Array | None) -> None:
            pivots[i, piece] = diagonal[i] + b_diagonal[i] * shift[piece]
            if beside is not None:
                coefficient = off[i] + b_off[i] * shift[piece]
                np.divide(coefficient, beside, out=below[i, piece])
                pivots[i, piece] -= below[i, piece] * coefficient

        chain.sweep(pivots, step)
        if chain.after is not None:
            np.divide(off[-1] + b_off[-1] * shift, pivots[-1], out=below[-1])
        return pivots, below

    def _idle(self, a: Array) -> bool:
        """Whether there is nothing to do here, for any of the ranks that would have to do it together."""
        return a.size == 0 and self._turn.comm.size == 1

    @property
    def _turned(self) -> tuple[int, int, int]:
        """Shape of a field with all rows of some columns."""
        columns = self._turn.columns
        return len(self.chain.nodes), self.rows.size, columns.stop - columns.start

    def _batches(self) -> list[slice]:
        """So many nodes at once that what is kept beside a field is small."""
        nodes, rows, columns = len(self.chain.nodes), self.rows.size, self.columns.size
        length = max(_BATCH * self._turn.comm.size // max(rows * columns, 1), 1)
        return [slice(lo, min(lo + length, nodes)) for lo in range(0, nodes, length)]

    def _forth(self, a: Array) -> Array:
        """A new field with all rows of some columns."""
        x = np.empty(self._turned)
        for part in self._batches():
            x[part] = self._turn.forth(a[part])
        return x

    def _eliminate(self, x: Array) -> None:
        """``T^{-1} x`` in place, ``T = L D L^T`` in depth."""
        flat, (pivots, below) = x.reshape(len(x), -1), self.depth_factor

        def step(i: int, piece: slice, beside: Array | None) -> None:
            if beside is not None:
                flat[i, piece] -= _of(below[i], piece) * beside

        self.chain.sweep(flat, step)
        flat /= pivots
        self._substitute(flat)

    def _substitute(self, flat: Array) -> None:
        """``L^{-T} x`` in place."""
        _, below = self.depth_factor

        def step(i: int, piece: slice, beside: Array | None) -> None:
            if beside is not None:
                flat[i, piece] -= _of(below[i + 1], piece) * beside

        self.chain.sweep(flat, step, upward=False)

    def _modal(self, a: Array) -> Array:
        """``Phi_r^T a Phi_c``, turned: all modes of the rows, and those of some columns."""
        x = self._turn.forth(a if self.columns.is_plain else a @ self.columns.modes[1])
        return x if self.rows.is_plain else self.rows.modes[1].T @ x

    def _nodal(self, x: Array) -> Array:
        """``Phi_r x Phi_c^T``, turned back."""
        y = self._turn.back(x if self.rows.is_plain else self.rows.modes[1] @ x)
        return y if self.columns.is_plain else y @ self.columns.modes[1].T

    def _row_mass(self, a: Array) -> Array:
        """``M_r a``."""
        if self.rows.mass_lumped:
            return a if self.rows.uniform == 1.0 else a * self._weights
        return self._on_rows(self.rows.apply_mass, a)

    def _on_rows(self, operation: Callable[[Array, int], Array], a: Array) -> Array:
        """An operator of the rows."""
        x = self._turn.forth(a)
        return self._turn.back(operation(x, -2) if x.size else x)


def _of(values: Array, piece: slice) -> Array:
    """Of one number for each entry those of a piece; or the one number for all of them."""
    return values if values.size == 1 else values[piece]
