"""The state of a flow in a checkpoint: a function that comes back on any number of ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.io import checkpoint
from fem_deepest.io.seal import read_table
from fem_deepest.noise.keys import dof_keys

_HALF = np.uint64(32)


def save_state(path: Path, u: fem.Function, meta: dict[str, Any]) -> None:
    """Write a scalar function under the names of its dofs, which do not depend on the partition.

    Args:
        path: File; replaced as a whole or not at all.
        u: Function on a Lagrange space.
        meta: What else there is to keep, JSON-able.

    Collective on the mesh.
    """
    V = u.function_space
    keys = dof_keys(V)
    # PETSc stores doubles: 32 bits of a key are exact in each of two.
    parts = {
        "u": u.x.array[: keys.size],
        "high": (keys >> _HALF).astype(np.float64),
        "low": (keys & np.uint64(0xFFFFFFFF)).astype(np.float64),
    }
    vectors = {}
    for name, array in parts.items():
        vectors[name] = PETSc.Vec().createMPI((array.size, PETSc.DETERMINE), comm=V.mesh.comm)
        vectors[name].array_w[...] = array
    checkpoint.write(path, vectors, meta, V.mesh.comm)
    for vector in vectors.values():
        vector.destroy()


def load_state(path: Path, u: fem.Function) -> None:
    """Fill the function that :func:`save_state` wrote.

    Raises:
        InputError: The file is not the state of a function on this mesh and degree.

    Collective on the mesh; every rank reads the file.
    """
    table = read_table(path)
    high, low, values = (checkpoint.read_array(path, name, table) for name in ("high", "low", "u"))
    stored = (high.astype(np.uint64) << _HALF) | low.astype(np.uint64)
    order = np.argsort(stored)
    keys = dof_keys(u.function_space)
    place = np.searchsorted(stored, keys, sorter=order)
    found = order[np.minimum(place, stored.size - 1)]
    V = u.function_space
    other = stored.size != V.dofmap.index_map.size_global or bool((stored[found] != keys).any())
    if V.mesh.comm.allreduce(other, MPI.LOR):
        raise InputError(
            f"{path} holds a function on another mesh or of another degree; use the checkpoint of this "
            "configuration"
        )
    u.x.array[: keys.size] = values[found]
    u.x.scatter_forward()
