"""Numbers in columns, one row for each of several named things: a table without a refined quantity."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.studies.digits import exact, four

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Listing:
    """Columns over named rows.

    Attributes:
        kind: What the rows are, such as "arm".
        names: Names of the rows.
        columns: Numbers by name of the column, each (rows,); what is not finite is left empty in files.

    Raises:
        InputError: A column of another length.

    Nothing here is collective.
    """

    kind: str
    names: tuple[str, ...]
    columns: Mapping[str, Array]

    def __post_init__(self) -> None:
        """Bring the columns to float64 and check them."""
        columns = {k: np.array(v, dtype=np.float64) for k, v in self.columns.items()}
        object.__setattr__(self, "columns", columns)
        for name, values in columns.items():
            if values.shape != (len(self.names),):
                raise InputError(
                    f"column '{name}' has shape {values.shape}; expected {(len(self.names),)}, one for "
                    f"each {self.kind}"
                )

    def __getitem__(self, name: str) -> Array:
        """A column."""
        return self.columns[name]

    def metrics(self, last: int | None = None) -> dict[str, float]:
        """All numbers by name of row and column."""
        return {
            f"{row}, {name}": float(values[i])
            for i, row in enumerate(self.names)
            for name, values in self.columns.items()
        }

    def to_csv(self) -> str:
        """All columns to the last bit."""
        out = io.StringIO()
        rows = zip(self.names, *(map(exact, v) for v in self.columns.values()), strict=True)
        csv.writer(out, lineterminator="\n").writerows([[self.kind, *self.columns], *rows])
        return out.getvalue()

    def to_markdown(self, last: int | None = None) -> str:
        """The table for readers: four digits, and the shorter way across."""
        grid = [[self.kind, *self.names]]
        grid += [[name, *map(four, values)] for name, values in self.columns.items()]
        if len(self.names) > len(self.columns):
            grid = [list(line) for line in zip(*grid, strict=True)]
        lines = [grid[0], [":---", *["---:"] * (len(grid[0]) - 1)], *grid[1:]]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    @classmethod
    def from_csv(cls, text: str) -> Listing:
        """The table of :meth:`to_csv`; what was not finite is nan.

        Raises:
            InputError: This is no such table.
        """
        rows: Iterable[list[str]] = csv.reader(io.StringIO(text))
        try:
            (kind, *header), *lines = rows
            names, *columns = zip(*lines, strict=True)
            numbers = [[float(cell or "nan") for cell in column] for column in columns]
            return cls(kind, names, dict(zip(header, map(np.array, numbers), strict=True)))
        except (ValueError, IndexError) as error:
            raise InputError(f"this is no table of a study ({error})") from None
