"""The trained field at another resolution: the same network with other layers and neurons."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fem_deepest.configuration.train import Config
from fem_deepest.errors import InputError
from fem_deepest.io.export.ordinary import check_size
from fem_deepest.runs.model import Model
from fem_deepest.runs.network import make_network
from fem_deepest.spaces import DepthMesh, Resolution
from fem_deepest.spaces.prolongation import prolong_parameters


def resampled(
    model: Model, config: Config, layers: int | None = None, neurons: tuple[int, ...] = ()
) -> Model:
    """The model with ``layers`` steps of its scheme over the same depth, and other neurons.

    The weights are a P1 field over depth; those of the new mesh are its values at the new nodes. These
    lie as the old ones do, ``t(i/n)`` being interpolated: a uniform mesh gives a uniform one, a graded
    one keeps its grading. With more layers the network tends to the flow of the field, in the order of
    the scheme. Along the neuron index everything is interpolated in its finite elements: kernels on
    nested cells of P0 compute the same as before, those of P1 to second order. Differential operators
    do so only where the states are smooth on the mesh: a local coupling is better trained at its size.

    Args:
        model: A trained model.
        config: Its configuration.
        layers: Number of depth cells ``L``; default: as many as there are.
        neurons: Neurons (N,) of an interval, rows and columns of a rectangle; default: as they are.

    Returns:
        The model itself where nothing is to change.

    Raises:
        InputError: There are no such networks, they are too large, or the neurons have no geometry to
            interpolate in.

    Not collective.
    """
    old = model.network
    n = old.depth.cells
    layers = n if layers is None else layers
    if layers < 1:
        raise InputError(f"a network of {layers} layers is none; take --layers 1 or more")
    if neurons == (old.index.neurons,):
        neurons = ()
    if layers == n and not neurons:
        return model
    check_size(layers + 1, old.coupling.shape, "depth nodes with parameters")
    nodes = np.interp(np.arange(layers + 1) / layers, np.arange(n + 1) / n, old.depth.nodes)
    depth, along = DepthMesh(nodes), dict[str, Any]()
    if neurons:
        _check_geometry(model, config, neurons)
        level = Resolution.of_mesh(depth, neurons)
        network = make_network(config, old.inputs, old.outputs, level)
        check_size(layers + 1, network.coupling.shape, "depth nodes with parameters")
        along["states"] = old.index.prolongation(network.index)
        along["rows"], along["columns"] = old.coupling.prolongation(network.coupling)
    else:
        network = replace(old, depth=depth)
    found = prolong_parameters(model.parameters, old.depth, depth, **along)
    flat = np.concatenate([a.ravel() for a in (found.theta, found.readout, found.lift)])
    return replace(model, network=network, flat=flat)


def _check_geometry(model: Model, config: Config, neurons: tuple[int, ...]) -> None:
    """Refuse what cannot be interpolated along the neuron index."""
    index, section = model.network.index, config.network
    asked = "x".join(map(str, neurons))
    if index.kind not in ("interval", "rectangle"):
        raise InputError(
            f"the run has {index.neurons} neurons and --neurons is {asked}, but its neurons are "
            f"network.index = '{index.kind}', between which nothing can be interpolated to others; leave "
            "--neurons out"
        )
    if len(neurons) != index.dimension:
        what = "one number" if index.dimension == 1 else "rows and columns, like 16x16"
        raise InputError(
            f"--neurons is {asked}, expected {what} for network.index = '{index.kind}'"
        )
    by_number = {"lift": section.lift == "pad", "readout": section.readout == "observed"}
    if section.lift is None and index.kind == "interval":
        by_number["lift"] = True
    for name, single in by_number.items():
        if single:
            value = getattr(section, name) or "pad"
            raise InputError(
                f"network.{name} = '{value}' means single neurons by their numbers, which other neurons "
                f"do not have; leave --neurons out, or train with {name} = 'linear'"
            )
