"""The network of a configuration, its coupling and its start."""

from __future__ import annotations

from collections.abc import Mapping
from math import isclose
from typing import Any

import numpy as np
from mpi4py import MPI

from fem_deepest.configuration.network import NetworkSection
from fem_deepest.configuration.train import Config
from fem_deepest.errors import InputError
from fem_deepest.network.activation import activation
from fem_deepest.network.coupling.antisymmetric import Antisymmetric
from fem_deepest.network.coupling.convolution import convolution
from fem_deepest.network.coupling.dense import Dense
from fem_deepest.network.coupling.differential import elliptic, local
from fem_deepest.network.coupling.lowrank import LowRank
from fem_deepest.network.coupling.protocol import Coupling
from fem_deepest.network.coupling.spread import spread_elliptic, spread_local
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.runs.index import ends, make_index
from fem_deepest.spaces import DepthMesh, NeuronSpace, Parameters, Resolution
from fem_deepest.spaces.spread import SpreadSpace


def make_network(
    config: Config,
    inputs: int,
    outputs: int,
    level: Resolution,
    mesh: Mapping[str, Any] | None = None,
    comm: MPI.Intracomm | None = None,
) -> Network:
    """The network of a configuration on a level. Collective on ``comm``, if there is one.

    Args:
        config: Configuration.
        inputs: Numbers of an input.
        outputs: Numbers of an output.
        level: Resolution.
        mesh: Mesh of the index from a checkpoint, in place of the file that it was read from.
        comm: Ranks that the neurons are dealt out over; by default each has all of them.

    Raises:
        InputError: Data and neuron index do not fit each other.
    """
    section = config.network
    index = make_index(config, level.index, mesh, comm)
    return Network(
        depth=make_depth(section, level),
        index=index,
        scheme=scheme(section.scheme),
        activation=activation(section.activation, section.sharpness),
        inputs=inputs,
        outputs=outputs,
        leak=section.leak,
        coupling=make_coupling(section, index),
        **ends(config, index, inputs, outputs),
    )


def make_depth(section: NetworkSection, level: Resolution) -> DepthMesh:
    """The depth mesh of a configuration on a level: graded, of a file, or of the level itself.

    Raises:
        InputError: The file is no depth mesh, or another one than ``cells`` and ``depth`` say.

    Not collective.
    """
    if section.depth_mesh is None or not isinstance(level.depth, int):
        return level.mesh(section.depth, section.grading)
    mesh = DepthMesh.read(section.depth_mesh)
    end = float(mesh.nodes[-1])
    if mesh.cells != section.cells or not isclose(end, section.depth) or section.grading != 1.0:
        raise InputError(
            f"network.depth_mesh has {mesh.cells} cells on (0, {end:g}), but network.cells = "
            f"{section.cells}, depth = {section.depth:g} and grading = {section.grading:g}; set cells = "
            f"{mesh.cells}, depth = {end:g} and no grading"
        )
    step, rest = divmod(mesh.cells, level.depth)
    if rest:
        raise InputError(
            f"the {mesh.cells} cells of network.depth_mesh do not make a level of {level.depth}; give "
            "solve.levels that divide them"
        )
    return DepthMesh(mesh.nodes[::step])


def make_coupling(section: NetworkSection, index: NeuronSpace) -> Coupling:
    """The coupling of a configuration on its neuron index. Collective where that is spread.

    Raises:
        InputError: A rank that there cannot be, or an index without these operators or offsets.
    """
    if isinstance(index, SpreadSpace):
        if section.coupling == "elliptic":
            return spread_elliptic(index, section.operators, section.screening)
        return spread_local(index, section.operators)
    if section.coupling == "low_rank":
        return LowRank(index, section.rank)
    if section.coupling == "antisymmetric":
        return Antisymmetric(index, section.damping)
    if section.coupling == "local":
        return local(index, section.operators, uniform=section.uniform)
    if section.coupling == "elliptic":
        return elliptic(index, section.operators, section.screening, uniform=section.uniform)
    if section.coupling == "convolution":
        return convolution(index, section.reach)
    return Dense(index)


def initial_parameters(
    network: Network,
    parameters: Parameters,
    config: Config,
    random: np.random.Generator | None = None,
) -> None:
    """Fill in the start of ``network``: random parameters of the coupling, constant in depth.

    They give a state of independent entries a ``z`` that is ``start`` times as long; a dense coupling
    has one Gaussian matrix with entries of deviation ``start/sqrt(N)``. The readout starts at zero, a
    linear lift at a Gaussian matrix of deviation ``1/sqrt(d + 1)``. The numbers are those of
    ``random``, by default of the seed of the configuration.
    """
    rng = np.random.default_rng(config.seed) if random is None else random
    network.coupling.start(rng, config.network.start, parameters.theta)
    parameters.readout[...] = 0.0
    columns = parameters.lift.shape[1]
    if columns:
        index = network.index
        lift = rng.standard_normal((index.all_neurons, columns)) / np.sqrt(columns)
        parameters.lift[...] = lift[index.states] if isinstance(index, SpreadSpace) else lift
