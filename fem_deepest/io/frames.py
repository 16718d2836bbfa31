"""States of a flow for ParaView, one XDMF file each, and read back for figures.

Every frame stands for itself, so that a run that was interrupted goes on by writing the next file (or
one of the last again, the same). ParaView opens ``u_*.xdmf`` as one series.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from dolfinx import fem, io
from numpy.typing import NDArray

from fem_deepest.errors import InputError


def write_frame(folder: Path, u: fem.Function, t: float, number: int) -> None:
    """Write ``u_NUMBER.xdmf``, the function at the vertices. Collective on the mesh.

    Args:
        folder: Made where it is missing.
        u: Scalar function on a continuous Lagrange space; of a degree that the mesh has not, its
            interpolant of degree one is written.
        t: Time.
        number: Number of the frame.
    """
    domain = u.function_space.mesh
    if domain.comm.rank == 0:
        folder.mkdir(parents=True, exist_ok=True)
    domain.comm.barrier()
    shown = u
    if u.function_space.ufl_element().degree != domain.geometry.cmap.degree:
        degree = domain.geometry.cmap.degree
        shown = fem.Function(fem.functionspace(domain, ("Lagrange", degree)))
        shown.interpolate(u)
    name, shown.name = shown.name, "u"
    with io.XDMFFile(domain.comm, folder / f"u_{number:06d}.xdmf", "w") as file:
        file.write_mesh(domain)
        file.write_function(shown, t)
    shown.name = name


@dataclass(frozen=True)
class Frame:
    """A state at the nodes of a mesh.

    Attributes:
        t: Time.
        points: Coordinates, (nodes, d).
        cells: Nodes of the cells, (cells, nodes of a cell).
        values: (nodes,).
    """

    t: float
    points: NDArray[np.float64]
    cells: NDArray[np.int64]
    values: NDArray[np.float64]


def read_frames(folder: Path) -> list[Frame]:
    """All frames of a folder in order. Not collective.

    Raises:
        InputError: A file cannot be read.
    """
    return [_read(path) for path in sorted(folder.glob("u_*.xdmf"))]


def _read(path: Path) -> Frame:
    try:
        root = ET.parse(path).getroot()
        t = next(float(node.get("Value", "nan")) for node in root.iter("Time"))
        with h5py.File(path.with_suffix(".h5"), "r", driver="sec2") as file:
            mesh = next(iter(file["Mesh"].values()))
            values = next(iter(file["Function/u"].values()))
            return Frame(
                t,
                np.array(mesh["geometry"]),
                np.array(mesh["topology"]),
                np.array(values, dtype=np.float64).ravel(),
            )
    except (OSError, KeyError, StopIteration, ET.ParseError) as error:
        raise InputError(f"cannot read the frame {path}: {error}; run the flow again") from None
