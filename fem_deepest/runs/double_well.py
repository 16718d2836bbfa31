"""The annealed flow of a double well on an interval or a rectangle, out of its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._compat import JIT_OPTIONS
from fem_deepest.action.form import FormAction
from fem_deepest.action.form.squared import SquaredAction
from fem_deepest.annealed.columns import ActionLandscape
from fem_deepest.configuration.annealed_flow import AnnealedFlowConfig
from fem_deepest.io.frames import write_frame
from fem_deepest.noise.keys import dof_keys
from fem_deepest.runs.annealed_setup import FlowSetup
from fem_deepest.runs.noise import descent
from fem_deepest.spaces.domain import create_domain

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LowestField:
    """A function as the user wants to see it.

    Attributes:
        x: Its nodes, sorted by their coordinates, (m, d).
        u: Its values there, (m,).
        mean: Its mean.
    """

    x: Array
    u: Array
    mean: float

    @property
    def metrics(self) -> dict[str, float]:
        """Mean and extremes."""
        return {"mean": self.mean, "min": float(self.u.min()), "max": float(self.u.max())}

    @property
    def tables(self) -> dict[str, tuple[list[str], Array]]:
        """``u.csv``."""
        head = ["x", "y"][: self.x.shape[1]]
        return {"u.csv": ([*head, "u"], np.column_stack([self.x, self.u]))}


def double_well(config: AnnealedFlowConfig, comm: MPI.Intracomm) -> FlowSetup:
    """The Ginzburg-Landau action with free ends, its mesh spread over the ranks.

    The metric has the curvature ``2 reaction`` of the wells; for noise on a rectangle it is squared.

    Raises:
        InputError: There are more ranks than cells.

    Collective on ``comm``.
    """
    section, size = config.action, config.action.size
    domain = create_domain(comm, size, [section.cells or 64] * len(size))
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 1)))
    slope = 0.5 * section.diffusion * ufl.inner(ufl.grad(u), ufl.grad(u))
    well = 0.25 * section.reaction * (u**2 - 1.0) ** 2 - section.tilt * u
    action = FormAction(slope + well, u, metric=slope + section.reaction * u**2)
    smooth = len(size) > 1 and config.flow.noise == "prior"
    flowing = SquaredAction(action, 2.0 * section.reaction) if smooth else action
    landscape, vector = ActionLandscape(flowing), action.create()
    mean = fem.form(u / float(np.prod(size)) * ufl.dx, jit_options=JIT_OPTIONS)

    def start(numbers: NDArray[np.int64]) -> Array:
        return np.full((landscape.rows, numbers.size), section.start)

    def fill(column: Array) -> None:
        vector.array_w[...] = column
        action.unpack(vector)
        u.x.scatter_forward()

    def show(column: Array) -> LowestField:
        fill(column)
        owned = u.function_space.dofmap.index_map.size_local
        x = u.function_space.tabulate_dof_coordinates()[:owned, : len(size)]
        parts = comm.allgather((x, u.x.array[:owned]))
        x, values = (np.concatenate([part[i] for part in parts]) for i in range(2))
        order = np.lexsort(x.T[::-1])
        average = float(comm.allreduce(fem.assemble_scalar(mean)))
        return LowestField(x[order], values[order], average)

    def draw(folder: Path, column: Array) -> None:
        fill(column)
        write_frame(folder, u, 0.0, 0)

    cells = domain.topology.index_map(domain.topology.dim).size_global
    sides = " x ".join(f"(0, {length:g})" for length in size)
    unknowns = u.function_space.dofmap.index_map.size_global
    return FlowSetup(
        comm,
        False,
        f"double well on {sides}: {cells} cells, {unknowns} unknowns",
        landscape,
        start,
        descent(config.descent, action),
        dof_keys(u.function_space),
        {},
        0,
        show,
        draw,
    )
