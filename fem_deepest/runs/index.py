"""The neuron index of a configuration, as its levels have it."""

from __future__ import annotations

from fem_deepest.configuration.train import Config
from fem_deepest.errors import InputError
from fem_deepest.spaces import NeuronSpace


def make_index(config: Config, shape: tuple[int, ...] = ()) -> NeuronSpace:
    """The neuron index of a configuration.

    Args:
        config: Configuration.
        shape: Neurons (N,), or rows and columns, of a level; default: those of the configuration.

    Raises:
        InputError: The index needs a key that is not there, or neurons that there cannot be.

    Not collective.
    """
    section = config.network
    mass, channels, extent = section.mass, section.channels, section.extent
    if section.index == "points":
        return NeuronSpace.points(section.neurons)
    if section.index == "mesh":
        if section.mesh is None:
            raise InputError("network.index = 'mesh' needs a file; give it as network.mesh")
        return NeuronSpace.mesh(section.mesh, section.element or "P1", mass, channels)
    if section.index == "interval":
        (neurons,) = shape or (section.neurons,)
        if neurons % channels:
            raise InputError(
                f"{neurons} neurons are not {channels} channels of equal size; take a multiple of "
                "network.channels"
            )
        sides = extent or [1.0]
        _check_sides(sides, 1)
        return NeuronSpace.interval(
            neurons // channels, section.element or "P0", mass, sides[0], channels
        )
    across = shape or section.shape or config.data.shape or ()
    if len(across) != 2:
        raise InputError(
            "network.index = 'rectangle' needs its nodes down and across; give network.shape, or "
            "data.shape of the images"
        )
    sides = extent or [1.0, 1.0]
    _check_sides(sides, 2)
    return NeuronSpace.rectangle(across, section.element or "P1", mass, sides, channels)


def _check_sides(extent: list[float], sides: int) -> None:
    if len(extent) != sides:
        what = "an interval has one side" if sides == 1 else "a rectangle has two sides"
        raise InputError(f"network.extent = {extent}, but {what}; give as many lengths")
