"""Checkpoints of annealing: one small HDF5 file for each batch of paths, rewritten after every rung.

Ranks work on different batches at their own pace, so nothing here is collective, and a run can go on
with another number of ranks.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import h5py
import numpy as np

from fem_deepest.errors import InputError
from fem_deepest.io.whole import read_whole, settle, write_whole
from fem_deepest.solve.annealing.search import Batch


def write_batch(folder: Path, batch: Batch) -> None:
    """Write the finished rungs of a batch; the file is replaced as a whole or not at all.

    Raises:
        InputError: It cannot be written: the disk is full, say. What was there before stays.
    """
    path = _path(folder, int(batch.numbers[0]))
    arrays = {
        "numbers": batch.numbers,
        "u": batch.u,
        "record": np.array(batch.record),
        "converged": np.array(batch.converged),
        "work": np.array(batch.work),
        "lowest": np.array(batch.lowest),
    }
    # HDF5 makes the file in memory: where it fails to write, it cannot even close a file.
    content = BytesIO()
    with h5py.File(content, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    write_whole(path, content.getvalue())


def settle_batch(folder: Path, first: int) -> str:
    """See that the batch whose first path has this number can be read, if it has been begun.

    Otherwise the file before takes its place: a rung less. Returns a sentence where it does.

    Raises:
        InputError: Neither can be read.
    """
    return settle(_path(folder, first))


def read_batch(folder: Path, first: int) -> Batch | None:
    """The batch whose first path has this number, or nothing where it has not been begun.

    Raises:
        InputError: The file cannot be read.
    """
    path = _path(folder, first)
    content = read_whole(path)
    if content is None:
        return None
    try:
        with h5py.File(BytesIO(content), "r") as file:
            record = file["record"][()]
            return Batch(
                file["numbers"][()],
                file["u"][()],
                len(record),
                list(record),
                list(file["converged"][()]),
                list(file["work"][()]),
                list(file["lowest"][()]),
            )
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} is not a checkpoint of annealing ({error}); remove it") from None


def _path(folder: Path, first: int) -> Path:
    return folder / f"paths{first:06d}.h5"
