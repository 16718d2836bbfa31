"""Levenberg-Marquardt method in the metric of the prior, with an exact Newton phase at the end.

A step solves ``(H + mu P) d = -g`` with ``H`` the Gauss-Newton matrix; the damping follows the gain
ratio, actual over predicted decrease (Nielsen 1999, IMM-REP-1999-05). At large ``R_f`` and far from the
minimum this is the best step known. Where the residuals are large (small ``R_f``) it converges
linearly only; there the exact second variation predicts the decrease better, and when it has done so
twice it takes the place of ``H``, by conjugate gradients with the Gauss-Newton system as the
preconditioner. A rejected step or negative curvature ends this phase.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fem_deepest._petsc import PETSc
from fem_deepest.action.network import NetworkAction
from fem_deepest.action.states import StateAction
from fem_deepest.errors import NumericalFailure
from fem_deepest.solve.dataspace import DataSpace
from fem_deepest.solve.gauss_newton import GaussNewton, WeightSolver
from fem_deepest.solve.lmvm import Iterate
from fem_deepest.solve.memory import dual_norm
from fem_deepest.solve.outcome import Outcome
from fem_deepest.solve.schur import WeightSchur

DATA = 4000  # outputs of all samples up to which the dense data-space matrix is the best
_FIRST = 1e-2  # damping of the first step
_LEAST, _MOST = 1e-10, 1e14
_TRUSTED = 0.1  # the exact model takes over when it errs by less, twice
_FORCING = 1e-2  # decrease of the preconditioned residual in a Newton step, squared
_INNER = 40
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
    solver: type[WeightSolver] | None = None,
    monitor: Callable[[Iterate], None] | None = None,
) -> Outcome:
    """Minimise the action from ``u``, in place.

    Args:
        action: The state form, or the forcing form under the strong constraint (``R_f`` infinite).
        u: Start; on return the best point reached.
        tolerance: Dual norm of the gradient in ``action.metric`` to reach.
        iterations: Largest number of steps.
        solver: Solver of the weight system; :func:`weight_solver` by default.
        monitor: Called at the start and after every accepted step; an exception it raises ends the
            solve.

    Raises:
        NumericalFailure: The action is not finite at the start.
        InputError: The action has forcings, or a scheme of several stages.

    Collective.
    """
    solver = solver or weight_solver(action)
    g, trial = action.create(), action.create()
    step = _Step(action)
    value, newton, trusted = action.gradient(u, g), False, 0
    if not np.isfinite(value):
        raise NumericalFailure(f"the action is {value} at the start; take another one")
    mu, growth, iteration = _FIRST, 2.0, 0
    try:
        while True:
            norm = dual_norm(action.metric, g)
            if monitor is not None:
                monitor(Iterate(u, value, norm, iteration))
            if norm <= tolerance:
                return Outcome(True, "converged_gatol", iteration)
            if iteration >= iterations:
                return Outcome(False, "diverged_maxits", iteration)
            system = GaussNewton(action, u, solver)
            try:
                while True:
                    positive = step.solve(system, u, g, mu, newton)
                    step.d.copy(trial)
                    trial.axpy(1.0, u)
                    new = _value(action, trial)
                    gain = (value - new) / step.predicted
                    small = step.predicted <= _ROUNDING * abs(value)
                    if gain > 1e-3 or (small and new <= value + _ROUNDING * abs(value)):
                        break
                    mu, growth = max(mu, 1e-3) * growth, 2.0 * growth
                    newton, trusted = False, 0
                    if mu > _MOST:
                        return Outcome(False, "diverged_damping", iteration)
            finally:
                system.destroy()
            if newton and not positive:
                newton, trusted = False, 0
            elif not newton:
                exact = (value - new) / step.exact if step.exact > 0.0 else np.inf
                better = abs(exact - 1.0) < min(_TRUSTED, abs(gain - 1.0))
                trusted = trusted + 1 if better else 0
                newton = trusted >= 2
            mu *= max(0.1 if gain > 0.9 else 1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3)
            mu, growth, iteration = max(mu, _LEAST), 2.0, iteration + 1
            trial.copy(u)
            value = action.gradient(u, g)
    finally:
        step.destroy()
        for vec in (g, trial):
            vec.destroy()


def _value(action: StateAction | NetworkAction, u: PETSc.Vec) -> float:
    """The action, infinite where it is not a number."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            value = action.value(u)
    except NumericalFailure:
        return np.inf
    return value if np.isfinite(value) else np.inf


class _Step:
    """A step and the decrease that the model without damping predicts for it.

    Attributes:
        d: The step.
        predicted: Decrease of the model that made the step.
        exact: Decrease of the model with the exact second variation.
    """

    def __init__(self, action: StateAction | NetworkAction) -> None:
        self._action = action
        self.d, self._p, self._z, self._r, self._hp, self._w = (action.create() for _ in range(6))
        self.predicted = self.exact = 0.0

    def solve(
        self, system: GaussNewton, u: PETSc.Vec, g: PETSc.Vec, mu: float, newton: bool
    ) -> bool:
        """Make a step; returns whether no negative curvature was met."""
        if newton and self._newton(system, u, g, mu):
            return True
        system.solve(g, self.d, 1.0 + mu)
        self.d.scale(-1.0)
        slope = -g.dot(self.d)
        system.damping(self.d, self._w)
        self._action.hessian(u, self.d, self._hp)
        # (H + mu P) d = -g gives the curvature of the Gauss-Newton model.
        self.predicted = 0.5 * (slope + mu * self.d.dot(self._w))
        self.exact = slope - 0.5 * self.d.dot(self._hp)
        return not newton

    def _newton(self, system: GaussNewton, u: PETSc.Vec, g: PETSc.Vec, mu: float) -> bool:
        """Conjugate gradients on ``A'' + mu P``; false at negative curvature."""
        d, p, z, r, hp, w = self.d, self._p, self._z, self._r, self._hp, self._w
        d.zeroEntries()
        g.copy(r)
        system.solve(r, z, 1.0 + mu)
        z.copy(p)
        p.scale(-1.0)
        rz = first = r.dot(z)
        self.predicted = 0.0
        for _ in range(_INNER):
            self._action.hessian(u, p, hp)
            system.damping(p, w)
            damped = mu * p.dot(w)
            curvature = p.dot(hp) + damped
            if curvature <= 0.0:
                return False
            alpha = rz / curvature
            d.axpy(alpha, p)
            self.predicted += 0.5 * alpha * rz
            hp.axpy(mu, w)
            r.axpy(alpha, hp)
            system.solve(r, z, 1.0 + mu)
            new = r.dot(z)
            if new <= min(_FORCING, first) * first:
                break
            p.scale(new / rz)
            p.axpy(-1.0, z)
            rz = new
        system.damping(d, w)
        self.predicted += 0.5 * mu * d.dot(w)
        self.exact = self.predicted
        return True

    def destroy(self) -> None:
        """Free the vectors."""
        for vec in (self.d, self._p, self._z, self._r, self._hp, self._w):
            vec.destroy()
