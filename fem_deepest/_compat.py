"""What differs between DOLFINx 0.9, 0.10 and 0.11; no other module looks at a version.

Features are tested, not version numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dolfinx import cpp, fem, geometry, la, mesh
from numpy.typing import NDArray

# The default of 10 s is too short where several ranks compile the same form on a loaded machine.
JIT_OPTIONS: dict[str, Any] = {"timeout": 120}


def dof_coordinates(space: Any) -> NDArray[np.float64]:
    """First coordinate of every dof of a scalar Lagrange space on an interval, shape (dofs,)."""
    return np.asarray(space.tabulate_dof_coordinates()[:, 0], dtype=np.float64)


def assembled(form: Any) -> NDArray[np.float64]:
    """Dense array of a bilinear form on a small mesh of ``MPI.COMM_SELF``.

    ``fem.assemble_matrix`` of one form is the call that is the same in all versions.
    """
    matrix = fem.assemble_matrix(fem.form(form, jit_options=JIT_OPTIONS))
    matrix.scatter_reverse()
    return np.asarray(matrix.to_dense())


def move_nodes(domain: mesh.Mesh, coordinate: NDArray[np.float64]) -> None:
    """Set the first coordinate of the geometry nodes, shape (nodes,), in the mesh's own order."""
    domain.geometry.x[:, 0] = coordinate


def geometry_dofmap(domain: mesh.Mesh) -> NDArray[np.int32]:
    """Geometry nodes of every cell, shape (cells, nodes)."""
    geometry = domain.geometry
    return np.asarray(geometry.dofmap if hasattr(geometry, "dofmap") else geometry.dofmaps[0])


def collapsed(space: Any) -> tuple[Any, NDArray[np.int32]]:
    """Collapsed subspace, and for each of its dofs the dof of the parent."""
    sub, parent = space.collapse()
    if len(parent) and np.ndim(parent[0]) > 0:
        parent = np.concatenate(parent)
    return sub, np.asarray(parent, dtype=np.int32)


def add_ghosts(vector: Any) -> None:
    """Add what other ranks have assembled into their ghosts to the owned entries."""
    vector.scatter_reverse(la.InsertMode.add)


def point_owners(
    domain: mesh.Mesh, x: NDArray[np.float64], padding: float
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64], NDArray[np.int32]]:
    """Which cells of which ranks hold some points. Collective.

    Args:
        domain: Mesh.
        x: (n, 3) points, other ones on each rank.
        padding: Of the boxes around cells.

    Returns:
        The rank that has a cell for each point, (n,); and of the points that this rank has cells for,
        the ranks that asked, the places (m, 3) and the cells.
    """
    if hasattr(geometry, "determine_point_ownership"):
        data = geometry.determine_point_ownership(domain, x, padding)
    else:
        data = geometry.PointOwnershipData(
            cpp.geometry.determine_point_ownership(domain._cpp_object, x, padding)
        )
    asked, askers, places, cells = (
        found() if callable(found) else found
        for found in (data.src_owner, data.dest_owner, data.dest_points, data.dest_cells)
    )
    return (
        np.asarray(asked),
        np.asarray(askers),
        np.asarray(places, dtype=np.float64).reshape(-1, 3),
        np.asarray(cells),
    )


def read_msh(path: Any, comm: Any, dimension: int) -> mesh.Mesh:
    """The mesh of a Gmsh file; its reader has another module and another result in each version."""
    try:
        from dolfinx.io import gmsh as reader
    except ImportError:
        from dolfinx.io import gmshio as reader
    if comm.rank == 0:
        import gmsh

        # The reader initialises Gmsh again, which keeps the options, and finalises it.
        gmsh.initialize()
        gmsh.option.setNumber("General.Terminal", 0)
    read = reader.read_from_msh(str(path), comm, 0, gdim=dimension)
    return read[0] if isinstance(read, tuple) else read.mesh
