"""The discrete flow of ``K`` samples linearised at a point, and how the outputs depend on the rest.

At a point the flow of a one-stage scheme becomes, sample by sample,

    dx_{i+1} = E_i dx_i + G_i (dxi_i + sigma' dTheta_i [X_i; 1]),
    E_i = (1 - beta h F_x)^{-1} (1 + (1 - beta) h F_x),   G_i = h (1 - beta h F_x)^{-1}.

So the defects are a block bidiagonal matrix ``L`` on the states of a sample, and the block
tridiagonal matrix of the Gauss-Newton method comes factored, ``L^T R_f L`` plus the curvature at the
output: its elimination is a sweep with ``L^{-T}`` and one with ``L^{-1}``, which no ``R_f`` spoils.
What is left of the states is the sensitivity ``V`` of the whitened outputs to the forcing, ``V_i =
R^T C E_{n-1} ... E_{i+1} G_i`` with ``B = R R^T`` the curvature of the loss.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.path import OneStage, Path
from fem_deepest.action.network.samples import gathered_data
from fem_deepest.action.network.states import StateAction
from fem_deepest.action.network.tiles import Sums
from fem_deepest.errors import InputError
from fem_deepest.spaces import Parameters

Array = NDArray[np.float64]


class Linearised:
    """Linearised flow of this rank's samples at ``u``.

    Args:
        action: The state form, or the forcing form under the strong constraint.
        u: Point.

    Attributes:
        forced: Whether the states are free (finite ``R_f``).
        soft: Whether ``x_0`` is free.
        precision: ``R_f h_i M_S / K``, (n, 1, N), ``M_S`` lumped; ``initial``: ``R_0 M_S / K``, (N,).
        derivative: ``F_x`` on the cells, (n, K, N, N).
        whiten: ``R^T / sqrt(K)`` with ``R R^T`` the curvature of the loss, (K, C, C).

    Raises:
        InputError: A forcing form with forcings, or a scheme of several stages.

    Construction is collective, nothing else is.
    """

    def __init__(self, action: StateAction | NetworkAction, u: PETSc.Vec) -> None:
        network = action.network
        if isinstance(action, StateAction):
            self.forced, self.soft, self.inputs = True, action.soft, action.inputs
            path, forcing = action.path(u), action.forcing
        else:
            self.forced, self.soft, forcing = False, False, action
            self.inputs, _ = gathered_data(action)
            path = _strong_path(action, u, self.inputs)
        self.network, self.samples, self.blocks = network, action.samples, action.blocks
        self.parameters, self.nodes, self.full = path.parameters, path.nodes, path.full
        scale = network.index.weights / action.samples
        precision = forcing.model_precision * scale if self.forced else np.inf * scale
        self.precision = np.multiply.outer(network.depth.steps, precision)[:, None]
        self.initial = forcing.input_precision * scale if self.forced else np.inf * scale
        self.slope = OneStage(network).slope(path)
        h, beta = network.depth.steps[:, None, None, None], network.scheme.a[0][0]
        derivative = self.slope[..., None] * path.theta[:, None, :, :-1]
        diagonal = np.arange(network.index.neurons)
        derivative[..., diagonal, diagonal] -= network.leak
        self.derivative = derivative.copy()
        derivative *= h
        one = np.eye(network.index.neurons)
        if beta:
            inverse = np.linalg.inv(one - beta * derivative)
            # (1 + (1 - b) h F) (1 - b h F)^{-1} = (inverse - (1 - b)) / b, where both commute.
            self._flow, self._kick = (inverse - (1.0 - beta) * one) / beta, h * inverse
        else:
            self._flow, self._kick = one + derivative, None
        self.whiten = self._whitening(action, path)

    def _whitening(self, action: StateAction | NetworkAction, path: Path) -> Array:
        """``R^T / sqrt(K)`` with ``R R^T`` the curvature of the loss, (K, C, C)."""
        x = path.nodes[-1].T
        y = self.network.read(path.parameters, x)
        curvature = np.empty((x.shape[1], y.shape[0], y.shape[0]))
        for c in range(y.shape[0]):
            unit, column = np.zeros_like(y), np.empty_like(y)
            unit[c] = 1.0
            action.loss.hessian(y, unit, column)
            curvature[:, :, c] = column.T
        values, vectors = np.linalg.eigh(curvature)
        roots = np.sqrt(np.maximum(values, 0.0) / self.samples)
        return roots[..., None] * vectors.transpose(0, 2, 1)

    @cached_property
    def sensitivity(self) -> tuple[Array, Array]:
        """``V`` (K, C, n N) and the sensitivity (K, C, N) to ``x_0`` of the whitened outputs."""
        n, k, size = self.slope.shape
        last = self.whiten @ self.network.readout.functionals(self.parameters)
        v = np.empty((n, *last.shape))
        for i in reversed(range(n)):
            v[i] = last
            last = last @ self._flow[i]
        v = v @ self._kick if self._kick is not None else v * self._h
        return v.transpose(1, 2, 0, 3).reshape(k, v.shape[2], n * size), last

    @property
    def _h(self) -> Array:
        return self.network.depth.steps[:, None, None, None]

    @cached_property
    def forcing_gram(self) -> Array:
        """``J_xi P_xi^{-1} J_xi^T``, one block (C, C) for each sample; zero if nothing is free."""
        v, v0 = self.sensitivity
        if not self.forced:
            return np.zeros((v.shape[0], v.shape[1], v.shape[1]))
        gram = (v * (1.0 / self.precision).ravel()) @ v.transpose(0, 2, 1)
        if self.soft:
            first = self.initial[0]
            gram += (v0 / (self.initial / first)) @ v0.transpose(0, 2, 1) / first
        return gram

    def forward(self, source: Array, start: Array) -> Array:
        """``L^{-1}``: states (n + 1, K, N) of the forcing ``source`` (n, K, N) from ``start`` (K, N)."""
        n = source.shape[0]
        out = np.empty((n + 1, *source.shape[1:]))
        out[0] = start
        kicked = self._kicked(source)
        for i in range(n):
            np.matmul(self._flow[i], out[i][..., None], out=out[i + 1][..., None])
            out[i + 1] += kicked[i]
        return out

    def adjoint(self, dual: Array) -> tuple[Array, Array]:
        """``L^{-T}``: dual of the forcing (n, K, N) and of the start of a dual (n + 1, K, N)."""
        q = np.empty((dual.shape[0] - 1, *dual.shape[1:]))
        last = dual[-1].copy()
        for i in reversed(range(q.shape[0])):
            q[i] = last
            last = (last[:, None, :] @ self._flow[i])[:, 0] + dual[i]
        if self._kick is None:
            return q * self._h[..., 0], last
        return (q[:, :, None, :] @ self._kick)[:, :, 0], last

    def _kicked(self, source: Array) -> Array:
        if self._kick is None:
            return source * self._h[..., 0]
        return (self._kick @ source[..., None])[..., 0]

    def defects(self, d_nodes: Array) -> Array:
        """``L``: forcing (n, K, N) of states (n + 1, K, N)."""
        beta, h = self.network.scheme.a[0][0], self._h[..., 0]
        stage = (1.0 - beta) * d_nodes[:-1] + beta * d_nodes[1:]
        return (d_nodes[1:] - d_nodes[:-1]) / h - (self.derivative @ stage[..., None])[..., 0]

    def defects_transposed(self, p: Array) -> Array:
        """``L^T``: dual (n + 1, K, N) of the states of a dual (n, K, N) of the forcing."""
        beta, rate = self.network.scheme.a[0][0], p / self._h[..., 0]
        stage = (p[:, :, None, :] @ self.derivative)[:, :, 0]
        out = np.zeros_like(self.nodes)
        out[1:] = rate - beta * stage
        out[:-1] -= rate + (1.0 - beta) * stage
        return out

    def weights(self, d: Parameters) -> tuple[Array, Array, Array]:
        """Directions of the parameters as forcing (n, K, N), start (K, N), whitened output (K, C)."""
        theta = self.network.stage_parameters(d.theta)[:, 0]
        source = self.full @ theta.transpose(0, 2, 1)
        source *= self.slope
        start = np.zeros_like(self.nodes[0])
        if self.network.linear_lift:
            start = self.network.lift(d, self.inputs.T).T
        output = np.zeros(self.whiten.shape[:2])
        if self.network.linear_readout:
            y = self.network.read(d, self.nodes[-1].T).T
            output = (self.whiten @ y[..., None])[..., 0]
        return source, start, output

    def weights_transposed(
        self, source: Array, start: Array, output: Array | None, own: slice, sums: Sums
    ) -> None:
        """Transpose of :meth:`weights` on the samples ``own``, added to ``sums``."""
        v = source[:, own] * self.slope[:, own]
        sums.stages[:, 0] += v.transpose(0, 2, 1) @ self.full[:, own]
        if self.network.linear_lift:
            sums.lift[:, :-1] += start[own].T @ self.inputs[own]
            sums.lift[:, -1] += start[own].sum(axis=0)
        if self.network.linear_readout and output is not None:
            dy = (output[own, None, :] @ self.whiten[own])[:, 0]
            self.network.readout.gradient(dy.T, self.nodes[-1][own].T, sums.readout)

    def outputs(self, source: Array, start: Array) -> Array:
        """Whitened outputs (K, C) of a forcing and a start: ``J_xi``."""
        v, v0 = self.sensitivity
        flat = source.transpose(1, 0, 2).reshape(v.shape[0], v.shape[2], 1)
        return (v @ flat + v0 @ start[..., None])[..., 0]

    def outputs_transposed(self, eta: Array) -> tuple[Array, Array]:
        """``J_xi^T``: dual of forcing (n, K, N) and start (K, N) of whitened outputs (K, C)."""
        v, v0 = self.sensitivity
        n, k, size = self.slope.shape
        source = (eta[:, None, :] @ v).reshape(k, n, size).transpose(1, 0, 2)
        return source, (eta[:, None, :] @ v0)[:, 0]


def _strong_path(action: NetworkAction, u: PETSc.Vec, inputs: Array) -> Path:
    """States of the strong constraint by a forward sweep."""
    network = action.network
    if action.space.local_size != (network.shapes.size if action.grid.owner else 0):
        raise InputError(
            "the reduced Gauss-Newton method got an action with forcings; take its state form"
        )
    stages = OneStage(network)
    parameters = action.space.parameters(action.space.share(u))
    nodes = network.states(parameters, inputs.T).transpose(0, 2, 1)
    return stages.path(parameters, nodes, nodes[0])


def with_one(x: Array) -> Array:
    """``[x, 1]``, (K, m + 1)."""
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)
