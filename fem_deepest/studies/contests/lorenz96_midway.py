"""Searches at the precision midway, before the lowest path climbs: hops, many starts, annealed flows.

Nothing here is collective.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fem_deepest.annealed.flow import AnnealedFlow
from fem_deepest.annealed.hopping import Hopping, HoppingState
from fem_deepest.annealed.paths import PathsLandscape
from fem_deepest.annealed.schedule import Geometric
from fem_deepest.annealed.search import Descend, Descent
from fem_deepest.annealed.windows import Windows
from fem_deepest.solve.columns import descend
from fem_deepest.studies.comparison import Numbers
from fem_deepest.studies.contests.lorenz96_config import HopsSection
from fem_deepest.studies.methods import Start, turn_seed

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_TOLERANCE = 1e-8  # dual norm of the gradient


class Ground:
    """What the searches stand on.

    Args:
        landscape: The action at the precision midway.
        start: Random starts.
        noise: Numbers.
        seed: Seed.

    Attributes:
        windows: The move of a hop.
    """

    def __init__(
        self, landscape: PathsLandscape, start: Start, noise: HopsSection, seed: int
    ) -> None:
        self.landscape, self.start, self.noise, self.seed = landscape, start, noise, seed
        (width, wide), (breadth, broad) = noise.width, noise.breadth
        self.windows = Windows(
            landscape.paths, (width, wide), (breadth, broad), noise.length, noise.theta
        )

    def descend(self, most: int) -> Descend:
        """So many gradients of quasi-Newton descent."""

        def go(U: Array) -> Descent:
            found = descend(
                self.landscape, U, tolerance=_TOLERANCE, most=most, memory=self.noise.memory
            )
            return Descent(found.U, found.value, found.converged, found.gradients)

        return go


class Midway(Protocol):
    """A search of several seeds side by side."""

    @property
    def best_U(self) -> Array:
        """Lowest paths so far, (n, S)."""

    @property
    def best_values(self) -> Array:
        """Their actions, (S,)."""

    def round(self, columns: Index, turn: int) -> Array:
        """Go on in some columns; the gradients that it has taken in each, (k,)."""


class Starts:
    """Descents from random starts without noise: as many gradients in a round as hops take.

    Args:
        ground: See :class:`Ground`.
        numbers: Numbers of the seeds, (S,).
    """

    def __init__(self, ground: Ground, numbers: Numbers) -> None:
        self._ground, self._numbers = ground, numbers
        noise, rows = ground.noise, ground.landscape.rows
        self._many = -(-noise.hops * noise.hop // noise.start)
        self.best_U: Array = np.zeros((rows, numbers.size))
        self.best_values: Array = np.full(numbers.size, np.inf)

    def round(self, columns: Index, turn: int) -> Array:
        """See :class:`Midway`."""
        cost, ground = np.zeros(columns.size), self._ground
        for i in range(self._many):
            U = ground.start(self._numbers[columns], turn * self._many + i)
            down = ground.descend(ground.noise.start)(U)
            cost += down.gradients
            _keep(self, columns, down)
        return cost


class Flows:
    """The annealed gradient flow from a random start, then descent; in every round another start.

    Args:
        ground: See :class:`Ground`.
        numbers: Numbers of the seeds, (S,).
    """

    def __init__(self, ground: Ground, numbers: Numbers) -> None:
        self._ground, self._numbers = ground, numbers
        rows = ground.landscape.rows
        self.best_U: Array = np.zeros((rows, numbers.size))
        self.best_values: Array = np.full(numbers.size, np.inf)

    def round(self, columns: Index, turn: int) -> Array:
        """See :class:`Midway`."""
        ground, noise, numbers = self._ground, self._ground.noise, self._numbers[columns]
        # The flow begins where the descent from the start has come to: from the start it is stiff.
        first = ground.descend(noise.start)(ground.start(numbers, turn))
        flow = AnnealedFlow(
            ground.landscape,
            Geometric(noise.first, noise.last, noise.steps),
            step=noise.step,
            U0=first.U,
            numbers=numbers,
            seed=turn_seed(ground.seed, turn),
        )
        for _ in range(noise.steps):
            flow.advance()
        down = ground.descend(noise.start)(flow.U)
        _keep(self, columns, down)
        return first.gradients + flow.gradients + down.gradients


class Hops:
    """Basin hopping with noise in windows, from the first random start.

    Args:
        ground: See :class:`Ground`.
        numbers: Numbers of the seeds, (S,).
    """

    def __init__(self, ground: Ground, numbers: Numbers) -> None:
        self._ground, self._numbers = ground, numbers
        self._state: HoppingState | None = None

    @property
    def best_U(self) -> Array:
        """See :class:`Midway`."""
        assert self._state is not None
        return self._state.best_U

    @property
    def best_values(self) -> Array:
        """See :class:`Midway`."""
        assert self._state is not None
        return self._state.best_values

    def round(self, columns: Index, turn: int) -> Array:
        """See :class:`Midway`."""
        ground, noise, state = self._ground, self._ground.noise, self._state
        before: Array = np.zeros(columns.size)
        if state is None:
            first = ground.descend(noise.start)(ground.start(self._numbers, 0))
            none = np.empty((0, self._numbers.size))
            state = HoppingState(
                0, first.U, first.values, first.U, first.values, none, first.gradients
            )
        else:
            before = state.gradients[columns]
        hopping = Hopping(
            ground.windows,
            ground.descend(noise.hop),
            HoppingState(state.iteration, *(part[..., columns] for part in state[1:])),
            numbers=self._numbers[columns],
            seed=ground.seed,
        )
        for _ in range(noise.hops):
            hopping.advance()
        new = hopping.state
        parts = [part.copy() for part in state[1:]]
        for part, found in zip(parts, new[1:], strict=True):
            part[..., columns] = found
        self._state = HoppingState(new.iteration, *parts)
        return new.gradients - before


def _keep(search: Starts | Flows, columns: Index, down: Descent) -> None:
    """Keep the lowest ends."""
    lower = down.values < search.best_values[columns]
    search.best_U[:, columns[lower]] = down.U[:, lower]
    search.best_values[columns[lower]] = down.values[lower]
