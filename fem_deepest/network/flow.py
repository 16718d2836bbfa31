"""The discrete flow ``x(0) -> x(T)`` of a tile of samples: forward, adjoint, tangent, second adjoint.

Dynamics with dense coupling, ``x' = F(x, w) + xi``, ``F = -a x + sigma(W_h x + b)``, by a
Runge-Kutta scheme on the depth mesh:

    X_j = x_i + h sum_l a_jl k_l,    k_j = F(X_j, w(t_i + c_j h)) + xi_i,
    x_{i+1} = x_i + h sum_j b_j k_j.

The adjoint is the exact transpose of this map (discretise, then differentiate); with the forward map
it is a symplectic partitioned method (Sanz-Serna 2016, doi:10.1137/151002769). All sweeps work on
``K`` samples at once by matrix products; a stage matrix ``Theta = [W_h | b]`` acts on ``[X; 1]``, so
that the bias costs no pass of its own. A tile is narrow enough for its states to stay in the cache.

Networks with the same mesh and different weights may go side by side: every array then has an axis
for them just before its last two, and the products are stacks of products.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.network import stage
from fem_deepest.network.activation import Activation
from fem_deepest.network.scheme import Scheme

Array = NDArray[np.float64]


class Flow:
    """Sweeps through the depth for tiles of one width, with all buffers allocated once.

    Args:
        steps: Depth steps ``h_i``, shape (n,).
        neurons: ``N``.
        width: Number of samples ``K`` in a tile.
        scheme: Depth scheme with ``s`` stages and ``S`` distinct abscissae.
        activation: ``sigma``.
        leak: ``a``.
        lead: Shape of the axis of the networks side by side, ``(B,)``; none for one network.

    Stage matrices have the shape (n, S, N, N + 1), forcings (n, N, K), with ``lead`` before the last two
    axes. Nothing here is collective.
    """

    def __init__(
        self,
        steps: Array,
        neurons: int,
        width: int,
        scheme: Scheme,
        activation: Activation,
        leak: float,
        lead: tuple[int, ...] = (),
    ) -> None:
        n, s = steps.size, scheme.stages
        self.steps, self.scheme, self.activation, self.leak = steps, scheme, activation, leak
        self.neurons, self.width = neurons, width
        shape = (*lead, neurons, width)
        self._stage_state = np.ones((n, s, *lead, neurons + 1, width))
        self._first_state = [self._stage_state[i, 0, ..., :-1, :] for i in range(n)]
        self._value = np.empty((n, s, *shape))
        self._k = np.empty((s, *shape))
        self._slope, self._v, self._t, self._kappa = (np.empty(shape) for _ in range(4))
        self._product = np.empty((*lead, neurons, neurons + 1))
        self._second: tuple[Array, Array, Array] | None = None

    def _buffers(self) -> tuple[Array, Array, Array]:
        """Stage costates, stage tangents and their pre-activations; only the Hessian needs them."""
        if self._second is None:
            shape = self._value.shape
            self._second = np.empty(shape), np.empty(shape), np.empty(shape)
        return self._second

    def forward(
        self, theta: Array, x: Array, xi: Array | None = None, nodes: Array | None = None
    ) -> None:
        """States from ``x(0)`` to ``x(T)``, in place; the stages are kept for the other sweeps.

        Args:
            theta: Stage matrices.
            x: ``x(0)`` on entry, ``x(T)`` on return, shape (N, K).
            xi: Forcing, or none.
            nodes: Receives the states at the nodes, (n + 1, N, K), if given.

        Raises:
            NumericalFailure: An implicit stage did not converge.
        """
        a, slot = self.scheme.a, self.scheme.slot
        bare = not self.leak and xi is None  # then k is the value of the activation itself
        last, current = self.steps.size - 1, x
        for i, h in enumerate(self.steps):
            if nodes is not None:
                nodes[i] = current
            slopes = self._value[i] if bare else self._k
            for j in range(self.scheme.stages):
                full, value, k = self._stage_state[i, j], self._value[i, j], self._k[j]
                state = self._first_state[i] if j == 0 else full[..., :-1, :]
                if current is not state:
                    self._combination(current, h, a[j][:j], slopes, state)
                matrix = theta[i, slot[j]]
                if a[j][j] != 0.0:
                    base = state.copy() if xi is None else state + (h * a[j][j]) * xi[i]
                    stage.solve(matrix, self.activation, h * a[j][j], self.leak, base, full)
                np.matmul(matrix, full, out=value)
                self.activation.value(value, value)
                if not bare:
                    np.multiply(state, -self.leak, out=k)
                    k += value
                    if xi is not None:
                        k += xi[i]
            # An explicit first stage is the node itself: the step ends where the next one reads.
            explicit = i < last and a[0][0] == 0.0
            end = self._first_state[i + 1] if explicit else x
            self._advance(current, h, slopes, end)
            current = end
        if nodes is not None:
            nodes[-1] = x

    def adjoint(
        self,
        theta: Array,
        q: Array,
        gradient: Array | None = None,
        xi_gradient: Array | None = None,
        keep: bool = False,
        nodes: Array | None = None,
        fresh: bool = False,
    ) -> None:
        """Transpose of the derivative of the last forward sweep applied to ``q(T)``, in place.

        Args:
            theta: The stage matrices of the forward sweep.
            q: ``q(T) = dPhi_T/dx`` on entry, ``q(0)`` on return, shape (N, K).
            gradient: Stage gradients ``sum_k F_w^T q`` are added here, (n, S, N, N + 1), if given.
            xi_gradient: Receives the derivative in the forcing, (n, N, K), if given.
            keep: Keep the stage costates, for :meth:`second_adjoint`.
            nodes: Receives the costate at the nodes, (n + 1, N, K), if given.
            fresh: Write over what ``gradient`` held instead of adding to it.
        """
        a, slot = self.scheme.a, self.scheme.slot
        chi = self._k
        # Stages come last to first, so the last one of a slot is the one that may write.
        writes = [fresh and slot[j] not in slot[j + 1 :] for j in range(len(slot))]
        # One explicit stage and nobody who asks for kappa: its factors go straight into v.
        lean = a == ((0.0,),) and not (self.leak or keep or xi_gradient is not None)
        for i in reversed(range(self.steps.size)):
            h = self.steps[i]
            if nodes is not None:
                nodes[i + 1] = q
            if xi_gradient is not None:
                xi_gradient[i] = 0.0
            for j in reversed(range(self.scheme.stages)):
                matrix, value = theta[i, slot[j]], self._value[i, j]
                weights, kappa, v = matrix[..., :-1], self._kappa, self._v
                self.activation.first(value, self._slope)
                if lean:
                    v = self._slope
                    v *= q
                    v *= h * self.scheme.b[0]
                else:
                    kappa = self._buffers()[0][i, j] if keep else kappa
                    self._transposed_combination(q, h, j, kappa)
                    if a[j][j] != 0.0:
                        kappa[...] = stage.solve_linear(
                            weights, self._slope, h * a[j][j], self.leak, kappa.copy(), adjoint=True
                        )
                    np.multiply(self._slope, kappa, out=v)
                np.matmul(np.swapaxes(weights, -1, -2), v, out=chi[j])
                if self.leak:
                    np.multiply(kappa, self.leak, out=self._t)
                    chi[j] -= self._t
                if gradient is not None:
                    target = gradient[i, slot[j]]
                    product = target if writes[j] else self._product
                    np.matmul(v, np.swapaxes(self._stage_state[i, j], -1, -2), out=product)
                    if product is not target:
                        target += product
                if xi_gradient is not None:
                    xi_gradient[i] += kappa
            for j in range(self.scheme.stages):
                q += chi[j]
        if nodes is not None:
            nodes[0] = q

    def tangent(
        self,
        theta: Array,
        d_theta: Array,
        dx: Array,
        d_xi: Array | None = None,
        nodes: Array | None = None,
    ) -> None:
        """Derivative of the last forward sweep in a direction: ``dx(0) -> dx(T)``, in place.

        Args:
            theta: The stage matrices of the forward sweep.
            d_theta: Their direction.
            dx: ``dx(0)`` on entry, ``dx(T)`` on return, shape (N, K).
            d_xi: Direction of the forcing, or none.
            nodes: Receives ``dx`` at the nodes, (n + 1, N, K), if given.
        """
        a, slot = self.scheme.a, self.scheme.slot
        _, d_state, d_z = self._buffers()
        for i, h in enumerate(self.steps):
            if nodes is not None:
                nodes[i] = dx
            for j in range(self.scheme.stages):
                state, z, k = d_state[i, j], d_z[i, j], self._k[j]
                self._combination(dx, h, a[j][:j], self._k, state)
                matrix = theta[i, slot[j]]
                weights = matrix[..., :-1]
                self.activation.first(self._value[i, j], self._slope)
                np.matmul(d_theta[i, slot[j]], self._stage_state[i, j], out=self._t)
                if a[j][j] != 0.0:
                    source = self._slope * self._t
                    if d_xi is not None:
                        source += d_xi[i]
                    source *= h * a[j][j]
                    source += state
                    state[...] = stage.solve_linear(
                        weights, self._slope, h * a[j][j], self.leak, source, adjoint=False
                    )
                np.matmul(weights, state, out=z)
                z += self._t
                np.multiply(self._slope, z, out=k)
                if self.leak:
                    np.multiply(state, self.leak, out=self._t)
                    k -= self._t
                if d_xi is not None:
                    k += d_xi[i]
            self._advance(dx, h, self._k, dx)
        if nodes is not None:
            nodes[-1] = dx

    def second_adjoint(
        self,
        theta: Array,
        d_theta: Array,
        dq: Array,
        hessian: Array,
        xi_hessian: Array | None = None,
        exact: bool = True,
        nodes: Array | None = None,
    ) -> None:
        """Derivative of the adjoint sweep along the last tangent sweep, in place.

        Args:
            theta: The stage matrices.
            d_theta: Their direction.
            dq: ``dq(T)`` on entry, ``dq(0)`` on return, shape (N, K).
            hessian: The stage part of the Hessian action is added here, (n, S, N, N + 1).
            xi_hessian: Receives its forcing part, (n, N, K), if given.
            exact: With the terms in the costate; without them it is the Gauss-Newton product.
                The exact one needs an adjoint sweep with ``keep`` before.
            nodes: Receives ``dq`` at the nodes, (n + 1, N, K), if given.
        """
        a, slot = self.scheme.a, self.scheme.slot
        stage_costate, d_state, d_z = self._buffers()
        d_chi, extra = self._k, np.empty_like(self._t)
        for i in reversed(range(self.steps.size)):
            h = self.steps[i]
            if nodes is not None:
                nodes[i + 1] = dq
            if xi_hessian is not None:
                xi_hessian[i] = 0.0
            for j in reversed(range(self.scheme.stages)):
                d_kappa, kappa = self._kappa, stage_costate[i, j]
                self._transposed_combination(dq, h, j, d_kappa)
                weights, d_weights = theta[i, slot[j]][..., :-1], d_theta[i, slot[j]][..., :-1]
                value = self._value[i, j]
                self.activation.first(value, self._slope)
                if exact:
                    self.activation.second(value, self._slope, extra)
                    extra *= d_z[i, j]
                    extra *= kappa
                    np.multiply(self._slope, kappa, out=self._v)
                if a[j][j] != 0.0:
                    source = d_kappa.copy()
                    if exact:
                        turn = np.swapaxes(weights, -1, -2) @ extra
                        turn += np.swapaxes(d_weights, -1, -2) @ self._v
                        source += (h * a[j][j]) * turn
                    d_kappa[...] = stage.solve_linear(
                        weights, self._slope, h * a[j][j], self.leak, source, adjoint=True
                    )
                if exact:
                    np.matmul(
                        self._v, np.swapaxes(d_state[i, j], -1, -2), out=self._product[..., :-1]
                    )
                    hessian[i, slot[j], ..., :-1] += self._product[..., :-1]
                    np.matmul(np.swapaxes(d_weights, -1, -2), self._v, out=d_chi[j])
                else:
                    d_chi[j] = 0.0
                np.multiply(self._slope, d_kappa, out=self._t)
                if exact:
                    self._t += extra
                np.matmul(self._t, np.swapaxes(self._stage_state[i, j], -1, -2), out=self._product)
                hessian[i, slot[j]] += self._product
                np.matmul(np.swapaxes(weights, -1, -2), self._t, out=self._v)
                d_chi[j] += self._v
                if self.leak:
                    np.multiply(d_kappa, self.leak, out=self._t)
                    d_chi[j] -= self._t
                if xi_hessian is not None:
                    xi_hessian[i] += d_kappa
            for j in range(self.scheme.stages):
                dq += d_chi[j]
        if nodes is not None:
            nodes[0] = dq

    def _advance(self, x: Array, h: float, slopes: Array, out: Array) -> None:
        """``out = x + h sum_j b_j k_j``; ``out`` may be ``x``."""
        for weight, k in zip(self.scheme.b, slopes, strict=True):
            if weight:
                np.multiply(k, h * weight, out=self._t)
                np.add(x, self._t, out=out)
                x = out

    def _combination(
        self, x: Array, h: float, row: tuple[float, ...], k: Array, out: Array
    ) -> None:
        """``x + h sum_l a_jl k_l`` over the earlier stages."""
        out[...] = x
        for weight, slope in zip(row, k, strict=False):
            if weight:
                np.multiply(slope, h * weight, out=self._t)
                out += self._t

    def _transposed_combination(self, q: Array, h: float, j: int, out: Array) -> None:
        """``h b_j q + h sum_l a_lj chi_l`` over the later stages."""
        np.multiply(q, h * self.scheme.b[j], out=out)
        for later in range(j + 1, self.scheme.stages):
            weight = self.scheme.a[later][j]
            if weight:
                np.multiply(self._k[later], h * weight, out=self._t)
                out += self._t
