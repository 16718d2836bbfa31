"""Damped Gauss-Newton systems of a network, with the states eliminated sample by sample.

In the coordinates ``(xi, w)`` the Gauss-Newton matrix is the prior plus the curvature seen at the
outputs, ``P + J^T J`` with ``J = (J_xi, J_w)`` the derivative of the whitened outputs, ``K C`` rows,
at any ``R_f``. The states go to these coordinates and back by a sweep each
(:class:`fem_deepest.action.network.linearised.Linearised`), and elimination of ``xi`` leaves

    S = tau Gamma + J_w^T D^{-1} J_w,    D = 1 + J_xi P_xi^{-1} J_xi^T / tau   (C x C for each sample)

on the weights: the prior ``Gamma`` plus rank ``K C``. The strong constraint has ``D = 1``. ``tau = 1 +
mu`` is the Levenberg-Marquardt damping in the metric of the prior.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.linearised import Linearised
from fem_deepest.action.network.prior import Prior
from fem_deepest.action.network.samples import weight_prior
from fem_deepest.action.network.states import StateAction
from fem_deepest.action.network.tiles import Sums
from fem_deepest.spaces import ControlSpace, ProcessGrid

Array = NDArray[np.float64]


class WeightMap:
    """``J_w`` and ``F_w`` between the parameters, which the owner holds, and this rank's samples.

    Args:
        grid: Process grid.
        lin: Linearised flow.
        space: Space of the parameters alone.
        prior: Their prior ``Gamma``.

    Every method is collective on the grid.
    """

    def __init__(
        self, grid: ProcessGrid, lin: Linearised, space: ControlSpace, prior: Prior
    ) -> None:
        self.grid, self.lin, self.space, self.prior = grid, lin, space, prior
        self._sums = np.empty(Sums.size(lin.network))
        self._views: dict[int, tuple[Array, Sums]] = {}

    def forward(self, w: PETSc.Vec) -> tuple[Array, Array, Array]:
        """Forcing (n, K, N), start (K, N) and whitened output (K, C) of a direction."""
        return self.lin.weights(self.space.parameters(self.space.share(w)))

    def outputs(self, w: PETSc.Vec) -> Array:
        """``J_w w``, (K, C)."""
        source, start, output = self.forward(w)
        return self.lin.outputs(source, start) + output

    def transposed(self, source: Array, start: Array, output: Array | None, r: PETSc.Vec) -> None:
        """Transpose of :meth:`forward`, written to ``r``."""
        lin = self.lin

        def add(block: int, flat: Array) -> None:
            flat[...] = 0.0
            own = lin.blocks.own[block]
            lin.weights_transposed(source, start, output, own, self._view(flat))

        lin.blocks.sum(add, self._sums)
        target = r.array_w
        if self.grid.owner:
            sums, parts = self._view(self._sums), self.space.parameters(target)
            lin.network.stage_parameters_transposed(sums.stages, parts.theta)
            parts.readout[...] = sums.readout
            parts.lift[...] = sums.lift

    def _view(self, flat: Array) -> Sums:
        """Views into one of the few arrays that the sums over blocks reuse."""
        if id(flat) not in self._views:
            self._views[id(flat)] = flat, Sums.view(flat, self.lin.network)
        return self._views[id(flat)][1]

    def outputs_transposed(self, eta: Array, r: PETSc.Vec) -> None:
        """``r = J_w^T eta``, ``eta`` (K, C)."""
        self.transposed(*self.lin.outputs_transposed(eta), eta, r)


class WeightSolver(Protocol):
    """Solver of the system that is left on the weights.

    Attributes:
        iterations: Iterations of the last solve; 0 for a direct one.
    """

    iterations: int

    def __init__(self, weights: WeightMap) -> None: ...

    def solve(self, b: Array, r: PETSc.Vec, tau: float, d: PETSc.Vec) -> Array:
        """``S d = r - J_w^T D^{-1} b / tau``; returns ``eta = D^{-1} (J_w d + b / tau)``, (K, C).

        Args:
            b: ``J_xi P_xi^{-1} r_xi``, (K, C).
            r: Dual of the weights.
            tau: ``1 + mu``.
            d: Receives the solution.

        Collective.
        """


class GaussNewton:
    """``d = (tau P + J^T J)^{-1} r`` in the coordinates of the action, at one point.

    Args:
        action: State form, or the forcing form under the strong constraint.
        u: Point.
        solver: Data space or conjugate gradients.

    Attributes:
        step: The weights of the last solution.

    Collective: construction and every method.
    """

    def __init__(
        self, action: StateAction | NetworkAction, u: PETSc.Vec, solver: type[WeightSolver]
    ) -> None:
        self._action = action
        self.lin = Linearised(action, u)
        forcing = action.forcing if isinstance(action, StateAction) else action
        space, prior = weight_prior(forcing)
        self.weights = WeightMap(action.grid, self.lin, space, prior)
        self.solver = solver(self.weights)
        self._r, self.step = space.create(), space.create()

    def solve(self, r: PETSc.Vec, d: PETSc.Vec, tau: float = 1.0) -> None:
        """Apply the inverse to a dual vector."""
        lin, owner, size = self.lin, self._action.grid.owner, self.weights.space.parameter_size
        source, target = r.array_r, d.array_w
        if not lin.forced:
            self._r.array_w[...] = source
            self.solver.solve(np.zeros(lin.forcing_gram.shape[:2]), self._r, tau, self.step)
            target[...] = self.step.array_r
            return
        dual = np.zeros_like(lin.nodes)
        first = 0 if lin.soft else 1
        dual[first:] = self._states(source).transpose(1, 0, 2)
        r_xi, r_start = lin.adjoint(dual)
        self.weights.transposed(r_xi, r_start, None, self._r)
        if owner:
            self._r.array_w[...] += source[:size]
        scaled = np.divide(r_xi, lin.precision)
        b = lin.outputs(scaled, np.divide(r_start, lin.initial))
        eta = self.solver.solve(b, self._r, tau, self.step)
        d_xi, d_start = lin.outputs_transposed(eta)
        d_xi -= r_xi
        d_xi /= -tau * lin.precision
        d_start = np.divide(r_start - d_start, tau * lin.initial)  # zero where the input is clamped
        w_source, w_start, _ = self.weights.forward(self.step)
        w_source += d_xi
        w_start += d_start
        self._states(target)[...] = lin.forward(w_source, w_start)[first:].transpose(1, 0, 2)
        if owner:
            target[:size] = self.step.array_r

    def correct(self, u: PETSc.Vec, d: PETSc.Vec, trial: PETSc.Vec) -> None:
        """Move the states of ``trial = u + d`` so that the defects change linearly, to second order.

        The step promised the defects ``xi + dxi``; the states have others, because the flow is not
        linear. One sweep with ``L^{-1}`` takes the difference away.
        """
        lin, action = self.lin, self._action
        if not isinstance(action, StateAction):
            return
        first = 0 if lin.soft else 1
        nodes = np.zeros_like(lin.nodes)
        nodes[first:] = action.states(d.array_r).transpose(1, 0, 2)
        if action.grid.owner:
            self.step.array_w[...] = d.array_r[: self.weights.space.parameter_size]
        source, start, _ = self.weights.forward(self.step)
        if not lin.soft:
            nodes[0] = start
        before, after = action.path(u), action.path(trial)
        excess = after.defect - before.defect - (lin.defects(nodes) - source)
        still = np.zeros_like(start)
        action.states(trial.array_w)[...] -= lin.forward(excess, still)[first:].transpose(1, 0, 2)

    def damping(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = P d`` with the prior of ``(xi, w)`` taken to the coordinates of the action."""
        lin, owner, size = self.lin, self._action.grid.owner, self.weights.space.parameter_size
        source, target = d.array_r, r.array_w
        if owner:
            self.step.array_w[...] = source[:size]
        w_source, w_start, _ = self.weights.forward(self.step)
        self.weights.prior.apply(self.step, self._r)
        if lin.forced:
            first = 0 if lin.soft else 1
            nodes = np.zeros_like(lin.nodes)
            nodes[first:] = self._states(source).transpose(1, 0, 2)
            if not lin.soft:
                nodes[0] = w_start
            xi = (lin.defects(nodes) - w_source) * lin.precision
            dual = lin.defects_transposed(xi)
            start = -dual[0]
            if lin.soft:
                start = (nodes[0] - w_start) * lin.initial
                dual[0] += start
            self.weights.transposed(-xi, -start, None, self.step)
            self._r.axpy(1.0, self.step)
            self._states(target)[...] = dual[first:].transpose(1, 0, 2)
        if owner:
            target[:size] = self._r.array_r

    def _states(self, array: Array) -> Array:
        return self._action.states(array)  # type: ignore[union-attr]

    def destroy(self) -> None:
        """Free the vectors."""
        for vec in (self._r, self.step):
            vec.destroy()
