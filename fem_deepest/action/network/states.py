"""Action of a network in the state form: the unknowns are the states and the weights.

With one-stage schemes, ``X = (1 - beta) x_i + beta x_{i+1}`` (euler 0, midpoint 1/2), the forcing is
the defect of the states,

    xi_i = (x_{i+1} - x_i)/h_i + a X_i - sigma(W_i X_i + b_i),

so ``(x, w) <-> (xi, w)`` is a bijection, and this is the same discrete action as
:class:`fem_deepest.action.network.action.NetworkAction`. Here nothing is sequential in depth: all
cells and samples go through each matrix product together.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction, Parts
from fem_deepest.action.network.depth_metric import DepthMetric
from fem_deepest.action.network.ends import SCALARS
from fem_deepest.action.network.path import OneStage, Path
from fem_deepest.action.network.samples import gathered_data, shared_parts, weight_prior
from fem_deepest.action.network.tiles import Sums
from fem_deepest.errors import InputError
from fem_deepest.spaces import ControlSpace, Parameters

Array = NDArray[np.float64]


class StateAction:
    """The action of a network with finite ``R_f`` as a function of ``u = (w, x)``.

    Fulfils :class:`fem_deepest.action.protocol.Action`. The vector holds the parameters as a control
    of :class:`NetworkAction` does, then sample by sample the states ``x_1..x_n`` (``x_0..x_n`` with a
    soft input condition), so that its numbering does not depend on the number of ranks.

    Args:
        forcing: The same action in the forcing form.

    Attributes:
        prior: Prior of the parameters alone, on the space ``weights``.
        parts: The action and its parts at the last point evaluated.
        evaluations: Gradients so far; ``hessians`` counts Hessian products.

    Raises:
        InputError: ``R_f`` is infinite, or the scheme has several stages.

    Collective on the grid: construction and every method.
    """

    def __init__(self, forcing: NetworkAction) -> None:
        network = forcing.network
        if not np.isfinite(forcing.model_precision):
            raise InputError(
                "the state form got R_f = inf, expected a finite one: the strong constraint leaves no "
                "freedom to the states; take the forcing form"
            )
        self._stages = OneStage(network)
        self.forcing, self.network, self.loss = forcing, network, forcing.loss
        self.grid, self.blocks, self.samples = forcing.grid, forcing.blocks, forcing.samples
        self.soft = bool(np.isfinite(forcing.input_precision))
        self.inputs, self.targets = gathered_data(forcing)
        self.own = self.inputs.shape[0]
        self.space = ControlSpace(
            self.grid, network.shapes, [1] * self.own, initial=self.soft, forced=True
        )
        self.weights, self.prior = weight_prior(forcing)
        # The precisions of the first neuron, (n,) and a number, and the others' relative to it.
        measure = network.index.weights[0]
        self._relative = network.index.weights / measure
        self._first = forcing.model_precision * measure * network.depth.steps
        self._model = self._first[:, None, None] * self._relative
        self._first_initial = forcing.input_precision * measure if self.soft else 0.0
        self._initial = self._first_initial * self._relative
        self._w, self._riesz = self.weights.create(), self.weights.create()
        self._sums = np.empty(Sums.size(network))
        self._views: dict[int, tuple[Array, Sums]] = {}
        self.parts = Parts(*[np.nan] * 5)
        self.evaluations = self.hessians = 0

    @cached_property
    def metric(self) -> DepthMetric:
        """Riesz map: the second variation of a linear network, diagonal in neurons and samples."""
        return DepthMetric(self)

    def create(self) -> PETSc.Vec:
        """Zero vector."""
        return self.space.create()

    def states(self, array: Array) -> Array:
        """States in the array of a vector: a view (K, n, N), or (K, n + 1, N) with a soft input."""
        own = self.space.parameter_size if self.grid.owner else 0
        network = self.network
        return array[own:].reshape(
            self.own, network.depth.cells + int(self.soft), network.index.neurons
        )

    def _view(self, flat: Array) -> Sums:
        """Views into one of the few arrays that the sums over blocks reuse."""
        if id(flat) not in self._views:
            self._views[id(flat)] = flat, Sums.view(flat, self.network)
        return self._views[id(flat)][1]

    def path(self, u: PETSc.Vec) -> Path:
        """States, stages and defects at a point."""
        parameters = self.space.parameters(self.space.share(u))
        nodes = np.empty((self.network.depth.cells + 1, self.own, self.network.index.neurons))
        start = self.network.lift(parameters, self.inputs.T).T
        nodes[0 if self.soft else 1 :] = self.states(u.array_r).transpose(1, 0, 2)
        if not self.soft:
            nodes[0] = start
        return self._stages.path(parameters, nodes, start)

    def value(self, u: PETSc.Vec) -> float:
        """``A(u)``; the parts are left in :attr:`parts`."""
        self._sum(self.path(u), None)
        return self._finish(u)

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
        """``g = dA/du``; returns ``A(u)``."""
        self.evaluations += 1
        path, out = self.path(u), g.array_w
        p = self._model * path.defect
        v = self._stages.slope(path) * p
        dx = self._stages.scattered(p, v @ path.theta[..., :-1])
        dy = self._sum(path, (v, dx[0] if not self.soft else -self._initial * path.initial))
        dx[0] += self._initial * path.initial
        dx[-1] += self.network.readout.transposed(path.parameters, dy).T
        value = self._finish(u)
        self._collect(dx, out)
        return value

    def hessian(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = A''(u) d``, exact."""
        self.hessians += 1
        path, out, network = self.path(u), r.array_w, self.network
        direction = self.space.parameters(self.space.share(d))
        d_theta = network.stage_parameters(direction.theta)[:, 0]
        d_nodes = np.zeros_like(path.nodes)
        d_nodes[0 if self.soft else 1 :] = self.states(d.array_r).transpose(1, 0, 2)
        d_start = self._lift_tangent(direction)
        if not self.soft:
            d_nodes[0] = d_start
        d_full = self._stages.stage(d_nodes, 0.0)
        slope = self._stages.slope(path)
        p = self._model * path.defect
        dz = d_full @ path.theta.transpose(0, 2, 1) + path.full @ d_theta.transpose(0, 2, 1)
        dp = self._model * (self._stages.rates(d_nodes, d_full) - slope * dz)
        dv, v = np.empty_like(slope), slope * p
        network.activation.second(path.value, slope, dv)
        dv *= dz
        dv *= p
        dv += slope * dp
        dx = self._stages.scattered(dp, dv @ path.theta[..., :-1] + v @ d_theta[..., :-1])
        d_initial = d_nodes[0] - d_start
        lift = dx[0] if not self.soft else -self._initial * d_initial
        # The output: curvature of the loss, and the product of readout and last state.
        x, d_x = path.nodes[-1].T, d_nodes[-1].T
        y = network.read(path.parameters, x)
        dy, curved = np.empty_like(y), np.empty_like(y)
        self.loss.value(y.copy(), self.targets, dy)
        d_y = network.readout.tangent(path.parameters, direction, x, d_x)
        self.loss.hessian(y, d_y, curved)

        def add(block: int, flat: Array) -> None:
            own, sums = self.blocks.own[block], self._view(flat)
            flat[...] = 0.0
            sums.stages[:, 0] -= dv[:, own].transpose(0, 2, 1) @ path.full[:, own]
            sums.stages[:, 0] -= v[:, own].transpose(0, 2, 1) @ d_full[:, own]
            self._add_ends(sums, own, curved, x, lift)
            network.readout.gradient(dy[:, own], d_x[:, own], sums.readout, constant=False)

        self.blocks.sum(add, self._sums)
        dx[0] += self._initial * d_initial
        dx[-1] += network.readout.transposed(path.parameters, curved).T
        if network.readout.trained:
            dx[-1] += network.readout.transposed(direction, dy).T
        self._riesz_of(d)
        self._collect(dx, out)

    def _sum(self, path: Path, derivative: tuple[Array, Array] | None) -> Array:
        """Sum over the samples; returns the derivative of the loss in the output, (C, K)."""
        network, x = self.network, path.nodes[-1].T
        y = network.read(path.parameters, x)
        weighted = self._relative * path.defect
        squares = np.einsum("ikn,ikn->ki", path.defect, weighted) @ self._first

        def add(block: int, flat: Array) -> None:
            own, sums = self.blocks.own[block], self._view(flat)
            flat[...] = 0.0
            dy = np.empty((y.shape[0], own.stop - own.start))
            sums.scalars[:2] = self.loss.value(y[:, own], self.targets[..., own], dy)
            y[:, own] = dy
            sums.scalars[2] = 0.5 * squares[own].sum()
            if self.soft:
                e = path.initial[own]
                sums.scalars[3] = 0.5 * self._first_initial * np.vdot(e, self._relative * e)
            if derivative is not None:
                v, lift = derivative
                sums.stages[:, 0] -= v[:, own].transpose(0, 2, 1) @ path.full[:, own]
                self._add_ends(sums, own, y, x, lift)

        self.blocks.sum(add, self._sums)
        return y

    def _add_ends(self, sums: Sums, own: slice, dy: Array, x: Array, lift: Array) -> None:
        """Readout and lift."""
        self.network.readout.gradient(dy[:, own], x[:, own], sums.readout)
        if self.network.linear_lift:
            sums.lift[:, :-1] += lift[own].T @ self.inputs[own]
            sums.lift[:, -1] += lift[own].sum(axis=0)

    def _lift_tangent(self, direction: Parameters) -> Array:
        if self.network.linear_lift:
            return self.network.lift(direction, self.inputs.T).T
        return np.zeros((self.own, self.network.index.neurons))

    def _riesz_of(self, u: PETSc.Vec) -> float:
        """``P w`` into ``_riesz``; returns ``1/2 <w, P w>`` on the owner."""
        if self.grid.owner:
            self._w.array_w[...] = u.array_r[: self.space.parameter_size]
        self.prior.apply(self._w, self._riesz)
        return 0.5 * float(np.dot(self._w.array_r, self._riesz.array_r))

    def _finish(self, u: PETSc.Vec) -> float:
        prior = self._riesz_of(u)
        self.parts = shared_parts(self, self._sums[-SCALARS:], prior)
        return self.parts.action

    def _collect(self, dx: Array, out: Array) -> None:
        """Turn sums over samples into a dual vector."""
        self.states(out)[...] = dx[0 if self.soft else 1 :].transpose(1, 0, 2) / self.samples
        if self.grid.owner:
            size, sums = self.space.parameter_size, self._view(self._sums)
            target = self.space.parameters(out)
            self.network.stage_parameters_transposed(sums.stages, target.theta)
            target.readout[...] = sums.readout
            target.lift[...] = sums.lift
            out[:size] /= self.samples
            out[:size] += self._riesz.array_r
