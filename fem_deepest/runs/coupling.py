"""The coupling of a configuration, and whether its parameters fit into memory."""

from __future__ import annotations

import os

from fem_deepest.configuration.train import Config, NetworkSection
from fem_deepest.errors import InputError
from fem_deepest.network.coupling.convolution import convolution
from fem_deepest.network.coupling.dense import Dense
from fem_deepest.network.coupling.lowrank import LowRank
from fem_deepest.network.coupling.operators import elliptic, local
from fem_deepest.network.coupling.protocol import Coupling
from fem_deepest.network.network import Network
from fem_deepest.spaces import NeuronSpace

_VECTORS = 10  # of a solver, beside the pairs of the quasi-Newton memory


def make_coupling(section: NetworkSection, index: NeuronSpace) -> Coupling:
    """The coupling of a configuration on its neuron index. Not collective.

    Raises:
        InputError: A rank that there cannot be, or an index without these operators or offsets.
    """
    if section.coupling == "low_rank":
        return LowRank(index, section.rank)
    if section.coupling == "local":
        return local(index, section.operators, uniform=section.uniform)
    if section.coupling == "elliptic":
        return elliptic(index, section.operators, section.screening, uniform=section.uniform)
    if section.coupling == "convolution":
        return convolution(index, section.reach)
    return Dense(index)


def check_memory(network: Network, config: Config, available: int | None = None) -> None:
    """Refuse a network whose unknowns cannot be held in memory, before any of them is allocated.

    A solver needs a vector of the size of the parameters for each half of its pairs, and a few more;
    the forcings, which are spread over the ranks, are not counted.

    Args:
        network: The network.
        config: Configuration.
        available: Bytes there are; default: the memory of this machine.

    Raises:
        InputError: It is too large.

    Not collective.
    """
    vectors = 2 * config.solve.memory + _VECTORS
    need = 8 * network.shapes.size * vectors
    have = available or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if need > have:
        rows, columns = network.coupling.shape
        raise InputError(
            f"{network.shapes.size} parameters ({network.depth.cells + 1} depth nodes with "
            f"{rows} x {columns} each) in {vectors} vectors take {need / 1e9:.1f} GB, but this machine "
            f"has {have / 1e9:.1f} GB; take fewer neurons or cells, a smaller solve.memory, or "
            'network.coupling = "low_rank" or "local"'
        )
