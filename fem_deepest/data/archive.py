"""Samples in NPZ files that are not read as a whole.

``numpy.savez`` stores the arrays as they are, and their rows are read at their place in the file. Those
of ``numpy.savez_compressed`` have to be read through from the start: a part is reached by
decompressing what is before it, in order, and never kept as a whole.
"""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from mpi4py import MPI
from numpy.lib import format as npy
from numpy.typing import NDArray

from fem_deepest.data.arrays import DAMAGE, PAIRS
from fem_deepest.data.extent import Extent
from fem_deepest.data.stored import Stored, StoredSamples
from fem_deepest.errors import InputError
from fem_deepest.spaces.tasks import on_all

__all__ = ["Deflated", "open_npz", "stored_arrays"]

_LOCAL = 30  # bytes of a local header before the name
_SKIP = 2**22  # bytes that are decompressed at once on the way


class Deflated:
    """A compressed array of an archive, read forwards.

    Args:
        path: The archive.
        member: Name of the file in it.
        shape: Shape.
        dtype: Type.
        start: Bytes of its header.
    """

    def __init__(
        self, path: Path, member: str, shape: tuple[int, ...], dtype: np.dtype[Any], start: int
    ) -> None:
        self.path, self.member, self.shape, self.dtype = path, member, shape, dtype
        self._start, self._stride = start, int(np.prod(shape[1:], initial=1)) * dtype.itemsize
        self._file: IO[bytes] | None = None
        self._place = 0
        self._lock = threading.Lock()

    def _open(self) -> IO[bytes]:
        with zipfile.ZipFile(self.path) as archive:
            return archive.open(self.member)  # has its own hold on the file

    def read(self, first: int, last: int) -> NDArray[Any]:
        """See :class:`.Stored`."""
        begin, size = self._start + first * self._stride, (last - first) * self._stride
        try:
            with self._lock:
                if self._file is None or begin < self._place:
                    self._file = self._open()
                    self._place = 0
                while self._place < begin:
                    passed = len(self._file.read(min(_SKIP, begin - self._place)))
                    if passed == 0:
                        raise EOFError("the array ends too early")
                    self._place += passed
                content = self._file.read(size)
                self._place += len(content)
        except DAMAGE as error:
            raise InputError(
                f"{self.path}: the file is damaged ({error}); write it again with numpy.savez."
            ) from None
        if len(content) < size:
            raise InputError(
                f"{self.path}: '{self.member}' ends before row {last}; write it again with numpy.savez."
            )
        return np.frombuffer(content, dtype=self.dtype).reshape(last - first, *self.shape[1:])


def open_npz(path: Path, kind: str, comm: MPI.Intracomm) -> StoredSamples:
    """Open an archive of samples; the names of its arrays are those of :func:`.read_arrays`.

    Raises:
        InputError: It is damaged, an array is missing, of Python objects, or stored column by column.

    Collective on ``comm``.
    """
    names, (x, y) = on_all(lambda: stored_arrays(path, PAIRS), comm)
    quick = isinstance(x, Extent) and isinstance(y, Extent)
    return StoredSamples(path, (names[0], names[1]), x, y, kind, comm, quick=quick)


def stored_arrays(
    path: Path, candidates: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, ...], list[Stored]]:
    """The first of some sets of arrays that an archive has all of. Not collective.

    Raises:
        InputError: As :func:`open_npz`.
    """
    if not zipfile.is_zipfile(path):
        raise InputError(
            f"{path}: not an NPZ file, or a truncated one; write it with numpy.savez(path, x=x, y=y)."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            there = {name.removesuffix(".npy"): name for name in archive.namelist()}
            for names in candidates:
                if set(names) <= set(there):
                    return names, [_stored(path, archive, there[name]) for name in names]
    except DAMAGE as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path}: the file is damaged ({error}); write it again with numpy.savez."
        ) from None
    expected = " or ".join(" and ".join(map(repr, names)) for names in candidates)
    raise InputError(f"{path}: holds {', '.join(there) or 'no array'}; expected {expected}.")


def _stored(path: Path, archive: zipfile.ZipFile, member: str) -> Stored:
    """An array of an archive."""
    info = archive.getinfo(member)
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, by_columns, dtype = read(file)
        start = file.tell()
    if dtype.hasobject:
        raise InputError(
            f"{path}: an array holds Python objects, which are not read; store numbers, or text as a "
            "string array (x.astype(float), y.astype(str))."
        )
    if by_columns:
        raise InputError(
            f"{path}: '{member}' is stored column by column, so that no part of its rows can be read; "
            "store numpy.ascontiguousarray(x)."
        )
    plain = info.compress_type == zipfile.ZIP_STORED and 0 < len(shape) <= 2 and 0 not in shape
    if not plain:
        return Deflated(path, member, shape, dtype, start)
    with path.open("rb") as raw:
        raw.seek(info.header_offset + _LOCAL - 4)
        lengths = np.frombuffer(raw.read(4), dtype="<u2")
    offset = info.header_offset + _LOCAL + int(lengths.sum()) + start
    return Extent(path, offset, shape[0], shape[1] if len(shape) == 2 else 0, dtype)
