"""Antisymmetric coupling: ``z(s) = int_S (w(s,s') - w(s',s)) x(s') ds' - gamma x(s) + b(s)``."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from fem_deepest.network.coupling.dense import Kernel
from fem_deepest.network.coupling.protocol import Work

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Antisymmetric(Kernel):
    """``theta = [w | b]``, effective ``[(w - w^T) M_S | b]``, and ``z = (w - w^T) M_S x - gamma x + b``.

    The eigenvalues of ``B_x`` have real parts ``-gamma``: where the slope of the activation is one number
    the flow neither grows nor, with ``gamma = 0``, decays (Haber, Ruthotto 2017,
    doi:10.1088/1361-6420/aa9a90). Explicit Euler needs some ``gamma``; the midpoint rule needs none. The
    symmetric part of ``w`` is seen by the prior alone, which takes it to zero.

    Attributes:
        damping: ``gamma``.
    """

    damping: float = 0.0

    parameters_text = "kernel w of w - w^T, and bias b"

    def effective(self, theta: Array) -> Array:
        """``[(w - w^T) M_S | b]``."""
        out = theta.copy()
        out[..., :-1] -= np.swapaxes(theta[..., :-1], -1, -2)
        return super().effective(out)

    def effective_transposed(self, g: Array) -> None:
        """Transpose of :meth:`effective`, in place."""
        super().effective_transposed(g)
        g[..., :-1] -= np.swapaxes(g[..., :-1], -1, -2).copy()

    def value(self, theta: Array, full: Array, out: Array, work: Work) -> None:
        """``W x - gamma x + b``."""
        super().value(theta, full, out, work)
        self._damp(full[..., :-1, :], out)

    def tangent(self, theta: Array, dx: Array, out: Array, work: Work) -> None:
        """``W dx - gamma dx``."""
        super().tangent(theta, dx, out, work)
        self._damp(dx, out)

    def adjoint(self, theta: Array, v: Array, out: Array, work: Work) -> None:
        """``W^T v - gamma v``."""
        super().adjoint(theta, v, out, work)
        self._damp(v, out)

    def matrix(self, theta: Array) -> Array:
        """``W - gamma``."""
        return super().matrix(theta) - self.damping * np.eye(self.neurons)

    def start(self, random: np.random.Generator, deviation: float, out: Array) -> None:
        """One Gaussian kernel whose antisymmetric part has the deviation; no bias."""
        super().start(random, deviation / sqrt(2.0), out)

    def _damp(self, x: Array, out: Array) -> None:
        if self.damping:
            out -= self.damping * x
