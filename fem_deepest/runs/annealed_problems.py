"""What an annealed flow runs on, out of its configuration: a network, paths, or a double well."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.action.form import FormAction
from fem_deepest.annealed.columns import ActionLandscape
from fem_deepest.annealed.descent import newton_paths, quasi_newton
from fem_deepest.annealed.paths import PathsLandscape
from fem_deepest.annealed.search import Descend
from fem_deepest.configuration.anneal import load_annealing
from fem_deepest.configuration.annealed_flow import AnnealedFlowConfig
from fem_deepest.configuration.train import load
from fem_deepest.io.annealed import row_numbers
from fem_deepest.io.fields import write_fields
from fem_deepest.io.frames import write_frame
from fem_deepest.noise.keys import dof_keys
from fem_deepest.runs.annealed_setup import FlowSetup
from fem_deepest.runs.model import Problem, random_controls
from fem_deepest.runs.network_search import LowestNetwork
from fem_deepest.runs.noise import network_landscape
from fem_deepest.runs.path_search import PathSearch
from fem_deepest.runs.train import load_data
from fem_deepest.solve.paths.annealing import random_starts
from fem_deepest.spaces import ProcessGrid
from fem_deepest.spaces.domain import create_domain

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
    return _double_well(config, comm)


def _network(config: AnnealedFlowConfig, path: str, comm: MPI.Intracomm) -> FlowSetup:
    """The action of a training, its samples spread over the ranks."""
    training = load(path)
    problem = Problem.create(training, *load_data(training))
    grid = ProcessGrid.create(comm)
    action = problem.action(config.action.cells or training.network.cells, grid)
    numbers = range(config.replicas.number)
    landscape = network_landscape(action, config.flow.minibatch, config.seed, numbers)
    vector, train = action.create(), problem.train

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
    descend = _descent(config, landscape)
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


@dataclass(frozen=True, eq=False)
class LowestField:
    """A function on an interval as the user wants to see it.

    Attributes:
        x: Its nodes from left to right, (m,).
        u: Its values there, (m,).
    """

    x: Array
    u: Array

    @property
    def metrics(self) -> dict[str, float]:
        """Mean and extremes."""
        mean = float(np.trapezoid(self.u, self.x) / (self.x[-1] - self.x[0]))
        return {"mean": mean, "min": float(self.u.min()), "max": float(self.u.max())}

    @property
    def tables(self) -> dict[str, tuple[list[str], Array]]:
        """``u.csv``."""
        return {"u.csv": (["x", "u"], np.column_stack([self.x, self.u]))}


def _double_well(config: AnnealedFlowConfig, comm: MPI.Intracomm) -> FlowSetup:
    """The Ginzburg-Landau action on an interval with free ends, spread over the ranks.

    The metric has the curvature ``2 reaction`` of the wells.
    """
    section = config.action
    domain = create_domain(comm, [section.length], [section.cells or 64])
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1)))
    slope = 0.5 * section.diffusion * ufl.inner(ufl.grad(u), ufl.grad(u))
    well = 0.25 * section.reaction * (u**2 - 1.0) ** 2 - section.tilt * u
    action = FormAction(slope + well, u, metric=slope + section.reaction * u**2)
    landscape, vector = ActionLandscape(action), action.create()

    def start(numbers: Numbers) -> Array:
        return np.full((landscape.rows, numbers.size), section.start)

    def fill(column: Array) -> None:
        vector.array_w[...] = column
        action.unpack(vector)

    def show(column: Array) -> LowestField:
        fill(column)
        owned = u.function_space.dofmap.index_map.size_local
        x = u.function_space.tabulate_dof_coordinates()[:owned, 0]
        parts = comm.allgather((x, u.x.array[:owned]))
        x, values = (np.concatenate([part[i] for part in parts]) for i in range(2))
        order = np.argsort(x)
        return LowestField(x[order], values[order])

    def draw(folder: Path, column: Array) -> None:
        fill(column)
        write_frame(folder, u, 0.0, 0)

    cells = domain.topology.index_map(1).size_global
    title = f"double well on (0, {section.length:g}): {cells} cells, {cells + 1} unknowns"
    descend = _descent(config, landscape)
    names = dof_keys(u.function_space)
    return FlowSetup(comm, False, title, landscape, start, descend, names, {}, 0, show, draw)


def _descent(config: AnnealedFlowConfig, landscape: ActionLandscape) -> Descend:
    """Quasi-Newton steps, then Newton's."""
    section = config.descent
    return quasi_newton(
        landscape.action,
        tolerance=section.tolerance,
        iterations=section.iterations,
        newton=section.newton,
    )
