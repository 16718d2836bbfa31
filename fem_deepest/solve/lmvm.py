"""Quasi-Newton minimisation by TAO in the metric of the action.

TAO's ``lmvm`` brings the line search (More-Thuente), the tolerances and the monitors. The inverse
Hessian is a :class:`LimitedMemory`, handed to TAO as its initial one; TAO's own memory is empty, so
that the pairs can be stored in a checkpoint and prolonged to a finer mesh. Gradients are measured in
the dual norm of the metric, so that tolerances mean the same on every mesh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fem_deepest._petsc import PETSc, set_initial_hessian
from fem_deepest.action.protocol import Action
from fem_deepest.errors import NumericalFailure
from fem_deepest.solve.guard import Guard
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.solve.outcome import Outcome, reason_name

_NUMERICAL = (63, 72, 83)  # PETSc's codes where a line search meets what is no number
_FIRST_STEP = 1.0  # length of the first step in the norm of the metric


@dataclass
class Iterate:
    """What a monitor sees after every accepted step.

    Attributes:
        u: The iterate; do not change it.
        action: ``A(u)``.
        gradient: Dual norm of the gradient.
        iteration: Number of steps made.
    """

    u: PETSc.Vec
    action: float
    gradient: float
    iteration: int


def minimise(
    action: Action,
    u: PETSc.Vec,
    memory: LimitedMemory,
    *,
    tolerance: float,
    iterations: int,
    monitor: Callable[[Iterate], None] | None = None,
    offset: int = 0,
    enough: Callable[[float], bool] | None = None,
) -> Outcome:
    """Minimise the action from ``u``, in place.

    PETSc options ``-tao_*`` are obeyed, ``-tao_type`` included: ``bqnls`` gets the same initial
    Hessian, ``ntr`` the exact one, matrix-free.

    Args:
        action: What to minimise.
        u: Start; on return the best point reached.
        memory: Quasi-Newton memory, used and extended.
        tolerance: Dual norm of the gradient to reach.
        iterations: Largest number of iterations, those before a restart included.
        monitor: Called at the start and after every accepted step; an exception it raises ends the
            solve.
        offset: Iterations made before a restart, for the count.
        enough: Asked after every step with the action; true ends the solve, "converged_user".

    Raises:
        NumericalFailure: The action or its gradient is not finite; ``u`` holds the last good point.

    Collective.
    """
    done = offset
    while True:
        outcome = _solve(action, u, memory, tolerance, iterations - done, monitor, done, enough)
        done += outcome.iterations
        # A failed line search with memory may be the memory's fault: once more without it.
        if outcome.reason != "diverged_ls_failure" or not memory.s:
            return Outcome(outcome.converged, outcome.reason, done - offset)
        memory.clear()


def _solve(
    action: Action,
    u: PETSc.Vec,
    memory: LimitedMemory,
    tolerance: float,
    iterations: int,
    monitor: Callable[[Iterate], None] | None,
    offset: int,
    enough: Callable[[float], bool] | None,
) -> Outcome:
    comm = u.getComm()
    tao, guard = PETSc.TAO().create(comm), Guard()
    # TAO works on its own vector: an exception from a callback leaves that one locked.
    good, work, linearised = u.copy(), u.copy(), u.copy()
    previous: list[PETSc.Vec] = []
    norms: list[float] = []
    spent = iterations < 1  # as of a run that goes on where its iterations ended

    def objective_gradient(_: PETSc.TAO, x: PETSc.Vec, g: PETSc.Vec) -> float:
        value = action.gradient(x, g)
        if not np.isfinite(value):
            raise NumericalFailure(f"the action is {value} at a trial point")
        if not np.isfinite(g.norm()):
            raise NumericalFailure("the gradient of the action is not finite at a trial point")
        return value

    def step(tao: PETSc.TAO) -> None:
        x, g = tao.getSolution(), tao.getGradient()[0]
        iteration, value, norm, *_ = tao.getSolutionStatus()
        if not measured:
            norm = dual_norm(action.metric, g)
        norms[:] = [norm]
        if previous:
            previous[0].aypx(-1.0, x)
            previous[1].aypx(-1.0, g)
            memory.push(*previous)
        elif not memory.s and norm > 0.0:
            memory.scale = min(1.0, _FIRST_STEP / norm)
        x.copy(good)
        previous[:] = [x.copy(), g.copy()]
        if monitor is not None:
            monitor(Iterate(x, value, norm, offset + iteration))

    options = PETSc.Options()

    def converged(tao: PETSc.TAO) -> None:
        # The default test of some types takes the Euclidean norm, whatever the gradient norm set.
        if tao.getConvergedReason() != PETSc.TAO.Reason.CONTINUE_ITERATING:
            return
        gatol, grtol, _ = tao.getTolerances()
        iteration, value, *_ = tao.getSolutionStatus()
        if norms[0] <= gatol:
            tao.setConvergedReason(PETSc.TAO.Reason.CONVERGED_GATOL)
        elif norms[0] <= grtol * abs(value):
            tao.setConvergedReason(PETSc.TAO.Reason.CONVERGED_GRTOL)
        elif enough is not None and enough(value):
            tao.setConvergedReason(PETSc.TAO.Reason.CONVERGED_USER)
        elif spent or iteration >= tao.getMaximumIterations():
            tao.setConvergedReason(PETSc.TAO.Reason.DIVERGED_MAXITS)

    no_memory = "tao_lmvm_mat_lmvm_hist_size"  # TAO's own memory is empty, unless the user wants it
    mine = not options.hasName(no_memory)
    if mine:
        options.setValue(no_memory, 0)
    initial = shell(memory.metric.apply, u)
    hessian = shell(guard.wrap(lambda d, r: action.hessian(linearised, d, r)), u)
    norm = shell(action.metric.solve, u)
    own = PETSc.KSP().create(comm)
    try:
        tao.setType("lmvm")
        tao.setObjectiveGradient(guard.wrap(objective_gradient), None)
        tao.setGradientNorm(norm)
        tao.setTolerances(gatol=tolerance, grtol=0.0, gttol=0.0)
        tao.setMaximumIterations(max(iterations, 1))  # TAO takes no zero
        tao.setMonitor(guard.wrap(step))
        tao.setConvergenceTest(guard.wrap(converged))
        tao.setHessian(lambda _, x, *__: x.copy(linearised), hessian)  # for -tao_type ntr
        tao.setFromOptions()
        tao.setSolution(work)
        kind = tao.getType()
        measured = kind in ("lmvm", "blmvm")  # these take the gradient norm that was set
        if measured:
            tao.setLMVMH0(initial)
            ksp = tao.getLMVMH0KSP()
        else:
            ksp = own
            ksp.setOperators(initial)
        ksp.setType("preonly")
        ksp.getPC().setType("python")
        ksp.getPC().setPythonContext(_Inverse(memory))
        if kind.startswith("bqn"):
            tao.setUp()
            set_initial_hessian(tao, initial, ksp)
        try:
            with guard:
                tao.solve()
        except PETSc.Error as error:
            if error.ierr not in _NUMERICAL:
                raise
            raise NumericalFailure(
                "the quasi-Newton method cannot go on: the action or its gradient is too large a number"
            ) from error
        code = tao.getConvergedReason()
        return Outcome(code > 0, reason_name(PETSc.TAO.Reason, code), tao.getIterationNumber())
    finally:
        good.copy(u)
        if mine:
            options.delValue(no_memory)
        for thing in (tao, own, initial, hessian, norm, good, work, linearised, *previous):
            thing.destroy()


class _Product:
    """Shell matrix of a map of vectors."""

    def __init__(self, apply: Callable[[PETSc.Vec, PETSc.Vec], None]) -> None:
        self._apply = apply

    def mult(self, _: PETSc.Mat, x: PETSc.Vec, y: PETSc.Vec) -> None:
        self._apply(x, y)


class _Inverse:
    """Shell preconditioner of the quasi-Newton memory."""

    def __init__(self, memory: LimitedMemory) -> None:
        self._memory = memory

    def apply(self, _: PETSc.PC, x: PETSc.Vec, y: PETSc.Vec) -> None:
        self._memory.apply(x, y)


def shell(apply: Callable[[PETSc.Vec, PETSc.Vec], None], u: PETSc.Vec) -> PETSc.Mat:
    """Matrix-free operator on the space of ``u``, from a map that writes into its second argument."""
    size = (u.getLocalSize(), PETSc.DETERMINE)
    matrix = PETSc.Mat().createPython((size, size), _Product(apply), comm=u.getComm())
    matrix.setUp()
    return matrix
