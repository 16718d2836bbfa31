"""Temperatures ``theta`` by steps: constant, geometric, logarithmic, or adapted to the acceptance.

Every column has a temperature of its own. What a schedule remembers of the columns is an array with one
column for each: the flow keeps it with its state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class Schedule(Protocol):
    """Temperature as a function of the step, and of what has been accepted so far."""

    def start(self, columns: int) -> Array:
        """What it remembers at the start, (p, columns)."""

    def temperature(self, step: int, memory: Array) -> Array:
        """``theta``, (columns,), in the step with this number."""

    def remember(self, memory: Array, acceptance: Array) -> Array:
        """What it remembers after a step with these acceptance probabilities, (columns,)."""


class _OfStep:
    """A schedule that remembers nothing."""

    def start(self, columns: int) -> Array:
        """See :class:`Schedule`."""
        return np.empty((0, columns))

    def remember(self, memory: Array, acceptance: Array) -> Array:
        """See :class:`Schedule`."""
        return memory


@dataclass(frozen=True)
class Constant(_OfStep):
    """The same temperature for ever: the flow samples ``exp(-A/theta)``.

    Attributes:
        theta: Temperature, or one for each column.

    Raises:
        InputError: It is not positive, or there is neither one nor one for each column.
    """

    theta: ArrayLike

    def __post_init__(self) -> None:
        for theta in np.ravel(np.asarray(self.theta, dtype=np.float64)):
            _positive(float(theta), "the temperature")

    def temperature(self, step: int, memory: Array) -> Array:
        """See :class:`Schedule`."""
        theta, columns = np.asarray(self.theta, dtype=np.float64), memory.shape[1]
        if theta.shape not in ((), (1,), (columns,)):
            raise InputError(
                f"a schedule got temperatures of shape {theta.shape} for {columns} columns, expected one, "
                "or one for each column"
            )
        return np.broadcast_to(theta, (columns,))


@dataclass(frozen=True)
class Geometric(_OfStep):
    """``theta_n = first (last/first)^{n/steps}``, and ``last`` from then on.

    Attributes:
        first: Temperature of the first step.
        last: Temperature after ``steps`` steps.
        steps: Steps.

    Raises:
        InputError: It does not decrease, or a temperature is not positive.
    """

    first: float
    last: float
    steps: int

    def __post_init__(self) -> None:
        _positive(self.first, "the first temperature")
        _positive(self.last, "the last temperature")
        _count(self.steps, "steps")
        if not self.last < self.first:
            raise InputError(
                f"the temperatures go from {self.first:g} to {self.last:g}, expected a schedule that "
                "decreases; exchange them, or take a constant one"
            )

    def temperature(self, step: int, memory: Array) -> Array:
        """See :class:`Schedule`."""
        part = min(step, self.steps) / self.steps
        return np.full(memory.shape[1], self.first * (self.last / self.first) ** part)


@dataclass(frozen=True)
class Logarithmic(_OfStep):
    """``theta_n = first log 2 / log(2 + n/steps)``: slow enough for convergence in law to the minimiser.

    That needs ``first log 2`` above the largest barrier, and a very long time: S. Geman, C.-R. Hwang,
    SIAM J. Control Optim. 24 (1986) 1031-1043, doi:10.1137/0324060.

    Attributes:
        first: Temperature of the first step.
        steps: Unit of the steps.

    Raises:
        InputError: A number is not positive.
    """

    first: float
    steps: int = 1

    def __post_init__(self) -> None:
        _positive(self.first, "the first temperature")
        _count(self.steps, "steps")

    def temperature(self, step: int, memory: Array) -> Array:
        """See :class:`Schedule`."""
        theta = self.first * np.log(2.0) / np.log(2.0 + step / self.steps)
        return np.full(memory.shape[1], theta)


@dataclass(frozen=True)
class ByAcceptance(_OfStep):
    """Cooled when enough moves have been accepted, each column in its own time.

    The temperature of a column is multiplied by ``ratio`` after ``accepted`` moves were accepted at it,
    counted by their probabilities, and after ``most`` steps in any case: where the landscape is easy it
    cools fast, where most moves are refused it waits. S. Kirkpatrick, C. D. Gelatt, M. P. Vecchi,
    Science 220 (1983) 671-680, doi:10.1126/science.220.4598.671.

    Attributes:
        first: First temperature.
        last: Lowest temperature.
        ratio: Factor below 1.
        accepted: Accepted moves at one temperature.
        most: Most steps at one temperature.

    Raises:
        InputError: It does not decrease, or a number is not positive.
    """

    first: float
    last: float
    ratio: float = 0.9
    accepted: int = 10
    most: int = 100

    def __post_init__(self) -> None:
        _positive(self.first, "the first temperature")
        _positive(self.last, "the last temperature")
        _count(self.accepted, "accepted moves")
        _count(self.most, "most steps")
        if not (0.0 < self.ratio < 1.0 and self.last < self.first):
            raise InputError(
                f"the temperatures go from {self.first:g} to {self.last:g} by factors of {self.ratio:g}, "
                "expected a schedule that decreases; give a factor between 0 and 1 and a lower last "
                "temperature"
            )

    def start(self, columns: int) -> Array:
        """Temperatures, accepted moves, steps; (3, columns)."""
        return np.array([[self.first], [0.0], [0.0]]) * np.ones(columns)

    def temperature(self, step: int, memory: Array) -> Array:
        """See :class:`Schedule`."""
        return memory[0]

    def remember(self, memory: Array, acceptance: Array) -> Array:
        """See :class:`Schedule`."""
        theta, accepted, steps = memory[0], memory[1] + acceptance, memory[2] + 1.0
        cooled = (accepted >= self.accepted) | (steps >= self.most)
        return np.array(
            [
                np.where(cooled, np.maximum(self.ratio * theta, self.last), theta),
                np.where(cooled, 0.0, accepted),
                np.where(cooled, 0.0, steps),
            ]
        )


def _positive(value: float, name: str) -> None:
    if not 0.0 < value < np.inf:
        raise InputError(f"{name} is {value}, expected a positive number")


def _count(value: int, name: str) -> None:
    if value < 1:
        raise InputError(f"a schedule got {value} {name}, expected at least one")
