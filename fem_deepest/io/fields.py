"""Fields for ParaView: weights and states as functions on depth x index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dolfinx import fem, io, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.data import DataSet
from fem_deepest.io.coefficients import write_coefficients
from fem_deepest.network.coupling.dense import Dense
from fem_deepest.network.coupling.operators import OperatorCoupling
from fem_deepest.network.network import Network
from fem_deepest.runs.model import Model
from fem_deepest.spaces.index_field import IndexField

Array = NDArray[np.float64]

_MOST = 2_000_000  # vertices beyond which a box is thinned out
_WIDEST = 4096  # neurons beyond which no kernel is written
_SHOWN = 10  # samples whose states are written


def write_fields(folder: Path, model: Model, data: DataSet) -> list[Path]:
    """Write ``states.xdmf`` and the weight field, as functions on depth x index.

    * Points: the effective matrix ``W_h(t)_{ij}`` as a function on the box depth x index x index
      (``kernel.xdmf``; not of more than 4096 neurons), bias and states on the rectangle depth x
      index; the coordinate is the number of the neuron.
    * Interval: the same with its true coordinate, and the kernel ``w(t,s,s')`` of a dense coupling.
    * Rectangle: bias and states on the box depth x index; ``kernel_rows.xdmf`` has ``w(t,s_i,.)`` at a
      few nodes ``s_i``, which ``kernel_rows.csv`` lists.
    * Mesh: the same as functions on it, with the depth as time.

    Functions are continuous and multilinear with the exact values at the nodes. On points, intervals
    and rectangles samples and nodes follow one another as time steps, one sample of every class
    first; on a mesh they are functions side by side. Couplings by operators leave ``coefficients.xdmf``,
    their fields by name on the index itself with the depth as the time. Other couplings leave
    ``weights.xdmf``, whose steps are the columns of their parameters, if these are fields over the index.
    A kernel of more than two million vertices keeps only every m-th neuron.

    Args:
        folder: Made where it is missing; files are written over.
        model: The trained network.
        data: Samples to show.

    Not collective: the meshes live on ``MPI.COMM_SELF``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network, theta = model.network, model.parameters.theta
    index, paths = network.index, list[Path]()
    if index.nodes == 1 or (
        index.kind == "rectangle" and np.ptp(index.coordinates, axis=0).min() == 0.0
    ):
        return paths  # ParaView shows no box without a width
    paths += _write_weights(folder, network, theta)
    bias = network.bias(network.coupling.effective(theta))
    paths.append(_write_over_index(folder / "bias.xdmf", network, "b", [bias]))
    shown = _representatives(data)
    states = model.states(data.inputs[shown])
    frames = [states[:, :, k] for k in range(shown.size)]
    paths.append(_write_over_index(folder / "states.xdmf", network, "x", frames))
    return paths


def _write_weights(folder: Path, network: Network, theta: Array) -> list[Path]:
    """Kernel of the coupling, and its parameters where they are fields over the index."""
    index, coupling, paths = network.index, network.coupling, list[Path]()
    dense, on_line = isinstance(coupling, Dense), index.kind in ("points", "interval")
    if on_line and index.channels == 1 and index.neurons <= _WIDEST:
        t, s = network.depth.nodes, index.coordinates[:, 0]
        thin = int(np.ceil(np.sqrt(max(1.0, t.size * s.size**2 / _MOST))))
        some = np.arange(0, s.size, thin)
        if dense and not index.is_points:
            name, values = "w", theta[:, some][:, :, some]
        else:
            # One depth at a time: a coupling may have far fewer parameters than its matrices entries.
            each = coupling.effective(theta)
            name = "W"
            values = np.stack([coupling.matrix(node)[some][:, some] for node in each])
        if some.size > 1:
            axes = t, s[some], s[some]
            paths.append(_write_named(folder / "kernel.xdmf", axes, {name: [values]}))
    elif dense:
        paths += _write_rows(folder, network, theta[..., :-1])
    if isinstance(coupling, OperatorCoupling):
        path = folder / "coefficients.xdmf"
        paths += write_coefficients(path, network.depth.nodes, coupling, theta)
    elif not dense and theta.shape[1] == index.neurons:
        columns = [theta[:, :, j] for j in range(theta.shape[2])]
        paths.append(_write_over_index(folder / "weights.xdmf", network, "w", columns))
    return paths


def _write_rows(folder: Path, network: Network, kernel: Array) -> list[Path]:
    """Rows of a kernel (n + 1, N, N) at a few nodes."""
    index = network.index
    x = index.coordinates
    low, size = x.min(axis=0), np.ptp(x, axis=0)
    # Nodes next to the middles of a 3 x 3 grid, or of three parts of an interval.
    places = np.stack(np.meshgrid(*[np.array([1, 3, 5]) / 6.0] * x.shape[1]), axis=-1)
    places = low + places.reshape(-1, x.shape[1]) * size
    nodes = np.unique(np.square(x[:, None] - places).sum(axis=2).argmin(axis=0))
    table = folder / "kernel_rows.csv"
    head = ",".join(["step", "node", "x", "y"][: 2 + x.shape[1]])
    rows = np.column_stack([np.arange(nodes.size), nodes, x[nodes]])
    np.savetxt(table, rows, delimiter=",", header=head, comments="", fmt="%.10g")
    frames = [kernel[:, node] for node in nodes.tolist()]
    return [_write_over_index(folder / "kernel_rows.xdmf", network, "w", frames), table]


def _write_over_index(path: Path, network: Network, name: str, frames: list[Array]) -> Path:
    """Write fields over depth and index, (n + 1, N) each; channels are functions side by side."""
    index, t = network.index, network.depth.nodes
    one = [
        [frame[:, c * index.nodes : (c + 1) * index.nodes] for frame in frames]
        for c in range(index.channels)
    ]
    named = {name: one[0]} if len(one) == 1 else {f"{name}{c}": f for c, f in enumerate(one, 1)}
    if index.kind == "mesh":
        return _write_series(path, network, named)
    x = index.coordinates
    if x.shape[1] == 1:
        return _write_named(path, (t, x[:, 0]), named)
    # Nodes are numbered from the top; the axes of a mesh must increase.
    across = index.grid[-1] if index.grid else 1
    axes = t, x[:across, 0], x[::across, 1][::-1]
    return _write_named(
        path,
        axes,
        {
            key: [f.reshape(len(t), -1, across)[:, ::-1].transpose(0, 2, 1) for f in fields]
            for key, fields in named.items()
        },
    )


def _write_series(path: Path, network: Network, named: dict[str, list[Array]]) -> Path:
    """Write fields on the mesh of the index with the depth as time; P2 is shown at its vertices."""
    field = network.index.field
    shown = field if field.degree < 2 else IndexField(field.domain, 1, "file")
    with io.XDMFFile(MPI.COMM_SELF, path, "w") as file:
        file.write_mesh(field.domain)
        for key, frames in named.items():
            for number, values in enumerate(frames):
                label = key if len(frames) == 1 else f"{key}_{number}"
                for i, time in enumerate(network.depth.nodes):
                    # The vertices come first among the nodes.
                    function = shown.to_function(values[i, : shown.dofs.size], label)
                    file.write_function(function, float(time))
    return path


def _representatives(data: DataSet) -> NDArray[np.int64]:
    """Sample numbers: the first of every class, or the first few."""
    if data.is_classification:
        return np.unique(data.targets, return_index=True)[1][:_SHOWN]
    return np.arange(min(_SHOWN, data.samples))


def _write_named(path: Path, axes: tuple[NDArray, ...], named: dict[str, list[Array]]) -> Path:
    """Write functions with the given vertex values on a tensor-product mesh of two or three axes."""
    comm, counts = MPI.COMM_SELF, [len(axis) - 1 for axis in axes]
    corners = [np.zeros(len(axes)), np.array(counts, dtype=np.float64)]
    if len(axes) == 2:
        domain = mesh.create_rectangle(comm, corners, counts, mesh.CellType.quadrilateral)
    else:
        domain = mesh.create_box(comm, corners, counts, mesh.CellType.hexahedron)
    # The mesh is made on whole numbers, so that every vertex finds its place in the arrays exactly.
    space = fem.functionspace(domain, ("Lagrange", 1))
    points = space.tabulate_dof_coordinates()
    place = tuple(np.rint(points[:, i]).astype(np.int64) for i in range(len(axes)))
    for i, axis in enumerate(axes):
        domain.geometry.x[:, i] = np.asarray(axis)[
            np.rint(domain.geometry.x[:, i]).astype(np.int64)
        ]
    with io.XDMFFile(comm, path, "w") as file:
        file.write_mesh(domain)
        for name, frames in named.items():
            function = fem.Function(space, name=name)
            for step, values in enumerate(frames):
                function.x.array[:] = values[place]
                file.write_function(function, float(step))
    return path
