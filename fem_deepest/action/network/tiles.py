"""The samples of one rank in tiles, and what one tile adds to the action and its derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.network.ends import SCALARS, Ends
from fem_deepest.network.flow import Flow
from fem_deepest.network.loss import Loss
from fem_deepest.network.network import Network
from fem_deepest.spaces import Parameters

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """Views into the flat array of what is summed over the samples.

    For networks side by side the stages have an axis for them after the second, and the others one in
    front.

    Attributes:
        stages: Gradient in the stage parameters, (n, S, rows, columns).
        readout: Gradient in the readout.
        lift: Gradient in the lift.
        scalars: Loss, score, model error, input error.
    """

    stages: Array
    readout: Array
    lift: Array
    scalars: Array

    @staticmethod
    def size(network: Network) -> int:
        """Number of entries of the flat array."""
        return sum(int(np.prod(shape)) for shape in Sums._shapes(network))

    @classmethod
    def view(cls, flat: Array, network: Network) -> Sums:
        """Views into ``flat``."""
        views, start = [], 0
        for shape in cls._shapes(network):
            size = int(np.prod(shape))
            views.append(flat[start : start + size].reshape(shape))
            start += size
        return cls(*views)

    @staticmethod
    def _shapes(network: Network) -> list[tuple[int, ...]]:
        stages = (network.depth.cells, len(network.scheme.abscissae), *network.coupling.shape)
        return [stages, network.shapes.readout, network.shapes.lift, (SCALARS,)]


@dataclass(frozen=True)
class Point:
    """A control, or a direction of one, as the sweeps need it.

    Attributes:
        parameters: Parameters, the same on all ranks of a slab.
        stages: Effective stage parameters, (n, S, rows, columns).
    """

    parameters: Parameters
    stages: Array


class Tiles:
    """Tiles of samples with their data.

    Args:
        network: The network.
        loss: ``Phi_T``.
        inputs: For every tile its inputs, (d, k).
        targets: For every tile its targets, (k,) or (outputs, k).
        model_precision: ``R_f``.
        input_precision: ``R_0``.

    A forcing is a pair ``xi_0`` (N, k), ``xi`` (n, N, k); either may have no entries. Value and gradient
    also take networks side by side, with ``xi_0`` (B, N, k), ``xi`` (n, B, N, k); each may have samples of
    its own. Nothing here is collective.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        inputs: Sequence[Array],
        targets: Sequence[NDArray],
        model_precision: float,
        input_precision: float,
    ) -> None:
        self.network = network
        self.inputs, self.targets = inputs, targets
        self.ends = Ends(network, loss, model_precision, input_precision)

    def value(self, tile: int, u: Point, forcing: tuple[Array, Array], scalars: Array) -> None:
        """Add the scalar sums of a tile."""
        self._forward(tile, u, forcing, scalars)

    def gradient(
        self,
        tile: int,
        u: Point,
        forcing: tuple[Array, Array],
        sums: Sums,
        out: tuple[Array, Array],
        fresh: bool,
    ) -> None:
        """Add what a tile adds to the gradient; its forcing part is written into ``out``.

        With ``fresh``, what ``sums.stages`` held is written over.
        """
        x, dy = self._forward(tile, u, forcing, sums.scalars)
        q = self.ends.leave_adjoint(u.parameters, x, dy, sums.readout)
        xi_out = out[1] if out[1].size else None
        self._flow(tile, u).adjoint(u.stages, q, sums.stages, xi_out, fresh=fresh)
        self.ends.enter_adjoint(self.inputs[tile], q, sums.lift, out[0])

    def trajectory(self, tile: int, u: Point, forcing: tuple[Array, Array]) -> tuple[Array, Array]:
        """States ``x`` and sensitivities ``q`` of the loss at the nodes, each (n + 1, N, k).

        ``q`` is the derivative of the loss of a sample in its state there: ``p = -q`` where it is
        stationary in its states.
        """
        nodes = self.network.depth.cells + 1
        x = np.empty((nodes, self.network.index.neurons, self.inputs[tile].shape[-1]))
        q = np.empty_like(x)
        end, dy = self._forward(tile, u, forcing, np.zeros(SCALARS), x)
        last = self.ends.leave_adjoint(u.parameters, end, dy, None)
        self._flow(tile, u).adjoint(u.stages, last, nodes=q)
        return x, q

    def second_variation(
        self,
        tile: int,
        u: Point,
        d: Point,
        forcing: tuple[Array, Array],
        d_forcing: tuple[Array, Array],
        sums: Sums,
        out: tuple[Array, Array],
        exact: bool,
    ) -> None:
        """Add what a tile adds to the Hessian (or Gauss-Newton) product with ``d``."""
        flow, z = self.network.variation(self.inputs[tile].shape[-1]), self.inputs[tile]
        x, dy = self._forward(tile, u, forcing, sums.scalars)
        if exact:
            q = self.ends.leave_adjoint(u.parameters, x, dy, None)
            flow.flow.adjoint(u.stages, q, costates=flow.costates)
        dx = self.ends.enter_tangent(d.parameters, z, d_forcing[0])
        flow.tangent(u.stages, d.stages, dx, d_forcing[1] if d_forcing[1].size else None)
        dq = self.ends.leave_curved(
            u.parameters, d.parameters, x, dx, dy if exact else None, sums.readout
        )
        xi_out = out[1] if out[1].size else None
        flow.second_adjoint(u.stages, d.stages, dq, sums.stages, xi_out, exact)
        self.ends.enter_adjoint(z, dq, sums.lift, out[0])

    def _flow(self, tile: int, u: Point) -> Flow:
        return self.network.flow(self.inputs[tile].shape[-1], u.parameters.lead)

    def _forward(
        self,
        tile: int,
        u: Point,
        forcing: tuple[Array, Array],
        scalars: Array,
        nodes: Array | None = None,
    ) -> tuple[Array, Array]:
        """Last states and derivative of the loss in the output; adds the scalars."""
        xi0, xi = forcing
        x = self.ends.enter(u.parameters, self.inputs[tile], xi0, scalars)
        self.ends.force(self.network.depth.steps, xi, scalars)
        self._flow(tile, u).forward(u.stages, x, xi if xi.size else None, nodes)
        return x, self.ends.leave(u.parameters, x, self.targets[tile], scalars)
