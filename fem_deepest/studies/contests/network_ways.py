"""Ways down for networks: up a ladder of model precisions, and by stochastic gradients.

Nothing here is collective: columns live on one rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.annealed.networks import NetworkLandscape
from fem_deepest.annealed.search import Plan
from fem_deepest.errors import NumericalFailure
from fem_deepest.solve.columns import Index, descend
from fem_deepest.solve.lmvm import Iterate
from fem_deepest.solve.network.sgd import BatchDescent
from fem_deepest.studies.methods import Elsewhere, Go, Tally, noisy, turn_seed

Array = NDArray[np.float64]


def ladder(
    rungs: Sequence[NetworkLandscape],
    then: Go,
    *,
    evaluations: int,
    tolerance: float,
    memory: int = 10,
    noise: Plan | None = None,
) -> Go:
    """Precision annealing: descents at growing ``R_f``, each from the end of the one before.

    The unknowns of a rung are weights and model errors. A start has none of these: its states follow
    from its weights. At the end they are dropped, and another way goes on under the strong constraint.

    Args:
        rungs: The actions at the precisions, smallest first.
        then: Way down after the last rung, for the weights (and the errors of a soft input).
        evaluations: Most gradients of a rung.
        tolerance: Dual norm of the gradient at which a rung ends.
        memory: Pairs of the quasi-Newton matrix.
        noise: Numbers of an annealed flow on the first rung, before its descent; none if None. Of its
            ends the last one is taken.
    """
    kept = _kept(rungs[0].action)

    def climb(V: Array, columns: Index, tally: Tally, turn: int) -> None:
        elsewhere = Elsewhere(tally)
        for rung in rungs:
            V = descend(
                rung,
                V,
                tolerance=tolerance,
                most=np.minimum(evaluations, np.floor(tally.left[columns])),
                memory=memory,
                watch=lambda which, values: elsewhere.note(columns[which], values),
            ).U
        then(V[kept], columns, tally, turn)

    def go(U: Array, columns: Index, tally: Tally, turn: int) -> None:
        V = np.zeros((rungs[0].rows, columns.size))
        V[kept] = U
        if noise is None:
            climb(V, columns, tally, turn)
            return

        def on(W: Array, columns: Index, _: Tally, turn: int) -> None:
            climb(W, columns, tally, turn)

        flow = noisy(rungs[0], replace(noise, ends=("last",)), on)
        flow(V, columns, Elsewhere(tally), turn)

    return go


def stochastic(action: NetworkAction, method: BatchDescent, then: Go) -> Go:
    """Stochastic gradient descent, then another way down from its end.

    A batch costs its share of a gradient, the evaluations of the whole action in between are counted.
    A run that diverges leaves its column where the whole action was last evaluated.

    Args:
        action: The action, under the strong constraint.
        method: Steps and batches; the batches of a seed are its own in every round.
        then: Way down from there.
    """
    u = action.create()

    def column(start: Array, number: Index, tally: Tally, turn: int) -> Array:
        """One run; ``number`` is the column of the tally."""
        u.array[...] = start
        known = action.evaluations
        # An epoch costs a gradient, each look at the whole action another one.
        within = (tally.left[number[0]] - 1.0) * method.check / (method.check + 1.0)
        epochs = min(method.epochs, int(within))

        def note(iterate: Iterate) -> None:
            nonlocal known
            tally.note(number, np.array([iterate.action]), action.evaluations - known)
            known = action.evaluations

        if epochs >= 1:
            run = replace(method, epochs=epochs, seed=turn_seed(method.seed, turn))
            try:
                run.minimise(
                    action,
                    u,
                    tolerance=1e-12,
                    monitor=note,
                    number=int(tally.numbers[number[0]]),
                )
            except NumericalFailure:
                tally.note(number, np.array([np.inf]), method.check)
        return u.array_r.copy()

    def go(U: Array, columns: Index, tally: Tally, turn: int) -> None:
        ends = [column(U[:, j], columns[j : j + 1], tally, turn) for j in range(columns.size)]
        then(np.stack(ends, axis=1), columns, tally, turn)

    return go


def _kept(action: NetworkAction) -> NDArray[np.int64]:
    """Numbers of the weights and of the errors of the inputs among the unknowns of a rung."""
    u: PETSc.Vec = action.create()
    numbers = np.arange(u.getSize())
    u.destroy()
    space = action.space
    initial = [
        space.forcing(numbers.astype(np.float64), tile)[0].ravel()
        for tile in range(len(space.tiles))
    ]
    return np.concatenate([numbers[: space.parameter_size], *initial]).astype(np.int64)
