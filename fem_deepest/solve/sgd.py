"""Stochastic gradient descent with decreasing steps, for any stochastic gradient.

    u_n = u_{n-1} - (eta / n^nu) C G_n(u_{n-1}),      E G_n(u) = grad A(u),

``C`` the identity (the method as it is known) or the inverse of a metric (the same iteration on every
mesh). For a strongly convex ``A`` and ``nu < 1`` the strong error is of order ``nu/2`` for every ``p``,

    (E |u_n - u*|^p)^{1/p} <= c n^{-nu/2},

and for ``nu = 1`` of order ``min(1/2, eta mu)`` only, ``mu`` the lowest eigenvalue of ``C A''``: a step
that is too small at the start never makes up for it. A. Jentzen, B. Kuckuck, A. Neufeld, P. von
Wurstemberger, Strong error analysis for stochastic gradient descent optimization algorithms (2018),
arXiv:1801.09324.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from fem_deepest._petsc import PETSc
from fem_deepest.action.protocol import Action, Metric
from fem_deepest.errors import NumericalFailure
from fem_deepest.solve.lmvm import Iterate
from fem_deepest.solve.memory import dual_norm
from fem_deepest.solve.outcome import Outcome

_LARGEST = 1e10  # entry; an iteration that has come there has diverged


# G: writes G_step(u), a dual vector, into its second argument and returns the value that it is the
# gradient of. A function of the point, the step and the run alone; collective.
StochasticGradient = Callable[[PETSc.Vec, PETSc.Vec, int], float]


@dataclass(frozen=True)
class Gains:
    """``eta / n^nu``, the length of step ``n = 1, 2, ...``.

    Attributes:
        eta: ``eta > 0``.
        nu: ``nu`` in [0, 1].
    """

    eta: float
    nu: float

    def __call__(self, n: int) -> float:
        """The length of step ``n``."""
        return float(self.eta * n**-self.nu)


def advance(
    estimate: StochasticGradient,
    u: PETSc.Vec,
    gains: Gains,
    steps: range,
    metric: Metric | None = None,
) -> None:
    """Go through some steps, in place.

    Args:
        estimate: ``G``.
        u: ``u_{n-1}`` for the first ``n`` of ``steps``; on return that of the last.
        gains: Lengths of the steps.
        steps: Numbers ``n`` of the steps, from 1.
        metric: ``C^{-1}``; the identity if none is given.

    Raises:
        NumericalFailure: The iteration diverges: a value or an entry is not finite, or an entry is
            above 1e10.

    Collective.
    """
    g, d = u.duplicate(), u.duplicate()
    try:
        for n in steps:
            value = estimate(u, g, n)
            if metric is not None:
                metric.solve(g, d)
            u.axpy(-gains(n), g if metric is None else d)
            size = float(u.norm(PETSc.NormType.NORM_INFINITY))
            if not (np.isfinite(value) and size <= _LARGEST):
                raise NumericalFailure(
                    f"stochastic gradient descent diverges: in step {n} the action of the batch is "
                    f"{value:.3g} and the largest entry of the iterate {size:.3g}; take a smaller eta"
                )
    finally:
        g.destroy()
        d.destroy()


def descend(
    estimate: StochasticGradient,
    action: Action,
    u: PETSc.Vec,
    gains: Gains,
    *,
    steps: int,
    every: int,
    tolerance: float,
    metric: Metric | None = None,
    monitor: Callable[[Iterate], None] | None = None,
    offset: int = 0,
) -> Outcome:
    """Minimise the action from ``u``, in place.

    The method never knows how good it is: so every ``every`` steps, and at the end, the full gradient is
    evaluated, and it has *converged* when the dual norm of that is small enough. If this does not
    happen within ``steps`` it has not, however little the iterate still moves.

    Args:
        estimate: ``G``, the stochastic gradient of the action.
        action: The action.
        u: Start; on return the last iterate whose gradient was evaluated.
        gains: Lengths of the steps.
        steps: Largest number of steps, those before a restart included.
        every: Steps between two evaluations of the action.
        tolerance: Dual norm of the full gradient to reach.
        metric: ``C^{-1}``; the identity if none is given.
        monitor: Called at the start and after every evaluation; an exception it raises ends the solve.
        offset: Steps made before a restart. The noise is keyed by the step, so that the solve goes on
            as if it had not been stopped.

    Raises:
        NumericalFailure: The iteration diverges, or the action is not finite.

    Collective.
    """
    work, g, done = u.copy(), u.duplicate(), offset
    try:
        while True:
            value = action.gradient(work, g)
            norm = dual_norm(action.metric, g)
            if not (np.isfinite(value) and np.isfinite(norm)):
                raise NumericalFailure(f"the action is {value} after {done} stochastic steps")
            work.copy(u)
            if monitor is not None:
                monitor(Iterate(u, value, norm, done))
            if norm <= tolerance:
                return Outcome(True, "converged_gatol", done - offset)
            if done >= steps:
                return Outcome(False, "diverged_maxits", done - offset)
            after = min((done // every + 1) * every, steps)
            advance(estimate, work, gains, range(done + 1, after + 1), metric)
            done = after
    finally:
        work.destroy()
        g.destroy()
