"""Where a training starts: random weights, and a readout that may be a regression."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.dealt import DealtAction, whole
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.regression import check_regression, regress_readout
from fem_deepest.configuration.train import Config
from fem_deepest.runs.network import initial_parameters
from fem_deepest.solve.nested import NestedIteration
from fem_deepest.solve.schedule import Search

Array = NDArray[np.float64]

REGRESSION = "a readout by regression"


def random_start(action: DealtAction, config: Config) -> PETSc.Vec:
    """The start of a training: random weights, no readout. Collective."""
    u = action.create()
    action.space.start(
        u.array_w, lambda parameters: initial_parameters(action.network, parameters, config)
    )
    return u


def check_start(action: DealtAction, config: Config) -> None:
    """Refuse a start of the readout that there cannot be. Not collective.

    Raises:
        InputError: A regression is asked for, but the action has none.
    """
    if config.network.start_readout == "regression":
        check_regression(whole(action, REGRESSION))


def start_readout(action: DealtAction, u: PETSc.Vec, config: Config) -> None:
    """Replace the readout of a start by a regression, where the configuration says so. Collective."""
    if config.network.start_readout == "regression":
        regress_readout(whole(action, REGRESSION), u)


def begin(nested: NestedIteration, config: Config) -> Search:
    """The search at the start of a training; its reference is the gradient without a readout.

    So a tolerance means the same for every ``network.start_readout``.

    Raises:
        InputError: There is no regression of the readout for this action.
        NumericalFailure: The action or its gradient is not finite there.

    Collective.
    """
    return nested.begin(
        lambda action: random_start(action, config),
        lambda action, u: start_readout(action, u, config),
    )


def random_controls(action: NetworkAction, config: Config, numbers: Iterable[int]) -> Array:
    """Starts with these numbers side by side, (n, S): the rows of this rank; the first is numbered 0.

    A forcing starts at zero. Not collective.
    """
    columns = []
    for number in numbers:
        column = np.zeros(action.space.local_size)
        if action.grid.owner:
            random = np.random.default_rng([config.seed, int(number)]) if number else None
            parameters = action.space.parameters(column)
            initial_parameters(action.network, parameters, config, random)
        columns.append(column)
    return np.stack(columns, axis=1)
