"""All stationary points that deflated Newton finds from some starts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from fem_deepest._petsc import PETSc
from fem_deepest.action.protocol import Action
from fem_deepest.errors import NotConverged
from fem_deepest.solve.deflation import Deflation
from fem_deepest.solve.eigenvalues import MorseIndex, morse_index
from fem_deepest.solve.stationary import stationary

_SAME = 1e-5  # distance, relative to the size, below which two points are one
_PUSH = 1e-2  # how far a start is moved that is a known point


@dataclass(frozen=True, eq=False)
class Solution:
    """A stationary point.

    Attributes:
        u: The point.
        action: ``A(u)``.
        morse: Its Morse index.
        steps: Newton steps that it took.
    """

    u: PETSc.Vec
    action: float
    morse: MorseIndex
    steps: int


def stationary_points(
    action: Action,
    starts: Iterable[PETSc.Vec],
    *,
    tolerance: float,
    iterations: int = 60,
    power: float = 2.0,
    shift: float = 1.0,
    most: int = 100,
) -> list[Solution]:
    """Deflated Newton from every start, again and again until it fails there.

    What is found is a stationary point, and no two of them are the same; that there are no others is
    not proved by a failure.

    Args:
        action: The action.
        starts: Vectors; they are not changed. A start where the action is not finite is an error.
        tolerance: Dual norm of the gradient to reach.
        iterations: Newton steps after which a search counts as failed.
        power: See :class:`fem_deepest.solve.deflation.Deflation`.
        shift: Likewise.
        most: Stop after so many.

    Returns:
        The points, lowest action first.

    Raises:
        NumericalFailure: The action is not finite at a start.

    Collective.
    """
    deflation = Deflation(action.metric, power=power, shift=shift)
    found = list[Solution]()
    for start in starts:
        while len(found) < most:
            u = start.copy()
            _leave(action, deflation, u)
            try:
                outcome = stationary(
                    action,
                    u,
                    tolerance=tolerance,
                    iterations=iterations,
                    deflation=deflation if deflation.roots else None,
                )
            except NotConverged:
                u.destroy()
                break
            if _known(deflation, u):
                u.destroy()
                break
            deflation.add(u)
            value = action.value(u)
            found.append(Solution(u, value, morse_index(action, u), outcome.iterations))
    return sorted(found, key=lambda solution: solution.action)


def _known(deflation: Deflation, u: PETSc.Vec) -> bool:
    zero = u.duplicate()
    size = deflation.distance(u, zero)
    zero.destroy()
    return any(deflation.distance(u, root) <= _SAME * (1.0 + size) for root in deflation.roots)


def _leave(action: Action, deflation: Deflation, u: PETSc.Vec) -> None:
    """Move a start off a known point, in a direction without symmetry."""
    if not _known(deflation, u):
        return
    first, last = u.getOwnershipRange()
    load, push = u.duplicate(), u.duplicate()
    load.array[...] = 1.0 + np.sin(0.9 * np.arange(first, last))
    action.metric.solve(load, push)
    action.metric.apply(push, load)
    u.axpy(_PUSH / np.sqrt(push.dot(load)), push)
    load.destroy()
    push.destroy()
