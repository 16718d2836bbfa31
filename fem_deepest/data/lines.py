"""Samples in a CSV file that is not read as a whole: where its rows are, and those of a range.

One pass over the bytes, each rank over its part of the file, finds the places of every so many rows; all
ranks share them. Then any rows are read by seeking to the place before them. Every line is a row: fields
with line breaks in them are refused. Blank lines are passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.data.delimited import Sheet
from fem_deepest.data.labels import Labels
from fem_deepest.data.source import Floats, Targets
from fem_deepest.errors import InputError
from fem_deepest.spaces.grid import own_part
from fem_deepest.spaces.tasks import on_all

__all__ = ["LineIndex", "TextSamples"]

_MARK = 512  # rows between two places
_READ = 2**22  # bytes
_BREAK, _RETURN, _QUOTE = ord("\n"), ord("\r"), ord('"')


@dataclass(frozen=True)
class LineIndex:
    """Where the rows of a file are.

    Attributes:
        path: The file.
        rows: Number of rows.
        marks: Row, line (both from 0) and byte offset of every so many rows, (marks + 1, 3), increasing;
            the last one is the end of the file.
    """

    path: Path
    rows: int
    marks: NDArray[np.int64]

    @classmethod
    def find(cls, path: Path, skip: int, comm: MPI.Intracomm) -> LineIndex:
        """Look at all lines but the first so many.

        Raises:
            InputError: A field goes over several lines.

        Collective on ``comm``: every rank looks at its part of the file.
        """
        own = on_all(lambda: _scan(path, skip, comm.rank, comm.size), comm)
        found = comm.allgather(own)
        row, line, parts = 0, skip, list[NDArray[np.int64]]()
        for marks, rows, lines, odd, _ in found:
            if odd >= 0:
                raise InputError(
                    f"{path}: row {line + odd + 1}: a quoted field goes on in the next line, which is not "
                    "read in parts; write it in one line, or set data.stream = false."
                )
            parts.append(marks + np.array([row, line, 0]))
            row, line = row + rows, line + lines
        parts.append(np.array([[row, line, found[-1][-1]]]))
        return cls(path, row, np.concatenate(parts))

    def lines(self, first: int, last: int) -> tuple[list[str], list[int]]:
        """The rows ``first .. last - 1`` as text, and the numbers of their lines, from 1.

        Raises:
            InputError: The file has become shorter, or is not UTF-8 text.
        """
        low = int(np.searchsorted(self.marks[:-1, 0], first, side="right")) - 1
        high = int(np.searchsorted(self.marks[:, 0], last))
        row, line, begin = (int(v) for v in self.marks[low])
        end = int(self.marks[high, 2])
        try:
            with self.path.open("rb") as file:
                file.seek(begin)
                content = file.read(end - begin)
            text = content.decode()
        except UnicodeDecodeError as error:
            where = line + content[: error.start].count(b"\n") + 1
            raise InputError(
                f"{self.path}: row {where} is not UTF-8 text; save the table as CSV in UTF-8."
            ) from None
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read ({error.strerror}).") from None
        if len(content) < end - begin:
            raise InputError(
                f"{self.path}: the file has become shorter; do not change a file that is in use."
            )
        found, numbers = list[str](), list[int]()
        for number, one in enumerate(text.split("\n"), line + 1):
            if one and one != "\r":
                if row >= last:
                    break
                if row >= first:
                    found.append(one)
                    numbers.append(number)
                row += 1
        return found, numbers


class TextSamples:
    """Rows of a CSV file as a :class:`.Source`.

    Args:
        sheet: The file.
        targets: Columns of the targets.
        inputs: Columns of the inputs.
        kind: "classification" or "regression".
        comm: The ranks that read.

    Raises:
        InputError: What is wrong with the lines or the labels.

    Collective: construction.
    """

    concurrent, quick = True, False

    def __init__(
        self,
        sheet: Sheet,
        targets: Sequence[int],
        inputs: Sequence[int],
        kind: str,
        comm: MPI.Intracomm,
    ) -> None:
        self._sheet, self._inputs, self._targets = sheet, list(inputs), list(targets)
        self.name, self.features = sheet.path.name, len(inputs)
        self.columns = tuple(sheet.name(c) for c in inputs)
        self._index = LineIndex.find(sheet.path, sheet.skip, comm)
        self.samples = self._index.rows
        self._labels = Labels(sheet.path, self._own(comm), comm) if kind != "regression" else None
        self.classes = self._labels.classes if self._labels is not None else None
        self.outputs = len(targets) if self.classes is None else len(self.classes)

    def _own(self, comm: MPI.Intracomm) -> Iterator[list[str]]:
        own = own_part(self.samples, comm)
        for low in own[:: _MARK * 32]:
            high = min(low + _MARK * 32, own.stop)
            yield self._parse(low, high, [], self._targets[0])[2]

    def _parse(
        self, first: int, last: int, numeric: list[int], label: int | None
    ) -> tuple[Floats, NDArray[np.int64], list[str]]:
        text, numbers = self._index.lines(first, last)
        return self._sheet.parse(text, 0, numeric, label, numbers)

    def read(self, first: int, last: int) -> tuple[Floats, Targets]:
        """See :meth:`.Source.read`."""
        if first >= last:
            y = np.empty(0, np.int64) if self.classes else np.empty((0, self.outputs))
            return np.empty((0, self.features)), y
        if self._labels is None:
            values, _, _ = self._parse(first, last, [*self._inputs, *self._targets], None)
            return values[:, : self.features].copy(), values[:, self.features :].copy()
        values, codes, labels = self._parse(first, last, self._inputs, self._targets[0])
        return values, self._labels(codes, labels)


def _scan(
    path: Path, skip: int, part: int, parts: int
) -> tuple[NDArray[np.int64], int, int, int, int]:
    """Places of rows in a part of a file, counted from its start; rows, lines, and the end of the file.

    The last but one is the first line with an odd number of quotes, or -1.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(0)
        file.seek(3 if file.read(3) == b"\xef\xbb\xbf" else 0)
        for _ in range(skip):
            file.readline()
        start = file.tell()
        edges = []
        for edge in (part, part + 1):
            place = start + (size - start) * edge // parts
            if edge not in (0, parts) and place > start:
                file.seek(place - 1)  # a line that begins right here is of this part
                file.readline()
                place = file.tell()
            edges.append(place)
        place, end = edges
        file.seek(place)
        marks, rows, lines, odd = list[NDArray[np.int64]](), 0, 0, -1
        rest = b""
        while place < end:
            content = rest + file.read(min(_READ, end - place - len(rest)))
            cut = content.rfind(b"\n") + 1 if place + len(content) < end else len(content)
            rest, content = content[cut:], content[:cut]
            if not content:
                continue
            table = np.frombuffer(content, dtype=np.uint8)
            stops = np.flatnonzero(table == _BREAK)
            if table[-1] != _BREAK:
                stops = np.append(stops, table.size)
            starts = np.concatenate([[0], stops[:-1] + 1])
            length = stops - starts
            blank = (length == 0) | ((length == 1) & (table[starts] == _RETURN))
            if odd < 0 and b'"' in content:
                many = np.add.reduceat(table == _QUOTE, starts, dtype=np.int64) % 2
                odd = lines + int(np.argmax(many)) if many.any() else -1
            number = rows + np.cumsum(~blank) - 1
            marked = np.flatnonzero(~blank & (number % _MARK == 0))
            marks.append(np.stack([number[marked], lines + marked, place + starts[marked]], axis=1))
            rows, lines, place = rows + int(np.sum(~blank)), lines + starts.size, place + cut
    none = np.empty((0, 3), dtype=np.int64)
    return np.concatenate([none, *marks]), rows, lines, odd, size
