"""Riesz map of the state form: what remains of ``A''`` when the layers are taken to be linear.

On the states it is ``(1/K) [ R_f (K_t + M_t/T^2) + B e_n e_n^T ] (x) M_S``, the model error of
``x' = 0`` with the curvature ``B`` of the loss at the output and the lumped ``M_S``; on the weights the
prior with the zeroth-order term ``R_f E[m sigma'^2 x^2] M_t`` that the model error adds, ``m`` the mean
mass of a neuron. One tridiagonal factor in depth serves all neurons and samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.samples import weight_prior
from fem_deepest.action.root import Numbered
from fem_deepest.spaces.tridiagonal import Tridiagonal

if TYPE_CHECKING:
    from fem_deepest.action.network.states import StateAction

Array = NDArray[np.float64]


class DepthMetric:
    """``P = diag(P_w, P_x)`` of the state form, with its inverse.

    Args:
        action: Action in the state form.

    Every method is collective on the grid.
    """

    def __init__(self, action: StateAction) -> None:
        network, forcing, samples = action.network, action.forcing, action.samples
        self._action = action
        precision, weights = forcing.model_precision, network.index.weights
        measure = float(np.mean(weights))
        # M_S relative to its mean, a factor beside the one in depth.
        self._relative = None if np.all(weights == weights[0]) else weights / measure
        slope = np.zeros(1)
        network.activation.value(slope, slope)
        network.activation.first(slope.copy(), slope)
        squares = float(np.vdot(action.inputs, action.inputs))
        squares = action.grid.data.allreduce(squares, op=MPI.SUM)
        size = 1.0 + squares / (samples * network.inputs)
        self.space, self.weights = weight_prior(
            forcing, precision * measure * float(slope[0]) ** 2 * size
        )
        mass, stiffness = network.depth.mass, network.depth.stiffness
        scale, length = precision * measure / samples, network.depth.nodes[-1]
        diagonal = scale * (stiffness[0] + mass[0] / length**2)
        off = scale * (stiffness[1] + mass[1] / length**2)
        zero, curved = np.zeros((network.outputs, 1)), np.zeros((network.outputs, 1))
        unit = np.zeros_like(zero)
        unit[0] = 1.0
        action.loss.hessian(zero, unit, curved)
        diagonal[-1] += float(curved[0, 0]) * measure / samples
        if action.soft:
            diagonal[0] += forcing.input_precision * measure / samples
        else:
            diagonal, off = diagonal[1:], off[1:]
        self._depth = Tridiagonal(diagonal, off)
        self._r, self._d = self.space.create(), self.space.create()

    def apply(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = P d``."""
        source, target = d.array_r, r.array_w
        a, b = self._action.states(source), self._action.states(target)
        diagonal, off = self._depth.diagonal[:, None], self._depth.off[:, None]
        np.multiply(diagonal, a, out=b)
        b[:, :-1] += off * a[:, 1:]
        b[:, 1:] += off * a[:, :-1]
        if self._relative is not None:
            b *= self._relative
        self._on_weights(self.weights.apply, source, target)

    def solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = P^{-1} r``."""
        self._inverse(r, d, self._depth.solve, self.weights.solve, 1.0)

    def inverse_root(self, z: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = R z`` with ``R R^T = P^{-1}``."""
        self._inverse(z, d, self._depth.inverse_root, self.weights.inverse_root, 0.5)

    @property
    def root(self) -> Numbered:
        """``R``, for draws of ``N(0, P^{-1})``."""
        return Numbered.of(self._action.create, self.inverse_root)

    def _inverse(
        self,
        r: PETSc.Vec,
        d: PETSc.Vec,
        in_depth: Callable[[Array], Array],
        on_weights: Callable[[PETSc.Vec, PETSc.Vec], None],
        power: float,
    ) -> None:
        source, target = r.array_r, d.array_w
        a, b = self._action.states(source), self._action.states(target)
        if a.size:
            solution = in_depth(a.transpose(1, 0, 2).reshape(a.shape[1], -1))
            b[...] = solution.reshape(a.shape[1], a.shape[0], -1).transpose(1, 0, 2)
            if self._relative is not None:
                b /= self._relative**power
        self._on_weights(on_weights, source, target)

    def _on_weights(
        self, operation: Callable[[PETSc.Vec, PETSc.Vec], None], source: Array, target: Array
    ) -> None:
        size = self._action.space.parameter_size if self._action.grid.owner else 0
        self._r.array_w[...] = source[:size]
        operation(self._r, self._d)
        target[:size] = self._d.array_r
