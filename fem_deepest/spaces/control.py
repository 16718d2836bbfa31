"""The unknown ``u = (w, b | readout | lift | xi_0, xi)`` as one distributed PETSc vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.spaces.grid import ProcessGrid

Array = NDArray[np.float64]


class Shapes(NamedTuple):
    """Shapes of the parameters.

    Attributes:
        theta: Parameters of the coupling, (n + 1, rows, columns).
        readout: Linear readout, (outputs, N + 1), or (0, N + 1) without one.
        lift: Linear lift, (N, inputs + 1), or (N, 0) without one.
    """

    theta: tuple[int, int, int]
    readout: tuple[int, int]
    lift: tuple[int, int]

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(prod(shape) for shape in self)


@dataclass(frozen=True)
class Parameters:
    """Views into the parameter part of a control.

    Attributes:
        theta: Parameters of the coupling at the depth nodes, shape (n + 1, rows, columns); of a
            dense one ``[w | b]``, (n + 1, N, N + 1).
        readout: Linear readout ``[C | c]``, shape (outputs, N + 1), or (0, N + 1) without one.
        lift: Linear lift ``[E | e]``, shape (N, inputs + 1), or (N, 0) without one.

    Of networks side by side, all have an axis for them before the last two.
    """

    theta: Array
    readout: Array
    lift: Array

    @property
    def lead(self) -> tuple[int, ...]:
        """Shape of the axis of the networks side by side; none for one network."""
        return self.readout.shape[:-2]

    @classmethod
    def view(cls, flat: Array, shapes: Shapes) -> Parameters:
        """Views into an array (..., size) that holds theta, readout, lift one after the other."""
        views, start, lead = [], 0, flat.shape[:-1]
        for shape in shapes:
            end = start + prod(shape)
            views.append(flat[..., start:end].reshape(*lead, *shape))
            start = end
        theta = np.moveaxis(views[0], -3, 0) if lead else views[0]
        return cls(theta, *views[1:])


class ControlSpace:
    """Product space of the unknowns and its layout over the ranks.

    The parameters come first and belong to the first data rank of the slab. The forcings follow,
    tile by tile in the order of the samples, each with its samples' rank: so the numbering of the
    vector does not depend on the number of ranks.

    Args:
        grid: Process grid.
        shapes: Shapes of the parameters.
        tiles: Numbers of samples in this rank's tiles, in order.
        initial: Whether there is a forcing ``xi_0`` of the input (soft input condition).
        forced: Whether there is a forcing ``xi`` in depth (finite ``R_f``).

    Attributes:
        has_forcings: Whether there is any of these.
        cells: Cells of the depth whose forcings are here.
        has_parameters: Whether this rank has the parameters.
    """

    def __init__(
        self,
        grid: ProcessGrid,
        shapes: Shapes,
        tiles: list[int],
        *,
        initial: bool,
        forced: bool,
    ) -> None:
        self.grid = grid
        self._shapes = shapes
        self.parameter_size = shapes.size
        cells, neurons = shapes.theta[0] - 1, shapes.lift[0]
        self._initial: tuple[int, ...] = (neurons,) if initial else (0,)
        self._forced: tuple[int, ...] = (cells, neurons) if forced else (0, neurons)
        self.has_forcings = initial or forced
        self.has_parameters = grid.owner
        self.tiles, self.cells = tiles, range(cells)
        per_sample = prod(self._initial) + prod(self._forced)
        own = self.parameter_size if grid.owner else 0
        self._offsets = own + per_sample * np.concatenate([[0], np.cumsum(tiles)]).astype(np.int64)
        self.local_size = int(self._offsets[-1])

    def create(self) -> PETSc.Vec:
        """Zero vector of this space. Collective on the grid."""
        return PETSc.Vec().createMPI((self.local_size, PETSc.DETERMINE), comm=self.grid.comm)

    def parameters(self, array: Array) -> Parameters:
        """Views into the first ``parameter_size`` entries of a flat array."""
        return Parameters.view(array, self._shapes)

    def forcing(self, array: Array, tile: int) -> tuple[Array, Array]:
        """Views ``xi_0`` (N, k) or (0, k) and ``xi`` (n, N, k) or (0, N, k) of a tile of ``k`` samples."""
        start, k = self._offsets[tile], self.tiles[tile]
        middle = start + prod(self._initial) * k
        return (
            array[start:middle].reshape(*self._initial, k),
            array[middle : self._offsets[tile + 1]].reshape(*self._forced, k),
        )

    def start(self, array: Array, fill: Callable[[Parameters], None]) -> None:
        """Parameters that are constant in depth into this rank's array. Not collective.

        Args:
            array: Array of this rank.
            fill: Writes them; called where there are any.
        """
        if self.has_parameters:
            fill(self.parameters(array))

    def share(self, u: PETSc.Vec) -> Array:
        """Copy of the parameters of ``u`` on every rank of the slab. Collective.

        A view would keep the vector alive on the owner alone, and petsc4py destroys vectors
        collectively.
        """
        if self.grid.owner:
            flat = u.array_r[: self.parameter_size].copy()
        else:
            flat = np.empty(self.parameter_size)
        if self.grid.data.size > 1:
            self.grid.data.Bcast(flat, root=0)
        return flat
