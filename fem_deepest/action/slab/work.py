"""What a slab does with a chunk of samples: value, gradient, second variation, outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.network.ends import SCALARS, Ends
from fem_deepest.action.slab.batch import Batch
from fem_deepest.action.slab.gathers import Gathers
from fem_deepest.action.slab.states import Chunks
from fem_deepest.spaces import Parameters

Array = NDArray[np.float64]
Forcing = Callable[[int], tuple[Array, Array]]


class Gradient:
    """Value and gradient of the sum over the samples.

    Args:
        ends: Lift, readout and loss.
        batch: The samples.
        chunks: Sweeps through the cells.
        theta: Weights of the cells, in the order of the sweeps.
        u: Lift and readout.
        forcing: ``xi_0`` and ``xi`` of a chunk in this slab, or arrays without entries.
        out: The gradient in lift and readout is added here.
        out_forcing: Receives that in the forcing of a chunk.

    Attributes:
        scalars: What this rank adds to loss, score, model error and input error.

    See :class:`.Work`.
    """

    down = up = 1

    def __init__(
        self,
        ends: Ends,
        batch: Batch,
        chunks: Chunks,
        theta: Gathers,
        u: Parameters,
        forcing: Forcing,
        out: Parameters | None = None,
        out_forcing: Forcing | None = None,
    ) -> None:
        self._ends, self._batch, self._chunks, self._gathers = ends, batch, chunks, theta
        self._u, self._forcing, self._out, self._out_forcing = u, forcing, out, out_forcing
        self.scalars = np.zeros(SCALARS)
        self._theta: list[Array] = []

    def next(self) -> None:
        """The stage parameters of the next cell."""
        self._theta = self._gathers.next()

    def enter(self, chunk: int, fields: Array) -> None:
        """``x(0)``."""
        slot = self._chunks.slot(chunk)
        slot.z = self._batch.columns(self._batch.inputs, chunk)
        fields[0] = self._ends.enter(self._u, slot.z, self._forcing(chunk)[0], self.scalars)

    def cell(self, chunk: int, fields: Array, cell: int) -> None:
        """``x`` through a cell."""
        xi = _one(self._forcing(chunk)[1], cell)
        if xi is not None:
            self._ends.force(self._chunks.steps[cell : cell + 1], xi, self.scalars)
        flow = self._chunks.flow(chunk)
        flow.forward([self._theta], fields[0], xi, cells=range(cell, cell + 1))

    def leave(self, chunk: int, fields: Array) -> None:
        """Loss and score."""
        slot, target = self._chunks.slot(chunk), self._batch.columns(self._batch.targets, chunk)
        slot.x = fields
        slot.dy = self._ends.leave(self._u, fields[0], target, self.scalars)

    def turn(self, chunk: int, fields: Array) -> None:
        """``q(T)``."""
        assert self._out is not None
        slot = self._chunks.slot(chunk)
        fields[0] = self._ends.leave_adjoint(self._u, slot.x[0], slot.dy, self._out.readout)

    def cell_back(
        self, chunk: int, fields: Array, cell: int, gradient: Sequence[Array], fresh: bool
    ) -> None:
        """``q`` through a cell."""
        assert self._out_forcing is not None
        xi_out = _one(self._out_forcing(chunk)[1], cell)
        self._chunks.flow(chunk).adjoint(
            [self._theta],
            fields[0],
            [gradient],
            xi_out,
            fresh=fresh,
            cells=range(cell, cell + 1),
        )

    def exit(self, chunk: int, fields: Array) -> None:
        """The gradient at the input."""
        assert self._out is not None and self._out_forcing is not None
        z, xi0_out = self._chunks.slot(chunk).z, self._out_forcing(chunk)[0]
        self._ends.enter_adjoint(z, fields[-1], self._out.lift, xi0_out)


class SecondVariation(Gradient):
    """Product of the Hessian, or of its Gauss-Newton part, with a direction.

    Args:
        arguments: Those of :class:`Gradient`.
        d_theta: Direction of the weights of the cells.
        d: Direction of lift and readout.
        d_forcing: Direction of the forcing.
        exact: The Hessian.
        options: Those of :class:`Gradient`.
    """

    down = 2

    def __init__(
        self,
        *arguments: Any,
        d_theta: Gathers,
        d: Parameters,
        d_forcing: Forcing,
        exact: bool,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._d_gathers, self._d, self._d_forcing, self._exact = d_theta, d, d_forcing, exact
        self.up = 2 if exact else 1
        self._d_theta: list[Array] = []

    def next(self) -> None:
        """The stage parameters of the next cell, and their direction."""
        super().next()
        self._d_theta = self._d_gathers.next()

    def enter(self, chunk: int, fields: Array) -> None:
        """``x(0)`` and ``dx(0)``."""
        super().enter(chunk, fields)
        z = self._chunks.slot(chunk).z
        fields[1] = self._ends.enter_tangent(self._d, z, self._d_forcing(chunk)[0])

    def cell(self, chunk: int, fields: Array, cell: int) -> None:
        """``x`` and ``dx`` through a cell."""
        super().cell(chunk, fields, cell)
        self._chunks.variation(chunk).tangent(
            [self._theta],
            [self._d_theta],
            fields[1],
            _one(self._d_forcing(chunk)[1], cell),
            cells=range(cell, cell + 1),
        )

    def turn(self, chunk: int, fields: Array) -> None:
        """``q(T)`` and ``dq(T)``, or ``dq(T)`` alone."""
        assert self._out is not None
        slot, dy = self._chunks.slot(chunk), None
        if self._exact:
            dy = slot.dy
            fields[0] = self._ends.leave_adjoint(self._u, slot.x[0], dy, None)
        fields[-1] = self._ends.leave_curved(
            self._u, self._d, slot.x[0], slot.x[1], dy, self._out.readout
        )

    def cell_back(
        self, chunk: int, fields: Array, cell: int, gradient: Sequence[Array], fresh: bool
    ) -> None:
        """``q`` and ``dq`` through a cell."""
        assert self._out_forcing is not None
        flow, cells = self._chunks.variation(chunk), range(cell, cell + 1)
        if self._exact:
            flow.flow.adjoint([self._theta], fields[0], costates=flow.costates, cells=cells)
        if fresh:
            for one in gradient:
                one[...] = 0.0
        flow.second_adjoint(
            [self._theta],
            [self._d_theta],
            fields[-1],
            [gradient],
            _one(self._out_forcing(chunk)[1], cell),
            self._exact,
            cells=cells,
        )


class Outputs(Gradient):
    """The outputs (outputs, k) of the chunks, in the last slab.

    Attributes:
        outputs: What has come out, by chunk; nothing of one that is no longer numbers.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.outputs: dict[int, Array] = {}

    def leave(self, chunk: int, fields: Array) -> None:
        """``y``."""
        self.outputs[chunk] = self._ends.network.read(self._u, fields[0])


def _one(xi: Array, cell: int) -> Array | None:
    """The forcing in one cell, if there is any."""
    return xi[cell : cell + 1] if xi.size else None
