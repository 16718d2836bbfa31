"""The weight Schur complement by conjugate gradients with a two-level preconditioner in depth.

``S = tau Gamma + J_w^T D^{-1} J_w`` is the prior plus as many large eigenvalues as the data see. Their
eigenvectors are smooth in depth, as the sensitivities are: a P1 space on few depth nodes, all columns
of the weight field kept, holds nearly all of them. So the prior smooths, and the rest is solved
exactly on the coarse space by Galerkin, in the balancing form (Mandel 1993,
doi:10.1002/cnm.1640091104) that, started from the coarse solution, needs one product with ``S`` for
an application (Tang, Nabben, Vuik, Erlangga 2009, doi:10.1007/s10915-009-9272-6).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.linearised import with_one
from fem_deepest.solve.lmvm import shell
from fem_deepest.solve.network.gauss_newton import WeightMap

Array = NDArray[np.float64]

COARSE = 9  # depth nodes of the coarse space


class WeightSchur:
    """Iterative solver of the weight system.

    See :class:`fem_deepest.solve.network.gauss_newton.WeightSolver`.

    Args:
        weights: ``J_w`` and the prior.
        two_level: With the coarse space, or with the prior alone.
        tolerance: Energy of the error relative to that of the start, square root.
        limit: Largest number of iterations.

    Attributes:
        iterations: Iterations of the last solve.

    Collective: construction and every method.
    """

    def __init__(
        self,
        weights: WeightMap,
        two_level: bool = True,
        tolerance: float = 1e-6,
        limit: int = 2000,
    ) -> None:
        self._weights, self._two_level = weights, two_level
        self._tolerance, self._limit = tolerance, limit
        self.iterations, self._tau = 0, np.nan
        self._work, self._image, self._rhs, self._fix = (weights.space.create() for _ in range(4))
        self.monitor: Callable[[PETSc.KSP, int, float], None] | None = None

    def solve(self, b: Array, r: PETSc.Vec, tau: float, d: PETSc.Vec) -> Array:
        """See :class:`WeightSolver`."""
        weights = self._weights
        self._set(tau)
        weights.outputs_transposed(self._apply(np.divide(b, tau)), self._rhs)
        self._rhs.aypx(-1.0, r)
        operator = shell(self.product, r)
        ksp = PETSc.KSP().create(r.getComm())
        try:
            ksp.setOperators(operator)
            ksp.setType("cg")
            ksp.setNormType(PETSc.KSP.NormType.NATURAL)
            ksp.setTolerances(rtol=self._tolerance, atol=0.0, max_it=self._limit)
            ksp.getPC().setType("python")
            ksp.getPC().setPythonContext(self)
            if self.monitor is not None:
                ksp.setMonitor(self.monitor)
            if self._two_level:
                self._coarse_solve(self._rhs, d)
                ksp.setInitialGuessNonzero(True)
            ksp.solve(self._rhs, d)
            self.iterations = ksp.getIterationNumber()
        finally:
            ksp.destroy()
            operator.destroy()
        return self._apply(weights.outputs(d) + np.divide(b, tau))

    def product(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = S d``."""
        weights = self._weights
        weights.outputs_transposed(self._apply(weights.outputs(d)), r)
        weights.prior.apply(d, self._image)
        r.axpy(self._tau, self._image)

    def apply(self, _: PETSc.PC, r: PETSc.Vec, z: PETSc.Vec) -> None:
        """``z = Q r + (1 - Q S) Gamma^{-1} r / tau`` with ``Q`` the coarse solve."""
        self._weights.prior.solve(r, z)
        z.scale(1.0 / self._tau)
        if self._two_level:
            self.product(z, self._work)
            self._work.aypx(-1.0, r)
            self._coarse_solve(self._work, self._fix)
            z.axpy(1.0, self._fix)

    def _apply(self, y: Array) -> Array:
        """``D^{-1} y``, (K, C)."""
        return (self._inverse @ y[..., None])[..., 0]

    def _set(self, tau: float) -> None:
        """Prepare ``D^{-1}`` and the coarse matrix for a damping."""
        if tau == self._tau:
            return
        self._tau, gram = tau, self._weights.lin.forcing_gram
        self._inverse = np.linalg.inv(np.eye(gram.shape[1]) + gram / tau)
        if self._two_level:
            self._coarse = self._galerkin()

    def _prolongation(self) -> Array:
        """``Z``: values at the depth nodes of the hat functions of the coarse ones, (n + 1, m)."""
        nodes = self._weights.lin.network.depth.nodes
        count = min(COARSE, nodes.size)
        coarse = nodes[np.linspace(0, nodes.size - 1, count).round().astype(np.int64)]
        return np.stack([np.interp(nodes, coarse, hat) for hat in np.eye(count)], axis=1)

    def _galerkin(self) -> tuple[Array, bool]:
        """Cholesky factor of ``Z^T S Z`` on the owner; readout and lift belong to the coarse space."""
        weights, z = self._weights, self._prolongation()
        lin, prior, network = weights.lin, weights.prior, weights.lin.network
        stages = network.depth.at_stages(network.scheme.abscissae, z)[:, 0]
        sizes = [z.shape[1] * prior.field.measure.size]
        sizes += [part.measure.size for part in (prior.readout, prior.lift)]
        size = sum(sizes)
        total = np.empty(size * size)

        def add(block: int, flat: Array) -> None:
            rows = self._coarse_rows(lin.blocks.own[block], stages)
            scaled = self._inverse[lin.blocks.own[block]] @ rows
            out = flat.reshape(size, size)
            np.matmul(rows.reshape(-1, size).T, scaled.reshape(-1, size), out=out)

        lin.blocks.sum(add, total)
        if not weights.grid.owner:
            return np.empty((0, 0)), True
        matrix = total.reshape(size, size)
        start = 0
        for part, precision in zip(sizes, (prior.field, prior.readout, prior.lift), strict=True):
            own = slice(start, start + part)
            hats = z if precision is prior.field else np.ones((1, 1))
            matrix[own, own] += self._tau * precision.galerkin(hats)
            start += part
        return cho_factor(matrix, lower=True, check_finite=False)

    def _coarse_rows(self, own: slice, stages: Array) -> Array:
        """``J_w Z`` of the samples ``own``, (K, C, coarse parameters)."""
        lin, network = self._weights.lin, self._weights.lin.network
        v, v0 = (part[own] for part in lin.sensitivity)
        n, _, size = lin.slope.shape
        k, c = v.shape[:2]
        slope = lin.slope[:, own].transpose(1, 0, 2)
        v = v.reshape(k, c, n, size) * slope[:, None]
        prior = self._weights.prior
        full = prior.field.columns.apply_mass(lin.full[:, own], -1)
        # Sum over the cells of sensitivity x (hat, state), as one matrix product a sample.
        right = (stages[:, None, :, None] * full[:, :, None, :]).transpose(1, 0, 2, 3)
        right = right.reshape(k, n, stages.shape[1] * (size + 1))
        field = v.transpose(0, 1, 3, 2).reshape(k, c * size, n) @ right
        field = field.reshape(k, c, size, stages.shape[1], size + 1).transpose(0, 1, 3, 2, 4)
        parts = [field]
        if network.linear_readout:
            last = prior.readout.columns.apply_mass(with_one(lin.nodes[-1][own]), -1)
            parts.append(lin.whiten[own][..., None] * last[:, None, None])
        if network.linear_lift:
            parts.append(v0[..., None] * with_one(lin.inputs[own])[:, None, None])
        shapes = [(k, c, int(np.prod(part.shape[2:]))) for part in parts]
        return np.concatenate(
            [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)], axis=2
        )

    def _coarse_solve(self, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d = Z (Z^T S Z)^{-1} Z^T r``, by the owner."""
        target = d.array_w
        if not self._weights.grid.owner:
            return
        space, z = self._weights.space, self._prolongation()
        source, result = space.parameters(r.array_r), space.parameters(target)
        nodes = z.shape[0]
        field = z.T @ source.theta.reshape(nodes, -1)
        rest = [field.ravel(), source.readout.ravel(), source.lift.ravel()]
        solution = cho_solve(self._coarse, np.concatenate(rest), check_finite=False)
        coarse = solution[: field.size].reshape(field.shape)
        result.theta[...] = (z @ coarse).reshape(result.theta.shape)
        middle = field.size + result.readout.size
        result.readout[...] = solution[field.size : middle].reshape(result.readout.shape)
        result.lift[...] = solution[middle:].reshape(result.lift.shape)
