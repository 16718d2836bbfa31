"""Descent of many columns side by side: quasi-Newton in the metric, each column with its own line search.

In every round each column that is not done takes one gradient at its trial point, so that gradients are
evaluated for a whole block and every one of them is counted for its column. A trial point is taken if it
fulfils the weak conditions of Wolfe

    A(u + t d) <= A(u) + c_1 t <g, d>,      <g(u + t d), d> >= c_2 <g, d>,

or, where the first is lost in rounding, the approximate one of Hager and Zhang (2005,
doi:10.1137/030601880); otherwise the step is bracketed and bisected (Lewis, Overton 2013,
doi:10.1007/s10107-012-0514-2), with a cubic where there is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.errors import InputError
from fem_deepest.solve.column_memory import ColumnMemory, Riesz

Array = NDArray[np.float64]
Index = NDArray[np.int64]
Flags = NDArray[np.bool_]
Watch = Callable[[Index, Array], None]

_DECREASE, _SLOPE = 1e-4, 0.9  # c_1 and c_2
_ROUNDING = 1e-12  # relative, of an action
_TRIALS = 30  # of one line search
_FIRST = 1.0  # longest first step in the norm of the metric


class Slopes(Riesz, Protocol):
    """An action on blocks, in its metric."""

    def gradient(self, U: Array) -> tuple[Array, Array]:
        """Actions, (S,), and their derivatives, a dual block (n, S)."""


class Descended(NamedTuple):
    """Where columns have ended.

    Attributes:
        U: The last accepted iterates, (n, S): those with the lowest action.
        value: Their actions, (S,).
        norm: Their gradients in the dual norm, (S,).
        gradients: Gradient evaluations, (S,).
        converged: Whether the tolerance was reached, (S,); the others ran out of evaluations, or found no
            lower point in the direction of the gradient.
    """

    U: Array
    value: Array
    norm: Array
    gradients: Array
    converged: Flags


def descend(
    landscape: Slopes,
    U: Array,
    *,
    tolerance: float,
    most: ArrayLike,
    memory: int = 10,
    watch: Watch | None = None,
) -> Descended:
    """Minimise every column from where it is.

    Args:
        landscape: Actions side by side.
        U: Starts, (n, S).
        tolerance: Dual norm of the gradient to reach, ``<g, C g>^{1/2}``.
        most: Gradient evaluations of each column, a number or (S,); one with none is not touched, and its
            value is infinite.
        memory: Pairs of the quasi-Newton matrix.
        watch: Told after every evaluation the numbers of the columns and their actions.

    Raises:
        InputError: The tolerance is not positive, or there is no memory.

    Collective on the landscape. The number of columns in a block changes as they end.
    """
    if not tolerance > 0.0 or memory < 1:
        raise InputError(
            f"descent with tolerance {tolerance} and {memory} pairs; give a positive tolerance and one "
            "pair or more"
        )
    search = _Search(landscape, U, tolerance, np.broadcast_to(most, U.shape[1]), memory, watch)
    while search.columns.size:
        search.round()
    return search.found


class _Search:
    """State of the columns that are not done; ``columns`` are their numbers."""

    def __init__(
        self,
        landscape: Slopes,
        U: Array,
        tolerance: float,
        most: Array,
        memory: int,
        watch: Watch | None,
    ) -> None:
        S = U.shape[1]
        self.landscape, self.tolerance, self.watch = landscape, tolerance, watch
        self.most = np.array(most, dtype=np.float64)
        self.found = Descended(
            np.array(U, dtype=np.float64),
            np.full(S, np.inf),
            np.full(S, np.inf),
            np.zeros(S),
            np.zeros(S, dtype=bool),
        )
        self.columns = np.flatnonzero(self.most >= 1.0)
        if not self.columns.size:
            return
        self.memory = ColumnMemory(landscape, (len(U), self.columns.size), memory)
        self.u = self.found.U[:, self.columns]
        value, self.g = self._evaluate(self.u)
        self.value = value
        self.d, self.slope = np.zeros_like(self.u), np.zeros_like(value)
        self.t, self.low, self.high = (
            np.ones_like(value),
            np.zeros_like(value),
            np.zeros_like(value),
        )
        self.trials: Index = np.zeros(value.size, dtype=np.int64)
        self._arrive(np.arange(value.size))
        # What is not finite at the start cannot be mended by a line search.
        self._leave(~np.isfinite(value))
        self._give_up()

    def round(self) -> None:
        """One gradient of each column: at its trial point."""
        trial = self.u + self.t * self.d
        value, g = self._evaluate(trial)
        slope = self.landscape.inner(g, self.d)
        finite = np.isfinite(value) & np.isfinite(slope)
        change = np.where(finite, value - self.value, np.inf)
        down = change <= _DECREASE * self.t * self.slope
        near = change <= _ROUNDING * np.abs(self.value)
        down |= near & (slope <= (2.0 * _DECREASE - 1.0) * self.slope)
        flat = slope >= _SLOPE * self.slope
        taken = finite & down & flat
        self._shorten(~taken & ~(finite & down), change, slope)
        self._lengthen(~taken & finite & down)
        self.trials += 1
        new = np.flatnonzero(taken)
        if new.size:
            s, y = trial[:, new] - self.u[:, new], g[:, new] - self.g[:, new]
            self.u[:, new], self.g[:, new], self.value[new] = trial[:, new], g[:, new], value[new]
            self.memory.add(new, s, y)
            self._arrive(new)
        self._give_up()

    def _evaluate(self, U: Array) -> tuple[Array, Array]:
        value, g = self.landscape.gradient(U)
        self.found.gradients[self.columns] += 1.0
        if self.watch is not None:
            self.watch(self.columns, value)
        return value, g

    def _arrive(self, new: Index) -> None:
        """Columns that stand at a new iterate: the next direction."""
        g = self.g[:, new]
        norm = np.sqrt(np.maximum(self.landscape.inner(g, self.landscape.solve(g)), 0.0))
        self.found.norm[self.columns[new]] = norm
        self.found.converged[self.columns[new]] = norm <= self.tolerance
        d = -self.memory.apply(new, g)
        slope = self.landscape.inner(g, d)
        up = slope >= 0.0
        if up.any():  # pairs that are all rounding
            self.memory.clear(new[up])
            d[:, up] = -self.landscape.solve(g[:, up])
            slope[up] = self.landscape.inner(g[:, up], d[:, up])
        self.d[:, new], self.slope[new] = d, slope
        with np.errstate(divide="ignore"):
            first = np.minimum(1.0, _FIRST / norm)
        self.t[new] = np.where(self.memory.empty(new), first, 1.0)
        self.low[new], self.high[new], self.trials[new] = 0.0, np.inf, 0

    def _shorten(self, which: Flags, change: Array, slope: Array) -> None:
        """The trial point is too high: the minimiser of the cubic through both ends, or the middle."""
        t, low = self.t[which], self.low[which]
        self.high[which] = t
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            a, b = self.slope[which], slope[which]
            theta = a + b - 3.0 * change[which] / t
            root = np.sqrt(np.maximum(theta**2 - a * b, 0.0))
            cubic = t * (1.0 - (b + root - theta) / (b - a + 2.0 * root))
        width = t - low
        inside = (cubic > low + 0.1 * width) & (cubic < low + 0.9 * width)
        self.t[which] = np.where(inside, cubic, 0.5 * (low + t))

    def _lengthen(self, which: Flags) -> None:
        """The trial point is low but still falls steeply."""
        t, high = self.t[which], self.high[which]
        self.low[which] = t
        self.t[which] = np.where(np.isfinite(high), 0.5 * (t + high), 2.0 * t)

    def _give_up(self) -> None:
        """Columns that are done, have no evaluation left, or a line search that leads nowhere."""
        stuck: Flags = self.trials >= _TRIALS
        blamed: Flags = stuck & ~self.memory.empty(np.arange(stuck.size))
        if blamed.any():  # the memory may be at fault: once more along the gradient
            again = np.flatnonzero(blamed)
            self.memory.clear(again)
            self._arrive(again)
        spent = self.found.gradients[self.columns] >= self.most[self.columns]
        done = self.found.converged[self.columns] | spent | (stuck & ~blamed)
        self._leave(np.asarray(done))

    def _leave(self, done: Flags) -> None:
        if not done.any():
            return
        ended, stay = self.columns[done], np.flatnonzero(~done)
        self.found.U[:, ended], self.found.value[ended] = self.u[:, done], self.value[done]
        self.memory.keep(stay)
        self.columns = self.columns[stay]
        self.u, self.g, self.d = self.u[:, stay], self.g[:, stay], self.d[:, stay]
        for name in ("value", "slope", "t", "low", "high", "trials"):
            setattr(self, name, getattr(self, name)[stay])
