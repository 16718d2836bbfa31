"""A matrix that lies in a file row by row, read and written at its offset, without mapping the file.

Reading with an offset has no position that threads or ranks would share, leaves the interpreter to other
threads while it waits, and takes no memory beyond what is asked for. Not collective.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError

__all__ = ["Extent", "allocated"]


@dataclass(frozen=True)
class Extent:
    """``rows`` rows of ``columns`` numbers of one type, one after another.

    Attributes:
        path: The file.
        offset: Of the first number in the file, bytes.
        rows: Number of rows.
        columns: Numbers in a row; 0 for a vector.
        dtype: Type, byte order included.
    """

    path: Path
    offset: int
    rows: int
    columns: int
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape as an array."""
        return (self.rows, self.columns) if self.columns else (self.rows,)

    @property
    def stride(self) -> int:
        """Bytes of a row."""
        return max(self.columns, 1) * self.dtype.itemsize

    def require(self) -> None:
        """Refuse a file that ends before the last row.

        Raises:
            InputError: It does.
        """
        size, end = self.path.stat().st_size, self.offset + self.rows * self.stride
        if size < end:
            raise InputError(
                f"{self.path}: the file has {size} bytes, expected {end} for its {self.rows} rows; it is "
                "truncated: copy or write it again."
            )

    def read(self, first: int, last: int) -> NDArray[Any]:
        """Rows ``first .. last - 1``.

        Raises:
            InputError: The file ends before them, or cannot be read.
        """
        found = np.empty((last - first, *self.shape[1:]), dtype=self.dtype)
        view = _bytes(found)
        place = self.offset + first * self.stride
        try:
            file = os.open(self.path, os.O_RDONLY)
            try:
                while view.nbytes:
                    got = os.preadv(file, [view], place)
                    if got == 0:
                        self.require()
                        raise OSError("the file ends too early")
                    place, view = place + got, view[got:]
            finally:
                os.close(file)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error}).") from None
        return found

    def write(self, first: int, values: NDArray[Any]) -> None:
        """Write ``values`` over the rows from ``first`` on.

        Raises:
            OSError: The disk is full, for one.
        """
        rows = np.ascontiguousarray(values, dtype=self.dtype)
        view = _bytes(rows)
        place = self.offset + first * self.stride
        file = os.open(self.path, os.O_WRONLY)
        try:
            while view.nbytes:
                put = os.pwrite(file, view, place)
                place, view = place + put, view[put:]
        finally:
            os.close(file)


def allocated(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """A data set of an HDF5 file whose rows are written past the library; its offset, 0 if it is empty.

    It is contiguous, has its place at once, is not filled, and has the same bytes whenever it is made.
    """
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.CONTIGUOUS)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    plan.set_obj_track_times(False)
    space = h5py.h5s.create_simple(shape)
    made = h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype), space, plan)
    return int(made.get_offset() or 0)


def _bytes(values: NDArray[Any]) -> memoryview:
    flat: Any = values.reshape(-1).view(np.uint8)
    return memoryview(flat)
