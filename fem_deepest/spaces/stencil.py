"""Stencils: operators whose value at a node is a weighted sum over a few neighbours, for tiles of samples.

A tile is gathered, the neighbours of every node one below the other, and the products are then those of
small dense matrices, many at a time: on nodes in blocks that stay in the cache this is several times as
fast as scipy's product of a sparse and a dense matrix. Where the neighbours are a good part of all nodes,
one product with the whole matrix is faster still.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_BLOCK = 65536  # numbers gathered at a time: half a MiB
_ROUNDING = 1e-14
_WHOLE = 16  # a neuron more in a product with the whole matrix costs this part of a neighbour more
_LARGEST = 4096  # neurons up to which there may be a whole matrix: 134 MB


class Stencils:
    """Operators ``D_m`` on fields of several channels with one pattern of neighbours.

    A coupling of channels is a *stencil* ``A``, (..., nodes, C, C J): what channel ``c'`` of neighbour
    ``j`` is multiplied by for channel ``c`` of a node; with one column more it has a constant too. Nodes
    with fewer than ``J`` neighbours have themselves as further ones, with zeros.

    Args:
        operators: ``D_m``, each (nodes, nodes).
        channels: ``C``.
        rows: ``D_m`` is zero below so many rows, and what it gives are fields over the first nodes; a
            stencil has zeros at the others. By default all of them.

    Attributes:
        nodes: Nodes of what operators act on.
        rows: Nodes of what they give.
        neighbours: (nodes, J).
        columns: ``D`` with a column for every node and neighbour, sparse (M, nodes J).

    Arrays may have axes for networks side by side in front. Nothing here is collective.
    """

    def __init__(
        self, operators: Sequence[sparse.csr_array], channels: int, rows: int | None = None
    ) -> None:
        self.channels, self.count = channels, len(operators)
        self.nodes = operators[0].shape[0]
        self.rows = self.nodes if rows is None else rows
        operators = [_thinned(d) for d in operators]
        pattern = sum((abs(d) for d in operators), sparse.csr_array((self.nodes, self.nodes)))
        pattern = sparse.csr_array(pattern + pattern.T)
        pattern.sort_indices()
        lengths = np.diff(pattern.indptr)
        self.size = int(lengths.max(initial=1))
        row = np.repeat(np.arange(self.nodes), lengths)
        places = np.arange(row.size) - np.repeat(pattern.indptr[:-1], lengths)
        own = np.arange(self.nodes)[:, None]
        self.neighbours = np.repeat(own, self.size, axis=1)
        self.neighbours[row, places] = pattern.indices
        self._real = np.zeros(self.neighbours.shape, bool)
        self._real[row, places] = True
        self._gather = np.concatenate(
            [c * self.nodes + self.neighbours for c in range(channels)]
            + [np.full_like(own, channels * self.nodes)],
            axis=1,
        )
        # The number of each pair of a node and a neighbour, from 1: zeros would be no entries.
        numbers = row * self.size + places
        pair = sparse.csr_array((numbers + 1, pattern.indices, pattern.indptr), pattern.shape)
        self._mirror = np.arange(self.nodes * self.size)
        self._mirror[numbers] = sparse.csr_array(pair.T.tocsr()).sorted_indices().data - 1
        index = [(_ones(d) * pair).tocsr().sorted_indices().data - 1 for d in operators]
        self.columns = sparse.csr_array(
            (
                np.concatenate([d.data for d in operators]),
                np.concatenate(index),
                np.cumsum([0, *(d.nnz for d in operators)]),
            ),
            shape=(self.count, self.nodes * self.size),
        )

    @cached_property
    def values(self) -> Array:
        """``D_m`` by node and neighbour, (rows, M, J), dense: for few operators."""
        dense = self.columns.toarray().reshape(self.count, self.nodes, self.size)
        return np.ascontiguousarray(dense[:, : self.rows].swapaxes(0, 1))

    @cached_property
    def is_whole(self) -> bool:
        """Whether products are those of whole matrices."""
        neurons = self.channels * self.nodes
        return self.rows == self.nodes and neurons <= min(_WHOLE * self.size, _LARGEST)

    def buffers(self, width: int, lead: tuple[int, ...]) -> tuple[Array, ...]:
        """Work arrays for ``width`` samples: two whole matrices, or gathered nodes of a block."""
        if self.is_whole:
            neurons = self.channels * self.nodes
            matrices = np.zeros((2, *lead, neurons, neurons + 1))
            return matrices[0], matrices[1]
        terms = self._gather.shape[1]
        nodes = max(1, _BLOCK // max(terms * width * prod(lead), 1))
        return (np.empty((*lead, min(nodes, self.nodes), terms, width)),)

    def apply(self, stencil: Array, x: Array, out: Array, work: Sequence[Array]) -> None:
        """``out = A x`` (..., C rows, K) of (..., C nodes, K), or ``A [x; 1]`` with the constant."""
        if self.is_whole:
            matrix = self._scattered(stencil, work[0])
            np.matmul(matrix[..., : x.shape[-2]], x, out=out)
            return
        self._apply(stencil, x, self._fields(out, self.rows), work)

    def _apply(self, stencil: Array, x: Array, fields: Array, work: Sequence[Array]) -> None:
        """``A x`` at the first nodes, as many as ``fields`` (..., nodes, C, K) has."""
        for nodes, gathered in self._blocks(x, stencil.shape[-1], work[0], fields.shape[-3]):
            np.matmul(stencil[..., nodes, :, :], gathered, out=fields[..., nodes, :, :])

    def apply_transposed(self, stencil: Array, v: Array, out: Array, work: Sequence[Array]) -> None:
        """``out = A^T v`` without the constant, both (..., C nodes, K)."""
        if self.is_whole:
            matrix = self._scattered(stencil, work[0])[..., :-1]
            np.matmul(np.swapaxes(matrix, -1, -2), v, out=out)
        else:
            self._apply(self._transposed(stencil), v, self._fields(out, self.nodes), work)

    def outer(self, v: Array, x: Array, out: Array, work: Sequence[Array]) -> None:
        """``out_A = sum_k v_k x_k^T`` at the places of ``A``: the derivative of ``v . A x`` in ``A``.

        ``v`` is (..., C rows, K), and ``out`` has no other rows.
        """
        if self.is_whole:
            product = work[1][..., : x.shape[-2]]
            np.matmul(v, np.swapaxes(x, -1, -2), out=product)
            self._collected(work[1], out)
            return
        fields = self._fields(v, self.rows)
        for nodes, gathered in self._blocks(x, out.shape[-1], work[0], self.rows):
            np.matmul(
                fields[..., nodes, :, :],
                np.swapaxes(gathered, -1, -2),
                out=out[..., nodes, :, :],
            )

    @cached_property
    def _places(self) -> tuple[NDArray[np.bool_], Integers]:
        """Which entries of a stencil with the constant are no padding, and where they are in ``A``."""
        c, n = self.channels, self.channels * self.nodes
        row = np.arange(c) * self.nodes + np.arange(self.nodes)[:, None]
        place = row[:, :, None] * (n + 1) + self._gather[:, None, :]
        real = np.tile(self._real, (1, c))
        real = np.concatenate([real, np.ones((self.nodes, 1), bool)], axis=1)
        real = np.broadcast_to(real[:, None], place.shape)
        return real, place[real]

    def _scattered(self, stencil: Array, matrix: Array) -> Array:
        """The whole matrix of a stencil; entries without a place stay what they are, zero."""
        real, place = self._places
        if stencil.shape[-1] < real.shape[-1]:
            stencil = np.concatenate([stencil, np.zeros_like(stencil[..., :1])], axis=-1)
        matrix.reshape(*matrix.shape[:-2], -1)[..., place] = stencil[..., real]
        return matrix

    def _collected(self, matrix: Array, stencil: Array) -> None:
        """Transpose of :meth:`_scattered`."""
        real, place = self._places
        values = np.zeros((*matrix.shape[:-2], *real.shape))
        values[..., real] = matrix.reshape(*matrix.shape[:-2], -1)[..., place]
        stencil[...] = values[..., : stencil.shape[-1]]

    def _transposed(self, stencil: Array) -> Array:
        """The stencil of ``A^T``, without the constant."""
        lead, (c, j) = stencil.shape[:-3], (self.channels, self.size)
        by_pair = np.moveaxis(stencil[..., : c * j].reshape(*lead, self.nodes, c, c, j), -1, -3)
        pairs = by_pair.reshape(*lead, self.nodes * j, c, c)
        mirrored = pairs[..., self._mirror, :, :].reshape(*lead, self.nodes, j, c, c)
        # (node, neighbour, from, to) of A^T is (to, from) of A.
        return np.moveaxis(mirrored, -3, -1).swapaxes(-3, -2).reshape(*lead, self.nodes, c, c * j)

    def _blocks(
        self, x: Array, terms: int, block: Array, rows: int
    ) -> Iterator[tuple[slice, Array]]:
        """The first nodes block by block with the first ``terms`` of what their stencils act on."""
        lead, step, width = block.shape[:-3], block.shape[-3], block.shape[-1]
        memory = block.reshape(-1)
        for start in range(0, rows, step):
            nodes = slice(start, min(start + step, rows))
            count = nodes.stop - start
            gathered = memory[: prod(lead) * count * terms * width].reshape(
                *lead, count, terms, width
            )
            # Indices are in range; "clip" spares a copy that checks this.
            np.take(x, self._gather[nodes, :terms], axis=-2, out=gathered, mode="clip")
            yield nodes, gathered

    def _fields(self, z: Array, nodes: int) -> Array:
        """States (..., C nodes, K) as (..., nodes, C, K)."""
        split = z.reshape(*z.shape[:-2], self.channels, nodes, z.shape[-1])
        return np.swapaxes(split, -3, -2)


def _thinned(operator: sparse.csr_array) -> sparse.csr_array:
    """Without entries that are rounding; neighbours cost time."""
    thin = sparse.csr_array(operator, copy=True)
    thin.sum_duplicates()
    thin.data[np.abs(thin.data) <= _ROUNDING * np.abs(thin.data).max(initial=0.0)] = 0.0
    thin.eliminate_zeros()
    return thin


def _ones(operator: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array(
        (np.ones(operator.nnz, np.int64), operator.indices, operator.indptr), operator.shape
    )
