"""The output of a network: linear functionals of the last state, trained or fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fem_deepest.spaces import Parameters
from fem_deepest.spaces.factor import Factor

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Readout:
    """``y = C M_S x + c`` with trained ``C`` in ``V_S`` and ``c``, or ``y = H x`` with a fixed ``H``.

    ``C M_S x = int C(s) x(s) ds``: a functional is a field over the index, so that it can be refined with
    it. On points ``M_S = 1`` and ``C`` is a matrix.

    Attributes:
        space: ``V_S``.
        outputs: Number of functionals.
        trained: Whether ``[C | c]`` are parameters.
        fixed: ``H`` (outputs, N) of a readout that is not trained; None for the first neurons.

    States are (..., N, K), outputs (..., outputs, K). Nothing here is collective.
    """

    space: Factor
    outputs: int
    trained: bool
    fixed: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of ``[C | c]``."""
        return self.outputs if self.trained else 0, self.space.size + 1

    def functionals(self, parameters: Parameters) -> Array:
        """``C M_S`` or ``H``, (..., outputs, N)."""
        if self.trained:
            return self._weighted(parameters.readout[..., :-1])
        if self.fixed is not None:
            return self.fixed
        return np.eye(self.outputs, self.space.size)

    def value(self, parameters: Parameters, x: Array) -> Array:
        """``y``."""
        y = self._of(parameters, x)
        if self.trained:
            y += parameters.readout[..., -1:]
        return y

    def tangent(self, parameters: Parameters, direction: Parameters, x: Array, dx: Array) -> Array:
        """Derivative of ``y`` along ``direction`` and ``dx``."""
        dy = self._of(parameters, dx)
        return dy + self.value(direction, x) if self.trained else dy

    def transposed(self, parameters: Parameters, dy: Array) -> Array:
        """``(C M_S)^T dy`` or ``H^T dy``: the derivative in ``x``."""
        if self.trained or self.fixed is not None:
            return np.swapaxes(self.functionals(parameters), -1, -2) @ dy
        q = np.zeros((*dy.shape[:-2], self.space.size, dy.shape[-1]))
        q[..., : self.outputs, :] = dy
        return q

    def gradient(self, dy: Array, x: Array, out: Array, constant: bool = True) -> None:
        """Add the derivative in ``[C | c]``, without ``c`` on request."""
        if not self.trained:
            return
        out[..., :-1] += self._weighted(dy @ np.swapaxes(x, -1, -2))
        if constant:
            out[..., -1] += dy.sum(axis=-1)

    def _of(self, parameters: Parameters, x: Array) -> Array:
        if self.trained or self.fixed is not None:
            return self.functionals(parameters) @ x
        return x[..., : self.outputs, :].copy()

    def _weighted(self, a: Array) -> Array:
        return a if self.space.uniform == 1.0 else self.space.apply_mass(a, -1)
