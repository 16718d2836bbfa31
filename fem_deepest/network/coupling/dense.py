"""Dense (integral) coupling: ``z(s) = int_S w(s,s') x(s') ds' + b(s)``, nodally ``W_h x + b``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest.network.coupling.protocol import Work
from fem_deepest.spaces import NeuronSpace
from fem_deepest.spaces.prolongation import with_constant

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Dense:
    """``theta = [w | b]``, effective ``[W_h | b]`` with ``W_h = w M_S``: one product with ``[x; 1]``.

    ``B`` is bilinear: the second derivative in the parameters alone vanishes. See :class:`.Coupling`
    for the methods. Nothing here is collective.

    Attributes:
        index: Neuron index.
    """

    index: NeuronSpace

    parameters_text = "kernel w and bias b as [w | b]"

    @property
    def neurons(self) -> int:
        """``N``."""
        return self.index.neurons

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, N + 1)``."""
        return self.neurons, self.neurons + 1

    @property
    def column_scale(self) -> Array:
        """Factors from the stored ``[w | b]`` to the effective ``[W_h | b]``, shape (N + 1,)."""
        scale = np.full(self.neurons + 1, self.index.mass)
        scale[-1] = 1.0
        return scale

    def effective(self, theta: Array) -> Array:
        """``[w M_S | b]``; on points ``theta`` itself."""
        return theta if self.index.mass == 1.0 else theta * self.column_scale

    def effective_transposed(self, g: Array) -> None:
        """Transpose of :meth:`effective`, in place."""
        if self.index.mass != 1.0:
            g *= self.column_scale

    def buffers(self, width: int, lead: tuple[int, ...] = ()) -> Work:
        """One matrix, for :meth:`second_adjoint`."""
        return (np.empty((*lead, self.neurons, self.neurons)),)

    def value(self, theta: Array, full: Array, out: Array, work: Work) -> None:
        """``W x + b``."""
        np.matmul(theta, full, out=out)

    def tangent(self, theta: Array, dx: Array, out: Array, work: Work) -> None:
        """``W dx``."""
        np.matmul(theta[..., :-1], dx, out=out)

    def adjoint(self, theta: Array, v: Array, out: Array, work: Work) -> None:
        """``W^T v``."""
        np.matmul(np.swapaxes(theta[..., :-1], -1, -2), v, out=out)

    def variation(self, theta: Array, d_theta: Array, full: Array, out: Array, work: Work) -> None:
        """``dW x + db``."""
        np.matmul(d_theta, full, out=out)

    def gradient(self, theta: Array, v: Array, full: Array, out: Array, work: Work) -> None:
        """``v [x; 1]^T``."""
        np.matmul(v, np.swapaxes(full, -1, -2), out=out)

    def second_adjoint(
        self,
        theta: Array,
        d_theta: Array,
        v: Array,
        dx: Array,
        full: Array,
        out_x: Array,
        out_theta: Array,
        work: Work,
    ) -> None:
        """``out_x += dW^T v``, ``out_theta += [v dx^T | 0]``."""
        (product,) = work
        np.matmul(v, np.swapaxes(dx, -1, -2), out=product)
        out_theta[..., :-1] += product
        out_x += np.swapaxes(d_theta[..., :-1], -1, -2) @ v

    def matrix(self, theta: Array) -> Array:
        """``W``."""
        return theta[..., :-1]

    def prolongation(self, finer: Dense) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        """``P`` for the rows and, with one for the bias, for the columns: ``P w P^T`` and ``P b``."""
        states = self.index.prolongation(finer.index)
        return states, with_constant(states)

    def start(self, random: np.random.Generator, deviation: float, out: Array) -> None:
        """One Gaussian kernel, constant in depth; no bias."""
        n = self.neurons
        # On average over the index the kernel is the effective matrix over the measure of a neuron.
        scale = deviation / np.sqrt(n) * (n / (n * self.index.mass))
        out[...] = 0.0
        out[..., :-1] = scale * random.standard_normal((n, n))
