"""The trained field on another depth mesh: the same network with more layers, or fewer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fem_deepest.errors import InputError
from fem_deepest.runs.model import Model
from fem_deepest.spaces import DepthMesh


def resampled(model: Model, layers: int) -> Model:
    """The model with ``layers`` steps of its scheme over the same depth.

    The weights are a P1 field over depth; those of the new mesh are its values at the new nodes. These
    lie as the old ones do, ``t(i/n)`` being interpolated: a uniform mesh gives a uniform one, a graded one
    keeps its grading. As many layers as there are give the model itself; with more it converges to the
    flow of the field, in the order of the scheme.

    Args:
        model: A trained model.
        layers: Number of depth cells ``L``.

    Raises:
        InputError: ``layers`` is less than 1.

    Not collective.
    """
    if layers < 1:
        raise InputError(f"a network of {layers} layers is none; take --layers 1 or more")
    network = model.network
    if layers == network.depth.cells:
        return model
    n = network.depth.cells
    nodes = np.interp(np.arange(layers + 1) / layers, np.arange(n + 1) / n, network.depth.nodes)
    depth = DepthMesh(nodes)
    old = model.parameters
    theta = network.depth.prolong(depth, old.theta)
    flat = np.concatenate([theta.ravel(), old.readout.ravel(), old.lift.ravel()])
    return replace(model, network=replace(network, depth=depth), flat=flat)
