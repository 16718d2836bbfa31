"""What an annealed flow runs on, out of its configuration: a network, paths, or a double well."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.annealed.descent import newton_paths
from fem_deepest.annealed.paths import PathsLandscape
from fem_deepest.configuration.anneal import load_annealing
from fem_deepest.configuration.annealed_flow import AnnealedFlowConfig
from fem_deepest.configuration.train import load
from fem_deepest.io.annealed import row_numbers
from fem_deepest.io.fields import write_fields
from fem_deepest.runs.annealed_setup import FlowSetup
from fem_deepest.runs.double_well import double_well
from fem_deepest.runs.model import Problem
from fem_deepest.runs.network_search import LowestNetwork
from fem_deepest.runs.noise import descent, network_landscape
from fem_deepest.runs.path_search import PathSearch
from fem_deepest.runs.start import random_controls
from fem_deepest.runs.train import load_data
from fem_deepest.solve.paths.annealing import random_starts
from fem_deepest.spaces import ProcessGrid, Resolution

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
Words = NDArray[np.uint64]


def make_setup(config: AnnealedFlowConfig, comm: MPI.Intracomm) -> FlowSetup:
    """The problem of a configuration.

    Raises:
        InputError: A file cannot be read, or what it says does not fit together.

    Collective on ``comm``.
    """
    if config.action.train is not None:
        return _network(config, config.action.train, comm)
    if config.action.anneal is not None:
        return _paths(config, config.action.anneal, comm)
    return double_well(config, comm)


def _network(config: AnnealedFlowConfig, path: str, comm: MPI.Intracomm) -> FlowSetup:
    """The action of a training, its samples spread over the ranks."""
    training = load(path)
    problem = Problem.create(training, *load_data(training))
    grid = ProcessGrid.create(comm)
    action = problem.action(Resolution(config.action.cells or training.network.cells), grid)
    numbers = range(config.replicas.number)
    landscape = network_landscape(action, config.flow.minibatch, config.seed, numbers)
    vector, train = action.create(), problem.training_set

    def start(numbers: Numbers) -> Array:
        return random_controls(action, training, numbers)

    def show(u: Array) -> LowestNetwork:
        vector.array_w[...] = u
        flat = np.array(action.space.share(vector))
        return LowestNetwork(problem.model(action.network, flat), problem)

    def draw(folder: Path, u: Array) -> None:
        model = show(u).model
        if comm.rank == 0:
            write_fields(folder, model, train)

    network = action.network
    title = (
        f"{train.name}: {train.samples} samples; {network.index.neurons} neurons, "
        f"{network.depth.cells} depth cells, {network.shapes.size} parameters"
    )
    checksum = zlib.crc32(train.inputs.tobytes() + train.targets.tobytes())
    descend = descent(config.descent, action)
    names = row_numbers(comm, landscape.rows)
    source = training.model_dump(by_alias=True, exclude={"output", "solve", "search"})
    return FlowSetup(
        comm, False, title, landscape, start, descend, names, source, checksum, show, draw
    )


def _paths(config: AnnealedFlowConfig, path: str, comm: MPI.Intracomm) -> FlowSetup:
    """The action of the paths of an annealing at one precision; each rank has paths of its own."""
    search = PathSearch.create(load_annealing(path))
    precision = config.action.R_f
    if precision is None:
        precision = float(search.precisions[np.isfinite(search.precisions)][-1])
    landscape = PathsLandscape(search.paths, precision)

    def start(numbers: Numbers) -> Array:
        return random_starts(search.newton.bounds, numbers, search.config.seed).T

    def draw(folder: Path, u: Array) -> None:
        """A path is a table; there is nothing for ParaView."""

    defects = search.paths.defects
    title = (
        f"{defects.dynamics.name}: {defects.dynamics.states} states, {defects.cells} cells "
        f"({defects.transcription.name}), paths of {search.paths.size} unknowns at R_f = {precision:g}"
    )
    return FlowSetup(
        comm,
        True,
        title,
        landscape,
        start,
        newton_paths(search.newton, precision),
        np.arange(search.paths.size, dtype=np.uint64),
        search.config.model_dump(by_alias=True, exclude={"output"}),
        search.checksum(),
        search.present,
        draw,
    )
