"""The discrete flow ``x(0) -> x(T)`` of a tile of samples: forward and adjoint sweep.

Dynamics ``x' = F(x, w) + xi``, ``F = -a x + sigma(z)`` with a coupling ``z = B(theta(t); [x; 1])``, for
a dense one ``z = W_h x + b``, by a Runge-Kutta scheme on the depth mesh:

    X_j = x_i + h sum_l a_jl k_l,    k_j = F(X_j, w(t_i + c_j h)) + xi_i,
    x_{i+1} = x_i + h sum_j b_j k_j.

The adjoint is the exact transpose of this map (discretise, then differentiate); with the forward map
it is a symplectic partitioned method (Sanz-Serna 2016, doi:10.1137/151002769). All sweeps work on
``K`` samples at once by matrix products, and a coupling acts on ``[X; 1]``, so that the bias costs no
pass of its own. A tile is narrow enough for its states to stay in the cache.

Networks with the same mesh and different weights may go side by side: every array then has an axis
for them just before its last two, and the products are stacks of products.

A sweep may also go through a range of cells at a time, one range after the other, with the parameters of
those cells alone: with the same bits as in one go.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fem_deepest.network.activation import Activation
from fem_deepest.network.coupling.protocol import Coupling
from fem_deepest.network.scheme import Scheme
from fem_deepest.network.stage import ImplicitStage

Array = NDArray[np.float64]
Stages: TypeAlias = Array | Sequence[Sequence[Array]]  # [cell][slot], each (rows, columns)


class Flow:
    """Sweeps through the depth for tiles of one width, with all buffers allocated once.

    Args:
        steps: Depth steps ``h_i``, shape (n,).
        coupling: ``B``, of ``N`` neurons, with parameters of shape (rows, columns).
        width: Number of samples ``K`` in a tile.
        scheme: Depth scheme with ``s`` stages and ``S`` distinct abscissae.
        activation: ``sigma``.
        leak: ``a``.
        lead: Shape of the axis of the networks side by side, ``(B,)``; none for one network.
        kept: Make arrays for the stages of a forward sweep; else :meth:`keep_in` is to give some.

    Attributes:
        full: ``[X_j; 1]`` of the last forward sweep, (n, s, N + 1, K).
        value: ``sigma(z_j)`` of the last forward sweep, (n, s, N, K).
        shape: Shape of ``value``.
        work: Work arrays of the coupling.
        implicit: Solver of an implicit stage.

    Stage parameters have the shape (n, S, rows, columns), forcings (n, N, K), with ``lead`` before the
    last two axes. Where a sweep is given a range of cells, all arrays of cells or nodes have those of the
    range; forward ranges go up, adjoint ones down, each on from where the last one ended, with the same
    ``x`` or ``q``. Nothing here is collective.
    """

    def __init__(
        self,
        steps: Array,
        coupling: Coupling,
        width: int,
        scheme: Scheme,
        activation: Activation,
        leak: float,
        lead: tuple[int, ...] = (),
        kept: bool = True,
    ) -> None:
        n, s, neurons = steps.size, scheme.stages, coupling.neurons
        self.steps, self.scheme, self.activation, self.leak = steps, scheme, activation, leak
        self.coupling, self.work = coupling, coupling.buffers(width, lead)
        self.implicit = ImplicitStage(coupling, activation, leak, self.work)
        shape = (*lead, neurons, width)
        self.shape = (n, s, *shape)
        if kept:
            self.keep_in(np.empty((n, s, *lead, neurons + 1, width)), np.empty(self.shape))
        self._k = np.empty((s, *shape))
        self._slope, self._v, self._t, self._kappa = (np.empty(shape) for _ in range(4))
        self._product = np.empty((*lead, *coupling.shape))

    def keep_in(self, full: Array, value: Array) -> None:
        """Take these arrays for :attr:`full` and :attr:`value`: several tiles may be under way."""
        self.full, self.value = full, value
        full[..., -1, :] = 1.0
        self._first_state = [full[i, 0, ..., :-1, :] for i in range(len(full))]

    def forward(
        self,
        theta: Stages,
        x: Array,
        xi: Array | None = None,
        nodes: Array | None = None,
        cells: range | None = None,
    ) -> None:
        """States from ``x(0)`` to ``x(T)``, in place; the stages are kept for the other sweeps.

        Args:
            theta: Stage parameters.
            x: ``x(0)`` on entry, ``x(T)`` on return, shape (N, K); between ranges it may be anything.
            xi: Forcing, or none.
            nodes: Receives the states at the nodes, (n + 1, N, K), if given.
            cells: The cells to go through, all by default.

        Raises:
            NumericalFailure: An implicit stage did not converge.
        """
        a, slot = self.scheme.a, self.scheme.slot
        bare = not self.leak and xi is None  # then k is the value of the activation itself
        cells = range(self.steps.size) if cells is None else cells
        last, current = self.steps.size - 1, x if cells.start == 0 else self._node(cells.start, x)
        for place, i in enumerate(cells):
            h = self.steps[i]
            if nodes is not None:
                nodes[place] = current
            slopes = self.value[i] if bare else self._k
            for j in range(self.scheme.stages):
                full, value, k = self.full[i, j], self.value[i, j], self._k[j]
                state = self._first_state[i] if j == 0 else full[..., :-1, :]
                if current is not state:
                    self.scheme.stage_state(j, current, h, slopes, state, self._t)
                parameters = theta[place][slot[j]]
                if a[j][j] != 0.0:
                    base = state.copy() if xi is None else state + (h * a[j][j]) * xi[place]
                    self.implicit.solve(parameters, h * a[j][j], base, full)
                self.coupling.value(parameters, full, value, self.work)
                self.activation.value(value, value)
                if not bare:
                    np.multiply(state, -self.leak, out=k)
                    k += value
                    if xi is not None:
                        k += xi[place]
            end = x if i == last else self._node(i + 1, x)
            self.scheme.end(current, h, slopes, end, self._t)
            current = end
        if nodes is not None:
            nodes[-1] = current

    def _node(self, i: int, x: Array) -> Array:
        """Where the state at an inner node is: an explicit first stage is the node itself."""
        return self._first_state[i] if self.scheme.a[0][0] == 0.0 else x

    def adjoint(
        self,
        theta: Stages,
        q: Array,
        gradient: Stages | None = None,
        xi_gradient: Array | None = None,
        costates: Array | None = None,
        nodes: Array | None = None,
        fresh: bool = False,
        cells: range | None = None,
    ) -> None:
        """Transpose of the derivative of the last forward sweep applied to ``q(T)``, in place.

        Args:
            theta: The stage parameters of the forward sweep.
            q: ``q(T) = dPhi_T/dx`` on entry, ``q(0)`` on return, shape (N, K).
            gradient: Stage gradients ``sum_k F_w^T q`` are added here, (n, S, rows, columns), if
                given.
            xi_gradient: Receives the derivative in the forcing, (n, N, K), if given.
            costates: Receives the stage costates, (n, s, N, K), if given; see :class:`.Variation`.
            nodes: Receives the costate at the nodes, (n + 1, N, K), if given.
            fresh: Write over what ``gradient`` held instead of adding to it.
            cells: The cells to go through, all by default.
        """
        a, slot, coupling, work = self.scheme.a, self.scheme.slot, self.coupling, self.work
        chi = self._k
        # Stages come last to first, so the last one of a slot is the one that may write.
        writes = [fresh and slot[j] not in slot[j + 1 :] for j in range(len(slot))]
        # One explicit stage and nobody who asks for kappa: its factors go straight into v.
        lean = a == ((0.0,),) and not self.leak and costates is None and xi_gradient is None
        cells = range(self.steps.size) if cells is None else cells
        for place, i in reversed(list(enumerate(cells))):
            h = self.steps[i]
            if nodes is not None:
                nodes[place + 1] = q
            if xi_gradient is not None:
                xi_gradient[place] = 0.0
            for j in reversed(range(self.scheme.stages)):
                parameters, kappa, v = theta[place][slot[j]], self._kappa, self._v
                self.activation.first(self.value[i, j], self._slope)
                if lean:
                    v = self._slope
                    v *= q
                    v *= h * self.scheme.b[0]
                else:
                    kappa = kappa if costates is None else costates[place, j]
                    self.scheme.stage_costate(j, q, h, chi, kappa, self._t)
                    if a[j][j] != 0.0:
                        kappa[...] = self.implicit.solve_linear(
                            parameters, self._slope, h * a[j][j], kappa.copy(), adjoint=True
                        )
                    np.multiply(self._slope, kappa, out=v)
                coupling.adjoint(parameters, v, chi[j], work)
                if self.leak:
                    np.multiply(kappa, self.leak, out=self._t)
                    chi[j] -= self._t
                if gradient is not None:
                    target = gradient[place][slot[j]]
                    product = target if writes[j] else self._product
                    coupling.gradient(parameters, v, self.full[i, j], product, work)
                    if product is not target:
                        target += product
                if xi_gradient is not None:
                    xi_gradient[place] += kappa
            for j in range(self.scheme.stages):
                q += chi[j]
        if nodes is not None:
            nodes[0] = q
