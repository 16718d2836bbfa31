"""Delimited text (CSV): where the columns are, and the numbers and labels in them.

The numbers go through ``numpy.loadtxt`` (compiled). Only when that refuses the file, or a number
is not finite, the file is read again field by field to say which row and column is to blame.
"""

from __future__ import annotations

import csv
import difflib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fem_deepest.data.fields import fault, is_header, is_label, sniff, table_rows
from fem_deepest.errors import InputError

__all__ = ["Sheet"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Sheet:
    """A delimited file whose first rows have been looked at.

    Attributes:
        path: The file.
        delimiter: Tab if the first row has one outside quotes, else semicolon, else comma.
        names: The column names of the header, or None. A first row is a header when none of its
            fields is a number, or when its numbers count the columns (``0, 1, 2, .., label``).
        width: Number of columns.
        skip: Number of lines before the first row of data.
    """

    path: Path
    delimiter: str
    names: tuple[str, ...] | None
    width: int
    skip: int

    @classmethod
    def open(cls, path: Path) -> Sheet:
        """Look at the first rows.

        Raises:
            InputError: There are none, or there is nothing but a header.
        """
        delimiter = sniff(path)
        rows = table_rows(path, delimiter)
        line, first = next(rows)
        names = tuple(first) if is_header(first) else None
        if names is not None:
            if next(rows, None) is None:
                raise InputError(f"{path}: there is a header but no row of data; add samples.")
            twice = [name for name in names if name and names.count(name) > 1]
            if twice:
                raise InputError(
                    f"{path}: two columns are called '{twice[0]}'; give each its own name."
                )
        return cls(path, delimiter, names, len(first), 0 if names is None else line)

    def name(self, column: int) -> str:
        """The name of a column (from 0): that of the header, or "column 1", "column 2", ..."""
        named = self.names is not None and self.names[column]
        return str(named) if named else f"column {column + 1}"

    def find(self, column: str | int) -> int:
        """The position (from 0) of a column given by its name or by its number (from 1)."""
        if isinstance(column, str):
            if self.names is not None and column in self.names:
                return self.names.index(column)
            if not column.strip().isdecimal():
                self._unknown(column)
            column = int(column)
        if not 1 <= column <= self.width:
            raise InputError(
                f"{self.path}: there is no column {column}; the columns are numbered 1 to "
                f"{self.width}."
            )
        return column - 1

    def _unknown(self, column: str) -> NoReturn:
        if self.names is None:
            raise InputError(
                f"{self.path}: there is no column '{column}', for the file has no header; name "
                f"the columns in a first row, or give their numbers, 1 to {self.width}."
            )
        near = difflib.get_close_matches(column, self.names, n=1, cutoff=0.0)[0]
        raise InputError(
            f"{self.path}: there is no column '{column}'; did you mean '{near}'? The header has "
            f"{_shorten(self.names)}."
        )

    def read(
        self, numeric: Sequence[int], label: int | None = None
    ) -> tuple[Floats, Integers, list[str]]:
        """Read the numeric columns and, if asked for, one column of labels.

        Args:
            numeric: Positions (from 0) of the columns that must hold finite numbers.
            label: Position of the column of labels.

        Returns:
            Numbers ``(K, len(numeric))``; label numbers ``(K,)``; the labels, in the order in
            which they turn up. Without a column of labels the last two are empty.

        Raises:
            InputError: A row has too few or too many fields, a number or label is missing, or a
                field is not a finite number.
        """
        return self.parse(str(self.path), self.skip, numeric, label)

    def parse(
        self,
        source: str | Sequence[str],
        skip: int,
        numeric: Sequence[int],
        label: int | None = None,
        lines: Sequence[int] | None = None,
    ) -> tuple[Floats, Integers, list[str]]:
        """Columns of the file, or of some of its lines; see :meth:`read`.

        Args:
            source: The file, or lines of it.
            skip: Lines before the first row of data.
            numeric: As for :meth:`read`.
            label: As for :meth:`read`.
            lines: Numbers of the lines in the file, from 1, to be named in errors.
        """
        codes: dict[str, int] = {}

        def encode(field: str) -> float:
            return codes.setdefault(field.strip(), len(codes))

        def looked_at() -> Iterator[tuple[int, list[str]]]:
            if lines is None:
                yield from itertools.islice(
                    table_rows(self.path, self.delimiter), 0 if self.names is None else 1, None
                )
            else:
                for line, row in zip(
                    lines, csv.reader(source, delimiter=self.delimiter), strict=False
                ):
                    yield line, [field.strip() for field in row]

        converters: dict[int | str, Callable[[str], Any]]
        converters = dict.fromkeys(set(range(self.width)) - set(numeric), _ignore)
        if label is not None:
            converters[label] = encode
        try:
            table = np.loadtxt(
                source,
                delimiter=self.delimiter,
                skiprows=skip,
                converters=converters,
                comments=None,
                quotechar='"',
                encoding="utf-8-sig",
                ndmin=2,
            )
        except ValueError as error:
            self._refuse(looked_at(), numeric, label, str(error))
        if table.shape[1] != self.width:
            self._refuse(looked_at(), numeric, label, f"{table.shape[1]} columns of data")
        values = np.ascontiguousarray(table[:, list(numeric)])
        if not np.isfinite(values).all() or not all(is_label(name) for name in codes):
            self._refuse(looked_at(), numeric, label, "a field is not finite or missing")
        found = table[:, label] if label is not None else table[:0, 0]
        return values, found.astype(np.int64), list(codes)

    def _refuse(
        self,
        rows: Iterator[tuple[int, list[str]]],
        numeric: Sequence[int],
        label: int | None,
        reason: str,
    ) -> NoReturn:
        """Find the first field that is to blame."""
        for line, row in rows:
            if len(row) != self.width:
                raise InputError(
                    f"{self.path}: row {line} has {len(row)} fields, expected {self.width} as in "
                    "the first row; complete the row or remove it (columns are separated by "
                    "comma, semicolon or tab)."
                )
            for column in numeric:
                problem = fault(row[column])
                if problem:
                    raise InputError(
                        f"{self.path}: row {line}, {self._where(column)}: {problem}, expected a "
                        "finite number; mend the field, remove the row, or leave the column out."
                    )
            if label is not None and not is_label(row[label]):
                raise InputError(
                    f"{self.path}: row {line}, {self._where(label)}: the class label is missing; "
                    "write one, or remove the row."
                )
        raise InputError(f"{self.path}: cannot be read as a table of numbers ({reason}).")

    def _where(self, column: int) -> str:
        return f"column '{self.names[column]}'" if self.names else f"column {column + 1}"


def _ignore(field: str) -> float:
    return 0.0


def _shorten(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
