"""Newton's method by SNES to *any* stationary point: minimum or saddle, ``dA/du = 0``.

Where the action can assemble its second variation it is factorised (``L D L^T``, MUMPS); otherwise
MINRES solves with it, preconditioned by the metric, which takes indefinite operators as they are. The
steps are damped until the residual falls in the dual of the metric, so a saddle is as good as a
minimum; to be led to minima use :func:`fem_deepest.solve.newton.polish`. With a deflation the steps
are taken in full, as published: the residual has to rise on the way from one solution to the next.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.factorisation import Factorisation
from fem_deepest.action.protocol import Action, AssembledAction
from fem_deepest.errors import NotConverged, NumericalFailure
from fem_deepest.solve.deflation import Deflation
from fem_deepest.solve.guard import Guard
from fem_deepest.solve.lmvm import Iterate, shell
from fem_deepest.solve.memory import dual_norm
from fem_deepest.solve.newton import Linearised, Riesz
from fem_deepest.solve.outcome import Outcome, reason_name

_HALVINGS = 40
_DECREASE = 1e-4  # Armijo's constant
_DIVERGED = 1e8  # growth of the gradient's norm that is called divergence
_INNER = 2000  # most MINRES iterations of a step


def stationary(
    action: Action,
    u: PETSc.Vec,
    *,
    tolerance: float,
    iterations: int = 50,
    deflation: Deflation | None = None,
    monitor: Callable[[Iterate], None] | None = None,
) -> Outcome:
    """Go from ``u`` to a stationary point, in place.

    PETSc options ``-snes_*`` and ``-ksp_*`` are obeyed.

    Args:
        action: The action.
        u: Start; on return, also by an exception, the last accepted point.
        tolerance: Dual norm of the gradient to reach.
        iterations: Largest number of steps.
        deflation: Known points to keep away from; ``u`` must not be one of them.
        monitor: Called at the start and after every step.

    Raises:
        NotConverged: The second variation is singular, no step makes the residual smaller, or the
            steps are used up.
        NumericalFailure: The action or its gradient is not finite at the start.

    Collective.
    """
    newton = _Newton(action, u, deflation)
    good, work = u.copy(), u.copy()
    residual, guard = u.duplicate(), Guard()
    norms, first = [0.0], [0.0]
    snes = PETSc.SNES().create(u.getComm())

    def function(_: PETSc.SNES, x: PETSc.Vec, g: PETSc.Vec) -> None:
        if not np.isfinite(action.gradient(x, g)):
            raise NumericalFailure("the action is not finite at the start of Newton's method")

    def converged(
        snes: PETSc.SNES, iteration: int, _: tuple[float, float, float]
    ) -> PETSc.SNES.ConvergedReason:
        x, norm = snes.getSolution(), dual_norm(action.metric, snes.getFunction()[0])
        x.copy(good)
        norms[:] = [norm]
        newton.norm = norm
        if newton.failure is not None:
            return PETSc.SNES.ConvergedReason.DIVERGED_LINE_SEARCH
        if monitor is not None:
            monitor(Iterate(x, action.value(x), norm, iteration))
        if norm <= tolerance:
            return PETSc.SNES.ConvergedReason.CONVERGED_FNORM_ABS
        first[0] = first[0] or norm
        if norm > _DIVERGED * first[0]:
            return PETSc.SNES.ConvergedReason.DIVERGED_DTOL
        if iteration >= iterations:
            return PETSc.SNES.ConvergedReason.DIVERGED_MAX_IT
        # Superlinear: the linear solve is as exact as the gradient is small, and no exacter.
        rtol = min(1e-2, max(norm, 0.1 * tolerance / norm, 1e-12))
        snes.getKSP().setTolerances(rtol=rtol, max_it=_INNER)
        return PETSc.SNES.ConvergedReason.CONVERGED_ITERATING

    try:
        snes.setType("newtonls")
        snes.setFunction(guard.wrap(function), residual)
        snes.setJacobian(guard.wrap(newton.linearise), newton.operator)
        snes.setConvergenceTest(guard.wrap(converged))
        snes.setTolerances(stol=0.0, max_it=iterations)
        snes.setMaxLinearSolveFailures(iterations + 1)
        snes.setLineSearchPreCheck(guard.wrap(newton.damp))
        ksp = snes.getKSP()
        ksp.setType("preonly" if newton.direct else "minres")
        if not newton.direct:
            ksp.setNormType(PETSc.KSP.NormType.PRECONDITIONED)
        ksp.getPC().setType("python")
        ksp.getPC().setPythonContext(newton)
        snes.setFromOptions()
        options = PETSc.Options()
        if not options.hasName("snes_linesearch_type"):
            options.setValue("snes_linesearch_type", "basic")  # the steps are damped already
            snes.setFromOptions()
            options.delValue("snes_linesearch_type")
        with guard:
            snes.solve(None, work)
        if newton.failure is not None:
            raise newton.failure
        code, count = snes.getConvergedReason(), snes.getIterationNumber()
        reason = reason_name(PETSc.SNES.ConvergedReason, code)
        if code <= 0:
            raise NotConverged(
                f"Newton's method stopped after {count} steps with a gradient of {norms[0]:.1e} "
                f"({reason}), expected {tolerance:.1e}; allow more steps or start elsewhere"
            )
        return Outcome(True, reason, count)
    finally:
        good.copy(u)
        newton.release()
        for thing in (snes, residual, good, work):
            thing.destroy()


class _Newton:
    """Linear solves and damping; it is the preconditioner of SNES too.

    A failure is kept and the step set to zero, so that SNES ends in good order: failures are all in
    the day's work of a search, and an exception that unwinds PETSc's stack can take Python with it.

    Attributes:
        failure: Why there is no further step, if so.
    """

    def __init__(self, action: Action, u: PETSc.Vec, deflation: Deflation | None) -> None:
        self._action, self._deflation = action, deflation
        self.direct = isinstance(action, AssembledAction)
        self._factors: Factorisation | None = None
        self._linear = Linearised(action, u)
        self.operator = shell(self._linear.mult, u)
        self._riesz = Riesz(action.metric)
        self._trial, self._dual = u.duplicate(), u.duplicate()
        self.norm = np.inf
        self.failure: NotConverged | None = None

    def linearise(self, _: PETSc.SNES, x: PETSc.Vec, *__: PETSc.Mat) -> None:
        """Second variation at ``x``, factorised if it can be assembled."""
        x.copy(self._linear.point)
        if not isinstance(self._action, AssembledAction):
            return
        matrix = self._action.second_variation(x)
        if self._factors is None:
            self._factors = Factorisation(matrix)
        else:
            self._factors.update()
        zero = self._factors.inertia.zero
        if zero:
            self.failure = NotConverged(
                f"the second variation is singular: {zero} of its {matrix.getSize()[0]} eigenvalues "
                "are zero (an end condition is missing, a symmetry is not fixed, or two solutions "
                "meet here); add an end condition or change the start"
            )

    def apply(self, pc: PETSc.PC, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """Preconditioner: the inverse of the second variation, or of the metric."""
        if self.failure is not None:
            y.zeroEntries()
        elif self._factors is not None:
            self._factors.solve(x, y)
        else:
            self._riesz.apply(pc, x, y)

    def damp(self, x: PETSc.Vec, y: PETSc.Vec) -> bool:
        """Scale the step ``-y``: as the deflation says, or until the residual falls."""
        if self.failure is None:
            self._damp(x, y)
        if self.failure is not None:
            y.zeroEntries()
        return True

    def _damp(self, x: PETSc.Vec, y: PETSc.Vec) -> None:
        length, most = 1.0, self.norm
        if self._deflation is not None:
            y.scale(-1.0)
            length, most = self._deflation.step(x, y), np.inf
            y.scale(-1.0)
            if not np.isfinite(length):
                self.failure = NotConverged("the deflated Newton step is infinite; start elsewhere")
                return
        for halving in range(_HALVINGS):
            fraction = 0.5**halving
            self._trial.waxpy(-length * fraction, y, x)
            if np.isfinite(self._action.gradient(self._trial, self._dual)):
                norm = dual_norm(self._action.metric, self._dual)
                if np.isfinite(norm) and norm <= (1.0 - _DECREASE * fraction) * most:
                    y.scale(length * fraction)
                    return
        self.failure = NotConverged(
            f"no step makes the gradient smaller than {self.norm:.1e}: a least of its norm that is "
            "no stationary point, or rounding; start elsewhere or ask for less"
        )

    def release(self) -> None:
        """Free what PETSc holds."""
        if self._factors is not None:
            self._factors.destroy()
        for thing in (self.operator, self._linear.point, self._trial, self._dual):
            thing.destroy()
