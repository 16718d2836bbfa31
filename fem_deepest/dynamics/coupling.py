"""A layer of a network as a dynamical system: ``dx/dt = -a x + sigma(W x + b)``.

Nothing here is collective.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.network.activation import Activation, tanh

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Coupling:
    """``N`` neurons, all coupled to all; the parameters are ``[W | b]`` row by row.

    Attributes:
        states: ``N``.
        activation: ``sigma``.
        leak: ``a >= 0``.
    """

    states: int
    activation: Activation = field(default_factory=tanh)
    leak: float = 0.0
    name = "coupling"

    def __post_init__(self) -> None:
        if self.states < 1 or not self.leak >= 0.0:
            raise InputError(
                f"a coupling got {self.states} neurons and the leak {self.leak}, expected at least one "
                "neuron and a leak that is not negative"
            )

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """``w00, w01, .., b0, w10, ..``: ``N (N + 1)`` names."""
        n = self.states
        return tuple(name for i in range(n) for name in (*(f"w{i}_{j}" for j in range(n)), f"b{i}"))

    def value(self, t: Array, x: Array, w: Array) -> Array:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        return self._layer(x, w)[0] - self.leak * x

    def jacobian(self, t: Array, x: Array, w: Array) -> tuple[Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        n = self.states
        s, inputs, kernel = self._layer(x, w)
        first = np.empty_like(s)
        self.activation.first(s, first)
        f_x = first[..., None] * kernel - self.leak * np.eye(n)
        f_w = np.zeros((*s.shape, n, n + 1))
        i = np.arange(n)
        f_w[..., i, i, :] = first[..., None] * inputs[..., None, :]
        return f_x, f_w.reshape(*s.shape, -1)

    def adjoint(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Transposable`."""
        s, inputs, kernel = self._layer(x, w)
        first = np.empty_like(s)
        self.activation.first(s, first)
        r = p * first
        g_w = r[..., :, None] * inputs[..., None, :]
        g_x = (r[..., None, :] @ kernel)[..., 0, :] - self.leak * p
        return g_x, g_w.reshape(*r.shape[:-1], -1)

    def curvature(self, t: Array, x: Array, w: Array, p: Array) -> tuple[Array, Array, Array]:
        """See :class:`fem_deepest.dynamics.dynamics.Dynamics`."""
        n = self.states
        s, inputs, kernel = self._layer(x, w)
        first, second = np.empty_like(s), np.empty_like(s)
        self.activation.first(s, first)
        self.activation.second(s, first, second)
        q, r = p * second, p * first
        f_xx = np.swapaxes(kernel, -1, -2) @ (q[..., None] * kernel)
        # d^2/dx_j dw_im = q_i W_ij z_m + r_i delta_jm, with z = (x, 1).
        shape = q.shape[:-1]
        f_xw = (
            np.swapaxes(kernel, -1, -2)[..., None]
            * (q[..., None] * inputs[..., None, :])[..., None, :, :]
        )
        j = np.arange(n)
        f_xw[..., j, :, j] += np.broadcast_to(r, f_xw[..., j, :, j].shape)
        f_ww = np.zeros((*shape, n, n + 1, n, n + 1))
        outer = inputs[..., :, None] * inputs[..., None, :]
        f_ww[..., j, :, j, :] = np.moveaxis(q[..., None, None] * outer[..., None, :, :], -3, 0)
        size = n * (n + 1)
        return f_xx, f_xw.reshape(*shape, n, size), f_ww.reshape(*shape, size, size)

    def _layer(self, x: Array, w: Array) -> tuple[Array, Array, Array]:
        """``sigma(W x + b)``, ``z = (x, 1)`` and ``W``, with common leading axes."""
        n = self.states
        lead = np.broadcast_shapes(x.shape[:-1], w.shape[:-1])
        x, w = np.broadcast_to(x, (*lead, n)), np.broadcast_to(w, (*lead, n * (n + 1)))
        table = w.reshape(*lead, n, n + 1)
        inputs = np.concatenate([x, np.ones((*lead, 1))], axis=-1)
        s = (table @ inputs[..., None])[..., 0]
        self.activation.value(s, s)
        return s, inputs, table[..., :n]
