"""What the forms of a network's action share: data of this rank, prior of the weights, the parts."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.network.action import NetworkAction, Parts
from fem_deepest.action.network.ends import SCALARS
from fem_deepest.action.network.prior import Prior
from fem_deepest.network.loss import Loss
from fem_deepest.network.network import Network
from fem_deepest.spaces import ControlSpace, ProcessGrid

Array = NDArray[np.float64]


class Sampled(Protocol):
    """An action over samples."""

    grid: ProcessGrid
    samples: int
    loss: Loss
    network: Network


def gathered_data(action: NetworkAction) -> tuple[Array, NDArray]:
    """Inputs (K, d) and targets (K,) or (outputs, K) of this rank's samples, all tiles together."""
    tiles = action.tiles
    if not tiles.inputs:
        none: NDArray = np.empty((action.network.outputs, 0))
        if action.loss.metric == "accuracy":
            none = np.empty(0, dtype=np.int64)
        return np.empty((0, action.network.inputs)), none
    inputs = np.concatenate(tiles.inputs, axis=1).T
    return np.ascontiguousarray(inputs), np.concatenate(tiles.targets, axis=-1)


def weight_prior(action: NetworkAction, mass: float = 0.0) -> tuple[ControlSpace, Prior]:
    """Space of the parameters alone and their prior, with ``mass`` times ``M_t`` added to it.

    Args:
        action: Gives ``lambda``, ``kappa`` and ``ell``.
        mass: Coefficient of an additional zeroth-order term on the weight field.
    """
    network, prior = action.network, action.metric
    space = ControlSpace(action.grid, network.shapes, [], initial=False, forced=False)
    return space, Prior(
        space,
        network,
        strength=prior.strength,
        kappa=float(np.sqrt(prior.kappa**2 + mass / prior.strength)),
        ell=prior.ell,
        model=1.0,
        initial=1.0,
        samples=action.samples,
    )


def shared_parts(action: Sampled, totals: Array, prior: float) -> Parts:
    """The parts of the action from the owner's sums, on every rank. Collective."""
    shared = np.empty(SCALARS + 1)
    if action.grid.owner:
        shared[:SCALARS], shared[SCALARS] = totals, prior
    action.grid.data.Bcast(shared, root=0)
    return Parts.of(shared, action.samples, action.loss, action.network.outputs)
