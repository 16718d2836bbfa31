"""Forcing form: start, model error and weights, ``u = (x(0), xi, w)``; the path follows from them.

    A(xi, w) = measurements + ends + prior + sum_cells h sum_r omega_r 1/2 xi_r^T R_f xi_r,
    d_r(x, w) = xi_r,  that is  x' = F(x, w) + xi.

One forward and one adjoint sweep give the gradient: ``dA/dxi = h omega (R_f xi + q)`` with the
sensitivity ``q``, and ``q = -p`` at a stationary point. Components with an infinite ``R_f`` have no
forcing; with none at all it is the strong constraint, ordinary training. The bijection
``(x, w) <-> (x(0), xi, w)`` makes minimisers and levels those of the state form.
"""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.weak.ends import Clamped
from fem_deepest.action.weak.free_motion import AssembledRiesz
from fem_deepest.action.weak.pathform import PathForm
from fem_deepest.action.weak.problem import WeakProblem
from fem_deepest.action.weak.saddle import SaddleForm
from fem_deepest.action.weak.sweep import Sweep
from fem_deepest.errors import InputError, NumericalFailure

Array = NDArray[np.float64]


class ForcingForm(PathForm):
    """``A(x(0), xi, w)``; an :class:`fem_deepest.action.protocol.Action`.

    Sweeps go through the whole depth, so every rank makes all of them; vectors and Newton systems
    are distributed. A point from which the path cannot be continued has the action ``inf``.

    Args:
        problem: The problem; any ``R_f``.
        comm: Communicator.

    Attributes:
        saddle: The saddle form, whose KKT matrix solves the Newton systems: ``A'' d = r`` is
            ``KKT (dx, dp, dw) = (r_x0, r_xi/R_f, r_w)`` with ``dxi = (r_xi/(h omega) + dp)/R_f``.

    Raises:
        InputError: A clamped or periodic end: the end of a sweep cannot be prescribed.
    """

    def __init__(self, problem: WeakProblem, comm: MPI.Intracomm = MPI.COMM_WORLD) -> None:
        conditions = problem.conditions
        if conditions.periodic or isinstance(conditions.end, Clamped):
            raise InputError(
                "the forcing form computes x(T) from x(0) and cannot prescribe it; take the state or "
                "the saddle form for a periodic path or a clamped end"
            )
        forced = np.isfinite(problem.precision)
        rows = problem.transcription.weights.size
        super().__init__(problem, comm, np.tile(forced, (rows, 1)), swept=True)
        self.saddle = SaddleForm(problem, comm)
        self._whole = problem.slab(0, problem.cells)
        self._sweep = Sweep(self._whole.defects)
        self._stiffness = self._whole.weight * np.where(forced, problem.precision, 0.0)
        self._p_weight = np.broadcast_to(self._whole.weight, self.space.p.shape)
        self._embed()
        self._riesz: AssembledRiesz | None = None
        self._last: tuple[Array, Array] | None = None

    def _embed(self) -> None:
        """Where this rank's unknowns stand in its part of the saddle form, and their factors."""
        mine, other = self.space, self.saddle.space
        numbers = np.concatenate([mine.x[0], mine.w.ravel(), mine.p.ravel()])
        there = np.concatenate([other.x[0], other.w.ravel(), other.p.ravel()])
        compliance = np.broadcast_to(1.0 / self.problem.precision, mine.p.shape).ravel()
        ones = np.ones(numbers.size - compliance.size)
        own = (numbers >= mine.begin) & (numbers < mine.end)
        self._here, self._there = numbers[own] - mine.begin, there[own] - other.begin
        self._scale = np.concatenate([ones, compliance])[own]
        self._direct = np.concatenate([0.0 * ones, compliance / self._p_weight.ravel()])[own]

    @property
    def metric(self) -> AssembledRiesz:
        """``h omega R_f`` on the forcings, the prior on the weights, the identity elsewhere.

        Collective at the first use, which factors it.
        """
        if self._riesz is None:
            first, last = self.space.first, self.space.last
            slab, states = self.slab, self.problem.states
            cut, nodes = slab.defects.local, self.problem.transcription.nodes.size * states
            cells = np.zeros((last - first, self.space.local, self.space.local))
            cells[:, nodes:cut, nodes:cut] = slab.quadratic[:, nodes:cut, nodes:cut]
            i = np.arange(states)
            cells[:, i, i] = 1.0
            loose = nodes + np.flatnonzero(self.problem.loose)
            cells[:, loose, loose] = 1.0 / self.problem.cells
            i = np.arange(cut, self.space.local)
            cells[:, i, i] = self._stiffness[first:last].reshape(last - first, -1)
            self._riesz = AssembledRiesz(self.space, cells)
        return self._riesz

    def pack(self, x: Array, w: Array) -> PETSc.Vec:
        """The point that has the path ``x`` (m, D) and the weights ``w``: ``xi = d(x, w)``.

        Without forcings only ``x(0)`` is taken. Collective.
        """
        xi = self._whole.defects.value(x, w)
        space = self.space
        return self.fill(self.create(), (space.x[0], x[0]), (space.w, w), (space.p, xi))

    def unpack(self, u: PETSc.Vec) -> tuple[Array, Array, Array]:
        """Path (m, D), weights and momenta ``p = -q`` (n, R, D) on every rank. Collective."""
        x, w, _ = self._path(u)
        return x, w, -self._sensitivity(x, w)[0] / self._p_weight

    def _path(self, u: PETSc.Vec) -> tuple[Array, Array, Array]:
        x, w, xi = self.everywhere(u)
        given = np.concatenate([x[0], w.ravel(), xi.ravel()])
        # A Newton step asks for the same path several times.
        if self._last is not None and np.array_equal(given, self._last[0]):
            return self._last[1].copy(), w, xi
        self._sweep.forward(x, w, xi)
        self._last = given, x.copy()
        return x, w, xi

    def _sensitivity(self, x: Array, w: Array) -> tuple[Array, Array, Array, dict[str, float]]:
        """``h omega q`` (n, R, D), the derivatives in ``x(0)`` and ``w``, and the terms at a path."""
        terms, g_x, g_w = self._whole.terms(x, w)
        self._sweep.linearise(x, w)
        m, g_0 = self._sweep.adjoint(g_x)
        return m.reshape(self.space.p.shape), g_0, g_w + self._sweep.weights_transposed(-m), terms

    def value(self, u: PETSc.Vec) -> float:
        """``A(u)``, infinite where the path cannot be continued. Collective."""
        try:
            x, w, xi = self._path(u)
        except NumericalFailure:
            return np.inf
        return self._sum(self._whole.terms(x, w)[0], xi)

    def _sum(self, terms: dict[str, float], xi: Array) -> float:
        self.parts = terms | {"model": 0.5 * float(np.sum(self._stiffness * xi**2))}
        return sum(self.parts.values())

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
        """``g = (dA/dx(0), dA/dxi, dA/dw)``; returns ``A(u)``. Collective.

        Raises:
            NumericalFailure: The path cannot be continued.
        """
        x, w, xi = self._path(u)
        m, g_0, g_w, terms = self._sensitivity(x, w)
        space = self.space
        self.fill(g, (space.x[0], g_0), (space.w, g_w), (space.p, self._stiffness * xi + m))
        return self._sum(terms, xi)

    def hessian(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = A''(u) d`` by a tangent and a second adjoint sweep. Collective."""
        x, w, _ = self._path(u)
        m, *_ = self._sensitivity(x, w)
        dx, dw, dxi = self.everywhere(d)
        sweep, n = self._sweep, self.problem.cells
        source = dxi.reshape(n, -1) - sweep.weights(dw)
        dx = sweep.tangent(dx[0] - self._fixed[0], source)
        local = np.concatenate([sweep.defects.gather(dx).reshape(n, -1), sweep.pairs(dw)], axis=1)
        second = self._whole.quadratic + sweep.defects.curvature(x, w, -m)
        force = (second @ local[..., None])[..., 0]
        g_x, g_w = sweep.sums(force)
        dm, g_0 = sweep.adjoint(g_x)
        g_w += sweep.weights_transposed(-dm)
        space = self.space
        stiff = self._stiffness * dxi + dm.reshape(dxi.shape)
        self.fill(r, (space.x[0], g_0), (space.w, g_w), (space.p, stiff))

    def elements(self, u: PETSc.Vec, curvature: float = 1.0) -> Array:
        """Cell matrices of the KKT matrix of the saddle form at this point, for this rank's slab.

        Collective.
        """
        x, w, _ = self._path(u)
        p = -self._sensitivity(x, w)[0] / self._p_weight
        space = self.space
        cells = slice(space.first, space.last)
        weights = w[space.first : space.last + 1] if self.problem.varying else w
        return self.slab.optimality(x[space.slab_x], weights, p[cells], curvature)

    def embed(self, r: PETSc.Vec, out: PETSc.Vec) -> None:
        """Right-hand side ``(r_x0, r_xi/R_f, r_w)`` of the KKT system of ``A'' d = r``."""
        out.set(0.0)
        out.array_w[self._there] = self._scale * r.array_r[self._here]

    def condense(self, solution: PETSc.Vec, r: PETSc.Vec, d: PETSc.Vec) -> None:
        """``d`` of the solution ``(dx, dp, dw)``: ``dxi = (r_xi/(h omega) + dp)/R_f``."""
        values = self._scale * solution.array_r[self._there]
        d.array_w[self._here] = values + self._direct * r.array_r[self._here]
