"""The neuron index of a configuration, on every level, and how data enter and leave it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from mpi4py import MPI

from fem_deepest.configuration.train import Config
from fem_deepest.errors import InputError
from fem_deepest.spaces import NeuronSpace
from fem_deepest.spaces.domain import domain_from_dict
from fem_deepest.spaces.spread import SpreadSpace


def make_index(
    config: Config,
    shape: Sequence[int] = (),
    mesh: Mapping[str, Any] | None = None,
    comm: MPI.Intracomm | None = None,
) -> NeuronSpace:
    """The neuron index of a configuration. Collective on ``comm``, if there is one.

    Args:
        config: Configuration.
        shape: Nodes (N,), or rows and columns, of a level; default: those of the configuration.
        mesh: Mesh of a checkpoint, in place of the file that it was read from.
        comm: Ranks that the nodes are dealt out over; by default each has all of them.

    Raises:
        InputError: The keys do not go together, or there is no such mesh.
    """
    section, kind = config.network, config.network.index
    _check_keys(config)
    if comm is not None and (section.uniform or section.coupling not in ("local", "elliptic")):
        raise InputError(
            f"network.spread was asked for with network.coupling = '{section.coupling}'"
            f"{' and uniform parameters' if section.uniform else ''}, expected 'local' or 'elliptic' with "
            "parameters that are fields; take these, or leave spread out"
        )
    if comm is not None and kind == "points":
        raise InputError(
            "network.spread was asked for on points, which have no neighbours; take network.index = "
            "'interval' or 'rectangle', or leave spread out"
        )
    if kind == "points":
        return NeuronSpace.points(section.neurons)
    element = section.element or ("P0" if kind == "interval" else "P1")
    if comm is not None and (kind == "mesh" or element != "P1" or section.mass != "lumped"):
        raise InputError(
            f"network.spread was asked for with {element} of {section.mass} mass on '{kind}', expected P1 "
            "of lumped mass on an interval or a rectangle; take these, or leave spread out"
        )
    common: dict[str, Any] = {"mass": section.mass, "channels": section.channels}
    if kind == "interval":
        (neurons,), (extent,) = shape or (section.neurons,), section.extent or (1.0,)
        nodes, rest = divmod(neurons, section.channels)
        if rest:
            raise InputError(
                f"{neurons} neurons are not {section.channels} channels of equal size; take a multiple "
                "of network.channels"
            )
        if comm is not None:
            return SpreadSpace.over_interval(comm, nodes, extent, section.channels)
        return NeuronSpace.interval(nodes, element, extent=extent, **common)
    if kind == "rectangle":
        shape = shape or section.shape or config.pixels or ()
        if len(shape) != 2:
            raise InputError(
                "network.index = 'rectangle' has no shape; give network.shape = [rows, columns], or "
                "data.shape if the inputs are the pixels of an image"
            )
        extents = section.extent or (1.0, 1.0)
        if comm is not None:
            return SpreadSpace.over_rectangle(comm, shape, extents, section.channels)
        return NeuronSpace.rectangle(shape, element, extent=extents, **common)
    return NeuronSpace.mesh(domain_from_dict(mesh) if mesh else section.mesh, element, **common)


def _check_keys(config: Config) -> None:
    """Refuse keys of ``[network]`` that the kind of index has no use for."""
    section, kind = config.network, config.network.index
    if (kind == "mesh") != (section.mesh is not None):
        raise InputError(
            f"network.index = '{kind}' with network.mesh = {section.mesh!r}; a mesh file goes with index "
            "= 'mesh', and only with it"
        )
    given = {"element": section.element, "extent": section.extent, "shape": section.shape}
    unused = {
        "points": ["element", "extent", "shape"],
        "interval": ["shape"],
        "rectangle": [],
        "mesh": ["extent", "shape"],
    }[kind]
    for key in unused:
        if given[key] is not None:
            raise InputError(
                f"network.{key} = {given[key]!r} has no meaning for network.index = '{kind}'; leave it "
                "out or take another index"
            )
    if kind == "points" and (section.channels > 1 or section.mass != "lumped"):
        raise InputError(
            "channels and the mass are those of an index with a geometry, but network.index = 'points'; "
            "take an interval, a rectangle or a mesh"
        )
    sides = {"interval": 1, "rectangle": 2}.get(kind)
    if section.extent is not None and len(section.extent) != sides:
        raise InputError(
            f"network.extent = {section.extent} has {len(section.extent)} sides, but network.index = "
            f"'{kind}' has {sides}"
        )


def ends(config: Config, index: NeuronSpace, inputs: int, outputs: int) -> dict[str, Any]:
    """How data enter and leave a network: its fields ``linear_lift, enter, linear_readout, leave``.

    Args:
        config: Configuration.
        index: Its neuron index.
        inputs: Numbers of an input.
        outputs: Numbers of an output.

    Raises:
        InputError: Data and neuron index do not fit each other.

    Not collective.
    """
    on_pixels = index.kind in ("rectangle", "mesh")
    lift = config.network.lift or ("project" if on_pixels else "pad")
    readout = config.network.readout
    for key, name in (("lift", lift), ("readout", readout)):
        if name in ("pad", "observed") and on_pixels:
            raise InputError(
                f"network.{key} = '{name}' takes the first neurons, which mean nothing on network.index "
                f"= '{index.kind}'; take 'linear' or 'project'"
            )
    enter = index.enter(_pixels(config, inputs, "inputs")) if lift == "project" else None
    leave = index.leave(_pixels(config, outputs, "outputs")) if readout == "project" else None
    return {
        "linear_lift": lift == "linear",
        "enter": enter,
        "linear_readout": readout == "linear",
        "leave": leave,
    }


def _pixels(config: Config, numbers: int, what: str) -> Sequence[int]:
    """Shape of the inputs or outputs.

    Raises:
        InputError: The configuration gives none, or one of another size.
    """
    shape, key = config.pixels, "lift" if what == "inputs" else "readout"
    if shape is None:
        raise InputError(
            f"the {numbers} {what} of the data have no shape, but network.{key} = 'project' needs one; "
            f"give data.shape = [rows, columns], or [{numbers}] for cell means of a function on a line"
        )
    if prod(shape) != numbers:
        raise InputError(
            f"the data have {numbers} {what}, but data.shape = {list(shape)} has {prod(shape)} "
            f"pixels; give the shape of the {what}, or take network.{key} = 'linear'"
        )
    return shape
