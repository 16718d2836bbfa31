"""Batches of chains as files, one for each, rewritten now and then.

Ranks work on different batches at their own pace: nothing here is collective, and a run can go on with
another number of ranks.
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.io.seal import unsealed
from fem_deepest.io.whole import read_whole, settle, write_whole
from fem_deepest.sample.run import Kept
from fem_deepest.spaces.tasks import on_root

_VALUE = "value "  # before the names of the values in a file
_BROKEN = (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile)


class ChainFiles:
    """Batches in a folder; fulfils :class:`fem_deepest.sample.run.Keeper`.

    Args:
        folder: Where they are; it exists.
        asked: Whether the run has been asked to stop.
        minutes: Time between two writes of a batch that is not done.
    """

    def __init__(self, folder: Path, asked: Callable[[], bool], minutes: float) -> None:
        self.folder, self._asked, self._interval = folder, asked, 60.0 * minutes
        self._last = time.monotonic()

    @property
    def asked(self) -> bool:
        """Whether the run has been asked to stop."""
        return self._asked()

    def load(self, first: int) -> Kept | None:
        """The batch whose first chain has this number, or nothing where it has not been begun.

        Raises:
            InputError: The file cannot be read.
        """
        path = self._path(first)
        content = read_whole(path)
        if content is None:
            return None
        try:
            with np.load(BytesIO(content), allow_pickle=False) as file:
                values = {
                    n.removeprefix(_VALUE): file[n] for n in file.files if n.startswith(_VALUE)
                }
                return Kept(
                    file["v"],
                    int(file["iteration"]),
                    float(file["step"]),
                    int(file["drawn"]),
                    file["accepted"],
                    values,
                )
        except _BROKEN as error:
            raise InputError(_broken(path, error)) from None

    def save(self, first: int, kept: Kept, done: bool) -> None:
        """Write a batch as a whole, if it is done or its time has come."""
        if not done and time.monotonic() - self._last < self._interval:
            return
        named = {_VALUE + name: x for name, x in kept.values.items()}
        content = BytesIO()
        np.savez(
            content,
            v=kept.v,
            iteration=kept.iteration,
            step=kept.step,
            drawn=kept.drawn,
            accepted=kept.accepted,
            **named,  # type: ignore[arg-type]
        )
        write_whole(self._path(first), content.getvalue())
        self._last = time.monotonic()

    def _path(self, first: int) -> Path:
        return self.folder / f"chains{first:06d}.npz"


def check_chains(folder: Path, iterations: int, comm: MPI.Intracomm) -> list[str]:
    """Refuse to go on with batches that cannot be read, or have more iterations than are asked for.

    Where a file is damaged, the one before takes its place.

    Args:
        folder: Where they are.
        iterations: Of a chain after its warm-up.
        comm: All ranks; rank 0 reads.

    Returns:
        A sentence for each file that was replaced.

    Raises:
        InputError: There is such a batch.

    Collective.
    """

    def check() -> list[str]:
        told = []
        names = {path.name.split(".")[0] for path in folder.glob("chains*.npz")}
        for path in (folder / f"{name}.npz" for name in sorted(names)):
            told.append(settle(path))
            try:
                with np.load(BytesIO(unsealed(path)), allow_pickle=False) as file:
                    drawn = int(file["drawn"])
            except _BROKEN as error:
                raise InputError(_broken(path, error)) from None
            if drawn > iterations:
                raise InputError(
                    f"{path} has {drawn} iterations of its chains, {iterations} are asked for; ask for "
                    "as many or more, or begin again with --force"
                )
        return [sentence for sentence in told if sentence]

    return on_root(check, comm)


def _broken(path: Path, error: Exception) -> str:
    return f"{path} holds no chains ({error}); remove it"
