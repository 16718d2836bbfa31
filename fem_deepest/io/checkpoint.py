"""Checkpoints: PETSc HDF5, written under a temporary name and renamed, so never half there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError


def write(
    path: Path, vectors: dict[str, PETSc.Vec], meta: dict[str, Any], comm: MPI.Intracomm
) -> None:
    """Write named vectors and a JSON-able dictionary. Collective.

    Args:
        path: File; replaced as a whole or not at all.
        vectors: What to store; their numbering does not depend on the number of ranks.
        meta: Everything else.
        comm: Communicator of the vectors.
    """
    temporary = path.with_name(path.name + ".part")
    viewer = PETSc.Viewer().createHDF5(str(temporary), mode=PETSc.Viewer.Mode.WRITE, comm=comm)
    for name, vec in vectors.items():
        label = vec.getName()
        vec.setName(name)
        viewer.view(vec)
        vec.setName(label)
    viewer.destroy()
    if comm.rank == 0:
        with h5py.File(temporary, "r+", driver="sec2") as file:
            # As a data set: an attribute may not be larger than 64 kB.
            file["meta"] = json.dumps(meta)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    comm.barrier()


def read_meta(path: Path) -> dict[str, Any]:
    """The dictionary of a checkpoint. Not collective.

    Raises:
        InputError: There is no such file, or it is not a checkpoint of this package.
    """
    if not path.is_file():
        raise InputError(f"there is no checkpoint {path}; give the directory of a run")
    try:
        with h5py.File(path, "r", driver="sec2") as file:
            return dict(json.loads(file["meta"][()]))
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"{path} is not a checkpoint of fem_deepest ({error}); use another"
        ) from None


def read_array(path: Path, name: str) -> NDArray[np.float64]:
    """A vector of a checkpoint as a whole. Not collective.

    Raises:
        InputError: There is no such vector.
    """
    try:
        with h5py.File(path, "r", driver="sec2") as file:
            return np.asarray(file[name], dtype=np.float64).ravel()
    except (OSError, KeyError) as error:
        raise InputError(
            f"{path} holds no vector {name} ({error}); use another checkpoint"
        ) from None


def read(path: Path, vectors: dict[str, PETSc.Vec], comm: MPI.Intracomm) -> None:
    """Fill named vectors of the right sizes. Collective.

    Raises:
        InputError: A vector is missing or has another size.
    """
    with h5py.File(path, "r", driver="sec2") as file:
        sizes = {name: file[name].size if name in file else 0 for name in vectors}
    for name, vec in vectors.items():
        if sizes[name] != vec.getSize():
            raise InputError(
                f"{path} holds {sizes[name]} numbers of the vector {name} and this network needs "
                f"{vec.getSize()}; use the checkpoint of this configuration"
            )
    viewer = PETSc.Viewer().createHDF5(str(path), mode=PETSc.Viewer.Mode.READ, comm=comm)
    for name, vec in vectors.items():
        label = vec.getName()
        vec.setName(name)
        vec.load(viewer)
        vec.setName(label)
    viewer.destroy()
