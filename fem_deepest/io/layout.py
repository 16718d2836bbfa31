"""Where the vectors of an HDF5 file are, so that every rank can write its part without HDF5.

HDF5 makes the structure of the file on one rank, in memory: the vectors are contiguous, get their place
at once and are not filled, and whatever HDF5 does write is kept aside as pieces. The bytes of the file do
not depend on the number of ranks.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import NamedTuple

import h5py
import numpy as np

from fem_deepest.data.extent import allocated


class Place(NamedTuple):
    """Where a vector is.

    Attributes:
        offset: Of its first byte.
        entries: How many, doubles of this machine.
    """

    offset: int
    entries: int


class Layout(NamedTuple):
    """An HDF5 file without the entries of its vectors.

    Attributes:
        pieces: Bytes by their offset, in the order in which they are written, one over another.
        vectors: Places by name.
        meta: Place of the text ``meta``, with its bytes.
        length: Bytes of the file.
    """

    pieces: list[tuple[int, bytes]]
    vectors: dict[str, Place]
    meta: Place
    length: int


def layout(sizes: Mapping[str, int], meta: str) -> Layout:
    """Lay out a file of vectors with these numbers of entries, and a text. Not collective."""
    file = _Pieces()
    places = {}
    with h5py.File(file, "w") as tree:
        # As a data set: an attribute may not be larger than 64 kB.
        data = meta.encode()
        data += b" " * (-len(data) % 8)  # JSON does not mind, and doubles are where they are fast
        text = tree.create_dataset("meta", data=np.bytes_(data))
        own = Place(text.id.get_offset(), text.id.get_storage_size())
        for name, count in sizes.items():
            places[name] = Place(allocated(tree, name, (count,), np.dtype(np.float64)), count)
    return Layout(file.pieces, places, own, file.length)


class _Pieces(io.RawIOBase):
    """A file that keeps what is written into it, and nothing in between."""

    def __init__(self) -> None:
        self.pieces: list[tuple[int, bytes]] = []
        self.length = self._at = 0

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at}.get(whence, self.length)
        return self._at

    def tell(self) -> int:
        return self._at

    def truncate(self, size: int | None = None) -> int:
        self.length = self._at if size is None else size
        return self.length

    def write(self, data) -> int:  # type: ignore[no-untyped-def, override]
        piece = bytes(data)
        self.pieces.append((self._at, piece))
        self._at += len(piece)
        self.length = max(self.length, self._at)
        return len(piece)

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def, override]
        view = memoryview(buffer).cast("B")
        view[:] = bytes(len(view))
        for offset, piece in self.pieces:
            first, last = max(offset, self._at), min(offset + len(piece), self._at + len(view))
            if first < last:
                view[first - self._at : last - self._at] = piece[first - offset : last - offset]
        self._at += len(view)
        return len(view)
