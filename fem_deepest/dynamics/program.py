"""UFL expressions without a mesh as straight-line programs of vectorised NumPy.

Every component of an expression is expanded into scalar operations, of which no two are alike; the
program runs once for all points. It is meant for small systems: a dense coupling of many neurons is a
matrix product, not a list of scalars.

Nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special
from ufl.algorithms.apply_algebra_lowering import apply_algebra_lowering
from ufl.algorithms.apply_derivatives import apply_derivatives
from ufl.core.multiindex import FixedIndex

from fem_deepest.errors import InputError

Array = NDArray[np.float64]

# Names of UFL's classes: they are the same in all its versions, where they are imported from is not.
_UNARY: dict[str, Callable[..., Any]] = {
    "Sqrt": np.sqrt,
    "Exp": np.exp,
    "Ln": np.log,
    "Sin": np.sin,
    "Cos": np.cos,
    "Tan": np.tan,
    "Asin": np.arcsin,
    "Acos": np.arccos,
    "Atan": np.arctan,
    "Sinh": np.sinh,
    "Cosh": np.cosh,
    "Tanh": np.tanh,
    "Erf": special.erf,
    "Abs": np.abs,
    "Sign": np.sign,
    "NotCondition": np.logical_not,
}
_BINARY: dict[str, Callable[..., Any]] = {
    "Division": np.divide,
    "Power": np.power,
    "Atan2": np.arctan2,
    "MinValue": np.minimum,
    "MaxValue": np.maximum,
    "EQ": np.equal,
    "NE": np.not_equal,
    "LT": np.less,
    "GT": np.greater,
    "LE": np.less_equal,
    "GE": np.greater_equal,
    "AndCondition": np.logical_and,
    "OrCondition": np.logical_or,
    "Conditional": np.where,
}
_WHOLE = range(1, 9)  # exponents of powers that are products
_SAME = ("Variable", "Conj", "Real")


class Program:
    """Values of UFL expressions as a function of some symbols.

    Args:
        expressions: UFL expressions of any shape; derivatives are carried out.
        symbols: The UFL terminals that get values, by the name under which :meth:`run` takes them.

    Attributes:
        operations: Number of scalar operations of a run.

    Raises:
        InputError: An expression holds something that has no value here.
    """

    def __init__(self, expressions: Sequence[Any], symbols: Mapping[str, Any]) -> None:
        self._names = {symbol: name for name, symbol in symbols.items()}
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._seen: dict[tuple[Any, ...], int] = {}
        self._steps: list[tuple[Any, ...]] = []
        self._shapes = [e.ufl_shape for e in expressions]
        lowered = [apply_derivatives(apply_algebra_lowering(e)) for e in expressions]
        lowered = [apply_algebra_lowering(e) for e in lowered]
        self._results = [
            [self._visit(e, component, {}) for component in np.ndindex(*shape)]
            for e, shape in zip(lowered, self._shapes, strict=True)
        ]

    @property
    def operations(self) -> int:
        """Number of scalar operations of a run."""
        return sum(step[0] not in ("constant", "symbol") for step in self._steps)

    def uses(self, name: str) -> bool:
        """Whether a run needs the symbol of that name."""
        return any(step[:2] == ("symbol", name) for step in self._steps)

    def run(self, shape: tuple[int, ...], **values: Array) -> list[Array]:
        """The expressions at all points.

        Args:
            shape: Leading axes, to which all values broadcast.
            values: The symbols; a tensor has its axes last.
        """
        found: list[Any] = []
        for kind, *arguments in self._steps:
            if kind == "constant":
                found.append(arguments[0])
            elif kind == "symbol":
                name, component = arguments
                found.append(values[name][(..., *component)])
            else:
                found.append(arguments[0](*(found[i] for i in arguments[1:])))
        out = []
        for numbers, own in zip(self._results, self._shapes, strict=True):
            array = np.zeros((*shape, *own))
            for number, component in zip(numbers, np.ndindex(*own), strict=True):
                array[(..., *component)] = found[number]
            out.append(array)
        return out

    def _add(self, *step: Any) -> int:
        """Number of a step, of an equal earlier one if there is one."""
        if step not in self._numbers:
            self._numbers[step] = len(self._steps)
            self._steps.append(step)
        return self._numbers[step]

    def _constant(self, number: int) -> float | None:
        kind, *arguments = self._steps[number]
        return arguments[0] if kind == "constant" else None

    def _sum(self, a: int, b: int) -> int:
        if self._constant(a) == 0.0:
            return b
        return a if self._constant(b) == 0.0 else self._add("do", np.add, *sorted((a, b)))

    def _product(self, a: int, b: int) -> int:
        for one, other in ((a, b), (b, a)):
            if self._constant(one) == 0.0:
                return one
            if self._constant(one) == 1.0:
                return other
        return self._add("do", np.multiply, *sorted((a, b)))

    def _power(self, a: int, n: int) -> int:
        """A whole power as products: ten times as fast as the power function."""
        if n == 1:
            return a
        half = self._power(a, n // 2)
        square = self._product(half, half)
        return self._product(square, a) if n % 2 else square

    def _visit(self, e: Any, component: tuple[int, ...], at: dict[int, int]) -> int:
        """Number of the step that has a component of an expression, with its free indices ``at``."""
        # An expression is a graph: what has been visited with the same indices is known.
        key = (e, component, tuple(at[i] for i in e.ufl_free_indices))
        if key not in self._seen:
            self._seen[key] = self._expand(e, component, at)
        return self._seen[key]

    def _expand(self, e: Any, component: tuple[int, ...], at: dict[int, int]) -> int:
        kind = type(e).__name__
        operands: Any = getattr(e, "ufl_operands", ())
        if e in self._names:
            return self._add("symbol", self._names[e], component)
        if kind in ("ScalarValue", "FloatValue", "RealValue", "IntValue"):
            return self._add("constant", float(e))
        if kind == "Zero":
            return self._add("constant", 0.0)
        if kind == "Identity":
            return self._add("constant", float(component[0] == component[1]))
        if kind in _SAME:
            return self._visit(operands[0], component, at)
        if kind == "Indexed":
            place = tuple(_place(i, at) for i in operands[1])
            return self._visit(operands[0], place, at)
        if kind == "ComponentTensor":
            bound = {i.count(): c for i, c in zip(operands[1], component, strict=True)}
            return self._visit(operands[0], (), at | bound)
        if kind == "ListTensor":
            return self._visit(operands[component[0]], component[1:], at)
        if kind == "IndexSum":
            number, index = self._add("constant", 0.0), operands[1][0].count()
            for i in range(e.dimension()):
                number = self._sum(number, self._visit(operands[0], component, at | {index: i}))
            return number
        if kind in ("Sum", "Product"):
            numbers = [self._visit(o, component, at) for o in operands]
            number = numbers[0]
            for other in numbers[1:]:
                number = (self._sum if kind == "Sum" else self._product)(number, other)
            return number
        if kind in _UNARY or kind in _BINARY:
            own = [component if o.ufl_shape else () for o in operands]
            numbers = [self._visit(o, c, at) for o, c in zip(operands, own, strict=True)]
            if kind == "Power" and self._constant(numbers[1]) in _WHOLE:
                return self._power(numbers[0], int(self._constant(numbers[1]) or 0))
            return self._add("do", (_UNARY | _BINARY)[kind], *numbers)
        raise InputError(
            f"the right-hand side in UFL holds {kind} ({e}), which has no value here; use t, x, w, "
            "numbers and elementary functions of them"
        )


def _place(index: Any, at: dict[int, int]) -> int:
    return int(index) if isinstance(index, FixedIndex) else at[index.count()]
