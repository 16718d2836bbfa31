"""Newton's method by SNES on the forms of the weak-constraint problem, with assembled systems.

Every form brings the merit function that its line search can trust:

* state and forcing form: the action itself. Where the Hessian is indefinite its curvature term
  ``p . d''`` is damped until it is not (the Gauss-Newton matrix never is), so that every step goes
  downhill and ends in a minimum rather than a saddle. Where a step promises less than the action's
  rounding, the norm of the residual takes over.
* saddle form: the norm of the residual. The Lagrangian has a maximum in ``p``, so nothing could be
  said from its decrease, while the Newton direction of the KKT system always decreases the
  residual. What kind of point was found is told by the inertia of the last KKT matrix.

Newton's method has converged when its correction, before the line search shortens it, is small:
residuals scale with ``R_f``, corrections do not (P. Deuflhard, Newton Methods for Nonlinear Problems
(2011), doi:10.1007/978-3-642-23899-4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fem_deepest._petsc import PETSc
from fem_deepest.action.weak.determined import check_determined
from fem_deepest.action.weak.forcing import ForcingForm
from fem_deepest.action.weak.forms import Form
from fem_deepest.action.weak.saddle import SaddleForm
from fem_deepest.errors import NumericalFailure
from fem_deepest.solve.guard import Guard
from fem_deepest.solve.outcome import Outcome, reason_name
from fem_deepest.solve.weak.kkt import Condensed, Factor, ForcingHessian

_ROUNDING = 1e3 * np.finfo(np.float64).eps  # of the action, relative
_DAMPED = (0.25, 0.0)  # parts of the curvature that are tried when the Hessian is indefinite


@dataclass(frozen=True)
class StationaryOutcome(Outcome):
    """End of one solve.

    Attributes:
        linear: Krylov iterations of all Newton steps; with a direct solver one a step.
        action: Action (state, forcing) or Lagrangian (saddle) at the end.
        residual: Euclidean norm of the residual at the end.
        index: Negative directions of the action at the last linearisation; 0 at a minimum, None if
            the linear solver does not tell.
    """

    linear: int
    action: float
    residual: float
    index: int | None


def solve(
    form: Form,
    u: PETSc.Vec,
    *,
    linear: str = "mumps",
    tolerance: float = 1e-9,
    iterations: int = 50,
    monitor: Callable[[PETSc.Vec, float], None] | None = None,
) -> StationaryOutcome:
    """Go from ``u`` to a stationary point, in place.

    PETSc options ``-snes_*``, ``-ksp_*``, ``-pc_*`` are obeyed; those of the linear systems of the
    forcing form have the prefix ``kkt_``.

    Args:
        form: State, saddle or forcing form.
        u: Start; on return the last accepted point, also after an exception.
        linear: ``"mumps"``, a sparse factorisation, or ``"depth"``, GMRES preconditioned by cyclic
            reduction in depth.
        tolerance: Length of the Newton correction relative to ``u``.
        iterations: Largest number of Newton steps.
        monitor: Called with every accepted point and the norm of its residual.

    Raises:
        InputError: The system is singular: the observations and end conditions do not determine
            the path.
        NumericalFailure: The action is not finite at the start.

    Collective.
    """
    if not np.isfinite(form.value(u)):
        raise NumericalFailure("the action is not finite at the start; take another path")
    x, w, _ = form.unpack(u)
    check_determined(form.problem, x, w)
    newton = _Newton(form, u, linear, tolerance, iterations, monitor)
    try:
        return newton.run()
    finally:
        newton.destroy()


class _Newton:
    """One solve."""

    def __init__(
        self,
        form: Form,
        u: PETSc.Vec,
        linear: str,
        tolerance: float,
        iterations: int,
        monitor: Callable[[PETSc.Vec, float], None] | None,
    ) -> None:
        self.form, self.u, self.monitor = form, u, monitor
        self.index: int | None = None
        self.correction, self.first = np.inf, 0.0
        self.polishing = False  # the line search works on the residual
        self.guard = guard = Guard()
        self.work, self.residual, self.trial = u.copy(), u.duplicate(), u.duplicate()
        self.snes = snes = PETSc.SNES().create(form.comm)
        self.forcing = isinstance(form, ForcingForm)
        space = form.saddle.space if isinstance(form, ForcingForm) else form.space
        snes.setType("newtonls")
        snes.setFunction(guard.wrap(self._function), self.residual)
        if not isinstance(form, SaddleForm):
            snes.setObjective(guard.wrap(self._merit))
        snes.setLineSearchPreCheck(guard.wrap(self._precheck))
        snes.setConvergenceTest(guard.wrap(self._converged))
        snes.setTolerances(rtol=0.0, atol=0.0, stol=tolerance, max_it=iterations)
        if isinstance(form, ForcingForm):
            inner = PETSc.KSP().create(form.comm)
            inner.setOptionsPrefix("kkt_")
            self.factor = Factor(space, inner, linear)
            matrix = PETSc.Mat().createPython(
                (u.getSizes(), u.getSizes()), ForcingHessian(form, u), comm=form.comm
            )
            matrix.setUp()
            snes.setJacobian(guard.wrap(self._jacobian), matrix)
            ksp = snes.getKSP()
            ksp.setType("preonly")
            ksp.getPC().setType("python")
            self.condensed = Condensed(form, self.factor)
            ksp.getPC().setPythonContext(self.condensed)
        else:
            self.factor = Factor(space, snes.getKSP(), linear)
            matrix = self.factor.matrix.mat
            snes.setJacobian(guard.wrap(self._jacobian), matrix)
        self.matrix = matrix
        snes.setFromOptions()

    def run(self) -> StationaryOutcome:
        form, snes, reasons = self.form, self.snes, PETSc.SNES.ConvergedReason
        with self.guard:
            snes.solve(None, self.work)
        self.work.copy(self.u)
        code = snes.getConvergedReason()
        if code == reasons.DIVERGED_LINE_SEARCH and self._small():
            # The last correction is below the tolerance: rounding hides the decrease, no more.
            code = reasons.CONVERGED_SNORM_RELATIVE
        action = form.gradient(self.u, self.trial)
        linear = self.condensed.iterations if self.forcing else snes.getLinearSolveIterations()
        return StationaryOutcome(
            code > 0,
            reason_name(reasons, code),
            snes.getIterationNumber(),
            linear,
            action,
            self.trial.norm(),
            self.index,
        )

    def destroy(self) -> None:
        """Free PETSc's objects, on all ranks together."""
        for thing in (self.snes, self.work, self.residual, self.trial, self.matrix):
            thing.destroy()
        self.factor.destroy()

    def _merit(self, _: PETSc.SNES, x: PETSc.Vec) -> float:
        if not self.polishing:
            return self.form.value(x)
        try:
            self.form.gradient(x, self.trial)
        except NumericalFailure:
            return np.inf
        return 0.5 * float(self.trial.norm()) ** 2

    def _function(self, _: PETSc.SNES, x: PETSc.Vec, g: PETSc.Vec) -> None:
        self.form.gradient(x, g)

    def _jacobian(self, _: PETSc.SNES, x: PETSc.Vec, *__: PETSc.Mat) -> None:
        form, factor = self.form, self.factor
        negative = (form.saddle if isinstance(form, ForcingForm) else form).negative
        found = factor.update(form.elements(x))
        self.index = None if found is None else found - negative
        if self.index and not isinstance(form, SaddleForm):
            for curvature in _DAMPED:
                if factor.update(form.elements(x, curvature)) == negative:
                    break
        if self.forcing:
            x.copy(self.matrix.getPythonContext().point)
            self.matrix.assemble()

    def _precheck(self, _: PETSc.Vec, step: PETSc.Vec, *__: object) -> bool:
        self.correction = step.norm()
        if not self.polishing and not isinstance(self.form, SaddleForm):
            # So near to a minimum the action is constant to rounding; the residual is not.
            decrease, action = self.residual.dot(step), sum(self.form.parts.values())
            self.polishing = bool(abs(decrease) <= _ROUNDING * abs(action))
        return False

    def _small(self) -> bool:
        return bool(self.correction <= self.snes.getTolerances()[2] * max(self.u.norm(), 1e-300))

    def _converged(
        self, snes: PETSc.SNES, iteration: int, norms: tuple[float, float, float]
    ) -> PETSc.SNES.ConvergedReason:
        reasons, norm = PETSc.SNES.ConvergedReason, norms[2]
        relative, absolute, _, most = snes.getTolerances()
        if not np.isfinite(norm):
            return reasons.DIVERGED_FNORM_NAN
        snes.getSolution().copy(self.u)
        if self.monitor is not None:
            self.monitor(self.u, norm)
        if iteration == 0:
            self.first = norm
        if norm <= absolute:
            return reasons.CONVERGED_FNORM_ABS
        if norm <= relative * self.first:
            return reasons.CONVERGED_FNORM_RELATIVE
        if iteration > 0 and self._small():
            return reasons.CONVERGED_SNORM_RELATIVE
        return reasons.DIVERGED_MAX_IT if iteration >= most else reasons.CONVERGED_ITERATING
