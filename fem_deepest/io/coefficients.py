"""The coefficients of couplings by operators for ParaView, on the mesh of the neuron index."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from dolfinx import io
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.network.coupling.operators import OperatorCoupling

Array = NDArray[np.float64]


def write_coefficients(
    path: Path, t: Array, coupling: OperatorCoupling, theta: Array
) -> list[Path]:
    """Coefficients on the index, or kernels on the mesh of their offsets, the depth as the time.

    Nothing is written where they are constants, or not P1.

    Args:
        path: File ``*.xdmf``.
        t: Depth nodes, (n + 1,).
        coupling: The coupling.
        theta: Its parameters at the nodes, (n + 1, rows, columns).

    Not collective: the mesh lives on ``MPI.COMM_SELF``.
    """
    space = coupling.index if coupling.kernel is None else coupling.kernel.space
    fields, names = coupling.fields(theta)
    if fields.shape[-1] != space.nodes or space.is_points or space.element != "P1":
        return []
    with io.XDMFFile(MPI.COMM_SELF, path, "w") as file:
        file.write_mesh(space.field.domain)
        for number, name in enumerate(names):
            plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
            for i in range(t.size):
                nodal = space.to_function(fields[number, i], plain)
                file.write_function(nodal, float(t[i]))
    return [path]
