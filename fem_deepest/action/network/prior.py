"""The prior ``1/2 <u, P u>`` of a control, which is also the metric of the space.

On the weight field ``P = lambda (kappa^2 M_t + K_t) (x) M_S (x) M_S``, the H1(depth) precision; on
readout and lift ``lambda`` times the identity; on the forcings the model-error precisions
``R_f h_i M_S / K`` and ``R_0 M_S / K``. The factors are separable: a solve is one tridiagonal
factorisation in depth, made once, applied to all ``N (N + 1)`` columns.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from fem_deepest._petsc import PETSc
from fem_deepest.action.root import Numbered
from fem_deepest.network.network import Network
from fem_deepest.spaces import ControlSpace, Parameters
from fem_deepest.spaces.tridiagonal import inverse_root

Array = NDArray[np.float64]


class Prior:
    """Precision ``P`` of the control, with its inverse.

    Args:
        space: Layout of the control.
        network: Gives depth mesh and neuron index.
        strength: ``lambda > 0``.
        kappa: ``kappa > 0``, inverse correlation length in depth.
        model: ``R_f``; used where the space has forcings.
        initial: ``R_0`` of the soft input condition.
        samples: ``K``.

    Attributes:
        strength: ``lambda``.
        kappa: ``kappa``.
    """

    def __init__(
        self,
        space: ControlSpace,
        network: Network,
        *,
        strength: float,
        kappa: float,
        model: float,
        initial: float,
        samples: int,
    ) -> None:
        self.space = space
        self.strength, self.kappa = strength, kappa
        mass, stiffness = network.depth.mass, network.depth.stiffness
        zeroth = strength * kappa**2
        self._diagonal = zeroth * mass[0] + strength * stiffness[0]
        self._off = zeroth * mass[1] + strength * stiffness[1]
        self._factor = lapack.dpttrf(self._diagonal, self._off)[:2]
        # M_S (x) M_S on the kernel, M_S on the bias: one weight for each column of [w | b].
        self._columns = network.index.mass * network.column_scale
        self._model = (model * network.index.mass / samples) * network.depth.steps
        self._initial = initial * network.index.mass / samples

    def apply(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = P d``. Collective."""
        source, target = d.array_r, r.array_w
        if self.space.grid.owner:
            self.on_parameters(self.space.parameters(source), self.space.parameters(target))
        self._forcings(source, target, np.multiply)

    def on_parameters(self, a: Parameters, b: Parameters) -> None:
        """``b = P a`` on parameters alone, of one network or of several side by side. Not collective."""
        along = (-1, *[1] * (a.theta.ndim - 1))
        diagonal, off = self._diagonal.reshape(along), self._off.reshape(along)
        np.multiply(diagonal, a.theta, out=b.theta)
        b.theta[:-1] += off * a.theta[1:]
        b.theta[1:] += off * a.theta[:-1]
        if self._columns[0] != 1.0:
            b.theta[...] *= self._columns
        np.multiply(a.readout, self.strength, out=b.readout)
        np.multiply(a.lift, self.strength, out=b.lift)

    def solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = P^{-1} r``. Collective."""
        self._inverse(r, d, self._solve_depth, 1.0)

    def inverse_root(self, z: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = R z`` with ``R R^T = P^{-1}``. Collective."""
        self._inverse(z, d, lambda x: inverse_root(self._factor, x), 0.5)

    @property
    def root(self) -> Numbered:
        """``R``, for draws of the prior. Collective."""
        return Numbered.of(self.space.create, self.inverse_root)

    def solve_parameters(self, a: Parameters, b: Parameters) -> None:
        """``b = P^{-1} a``, the inverse of :meth:`on_parameters`. Not collective."""
        self._inverse_on(a, b, self._solve_depth, 1.0)

    @property
    def depth(self) -> tuple[Array, Array]:
        """Depth factor ``P_t``, tridiagonal: diagonal (n + 1,) and off-diagonal (n,)."""
        return self._diagonal, self._off

    @property
    def depth_factor(self) -> tuple[Array, Array]:
        """``D`` (n + 1,) and the subdiagonal (n,) of ``L`` of the depth factor ``P_t = L D L^T``."""
        return self._factor

    @property
    def columns(self) -> Array:
        """Weights (N + 1,) of the columns ``[w | b]``: ``P = P_t (x) 1 (x) columns`` on the field."""
        return self._columns

    def galerkin(self, prolongation: Array) -> Array:
        """``Z^T P_t Z`` of the depth factor for a prolongation ``Z``, (n + 1, m)."""
        image = self._diagonal[:, None] * prolongation
        image[:-1] += self._off[:, None] * prolongation[1:]
        image[1:] += self._off[:, None] * prolongation[:-1]
        return prolongation.T @ image

    def _inverse(
        self, r: PETSc.Vec, d: PETSc.Vec, in_depth: Callable[[Array], Array], power: float
    ) -> None:
        """``P`` to the power -1, or a root of that: the diagonal factors are given a power."""
        source, target = r.array_r, d.array_w
        if self.space.grid.owner:
            a, b = self.space.parameters(source), self.space.parameters(target)
            self._inverse_on(a, b, in_depth, power)
        self._forcings(source, target, lambda a, weight, out: np.divide(a, weight**power, out=out))

    def _inverse_on(
        self, a: Parameters, b: Parameters, in_depth: Callable[[Array], Array], power: float
    ) -> None:
        rows = a.theta.reshape(a.theta.shape[0], -1)
        b.theta[...] = in_depth(rows).reshape(a.theta.shape)
        if self._columns[0] != 1.0:
            b.theta[...] /= self._columns**power
        np.divide(a.readout, self.strength**power, out=b.readout)
        np.divide(a.lift, self.strength**power, out=b.lift)

    def _solve_depth(self, x: Array) -> Array:
        return np.asarray(lapack.dpttrs(*self._factor, x)[0])

    def _forcings(self, source: Array, target: Array, operation: Callable[..., object]) -> None:
        if not self.space.has_forcings:
            return
        for tile in range(len(self.space.tiles)):
            (a0, a), (b0, b) = (self.space.forcing(x, tile) for x in (source, target))
            if a0.size:
                operation(a0, self._initial, out=b0)
            if a.size:
                operation(a, self._model[:, None, None], out=b)
