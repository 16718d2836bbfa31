"""Where the chains of a run start, as a file of arrays; rank 0 reads and writes."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.io.whole import read_whole, write_whole
from fem_deepest.spaces.tasks import on_root

Array = NDArray[np.float64]

_NAME = "start.npz"


def read_start(folder: Path, comm: MPI.Intracomm) -> dict[str, Array] | None:
    """The arrays by name on every rank, or nothing where there are none. Collective.

    Raises:
        InputError: The file cannot be read.
    """
    path = folder / _NAME

    def read() -> dict[str, Array] | None:
        content = read_whole(path)
        if content is None:
            return None
        try:
            with np.load(BytesIO(content), allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path} holds no start of chains ({error}); begin again with --force"
            ) from None

    return on_root(read, comm)


def write_start(folder: Path, arrays: Mapping[str, Array], comm: MPI.Intracomm) -> None:
    """Write the arrays as a whole. Collective; rank 0 writes.

    Raises:
        InputError: They cannot be written.
    """
    content = BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    on_root(lambda: write_whole(folder / _NAME, content.getvalue()), comm)
