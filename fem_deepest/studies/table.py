"""Errors against a refined quantity, with the orders observed and those that theory expects.

An error behaves like ``e ~ C h^p`` in a step or width ``h``, or ``e ~ C n^{-p}`` in a number ``n``.
Rows go from coarse to fine and the order counts positive where the error falls: between two rows

    p_i = log(e_{i-1} / e_i) / |log(q_i / q_{i-1})|

with the ratio that the refined quantity ``q`` really has. A cost that grows has a negative order.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.studies.column import Errors
from fem_deepest.studies.digits import digits, exact, four, hundredths

Array = NDArray[np.float64]

SECONDS, FITTED = "seconds", "fitted"
_Text = Callable[[float], str]
_ORDER, _EXPECTED, _LOW, _HIGH = _SUFFIXES = (" order", " expected", " low", " high")


class Fit(NamedTuple):
    """Least-squares order in the logarithms; ``low`` and ``high`` are nan where nothing is sampled."""

    order: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Table:
    """A convergence study as a table.

    Attributes:
        quantity: Name of the refined quantity, such as ``n`` or ``h``.
        refined: Its values, (m,), strictly monotone, coarse to fine.
        errors: Columns of errors by name.
        seconds: Seconds of each row, (m,); nan where unknown.
        others: Columns that have no order (iterations, kurtosis, numbers of samples), each (m,).

    Raises:
        InputError: Columns of different lengths, a quantity that is not positive and monotone, or a
            name that the files could not give back.

    Nothing here is collective.
    """

    quantity: str
    refined: Array
    errors: Mapping[str, Errors]
    seconds: Array
    others: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Bring the columns to float64 and check them."""
        object.__setattr__(self, "refined", np.array(self.refined, dtype=np.float64))
        object.__setattr__(self, "seconds", np.array(self.seconds, dtype=np.float64))
        others = {k: np.array(v, dtype=np.float64) for k, v in self.others.items()}
        object.__setattr__(self, "others", others)
        q, steps = self.refined, np.diff(self.refined)
        monotone = np.all(steps > 0.0) or np.all(steps < 0.0)
        if q.ndim != 1 or q.size == 0 or not np.all((q > 0.0) & np.isfinite(q)) or not monotone:
            raise InputError(
                f"the refined quantity {self.quantity} is {q}; expected positive numbers that only "
                "grow or only fall, coarse to fine"
            )
        columns = {SECONDS: self.seconds, **others}
        columns |= {name: errors.values for name, errors in self.errors.items()}
        for name, values in columns.items():
            if values.shape != q.shape:
                raise InputError(
                    f"column '{name}' has shape {values.shape}; expected {q.shape}, one for each "
                    f"{self.quantity}"
                )
        names = [self.quantity, SECONDS, *self.errors, *others]
        for name in names:
            bad = not name.strip() or name != name.strip() or set(name) & set('|\n\r"')
            if bad or name.endswith(_SUFFIXES) or names.count(name) > 1:
                raise InputError(
                    f"a column cannot be called '{name}'; take a name of its own without quotes, "
                    f"bars and the endings{','.join(_SUFFIXES)}"
                )

    def orders(self, name: str) -> Array:
        """Orders between successive rows, (m - 1,); nan where an error is not positive."""
        e = _positive(self.errors[name].values)
        return np.log(e[:-1] / e[1:]) / np.abs(np.diff(np.log(self.refined)))

    def fit(self, name: str, last: int | None = None) -> Fit:
        """Order fitted through the last rows (all by default) that have a positive error.

        Where the errors are sampled, a row counts by the inverse square of the half-width of its
        interval, relative to the error, and the fit has an interval of the same confidence. Rows
        are taken to be independent. Nan with fewer than two rows.
        """
        rows = slice(-last if last else None, None)
        errors, q = self.errors[name], np.log(self.refined[rows])
        e = np.log(_positive(errors.values[rows]))
        width = np.ones_like(e)
        if errors.low is not None and errors.high is not None:
            width = 0.5 * (errors.high - errors.low)[rows] / np.exp(e)
        usable = np.isfinite(e) & np.isfinite(width) & (width > 0.0)
        if np.count_nonzero(usable) < 2:
            return Fit(np.nan, np.nan, np.nan)
        q, e, weight = q[usable], e[usable], width[usable] ** -2.0
        q -= weight @ q / weight.sum()
        spread = weight @ q**2
        finer = np.sign(self.refined[-1] - self.refined[0])
        order = float(-finer * (weight @ (q * e)) / spread)
        half = float(spread**-0.5) if errors.low is not None else np.nan
        return Fit(order, order - half, order + half)

    def check(
        self,
        tolerance: float = 0.1,
        caps: Mapping[str, float] | None = None,
        last: int | None = None,
    ) -> list[str]:
        """What is not as theory has it, one sentence each; nothing if all is well.

        Args:
            tolerance: How far a fitted order may be from the expected one; an interval of the fit
                is allowed for on top.
            caps: Largest finest error, by name.
            last: Rows that are fitted, from the finest; default all.
        """
        caps, found = caps or {}, list[str]()
        unknown = [name for name in caps if name not in self.errors]
        if unknown:
            raise InputError(
                f"there are no errors '{unknown[0]}'; the table has {', '.join(self.errors)}"
            )
        for name, errors in self.errors.items():
            if errors.expected is not None:
                order, low, _ = self.fit(name, last)
                slack = tolerance + (order - low if np.isfinite(low) else 0.0)
                if not abs(order - errors.expected) <= slack:
                    found.append(
                        f"{name}: observed order {order:.3g}, expected {errors.expected:.3g} "
                        f"within {slack:.2g}"
                    )
            finest = errors.values[-1]
            if name in caps and not finest <= caps[name]:
                found.append(f"{name}: the finest error is {finest:.3g}, above {caps[name]:.3g}")
        return found

    def metrics(self, last: int | None = None) -> dict[str, float]:
        """Of errors the finest value and the fitted order, of other columns the last value."""
        found = dict[str, float]()
        for name, errors in self.errors.items():
            found[name] = float(errors.values[-1])
            found[f"{name} order"] = self.fit(name, last).order
        return found | {name: float(values[-1]) for name, values in self.others.items()}

    # Files --------------------------------------------------------------------------------------

    def to_csv(self) -> str:
        """All columns to the last bit, observed orders included."""
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(self._grid(exact, exact, exact))
        return out.getvalue()

    def to_markdown(self, last: int | None = None) -> str:
        """The table for readers: four digits, and at the end the orders fitted through the last rows."""
        header, *rows = self._grid(digits, four, hundredths)
        fitted = [""] * len(header)
        fitted[0] = FITTED
        for name in self.errors:
            fitted[header.index(name + _ORDER)] = hundredths(self.fit(name, last).order)
        lines = [header, ["---:"] * len(header), *rows, fitted]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    @classmethod
    def from_csv(cls, text: str) -> Table:
        """The table of :meth:`to_csv`, to the last bit.

        Raises:
            InputError: This is no such table.
        """
        return cls._from_grid(csv.reader(io.StringIO(text)))

    @classmethod
    def from_markdown(cls, text: str) -> Table:
        """The table of :meth:`to_markdown`, with the digits that it shows.

        Raises:
            InputError: This is no such table.
        """
        lines = (line.strip() for line in text.splitlines())
        grid = [[c.strip() for c in s.strip("|").split("|")] for s in lines if s.startswith("|")]
        return cls._from_grid(g for i, g in enumerate(grid) if i != 1 and g[0] != FITTED)

    def _grid(self, refined: _Text, number: _Text, order: _Text) -> list[list[str]]:
        columns = {self.quantity: [*map(refined, self.refined)]}
        for name, errors in self.errors.items():
            for suffix, values in (("", errors.values), (_LOW, errors.low), (_HIGH, errors.high)):
                if values is not None:
                    columns[name + suffix] = [*map(number, values)]
            columns[name + _ORDER] = ["", *map(order, self.orders(name))]
            if errors.expected is not None:
                columns[name + _EXPECTED] = [exact(errors.expected)] * self.refined.size
        for name, values in {**self.others, SECONDS: self.seconds}.items():
            columns[name] = [*map(number, values)]
        return [list(columns), *map(list, zip(*columns.values(), strict=True))]

    @classmethod
    def _from_grid(cls, grid: Iterable[list[str]]) -> Table:
        try:
            header, *rows = grid
            columns = {
                name: np.array([float(cell or "nan") for cell in column])
                for name, column in zip(header, zip(*rows, strict=True), strict=True)
            }
            refined, seconds = columns.pop(header[0]), columns.pop(SECONDS)
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(f"this is no table of a study ({error})") from None
        errors = {}
        for name in [name.removesuffix(_ORDER) for name in header if name.endswith(_ORDER)]:
            del columns[name + _ORDER]
            expected = columns.pop(name + _EXPECTED, None)
            errors[name] = Errors(
                columns.pop(name),
                None if expected is None else float(expected[0]),
                columns.pop(name + _LOW, None),
                columns.pop(name + _HIGH, None),
            )
        return cls(header[0], refined, errors, seconds, columns)


def _positive(values: Array) -> Array:
    """Values that have a logarithm; nan for the others."""
    return np.where((values > 0.0) & np.isfinite(values), values, np.nan)
