"""Newton's method by SNES to a stationary point of the Euler-Lagrange system ``dA/du = 0``.

The Hessian is matrix-free and exact, its preconditioner is the metric. Conjugate gradients stop at
negative curvature (Steihaug 1983, doi:10.1137/0720042), and the line search works on the action, not
on the residual: plain Newton on the Euler-Lagrange system is attracted to saddles. Where the action
can assemble its second variation that is factorised instead, shifted by the metric until it is
positive. Nothing but the iterate is carried from step to step, so a resumed solve makes the same
steps.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fem_deepest._petsc import PETSc
from fem_deepest.action.protocol import Action, AssembledAction, Metric
from fem_deepest.errors import NumericalFailure
from fem_deepest.solve.guard import Guard
from fem_deepest.solve.lmvm import Iterate, shell
from fem_deepest.solve.memory import dual_norm
from fem_deepest.solve.outcome import Outcome, reason_name
from fem_deepest.solve.shifted import ShiftedNewton

_LOOSEST = 0.1  # relative tolerance of the first linear solve


def polish(
    action: Action,
    u: PETSc.Vec,
    *,
    tolerance: float,
    iterations: int,
    monitor: Callable[[Iterate], None] | None = None,
    offset: int = 0,
) -> Outcome:
    """Go from ``u`` to a stationary point, in place.

    PETSc options ``-snes_*`` and ``-ksp_*`` are obeyed.

    Args:
        action: The action.
        u: Start, near a minimum; on return the last accepted point.
        tolerance: Dual norm of the gradient to reach.
        iterations: Largest number of Newton steps, those before a restart included.
        monitor: Called at the start and after every accepted step; an exception it raises ends the
            solve.
        offset: Steps made before a restart, for the count.

    Raises:
        NumericalFailure: The action or its gradient is not finite; ``u`` holds the last good point.

    Collective.
    """
    comm, guard = u.getComm(), Guard()
    # SNES works on its own vector: an exception from a callback leaves that one locked.
    good, work = u.copy(), u.copy()
    snes = PETSc.SNES().create(comm)
    linear = Linearised(action, u)
    hessian = shell(guard.wrap(linear.mult), u)
    residual = u.duplicate()
    shifted = ShiftedNewton(action) if isinstance(action, AssembledAction) else None

    def finite(value: float) -> float:
        if not np.isfinite(value):
            raise NumericalFailure(f"the action is {value} at a trial point")
        return value

    def function(_: PETSc.SNES, x: PETSc.Vec, g: PETSc.Vec) -> None:
        finite(action.gradient(x, g))

    def jacobian(_: PETSc.SNES, x: PETSc.Vec, *__: PETSc.Mat) -> None:
        x.copy(linear.point)
        if shifted is not None:
            shifted.linearise(x)

    def converged(
        snes: PETSc.SNES, iteration: int, _: tuple[float, float, float]
    ) -> PETSc.SNES.ConvergedReason:
        x = snes.getSolution()
        norm = dual_norm(action.metric, snes.getFunction()[0])
        x.copy(good)
        if monitor is not None:
            monitor(Iterate(x, action.value(x), norm, offset + iteration))
        if norm <= tolerance:
            return PETSc.SNES.ConvergedReason.CONVERGED_FNORM_ABS
        if offset + iteration >= iterations:
            return PETSc.SNES.ConvergedReason.DIVERGED_MAX_IT
        # Superlinear: the linear solve is as exact as the gradient is small, and no exacter.
        rtol = min(_LOOSEST, max(np.sqrt(norm), 0.1 * tolerance / norm, 1e-10))
        snes.getKSP().setTolerances(rtol=rtol)
        return PETSc.SNES.ConvergedReason.CONVERGED_ITERATING

    def descend(_: PETSc.Vec, y: PETSc.Vec) -> bool:
        # Negative curvature along the very first direction leaves no step: go down the gradient.
        if y.norm() > 0.0:
            return False
        action.metric.solve(snes.getFunction()[0], y)
        return True

    try:
        snes.setType("newtonls")
        snes.setFunction(guard.wrap(function), residual)
        snes.setObjective(guard.wrap(lambda _, x: finite(action.value(x))))
        snes.setJacobian(guard.wrap(jacobian), hessian)
        snes.setConvergenceTest(guard.wrap(converged))
        snes.setTolerances(stol=0.0, max_it=iterations)  # a short step is no convergence
        snes.setLineSearchPreCheck(guard.wrap(descend))
        snes.setMaxLinearSolveFailures(iterations)
        ksp = snes.getKSP()
        ksp.getPC().setType("python")
        if shifted is not None:
            ksp.setType("preonly")
            ksp.getPC().setPythonContext(shifted)
        else:
            ksp.setType("stcg")
            ksp.setNormType(PETSc.KSP.NormType.PRECONDITIONED)
            ksp.setTolerances(max_it=500)
            ksp.getPC().setPythonContext(Riesz(action.metric))
        snes.setFromOptions()
        with guard:
            snes.solve(None, work)
        code = snes.getConvergedReason()
        return Outcome(
            code > 0, reason_name(PETSc.SNES.ConvergedReason, code), snes.getIterationNumber()
        )
    finally:
        good.copy(u)
        if shifted is not None:
            shifted.release()
        for thing in (snes, hessian, residual, good, work, linear.point):
            thing.destroy()


class Linearised:
    """Second variation at a point."""

    def __init__(self, action: Action, u: PETSc.Vec) -> None:
        self._action, self.point = action, u.copy()

    def mult(self, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = A'' d``."""
        self._action.hessian(self.point, d, r)


class Riesz:
    """The metric as a preconditioner."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def apply(self, _: PETSc.PC, x: PETSc.Vec, y: PETSc.Vec) -> None:
        """``y = P^{-1} x``."""
        self._metric.solve(x, y)
