"""A trained model as an ordinary network: its affine maps, the scaling of its data included."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log, prod

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.io.export.ordinary import OrdinaryNetwork, check_size
from fem_deepest.network.activation import slopes
from fem_deepest.network.coupling.lowrank import LowRank
from fem_deepest.network.network import Network
from fem_deepest.runs.model import Model

Array = NDArray[np.float64]

_MOST_TURNS = 100


def ordinary(
    model: Model, sharpness: float, kind: str = "float64", origin: str = ""
) -> OrdinaryNetwork:
    """The affine maps of a model; of a coupling, whatever it is, the matrices or the factors of low rank.

    An implicit stage becomes as many fixed-point turns as it needs to come down to the rounding of
    ``kind`` whatever the input is: each contracts by ``h a |sigma'| |W|_2 / (1 + h a leak)``.

    Args:
        model: A trained model.
        sharpness: ``beta`` of softplus.
        kind: Type of the real numbers, "float64" or "float32".
        origin: Where it comes from, for people.

    Raises:
        InputError: The steps are so long that a fixed-point iteration might not converge, or the
            matrices too large.

    Not collective.
    """
    network, parameters = model.network, model.parameters
    lift_weight, lift_bias = _affine(
        lambda z: network.lift(parameters, z), network.inputs, network.index.neurons
    )
    readout_weight, readout_bias = _affine(
        lambda x: network.read(parameters, x), network.index.neurons, network.outputs
    )
    weights, bias = _maps(network, network.stage_parameters(parameters.theta))
    turns = _turns(network, weights, float(np.finfo(kind).eps))
    scheme = network.scheme
    return OrdinaryNetwork(
        mean=model.inputs.mean,
        scale=model.inputs.scale,
        lift_weight=lift_weight,
        lift_bias=lift_bias,
        steps=network.depth.steps,
        weights=weights,
        bias=bias,
        turns=turns,
        tableau_a=np.array(scheme.a),
        tableau_b=np.array(scheme.b),
        slot=np.array(scheme.slot),
        leak=network.leak,
        activation=network.activation.name,
        sharpness=sharpness,
        readout_weight=readout_weight,
        readout_bias=readout_bias,
        output_mean=model.targets.mean,
        output_scale=model.targets.scale,
        classes=model.classes,
        columns=model.columns,
        origin=origin,
    ).astype(kind)


def _maps(network: Network, theta: Array) -> tuple[tuple[Array, ...], Array]:
    """Factors of ``W``, each (L, S, ., .), and ``b``, (L, S, N), of effective parameters."""
    lead, n, coupling = theta.shape[:-2], network.index.neurons, network.coupling
    if isinstance(coupling, LowRank):
        rank = coupling.rank
        return (theta[..., rank:-1], np.swapaxes(theta[..., :rank], -1, -2)), theta[..., -1]
    check_size(prod(lead), (n, n), "dense matrices")
    return (np.array(coupling.matrix(theta)),), network.bias(theta)


def _affine(function: Callable[[Array], Array], columns: int, rows: int) -> tuple[Array, Array]:
    """Matrix (rows, columns) and shift (rows,) of an affine function of columns, from its values."""
    values = function(np.eye(columns, columns + 1, 1))  # at 0 and at the unit vectors
    assert values.shape == (rows, columns + 1)
    return values[:, 1:] - values[:, :1], values[:, 0].copy()


def _turns(network: Network, weights: tuple[Array, ...], eps: float) -> NDArray[np.int64]:
    """Fixed-point turns of every layer and stage, (L, s), until what is left is ``eps/8``."""
    scheme, steps = network.scheme, network.depth.steps
    turns = np.zeros((steps.size, scheme.stages), dtype=np.int64)
    most = (eps / 8.0) ** (1.0 / _MOST_TURNS)
    for j in range(scheme.stages):
        if scheme.a[j][j] == 0.0:
            continue
        product = weights[0][:, scheme.slot[j]]
        for factor in weights[1:]:
            product = product @ factor[:, scheme.slot[j]]
        implicit = scheme.a[j][j] * steps
        rates = implicit * slopes(network.activation).first * np.linalg.norm(product, 2, (-2, -1))
        rates /= 1.0 + implicit * network.leak
        worst = int(np.argmax(rates))
        if not rates[worst] <= most:
            raise InputError(
                f"layer {worst + 1} of {steps.size} is implicit (scheme = '{scheme.name}') and its "
                f"fixed-point iteration contracts by {rates[worst]:.2f}, expected at most {most:.2f} so "
                f"that it can be written out in {_MOST_TURNS} turns; take --layers "
                f"{ceil(1.1 * steps.size * rates[worst] / most)} or more"
            )
        turns[:, j] = [max(1, ceil(log(eps / 8.0) / log(rate))) if rate else 1 for rate in rates]
    return turns
