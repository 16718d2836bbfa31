"""Small checkpoints, which one rank writes as a whole; sealed, and the one before is kept.

Nothing here is collective.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.io.recovery import recover
from fem_deepest.io.seal import Damaged, sealed, unsealed
from fem_deepest.io.succession import partial, succeed


def write_whole(path: Path, content: bytes) -> None:
    """Write a file; replaced as a whole or not at all.

    Raises:
        InputError: It cannot be written: the disk is full, say. What was there before stays.
    """
    part = partial(path)
    try:
        with part.open("wb") as file:
            file.write(sealed(content))
            file.flush()
            os.fsync(file.fileno())
        succeed(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise InputError(
            f"cannot write {path} ({error}); make room and go on with --resume"
        ) from None


def read_whole(path: Path) -> bytes | None:
    """The content of a file, or nothing where there is none.

    Raises:
        Damaged: It is not what was written.
    """
    return unsealed(path) if path.exists() else None


def settle(path: Path) -> str:
    """See that a file can be read; otherwise let the one before take its place, and say so.

    Raises:
        InputError: Neither can be read.
    """
    try:
        return recover(path, read_whole, MPI.COMM_SELF)[1]
    except Damaged as error:
        raise InputError(f"{error.what}; remove it, or begin again with --force") from None
