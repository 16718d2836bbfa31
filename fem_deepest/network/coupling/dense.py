"""Dense (integral) coupling: ``z(s) = int_S w(s,s') x(s') ds' + b(s)``, nodally ``W_h x + b``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import fsum

import numpy as np
from numpy.typing import NDArray

from fem_deepest.network.coupling.protocol import Sparse, Work
from fem_deepest.spaces import NeuronSpace
from fem_deepest.spaces.factor import Factor
from fem_deepest.spaces.prolongation import with_constant

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Kernel:
    """What couplings with a whole kernel share: ``z = [W | b] [x; 1]`` with parameters ``[w | b]``.

    ``B`` is bilinear: the second derivative in the parameters alone vanishes. See :class:`.Coupling`
    for the methods. Nothing here is collective.

    Attributes:
        index: Neuron index.
    """

    index: NeuronSpace

    parameters_text = "kernel w and bias b"
    comm = None

    @property
    def neurons(self) -> int:
        """``N``."""
        return self.index.neurons

    @property
    def shape(self) -> tuple[int, int]:
        """``(N, N + 1)``."""
        return self.neurons, self.neurons + 1

    @property
    def rows(self) -> Factor:
        """``V_S``."""
        return self.index.factor

    @cached_property
    def columns(self) -> Factor:
        """``V_S`` with one point, for the bias."""
        return self.index.factor + Factor.plain(1)

    def effective(self, theta: Array) -> Array:
        """``[w M_S | b]``; on points ``theta`` itself."""
        return theta if self.columns.uniform == 1.0 else self.columns.apply_mass(theta, -1)

    def effective_transposed(self, g: Array) -> None:
        """Transpose of :meth:`effective`, in place."""
        if self.columns.uniform != 1.0:
            g[...] = self.columns.apply_mass(g, -1)

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

    def prolongation(self, finer: Kernel) -> tuple[Sparse, Sparse]:
        """``w -> P w P^T``, ``b -> P b`` with the interpolation ``P`` of states."""
        states = self.index.prolongation(finer.index)
        return states, with_constant(states)

    def matrix(self, theta: Array) -> Array:
        """``W``."""
        return theta[..., :-1]

    def start(self, random: np.random.Generator, deviation: float, out: Array) -> None:
        """One Gaussian kernel, constant in depth; no bias."""
        n = self.neurons
        # A kernel is the effective matrix over the mass of a neuron, on average |S| / N.
        scale = deviation / np.sqrt(n) * (n / fsum(self.index.weights))
        out[...] = 0.0
        out[..., :-1] = scale * random.standard_normal((n, n))


@dataclass(frozen=True)
class Dense(Kernel):
    """``theta = [w | b]``, effective ``[W_h | b]`` with ``W_h = w M_S``: one product with ``[x; 1]``."""
