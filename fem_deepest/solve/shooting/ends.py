"""The samples of a rank at both ends of the depth: states into the first slab, loss behind the last."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.network.ends import SCALARS, Ends
from fem_deepest.network.loss import Loss
from fem_deepest.network.network import Network
from fem_deepest.spaces import Parameters
from fem_deepest.spaces.slab_space import SlabSpace

Array = NDArray[np.float64]


class SampleEnds:
    """``X_0 = lift(z) + xi_0`` and ``Phi_T(readout X_S)`` of the samples of this rank; see :class:`.Ends`.

    Args:
        space: Layout of the control.
        network: The whole network.
        loss: ``Phi_T``.
        inputs: Inputs, (d, K).
        targets: Targets, (K,) or (outputs, K).

    Nothing here is collective. The input is the first slab's, the output the last one's.
    """

    def __init__(
        self, space: SlabSpace, network: Network, loss: Loss, inputs: Array, targets: NDArray
    ) -> None:
        # The errors of input and model are terms of the prior here.
        self._space, self._ends = space, Ends(network, loss, 1.0, 1.0)
        self._inputs, self._targets = inputs, targets

    def input(self, weights: Parameters, u: Array) -> Array:
        """``X_0``, (N, K)."""
        return self._ends.enter(weights, self._inputs, self._xi0(u), np.zeros(SCALARS))

    def input_tangent(self, direction: Parameters, d_u: Array) -> Array:
        """Derivative of ``X_0`` in a direction."""
        return self._ends.enter_tangent(direction, self._inputs, self._xi0(d_u))

    def input_adjoint(self, back: Array, sums: Parameters, r_u: Array) -> None:
        """Its transpose: added to the sums over samples, and written into a dual control."""
        self._ends.enter_adjoint(self._inputs, back, sums.lift, self._xi0(r_u))

    def output(self, weights: Parameters, x: Array, sums: Parameters) -> tuple[Array, float]:
        """Derivative in the states ``X_S`` (N, K), and the loss; adds the readout's gradient.

        :meth:`curvature` is taken there.
        """
        self._weights, self._x, scalars = weights, x.copy(), np.zeros(SCALARS)
        self._dy = self._ends.leave(weights, x, self._targets, scalars)
        return self._ends.leave_adjoint(weights, x, self._dy, sums.readout), float(scalars[0])

    def curvature(self, direction: Parameters, d_x: Array, sums: Parameters, exact: bool) -> Array:
        """Second derivative applied to a direction, its readout part added to the sums.

        Without ``exact``, the curvature of the loss alone.
        """
        dy = self._dy if exact else None
        return self._ends.leave_curved(self._weights, direction, self._x, d_x, dy, sums.readout)

    def _xi0(self, u: Array) -> Array:
        return self._space.forcing(u, 0)[0]
