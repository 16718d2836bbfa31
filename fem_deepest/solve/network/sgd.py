"""Stochastic gradient descent of a network's action, with batches of samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.minibatch import Minibatches
from fem_deepest.solve.lmvm import Iterate
from fem_deepest.solve.outcome import Outcome
from fem_deepest.solve.sgd import Gains, descend


@dataclass(frozen=True)
class BatchDescent:
    """``u_n = u_{n-1} - (eta / n^nu) C grad A_B(u_{n-1})``; see :mod:`fem_deepest.solve.sgd`.

    With ``riesz`` it is ``C = lambda P^{-1}``: the H1 gradient of the weight field, whose steps mean the
    same on every depth mesh and for every strength of the prior; else the identity, the plain
    gradient in the coefficients.

    Attributes:
        eta: ``eta``.
        nu: ``nu``.
        batch: ``B``.
        epochs: Most steps, in numbers of times that the samples are gone through.
        check: Epochs between two evaluations of the whole action.
        seed: Seed of the batches.
        riesz: Whether the gradient is taken in the metric.
    """

    eta: float
    nu: float
    batch: int
    epochs: int
    check: int = 1
    seed: int = 0
    riesz: bool = True

    def batches(self, action: NetworkAction) -> Minibatches:
        """The batches of an action.

        Raises:
            InputError: There are none of this kind; see :class:`Minibatches`.

        Collective on the grid.
        """
        return Minibatches(action, self.batch, self.seed)

    def minimise(
        self,
        action: NetworkAction,
        u: PETSc.Vec,
        *,
        tolerance: float,
        monitor: Callable[[Iterate], None],
        offset: int = 0,
        number: int = 0,
    ) -> Outcome:
        """Minimise the action from ``u``, in place; see :func:`fem_deepest.solve.sgd.descend`.

        ``action.evaluations`` counts a batch as ``B/K`` of a gradient.

        Args:
            action: The action.
            u: Start; on return the last iterate whose gradient was evaluated.
            tolerance: Dual norm of the full gradient to reach.
            monitor: Called at the start and after every evaluation.
            offset: Steps made before a restart.
            number: Number of the run among independent ones of the same seed.

        Raises:
            NumericalFailure: The iteration diverges.

        Collective on the grid.
        """
        epoch, counted = -(-action.samples // self.batch), offset
        scale = action.metric.strength if self.riesz else 1.0

        def count(iterate: Iterate) -> None:
            nonlocal counted
            before, counted = counted, iterate.iteration
            whole = [n * self.batch // action.samples for n in (before, counted)]
            action.evaluations += whole[1] - whole[0]
            monitor(iterate)

        return descend(
            partial(self.batches(action).gradient, number=number),
            action,
            u,
            Gains(scale * self.eta, self.nu),
            steps=self.epochs * epoch,
            every=self.check * epoch,
            tolerance=tolerance,
            metric=action.metric if self.riesz else None,
            monitor=count,
            offset=offset,
        )
