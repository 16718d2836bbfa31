"""Fields of delimited text: rows, the delimiter, what is a number, a header, a label."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from fem_deepest.errors import InputError

__all__ = ["fault", "is_header", "is_label", "number", "sniff", "table_rows"]


def sniff(path: Path) -> str:
    """The delimiter: the first row decides."""
    quoted = False
    for _, row in table_rows(path, "\0"):  # no delimiter: the row in one piece, quotes kept
        fields = set()
        for sign in row[0]:
            quoted ^= sign == '"'
            if not quoted:
                fields.add(sign)
        return "\t" if "\t" in fields else ";" if ";" in fields else ","
    raise InputError(f"{path}: the file is empty; expected one row per sample.")


def table_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
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


def is_header(row: Sequence[str]) -> bool:
    """Whether a first row names the columns; see :class:`.Sheet`."""
    numbers = [(i, value) for i, field in enumerate(row) if (value := number(field)) is not None]
    if not numbers:
        return any(row)
    if len(numbers) < 3 or len(numbers) == len(row):
        return False
    return any(all(value == i + start for i, value in numbers) for start in (0, 1))


def number(field: str) -> float | None:
    """The number that a field is, if it is one."""
    try:
        return None if "_" in field else float(field)
    except ValueError:
        return None


def fault(field: str) -> str | None:
    """Why a field is no finite number, if it is none."""
    if not field:
        return "the value is missing"
    value = number(field)
    if value is None:
        comma = " (a decimal comma? write a point)" if number(field.replace(",", ".")) else ""
        return f"'{field[:40]}' is text{comma}"
    return None if math.isfinite(value) else f"the value is {field}"


def is_label(field: str) -> bool:
    """Whether a field names a class."""
    return field.lower() not in ("", "nan")
