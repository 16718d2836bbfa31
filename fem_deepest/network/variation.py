"""Second variation of the discrete flow: its tangent, and the derivative of its adjoint along that.

The Hessian action of a function of ``x(T)`` is a forward, an adjoint, a tangent and a second adjoint
sweep (discretise, then differentiate: it is exact and symmetric). Without the terms in the costate the
last one gives the Gauss-Newton product.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.network.flow import Flow, Stages

Array = NDArray[np.float64]


class Variation:
    """Tangent and second adjoint of the sweeps of ``flow``.

    Args:
        flow: The sweeps, whose last stages these ones are taken at.
        kept: Make arrays for the costates and for the stages of a tangent sweep; else :meth:`keep_in` is
            to give some.

    Attributes:
        flow: The same.
        costates: Stage costates, (n, s, N, K): what :meth:`.Flow.adjoint` is to fill in for the exact
            second adjoint.

    Ranges of cells are as in :class:`.Flow`, whose sweeps go through a range before these ones do. Nothing
    here is collective.
    """

    def __init__(self, flow: Flow, kept: bool = True) -> None:
        self.flow = flow
        shape, tile = flow.shape, flow.shape[2:]
        if kept:
            self.keep_in(*(np.empty(shape) for _ in range(3)))
        self._k = np.empty(shape[1:])
        self._slope, self._v, self._t, self._kappa, self._bend = (np.empty(tile) for _ in range(5))
        self._product = np.empty((*tile[:-2], *flow.coupling.shape))

    def keep_in(self, d_state: Array, d_z: Array, costates: Array) -> None:
        """Take these arrays, (n, s, N, K); the costates are those of the cells of a range."""
        self._d_state, self._d_z, self.costates = d_state, d_z, costates

    def tangent(
        self,
        theta: Stages,
        d_theta: Stages,
        dx: Array,
        d_xi: Array | None = None,
        nodes: Array | None = None,
        cells: range | None = None,
    ) -> None:
        """Derivative of the last forward sweep in a direction: ``dx(0) -> dx(T)``, in place.

        Args:
            theta: The stage parameters of the forward sweep, (n, S, rows, columns).
            d_theta: Their direction.
            dx: ``dx(0)`` on entry, ``dx(T)`` on return, shape (N, K).
            d_xi: Direction of the forcing, or none.
            nodes: Receives ``dx`` at the nodes, (n + 1, N, K), if given.
            cells: The cells to go through, all by default.
        """
        flow = self.flow
        scheme, coupling, work = flow.scheme, flow.coupling, flow.work
        a, slot = scheme.a, scheme.slot
        cells = range(flow.steps.size) if cells is None else cells
        for place, i in enumerate(cells):
            h = flow.steps[i]
            if nodes is not None:
                nodes[place] = dx
            for j in range(scheme.stages):
                state, z, k = self._d_state[i, j], self._d_z[i, j], self._k[j]
                scheme.stage_state(j, dx, h, self._k, state, self._t)
                parameters, direction = theta[place][slot[j]], d_theta[place][slot[j]]
                flow.activation.first(flow.value[i, j], self._slope)
                coupling.variation(parameters, direction, flow.full[i, j], self._t, work)
                if a[j][j] != 0.0:
                    source = self._slope * self._t
                    if d_xi is not None:
                        source += d_xi[place]
                    source *= h * a[j][j]
                    source += state
                    state[...] = flow.implicit.solve_linear(
                        parameters, self._slope, h * a[j][j], source, adjoint=False
                    )
                coupling.tangent(parameters, state, z, work)
                z += self._t
                np.multiply(self._slope, z, out=k)
                if flow.leak:
                    np.multiply(state, flow.leak, out=self._t)
                    k -= self._t
                if d_xi is not None:
                    k += d_xi[place]
            scheme.end(dx, h, self._k, dx, self._t)
        if nodes is not None:
            nodes[-1] = dx

    def second_adjoint(
        self,
        theta: Stages,
        d_theta: Stages,
        dq: Array,
        hessian: Stages,
        xi_hessian: Array | None = None,
        exact: bool = True,
        nodes: Array | None = None,
        cells: range | None = None,
    ) -> None:
        """Derivative of the adjoint sweep along the last tangent sweep, in place.

        Args:
            theta: The stage parameters.
            d_theta: Their direction.
            dq: ``dq(T)`` on entry, ``dq(0)`` on return, shape (N, K).
            hessian: The stage part of the Hessian action is added here, (n, S, rows, columns).
            xi_hessian: Receives its forcing part, (n, N, K), if given.
            exact: With the terms in the costate; without them it is the Gauss-Newton product.
                The exact one needs an adjoint sweep that filled in :attr:`costates` before.
            nodes: Receives ``dq`` at the nodes, (n + 1, N, K), if given.
            cells: The cells to go through, all by default.
        """
        flow = self.flow
        scheme, coupling, work = flow.scheme, flow.coupling, flow.work
        a, slot, d_chi, d_kappa = scheme.a, scheme.slot, self._k, self._kappa
        cells = range(flow.steps.size) if cells is None else cells
        for place, i in reversed(list(enumerate(cells))):
            h = flow.steps[i]
            if nodes is not None:
                nodes[place + 1] = dq
            if xi_hessian is not None:
                xi_hessian[place] = 0.0
            for j in reversed(range(scheme.stages)):
                parameters, full, value = theta[place][slot[j]], flow.full[i, j], flow.value[i, j]
                target = hessian[place][slot[j]]
                scheme.stage_costate(j, dq, h, d_chi, d_kappa, self._t)
                flow.activation.first(value, self._slope)
                d_chi[j] = 0.0
                if exact:
                    kappa = self.costates[place, j]
                    flow.activation.second(value, self._slope, self._bend)
                    self._bend *= self._d_z[i, j]
                    self._bend *= kappa
                    np.multiply(self._slope, kappa, out=self._v)
                    coupling.second_adjoint(
                        parameters,
                        d_theta[place][slot[j]],
                        self._v,
                        self._d_state[i, j],
                        full,
                        d_chi[j],
                        target,
                        work,
                    )
                if a[j][j] != 0.0:
                    source = d_kappa.copy()
                    if exact:
                        coupling.adjoint(parameters, self._bend, self._t, work)
                        self._t += d_chi[j]
                        source += (h * a[j][j]) * self._t
                    d_kappa[...] = flow.implicit.solve_linear(
                        parameters, self._slope, h * a[j][j], source, adjoint=True
                    )
                np.multiply(self._slope, d_kappa, out=self._t)
                if exact:
                    self._t += self._bend
                coupling.gradient(parameters, self._t, full, self._product, work)
                target += self._product
                coupling.adjoint(parameters, self._t, self._v, work)
                d_chi[j] += self._v
                if flow.leak:
                    np.multiply(d_kappa, flow.leak, out=self._t)
                    d_chi[j] -= self._t
                if xi_hessian is not None:
                    xi_hessian[place] += d_kappa
            for j in range(scheme.stages):
                dq += d_chi[j]
        if nodes is not None:
            nodes[0] = dq
