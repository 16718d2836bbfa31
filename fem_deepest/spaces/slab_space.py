"""The unknown ``u = (w, b | readout | lift | xi_0, xi)`` of which every rank has a part of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.spaces.control import Parameters, Shapes
from fem_deepest.spaces.grid import ProcessGrid, SampleBlocks, deal
from fem_deepest.spaces.slabs import Slabs

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_MOST = int(np.iinfo(PETSc.IntType).max)


class SlabSpace:
    """Product space of the unknowns with sharded parameters: none of them is on two ranks.

    A rank has its rows of the weight field at the nodes of its slab, in the last slab its rows of the
    readout, in the first one those of the lift; then, chunk by chunk of its samples, the forcing ``xi``
    in the cells of its slab, and in the first slab ``xi_0``. See :class:`.Slabs` for who has what.

    Args:
        grid: Process grid, slabs of the depth x data.
        shapes: Shapes of all the parameters.
        samples: ``K``, of all ranks.
        chunks: Chunks of the samples of a rank, the same number on all ranks; some may be empty.
        initial: Whether there is a forcing ``xi_0`` of the input (soft input condition).
        forced: Whether there is a forcing ``xi`` in depth (finite ``R_f``).
        blocks: Blocks of samples of the common order, see :attr:`numbers`.

    Attributes:
        shapes: Shapes of all the parameters.
        slabs: Which cells, nodes and rows are this rank's.
        samples: Global numbers of this rank's samples.
        cells: Cells of the depth whose forcings are here.
        tiles: Numbers of samples in this rank's chunks, in order.
        has_forcings: Whether there is any of these.
        has_parameters: Whether there are parameters on this rank: always.
        local_size: Entries of this rank.
        parameter_size: Of these, the parameters: the first ones.

    Raises:
        InputError: There are more slabs than cells, or more unknowns than PETSc can count.

    Collective: :meth:`create`.
    """

    has_parameters = True

    def __init__(
        self,
        grid: ProcessGrid,
        shapes: Shapes,
        samples: int,
        chunks: int,
        *,
        initial: bool,
        forced: bool,
        blocks: int | None = None,
    ) -> None:
        self.grid, self.shapes, self._count = grid, shapes, samples
        nodes, rows, columns = shapes.theta
        self.slabs = slabs = Slabs(grid, nodes - 1)
        self.rows, self.readout_rows, self.lift_rows = (
            slabs.share(rows),
            slabs.share(shapes.readout[0]) if slabs.last else range(0),
            slabs.share(shapes.lift[0]) if slabs.first else range(0),
        )
        self._own = Shapes(
            (len(slabs.nodes), len(self.rows), columns),
            (len(self.readout_rows), shapes.readout[1]),
            (len(self.lift_rows), shapes.lift[1]),
        )
        self.parameter_size = self._own.size
        neurons = shapes.lift[0]
        self._neurons, self._soft, self._blocks = neurons, initial, blocks
        self._initial: tuple[int, ...] = (neurons,) if initial and slabs.first else (0,)
        self._forced: tuple[int, ...] = (len(slabs.cells) if forced else 0, neurons)
        self.has_forcings = initial or forced
        self.samples, self.cells = slabs.share(samples), slabs.cells
        self.tiles = [int(k) for k in np.diff(deal(len(self.samples), chunks))]
        unknowns = shapes.size + samples * neurons * (initial + forced * slabs.count)
        if unknowns > _MOST:
            raise InputError(
                f"a network of {unknowns} unknowns was given to a PETSc whose integers end at {_MOST}; "
                "take a PETSc with 64-bit integers (--with-64-bit-indices), or a smaller network"
            )
        per_sample = prod(self._initial) + prod(self._forced)
        edges = np.concatenate([[0], np.cumsum(self.tiles)]).astype(np.int64)
        self._offsets = self.parameter_size + per_sample * edges
        self.local_size = int(self._offsets[-1])

    def on(self, grid: ProcessGrid) -> SlabSpace:
        """The same space on a grid of another shape. Not collective."""
        return SlabSpace(
            grid,
            self.shapes,
            self._count,
            len(self.tiles),
            initial=self._soft,
            forced=bool(self._forced[0]),
            blocks=self._blocks,
        )

    def create(self) -> PETSc.Vec:
        """Zero vector of this space. Collective on the grid."""
        return PETSc.Vec().createMPI((self.local_size, PETSc.DETERMINE), comm=self.grid.comm)

    def parameters(self, array: Array) -> Parameters:
        """Views into this rank's array: its part of the parameters.

        Theta is (own nodes, own rows, columns), the readout (own rows or none, N + 1), the lift
        (own rows or none, inputs + 1).
        """
        return Parameters.view(array, self._own)

    def forcing(self, array: Array, chunk: int) -> tuple[Array, Array]:
        """Views ``xi_0`` (N, k) or (0, k) and ``xi`` (own cells, N, k) or (0, N, k) of a chunk."""
        start, k = self._offsets[chunk], self.tiles[chunk]
        middle = start + prod(self._initial) * k
        return (
            array[start:middle].reshape(*self._initial, k),
            array[middle : self._offsets[chunk + 1]].reshape(*self._forced, k),
        )

    def start(self, array: Array, fill: Callable[[Parameters], None]) -> None:
        """Parameters that are constant in depth into this rank's array. Not collective.

        Args:
            array: Array of this rank.
            fill: Writes the parameters of one node, (1, rows, columns), with all of readout and lift.
                Every rank calls it: it has to be the same numbers everywhere.
        """
        one = Shapes((1, *self.shapes.theta[1:]), self.shapes.readout, self.shapes.lift)
        whole, own = Parameters.view(np.zeros(one.size), one), self.parameters(array)
        fill(whole)
        own.theta[...] = whole.theta[:, _slice(self.rows)]
        own.readout[...] = whole.readout[_slice(self.readout_rows)]
        own.lift[...] = whole.lift[_slice(self.lift_rows)]

    @property
    def numbers(self) -> Integers:
        """Numbers (local_size,) of this rank's entries in the common order, made anew.

        It is that of a :class:`.ControlSpace` on one rank: theta, readout, lift, and the forcings tile
        by tile in the order of the samples. Not collective.
        """
        return np.concatenate(list(self._numbers()))

    def _numbers(self) -> Iterator[Integers]:
        start = 0
        rows = (self.rows, self.readout_rows, self.lift_rows)
        for shape, own in zip(self.shapes, rows, strict=True):
            *lead, count, width = shape
            nodes = np.array(self.slabs.nodes) if lead else np.zeros(1, np.int64)
            begin = start + (nodes * count + own.start) * width
            yield np.add.outer(begin, np.arange(len(own) * width)).ravel()
            start += prod(shape)
        if not self.has_forcings:
            return
        tiles = [t for b in SampleBlocks(self._count, MPI.COMM_SELF, self._blocks).tiles for t in b]
        edges = np.array([tile.start for tile in tiles] + [self._count])
        soft, n = self._neurons if self._soft else 0, self._neurons
        each = soft + (self.slabs.count * n if self._forced[0] else 0)
        first, cells = self.samples.start, np.array(self.slabs.cells)
        for k in self.tiles:
            sample: Integers = np.arange(first, first + k)
            tile = np.searchsorted(edges, sample, side="right") - 1
            at, wide = edges[tile], edges[tile + 1] - edges[tile]
            base = start + each * at + sample - at
            yield (base + np.multiply.outer(np.arange(prod(self._initial)), wide)).ravel()
            if self._forced[0]:
                places = soft + np.add.outer(cells * n, np.arange(n))
                yield (base + np.multiply.outer(places, wide)).ravel()
            first += k


def _slice(part: range) -> slice:
    return slice(part.start, part.stop)
