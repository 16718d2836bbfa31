"""Levenberg-Marquardt method in the metric of the prior, with quasi-Newton and exact Newton phases.

A step solves ``(H + mu P) d = -g`` with ``H`` the Gauss-Newton matrix; the damping follows the gain
ratio, actual over predicted decrease (Nielsen 1999, IMM-REP-1999-05). In the state form the step is
tried as it is and with its states corrected to second order, so that at large ``R_f`` it follows the
curved manifold of the model. Near the model this is the best step known.

The gain ratio says where it is not. The first trial step that wins less than half of what it promises
hands over to the quasi-Newton method in the metric of the action, once, for up to a hundred steps, each
at the cost of a gradient: at a cold start with ``R_f`` of ten or more that is at once, and no damping has
to be found where Gauss and Newton's model is of no use. At smaller ``R_f`` the residuals are large, and
Gauss-Newton steps converge linearly only; there the exact second variation predicts the decrease
better, and when it has done so twice it takes the place of ``H``, by conjugate gradients with the
Gauss-Newton system as the preconditioner, which stop at negative curvature (Steihaug 1983,
doi:10.1137/0720042). A rejected step or negative curvature ends this phase. Where no damping gives a
decrease at all, the quasi-Newton method takes over for good.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.states import StateAction
from fem_deepest.errors import NumericalFailure
from fem_deepest.solve.lmvm import Iterate, minimise
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.solve.network.dataspace import DataSpace
from fem_deepest.solve.network.gauss_newton import GaussNewton, WeightSolver
from fem_deepest.solve.network.schur import WeightSchur
from fem_deepest.solve.network.step import Step
from fem_deepest.solve.outcome import Outcome

DATA = 4000  # outputs of all samples up to which the dense data-space matrix is the best
_FIRST = 1e-2  # damping of the first step
_LEAST, _MOST = 1e-10, 1e14
_TRUSTED = 0.1  # the exact model takes over when it errs by less, twice
_PAIRS = 20  # of the quasi-Newton method
_HALF = 0.5  # a first gain ratio below it begins the quasi-Newton steps
_QUASI = 100  # most quasi-Newton steps
_WINDOW = 10  # so many of them have to win what two others must
_GAIN = 1e-3  # least gain ratio of an accepted step
_IDLE, _LIGHT = 2, 10.0  # so many idle steps end it, if they are damped no more than this
_ROUNDING = 1e-13


def weight_solver(action: StateAction | NetworkAction) -> type[WeightSolver]:
    """The data space where it is small, conjugate gradients with the depth preconditioner else."""
    return DataSpace if action.samples * action.network.outputs <= DATA else WeightSchur


def levenberg(
    action: StateAction | NetworkAction,
    u: PETSc.Vec,
    *,
    tolerance: float,
    iterations: int,
    decrease: float = 0.0,
    solver: type[WeightSolver] | None = None,
    monitor: Callable[[Iterate], None] | None = None,
) -> Outcome:
    """Minimise the action from ``u``, in place.

    Args:
        action: The state form, or the forcing form under the strong constraint (``R_f`` infinite).
        u: Start; on return the best point reached.
        tolerance: Dual norm of the gradient in ``action.metric`` to reach.
        iterations: Largest number of steps.
        decrease: Stop, too, after two lightly damped steps in a row that are predicted to win, and do
            win, no more than this fraction of the action; ten quasi-Newton steps count as these two.
        solver: Solver of the weight system; :func:`weight_solver` by default.
        monitor: Called at the start and after every accepted step; an exception it raises ends the
            solve.

    Raises:
        NumericalFailure: The action is not finite at the start.
        InputError: The action has forcings, or a scheme of several stages.

    Collective.
    """
    search = _Search(action, u, solver or weight_solver(action), decrease)
    told, iteration = -1, 0

    def tell(iterate: Iterate) -> None:
        """The quasi-Newton method begins by telling its start again."""
        nonlocal told
        if iterate.iteration > told:
            told = iterate.iteration
            if monitor is not None:
                monitor(iterate)

    def quasi_newton(most: int) -> Outcome:
        memory, values = LimitedMemory(action.metric, _PAIRS), list[float]()

        def enough(value: float) -> bool:
            values.append(value)
            return len(values) > _WINDOW and values[-_WINDOW - 1] - value <= decrease * abs(value)

        try:
            return minimise(
                action,
                u,
                memory,
                tolerance=tolerance,
                iterations=min(iterations, most),
                monitor=tell,
                offset=iteration,
                enough=enough,
            )
        finally:
            memory.clear()

    try:
        while True:
            norm = dual_norm(action.metric, search.g)
            tell(Iterate(u, search.value, norm, iteration))
            if norm <= tolerance:
                return Outcome(True, "converged_gatol", iteration)
            if search.idle >= _IDLE:
                return Outcome(True, "converged_decrease", iteration)
            if iteration >= iterations:
                return Outcome(False, "diverged_maxits", iteration)
            made = search.step()
            if made == "untrusted":
                iteration += quasi_newton(iteration + _QUASI).iterations
                search.look()
            elif made == "stuck":
                rest = quasi_newton(iterations)
                reason = rest.reason.replace("_user", "_decrease")
                return Outcome(rest.converged, reason, iteration + rest.iterations)
            else:
                iteration += 1
    finally:
        search.destroy()


class _Search:
    """Where the method stands: point, gradient, damping and which model makes the steps."""

    def __init__(
        self,
        action: StateAction | NetworkAction,
        u: PETSc.Vec,
        solver: type[WeightSolver],
        decrease: float,
    ) -> None:
        self._action, self._u, self._solver, self._decrease = action, u, solver, decrease
        self.g, self._trial, self._corrected = (action.create() for _ in range(3))
        self._step = Step(action)
        self._mu, self._newton, self._trusted, self.idle = _FIRST, False, 0, 0
        self._fresh = True  # no quasi-Newton steps yet
        self.look()
        if not np.isfinite(self.value):
            raise NumericalFailure(f"the action is {self.value} at the start; take another one")

    def look(self) -> None:
        """Evaluate the action and its gradient at the point."""
        self.value = self._action.gradient(self._u, self.g)

    def step(self) -> Literal["accepted", "untrusted", "stuck"]:
        """Make one accepted step, or say that another method should, or that no damping helps."""
        step, growth = self._step, 2.0
        system = GaussNewton(self._action, self._u, self._solver)
        try:
            while True:
                positive = step.solve(system, self._u, self.g, self._mu, self._newton)
                new = self._try(system)
                gain = (self.value - new) / step.predicted
                # Where the decrease drowns in rounding, no increase beyond rounding will do.
                rounding = _ROUNDING * abs(self.value)
                if step.predicted <= rounding and new <= self.value + rounding:
                    gain = 1.0
                if self._fresh and gain < _HALF:
                    self._fresh = False
                    return "untrusted"
                if gain > _GAIN:
                    break
                self._mu, growth = max(self._mu, 1e-3) * growth, 2.0 * growth
                self._newton, self._trusted = False, 0
                if self._mu > _MOST:
                    return "stuck"
        finally:
            system.destroy()
        self._choose_model(gain, self.value - new, positive)
        won = max(step.predicted, self.value - new)
        flat = won <= self._decrease * abs(self.value) and self._mu <= _LIGHT
        self.idle = self.idle + 1 if flat else 0
        self._mu *= max(0.1 if gain > 0.9 else 1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3)
        self._mu = max(self._mu, _LEAST)
        self._trial.copy(self._u)
        self.look()
        return "accepted"

    def _try(self, system: GaussNewton) -> float:
        """The better of the step and the corrected step, left in ``_trial``."""
        self._step.d.copy(self._trial)
        self._trial.axpy(1.0, self._u)
        new = _value(self._action, self._trial)
        if not system.lin.forced:
            return new
        self._trial.copy(self._corrected)
        system.correct(self._u, self._step.d, self._corrected)
        other = _value(self._action, self._corrected)
        if other < new:
            self._trial, self._corrected = self._corrected, self._trial
        return min(new, other)

    def _choose_model(self, gain: float, won: float, positive: bool) -> None:
        """Newton's model after it has been the better one twice, until it fails."""
        if self._newton:
            self._newton = positive
            self._trusted = 2 * int(positive)
            return
        exact = won / self._step.exact if self._step.exact > 0.0 else np.inf
        better = abs(exact - 1.0) < min(_TRUSTED, abs(gain - 1.0))
        self._trusted = self._trusted + 1 if better else 0
        self._newton = self._trusted >= 2

    def destroy(self) -> None:
        """Free the vectors."""
        self._step.destroy()
        for vec in (self.g, self._trial, self._corrected):
            vec.destroy()


def _value(action: StateAction | NetworkAction, u: PETSc.Vec) -> float:
    """The action, infinite where it is not a number."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            value = action.value(u)
    except NumericalFailure:
        return np.inf
    return value if np.isfinite(value) else np.inf
