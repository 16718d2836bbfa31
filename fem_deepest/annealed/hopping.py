"""Basin hopping: noise, descent, and the new minimum is kept if it is lower.

A hop draws ``u'`` from ``u`` by a random move, descends from there to ``u''``, and goes to ``u''`` with
probability ``min(1, exp(-(A(u'') - A(u))/theta))``: the Metropolis rule on the landscape of the minima.
Without a temperature only what is lower is accepted. The move of column ``s`` in hop ``n`` is a function
of the seed, ``numbers[s]`` and ``n`` alone.

D. J. Wales, J. P. K. Doye, J. Phys. Chem. A 101 (1997) 5111-5116, doi:10.1021/jp970984n.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest.annealed.landscape import Numbers
from fem_deepest.annealed.schedule import Schedule
from fem_deepest.annealed.search import Descend
from fem_deepest.errors import InputError, NumericalFailure
from fem_deepest.noise.philox import log_uniforms

Array = NDArray[np.float64]

_DECISIONS = 34  # stream of the generator; windows have those before


class Move(Protocol):
    """A random move of columns."""

    def __call__(self, U: Array, seed: int, step: int, numbers: Numbers) -> Array:
        """From ``U`` (n, S), a function of the seed, the step and the numbers (S,) of the columns."""


class HoppingState(NamedTuple):
    """All that is needed to go on bit for bit.

    Attributes:
        iteration: Number of the next hop.
        U: Where the columns are, (n, S).
        values: Their actions, (S,).
        best_U: Lowest minima so far, (n, S).
        best_values: Their actions, (S,).
        memory: What the schedule remembers.
        gradients: Gradients so far, (S,).
    """

    iteration: int
    U: Array
    values: Array
    best_U: Array
    best_values: Array
    memory: Array
    gradients: Array


class Hopping:
    """Columns that hop side by side.

    Args:
        move: Random move, such as :class:`fem_deepest.annealed.windows.Windows`.
        descend: Descent, see :class:`fem_deepest.annealed.search.Descend`. It need not end at a minimum,
            if it is the same for all.
        U0: Starts (n, S), from which the columns descend first; or a state to go on from.
        schedule: Temperatures ``theta``; None: only what is lower is accepted.
        numbers: Numbers of the columns, (S,): they name the noise.
        seed: Seed.

    Attributes:
        U: Where the columns are, (n, S).
        values: ``A``, (S,).
        best_U: Lowest minima so far, (n, S).
        best_values: Their actions, (S,).
        gradients: Gradients of each column so far, (S,).
        iteration: Number of the next hop.
        accepted: Whether the last hop was accepted, (S,).

    Raises:
        InputError: There is not one number for each column.
        NumericalFailure: The action of a start is not finite after the descent.

    Collective on the ranks of the landscape: construction and every method.
    """

    def __init__(
        self,
        move: Move,
        descend: Descend,
        U0: Array | HoppingState,
        *,
        schedule: Schedule | None = None,
        numbers: Numbers,
        seed: int = 0,
    ) -> None:
        self._move, self._descend, self._schedule = move, descend, schedule
        self.numbers, self.seed = np.asarray(numbers, dtype=np.int64), seed
        columns = (U0.U if isinstance(U0, HoppingState) else U0).shape[1]
        if self.numbers.shape != (columns,):
            raise InputError(
                f"hopping got {self.numbers.size} numbers for {columns} columns, expected one for each"
            )
        if not isinstance(U0, HoppingState):
            down = descend(U0)
            if not np.isfinite(down.values).all():
                bad = int(np.argmin(np.isfinite(down.values)))
                raise NumericalFailure(f"the action of column {bad} is not finite after descent")
            memory = np.empty((0, columns)) if schedule is None else schedule.start(columns)
            U0 = HoppingState(0, down.U, down.values, down.U, down.values, memory, down.gradients)
        self.iteration, self.U, self.values, self.best_U, self.best_values = U0[:5]
        self.memory, self.gradients = U0.memory, U0.gradients.copy()
        self.accepted: NDArray[np.bool_] = np.ones(columns, dtype=bool)

    @property
    def state(self) -> HoppingState:
        """What is needed to go on from here; give it as ``U0``."""
        return HoppingState(
            self.iteration,
            self.U,
            self.values,
            self.best_U,
            self.best_values,
            self.memory,
            self.gradients.copy(),
        )

    def advance(self) -> None:
        """One hop of every column."""
        number = self.iteration
        down = self._descend(self._move(self.U, self.seed, number, self.numbers))
        self.gradients += down.gradients
        rise = np.where(np.isfinite(down.values), down.values - self.values, np.inf)
        if self._schedule is None:
            self.accepted = rise < 0.0
        else:
            ratio = -rise / self._schedule.temperature(number, self.memory)
            self.accepted = log_uniforms(self.seed, number, _DECISIONS, self.numbers) < ratio
            self.memory = self._schedule.remember(self.memory, np.exp(np.minimum(ratio, 0.0)))
        self.U = np.where(self.accepted, down.U, self.U)
        self.values = np.where(self.accepted, down.values, self.values)
        lower = self.values < self.best_values
        self.best_U = np.where(lower, self.U, self.best_U)
        self.best_values = np.where(lower, self.values, self.best_values)
        self.iteration += 1
