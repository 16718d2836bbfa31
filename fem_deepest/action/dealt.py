"""Actions of a network that every rank has the weights of, or a part of them."""

from __future__ import annotations

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.slab.action import SlabAction
from fem_deepest.errors import InputError

DealtAction = NetworkAction | SlabAction


def whole(action: DealtAction, what: str) -> NetworkAction:
    """The action, if every rank has all of its weights. Not collective.

    Args:
        action: An action.
        what: What needs them.

    Raises:
        InputError: The weights are sharded.
    """
    if isinstance(action, SlabAction):
        raise InputError(
            f"{what} was asked for with sharded weights, expected whole ones; take parallel.weights = "
            "'whole' and one slab"
        )
    return action
