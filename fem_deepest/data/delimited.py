"""Delimited text (CSV): where the columns are, and the numbers and labels in them.

The numbers go through ``numpy.loadtxt`` (compiled). Only when that refuses the file, or a number
is not finite, the file is read again field by field to say which row and column is to blame.
"""

from __future__ import annotations

import csv
import difflib
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

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
        delimiter = _sniff(path)
        rows = _rows(path, delimiter)
        line, first = next(rows)
        names = tuple(first) if _is_header(first) else None
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
        codes: dict[str, int] = {}

        def encode(field: str) -> float:
            return codes.setdefault(field.strip(), len(codes))

        converters: dict[int | str, Callable[[str], Any]]
        converters = dict.fromkeys(set(range(self.width)) - set(numeric), _ignore)
        if label is not None:
            converters[label] = encode
        try:
            table = np.loadtxt(
                str(self.path),
                delimiter=self.delimiter,
                skiprows=self.skip,
                converters=converters,
                comments=None,
                quotechar='"',
                encoding="utf-8-sig",
                ndmin=2,
            )
        except ValueError as error:
            self._refuse(numeric, label, str(error))
        if table.shape[1] != self.width:
            self._refuse(numeric, label, f"{table.shape[1]} columns of data")
        values = np.ascontiguousarray(table[:, list(numeric)])
        if not np.isfinite(values).all() or not all(_is_label(name) for name in codes):
            self._refuse(numeric, label, "a field is not finite or missing")
        found = table[:, label] if label is not None else table[:0, 0]
        return values, found.astype(np.int64), list(codes)

    def _refuse(self, numeric: Sequence[int], label: int | None, reason: str) -> NoReturn:
        """Find the first field that is to blame."""
        rows = _rows(self.path, self.delimiter)
        for line, row in itertools.islice(rows, 0 if self.names is None else 1, None):
            if len(row) != self.width:
                raise InputError(
                    f"{self.path}: row {line} has {len(row)} fields, expected {self.width} as in "
                    "the first row; complete the row or remove it (columns are separated by "
                    "comma, semicolon or tab)."
                )
            for column in numeric:
                problem = _problem(row[column])
                if problem:
                    raise InputError(
                        f"{self.path}: row {line}, {self._where(column)}: {problem}, expected a "
                        "finite number; mend the field, remove the row, or leave the column out."
                    )
            if label is not None and not _is_label(row[label]):
                raise InputError(
                    f"{self.path}: row {line}, {self._where(label)}: the class label is missing; "
                    "write one, or remove the row."
                )
        raise InputError(f"{self.path}: cannot be read as a table of numbers ({reason}).")

    def _where(self, column: int) -> str:
        return f"column '{self.names[column]}'" if self.names else f"column {column + 1}"


def _sniff(path: Path) -> str:
    """The delimiter: the first row decides."""
    quoted = False
    for _, row in _rows(path, "\0"):  # no delimiter: the row in one piece, quotes kept
        fields = set()
        for sign in row[0]:
            quoted ^= sign == '"'
            if not quoted:
                fields.add(sign)
        return "\t" if "\t" in fields else ";" if ";" in fields else ","
    raise InputError(f"{path}: the file is empty; expected one row per sample.")


def _rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, each with the number (from 1) of its last line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if delimiter == "\0":
                yield from ((i + 1, [line]) for i, line in enumerate(file) if line.strip())
                return
            reader = csv.reader(file, delimiter=delimiter)
            for row in reader:
                if row:
                    yield reader.line_num, [field.strip() for field in row]
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: byte {error.start} is not UTF-8 text; save the table as CSV in UTF-8."
        ) from error
    except csv.Error as error:
        raise InputError(f"{path}: not a table in CSV ({error}); write it again.") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


def _is_header(row: Sequence[str]) -> bool:
    numbers = [(i, value) for i, field in enumerate(row) if (value := _number(field)) is not None]
    if not numbers:
        return any(row)
    if len(numbers) < 3 or len(numbers) == len(row):
        return False
    return any(all(value == i + start for i, value in numbers) for start in (0, 1))


def _number(field: str) -> float | None:
    try:
        return None if "_" in field else float(field)
    except ValueError:
        return None


def _problem(field: str) -> str | None:
    if not field:
        return "the value is missing"
    value = _number(field)
    if value is None:
        comma = " (a decimal comma? write a point)" if _number(field.replace(",", ".")) else ""
        return f"'{field[:40]}' is text{comma}"
    return None if math.isfinite(value) else f"the value is {field}"


def _is_label(field: str) -> bool:
    return field.lower() not in ("", "nan")


def _ignore(field: str) -> float:
    return 0.0


def _shorten(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
