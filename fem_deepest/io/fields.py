"""Fields for ParaView: weight kernel, bias and states as functions on depth x index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from dolfinx import fem, io, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.data import DataSet
from fem_deepest.runs.model import Model

Array = NDArray[np.float64]

_MOST = 2_000_000  # vertices beyond which a box is thinned out
_WIDEST = 4096  # neurons beyond which no kernel is written
_SHOWN = 10  # samples whose states are written


def write_fields(folder: Path, model: Model, data: DataSet) -> list[Path]:
    """Write ``kernel.xdmf``, ``bias.xdmf`` and ``states.xdmf``.

    The effective matrix ``W_h(t)_{ij}`` becomes a continuous piecewise trilinear function on the
    box depth x index x index with the exact values at its vertices, the bias and the states one on
    the rectangle depth x index. ``states`` shows one sample after the other as time steps, one of
    every class first. A box of more than two million vertices keeps only every m-th neuron; of
    more than 4096 neurons there is no kernel.

    Args:
        folder: Made where it is missing; files are written over.
        model: The trained network.
        data: Samples to show.

    Not collective: the meshes live on ``MPI.COMM_SELF``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    network = model.network
    t, theta = network.depth.nodes, network.coupling.effective(model.parameters.theta)
    paths = []
    neurons = network.index.neurons
    if neurons > 1:
        thin = int(np.ceil(np.sqrt(max(1.0, t.size * neurons**2 / _MOST))))
        some = np.arange(0, neurons, thin)
        if some.size > 1 and neurons <= _WIDEST:
            # One depth at a time: a coupling may have far fewer parameters than its matrices entries.
            values = np.stack([network.coupling.matrix(node)[some][:, some] for node in theta])
            paths.append(_write(folder / "kernel.xdmf", "W", (t, some, some), [values]))
        index = np.arange(neurons)
        paths.append(_write(folder / "bias.xdmf", "b", (t, index), [network.bias(theta)]))
        shown = _representatives(data)
        states = model.states(data.inputs[shown])
        frames = [states[:, :, k] for k in range(shown.size)]
        paths.append(_write(folder / "states.xdmf", "x", (t, index), frames))
    return paths


def _representatives(data: DataSet) -> NDArray[np.int64]:
    """Sample numbers: the first of every class, or the first few."""
    if data.is_classification:
        return np.unique(data.targets, return_index=True)[1][:_SHOWN]
    return np.arange(min(_SHOWN, data.samples))


def _write(path: Path, name: str, axes: tuple[NDArray, ...], frames: list[Array]) -> Path:
    """Write functions with the given vertex values on a tensor-product mesh of two or three axes."""
    comm, counts = MPI.COMM_SELF, [len(axis) - 1 for axis in axes]
    corners = [np.zeros(len(axes)), np.array(counts, dtype=np.float64)]
    if len(axes) == 2:
        domain = mesh.create_rectangle(comm, corners, counts, mesh.CellType.quadrilateral)
    else:
        domain = mesh.create_box(comm, corners, counts, mesh.CellType.hexahedron)
    # The mesh is made on whole numbers, so that every vertex finds its place in the arrays exactly.
    function = fem.Function(fem.functionspace(domain, ("Lagrange", 1)), name=name)
    points = function.function_space.tabulate_dof_coordinates()
    place = tuple(np.rint(points[:, i]).astype(np.int64) for i in range(len(axes)))
    for i, axis in enumerate(axes):
        domain.geometry.x[:, i] = np.asarray(axis)[
            np.rint(domain.geometry.x[:, i]).astype(np.int64)
        ]
    with io.XDMFFile(comm, path, "w") as file:
        file.write_mesh(domain)
        for step, values in enumerate(frames):
            function.x.array[:] = values[place]
            file.write_function(function, float(step))
    return path
