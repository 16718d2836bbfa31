"""The two ends of the depth: the states that go into the first slab, and the loss of those at the end."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.network.loss import Loss
from fem_deepest.network.network import Network
from fem_deepest.spaces import Parameters
from fem_deepest.spaces.slab_space import SlabSpace

Array = NDArray[np.float64]


class Ends:
    """``X_0 = lift(z) + xi_0`` and ``Phi_T(readout X_S)`` of the samples of this rank.

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
        self._space, self._network, self._loss = space, network, loss
        self._inputs, self._targets = inputs, targets

    def input(self, weights: Parameters, u: Array) -> Array:
        """``X_0``, (N, K)."""
        x, xi0 = self._network.lift(weights, self._inputs), self._space.forcing(u, 0)[0]
        return x + xi0 if len(xi0) else x

    def input_tangent(self, direction: Parameters, d_u: Array) -> Array:
        """Derivative of ``X_0`` in a direction."""
        xi0 = self._space.forcing(d_u, 0)[0]
        if self._network.linear_lift:
            dx = self._network.lift(direction, self._inputs)
        else:
            dx = np.zeros((self._network.index.neurons, self._inputs.shape[1]))
        return dx + xi0 if len(xi0) else dx

    def input_adjoint(self, back: Array, sums: Parameters, r_u: Array) -> None:
        """Its transpose, added to the sums over samples and to this rank's part of a dual control."""
        if self._network.linear_lift:
            sums.lift[:, :-1] += back @ self._inputs.T
            sums.lift[:, -1] += back.sum(axis=1)
        xi0 = self._space.forcing(r_u, 0)[0]
        if len(xi0):
            xi0 += back

    def output(self, weights: Parameters, x: Array, sums: Parameters) -> tuple[Array, float]:
        """Derivative in the states ``X_S`` (N, K), and the loss; adds the readout's gradient.

        :meth:`curvature` is taken there.
        """
        self._weights, self._x = weights, x.copy()
        self._y = self._network.read(weights, x)
        self._dy = np.empty_like(self._y)
        loss, _ = self._loss.value(self._y.copy(), self._targets, self._dy)
        self._network.readout.gradient(self._dy, x, sums.readout)
        return self._network.readout.transposed(weights, self._dy), float(loss)

    def curvature(self, direction: Parameters, d_x: Array, sums: Parameters, exact: bool) -> Array:
        """Second derivative applied to a direction, its readout part added to the sums.

        Without ``exact``, the curvature of the loss alone.
        """
        readout = self._network.readout
        curved = readout.tangent(self._weights, direction, self._x, d_x)
        self._loss.hessian(self._y, curved.copy(), curved)
        out = readout.transposed(self._weights, curved)
        readout.gradient(curved, self._x, sums.readout)
        if exact and readout.trained:
            out = out + readout.transposed(direction, self._dy)
            readout.gradient(self._dy, d_x, sums.readout, constant=False)
        return out
