"""The root of the metric of an action: its own, or a banded one."""

from __future__ import annotations

from fem_deepest._petsc import PETSc
from fem_deepest.action.protocol import Action
from fem_deepest.action.root import Numbered, Root
from fem_deepest.errors import InputError
from fem_deepest.sample.matrices import precision
from fem_deepest.spaces.cholesky import Cholesky


def root_of(action: Action, template: PETSc.Vec) -> Root:
    """``R`` with ``R R^T = P^{-1}``: what the metric gives, or a banded Cholesky factor on one rank.

    Args:
        action: Gives the metric.
        template: Vector of the space.

    Raises:
        InputError: The metric gives none and is spread over ranks, or it is not positive.

    Collective.
    """
    own: Root | None = getattr(action.metric, "root", None)
    if own is not None:
        return own
    if template.comm.size > 1:
        raise InputError(
            f"a metric without a square root was given on {template.comm.size} ranks, expected one that "
            "has the attribute root; put the action on a single rank"
        )
    factor = Cholesky(precision(action.metric, template), "the metric of the action")
    return Numbered(range(template.getSize()), factor.inverse_root)
