"""What is at the two ends of the depth: lift and input error, readout and loss, with two derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.network.loss import Loss
from fem_deepest.network.network import Network
from fem_deepest.spaces import Parameters

Array = NDArray[np.float64]

SCALARS = 4  # loss, score, model error, input error
COMMON = 2  # the first of them are functions of the output, the others sums over the neurons


def check_scalings(
    strength: float, kappa: float, ell: float, model: float, initial: float, samples: int
) -> None:
    """Refuse a prior or precisions that are none, or an action without samples.

    Raises:
        InputError: One of them is.
    """
    for name, value in {"lambda": strength, "kappa": kappa, "R_f": model, "R_0": initial}.items():
        if not value > 0.0:
            raise InputError(f"{name} must be positive, got {value}")
    if not 0.0 <= ell < np.inf:
        raise InputError(f"ell must be finite and not negative, got {ell}")
    if samples == 0:
        raise InputError("the action needs at least one sample, got none")


@dataclass(frozen=True)
class Ends:
    """The terms of the action of a tile of samples, and how states come in and go out.

    Attributes:
        network: The network.
        loss: ``Phi_T``.
        model_precision: ``R_f``.
        input_precision: ``R_0``.

    Inputs are (d, k), targets (k,) or (outputs, k), states (N, k); ``xi_0`` (N, k) and ``xi`` (n, N, k)
    may have no entries. Of networks side by side, arrays have an axis for them, and sums are added for
    each. Nothing here is collective.
    """

    network: Network
    loss: Loss
    model_precision: float
    input_precision: float

    def enter(self, parameters: Parameters, z: Array, xi0: Array, scalars: Array) -> Array:
        """``x(0)``; adds the input error."""
        x = self.network.lift(parameters, z)
        if xi0.size:
            x += xi0
            weighted, measure = self._measured(xi0)
            squares = np.einsum("...ak,...ak->...", xi0, weighted)
            scalars[..., 3] += 0.5 * self.input_precision * measure * squares
        return x

    def force(self, steps: Array, xi: Array, scalars: Array) -> None:
        """Add the model error of the cells with these steps."""
        if xi.size:
            weighted, measure = self._measured(xi)
            squares = np.einsum("i...ak,i...ak,i->...", xi, weighted, steps)
            scalars[..., 2] += 0.5 * self.model_precision * measure * squares

    def leave(self, parameters: Parameters, x: Array, target: NDArray, scalars: Array) -> Array:
        """Derivative of the loss in the output of ``x(T)``; adds loss and score."""
        y = self.network.read(parameters, x)
        loss, score = self.loss.value(y, target, y)
        scalars[..., 0] += loss
        scalars[..., 1] += score
        return y

    def leave_adjoint(
        self, parameters: Parameters, x: Array, dy: Array, readout: Array | None
    ) -> Array:
        """``q(T)`` of the derivative ``dy`` in the output; adds the readout's gradient."""
        if readout is not None:
            self.network.readout.gradient(dy, x, readout)
        return self.network.readout.transposed(parameters, dy)

    def leave_curved(
        self,
        parameters: Parameters,
        direction: Parameters,
        x: Array,
        dx: Array,
        dy: Array | None,
        out: Array,
    ) -> Array:
        """Derivative of ``q(T)`` along a direction; adds the readout's part.

        Args:
            parameters: Gives the readout.
            direction: Its direction.
            x: ``x(T)``.
            dx: Its direction.
            dy: Derivative of the loss in the output, for the exact one; none for Gauss-Newton.
            out: The readout's part is added here.
        """
        readout, y = self.network.readout, self.network.read(parameters, x)
        curved = readout.tangent(parameters, direction, x, dx)
        self.loss.hessian(y, curved.copy(), curved)
        dq = self.leave_adjoint(parameters, x, curved, out)
        if dy is not None and readout.trained:
            dq += readout.transposed(direction, dy)
            readout.gradient(dy, dx, out, constant=False)
        return dq

    def enter_tangent(self, direction: Parameters, z: Array, d_xi0: Array) -> Array:
        """``dx(0)``."""
        if self.network.linear_lift:
            dx = self.network.lift(direction, z)
        else:
            dx = np.zeros((self.network.index.neurons, z.shape[1]))
        if d_xi0.size:
            dx += d_xi0
        return dx

    def enter_adjoint(self, z: Array, q: Array, lift: Array, xi0_out: Array) -> None:
        """Add the lift's gradient of ``q(0)``; writes that of ``xi_0``."""
        if self.network.linear_lift:
            lift[..., :-1] += q @ np.swapaxes(z, -1, -2)
            lift[..., -1] += q.sum(axis=-1)
        if xi0_out.size:
            xi0_out[...] = q

    def _measured(self, x: Array) -> tuple[Array, float]:
        """``M_S x`` with the lumped mass, as a field and a factor."""
        index = self.network.index
        return (x, index.uniform) if index.uniform else (index.weights[:, None] * x, 1.0)
