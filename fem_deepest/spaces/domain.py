"""Meshes by name or from a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import basix.ufl
import numpy as np
import ufl
from dolfinx import io, mesh
from mpi4py import MPI

from fem_deepest._compat import geometry_dofmap, read_msh
from fem_deepest.errors import InputError


def create_domain(
    comm: MPI.Intracomm, size: Sequence[float], cells: Sequence[int], tensor: bool = False
) -> Any:
    """An interval, a rectangle or a box from the origin.

    Args:
        comm: Communicator of the mesh.
        size: Lengths of the sides, (d,).
        cells: Cells along them, (d,).
        tensor: Quadrilaterals or hexahedra instead of simplices.

    Raises:
        InputError: There are more ranks than cells.

    Collective on ``comm``.
    """
    d, count = len(size), int(np.prod(cells))
    if count < comm.size:
        raise InputError(
            f"a mesh of {count} cells was asked for on {comm.size} ranks; take more cells or fewer ranks"
        )
    corners = [np.zeros(d), np.asarray(size, dtype=np.float64)]
    if d == 1:
        return mesh.create_interval(comm, cells[0], [0.0, float(size[0])])
    if d == 2:
        kind = mesh.CellType.quadrilateral if tensor else mesh.CellType.triangle
        return mesh.create_rectangle(comm, corners, list(cells), kind)
    kind = mesh.CellType.hexahedron if tensor else mesh.CellType.tetrahedron
    return mesh.create_box(comm, corners, list(cells), kind)


def read_domain(comm: MPI.Intracomm, path: str | Path) -> Any:
    """The mesh of a Gmsh file ``.msh``, or the first one of an ``.xdmf``.

    A mesh all in the plane, or on the line, loses the coordinates it does not need.

    Raises:
        InputError: There is no such file, or it holds no mesh.

    Collective on ``comm``.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no mesh file {path}; give a .msh or .xdmf file")
    if path.suffix == ".msh":
        return read_msh(path, comm, _flat(path, comm))
    if path.suffix != ".xdmf":
        raise InputError(f"{path} is no mesh file that is known; give a .msh or .xdmf file")
    name = _grid_name(path)
    try:
        with io.XDMFFile(comm, path, "r") as file:
            return file.read_mesh(name=name)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path} holds no mesh that can be read: {reason}") from error


def _flat(path: Path, comm: MPI.Intracomm) -> int:
    """Dimension of the cells of a Gmsh file, as the number of coordinates to keep."""
    dimension = 0
    if comm.rank == 0:
        import gmsh

        gmsh.initialize()
        try:
            gmsh.option.setNumber("General.Terminal", 0)
            gmsh.open(str(path))
            dimension = int(gmsh.model.getDimension())
            nodes = gmsh.model.mesh.getNodes()[1].reshape(-1, 3)
            if nodes.size and np.abs(nodes[:, dimension:]).max(initial=0.0) > 0.0:
                dimension = 3  # a surface or a curve in space
        except Exception:  # Gmsh raises bare exceptions
            dimension = 0
        finally:
            gmsh.finalize()
    dimension = comm.bcast(dimension, root=0)
    if dimension < 1:
        raise InputError(f"{path} holds no mesh that Gmsh can read; give another file")
    return dimension


def _grid_name(path: Path) -> str:
    import xml.etree.ElementTree as ET

    try:
        for grid in ET.parse(path).getroot().iter("Grid"):
            if grid.find("Topology") is not None:
                return grid.get("Name", "mesh")
    except ET.ParseError as error:
        raise InputError(f"{path} is not valid XDMF: {error}; give another file") from None
    raise InputError(f"{path} holds no mesh; give another file")


def domain_to_dict(domain: Any) -> dict[str, Any]:
    """Vertices and cells of a mesh on ``MPI.COMM_SELF`` in the order they were given, in plain types.

    With :func:`domain_from_dict` the same mesh again, with the same numbers: floats of JSON are exact.
    """
    given = np.argsort(domain.geometry.input_global_indices)
    place = np.empty_like(given)
    place[given] = np.arange(given.size)
    cells = place[geometry_dofmap(domain)][np.argsort(domain.topology.original_cell_index)]
    x = domain.geometry.x[given, : domain.geometry.dim]
    return {"cell": domain.basix_cell().name, "x": x.tolist(), "cells": cells.tolist()}


def domain_from_dict(values: Mapping[str, Any]) -> Any:
    """Inverse of :func:`domain_to_dict`, on ``MPI.COMM_SELF``."""
    x = np.array(values["x"])
    element = basix.ufl.element("Lagrange", values["cell"], 1, shape=(x.shape[1],))
    cells = np.array(values["cells"], dtype=np.int64)
    return mesh.create_mesh(MPI.COMM_SELF, cells=cells, x=x, e=ufl.Mesh(element))
