"""What annealing many starts to their action levels needs of a problem, whatever its unknowns are.

A *search* has numbered starts, which go up its precisions in batches. A batch is one task of one
process and knows nothing of the others; what it ends at does not depend on who takes it, so that a
run may be stopped after any rung, and go on with any number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Numbers = NDArray[np.int64]

PARTS = ("action", "misfit", "model", "prior")  # what a rung yields of every start


@dataclass
class Batch:
    """Some starts on their way up the ladder: all that a checkpoint holds.

    Attributes:
        numbers: Numbers of the starts, (b,).
        u: Unknowns at the last finished rung, (b, size); the starts before the first.
        rung: Rungs finished.
        record: For every finished rung action, measurement, model, prior (b, 4).
        converged: For every finished rung, (b,).
        work: For every finished rung counts of the search's kinds of work, (b, k).
        lowest: For every finished rung the unknowns of the lowest action, (size,).
    """

    numbers: Numbers
    u: Array
    rung: int = 0
    record: list[Array] = field(default_factory=list)
    converged: list[NDArray[np.bool_]] = field(default_factory=list)
    work: list[Numbers] = field(default_factory=list)
    lowest: list[Array] = field(default_factory=list)

    def finish(self, u: Array, record: Array, converged: NDArray[np.bool_], work: Numbers) -> None:
        """Take what a rung ended at."""
        self.u = u
        self.record.append(record)
        self.converged.append(converged)
        self.work.append(work)
        finite = np.where(np.isfinite(record[:, 0]), record[:, 0], np.inf)
        self.lowest.append(u[int(np.argmin(finite))].copy())
        self.rung += 1


class Lowest(Protocol):
    """The lowest minimum, as the user wants to see it."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Numbers for ``run.json`` and the last line of the command: parameters, errors."""

    @property
    def tables(self) -> Mapping[str, tuple[Sequence[str], Array]]:
        """Header and rows of every CSV file, by its name."""


class Search(Protocol):
    """Many starts up one ladder.

    Nothing here is collective, and everything is the same on every rank.
    """

    @property
    def title(self) -> str:
        """One line that says what is searched."""

    @property
    def precisions(self) -> Array:
        """``R_f`` of every rung, increasing; the last may be infinite."""

    @property
    def starts(self) -> int:
        """Number of starts."""

    @property
    def batch(self) -> int:
        """How many of them go together."""

    @property
    def cells(self) -> int:
        """Depth cells."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds of work that are counted."""

    @property
    def scale(self) -> float:
        """``R_m``, by which ``R_f`` is divided in the figure."""

    @property
    def expected(self) -> tuple[float, float] | None:
        """Mean and deviation of the measurement term at the truth, if they are known."""

    @property
    def floor(self) -> float:
        """Actions below are zero to rounding, and on one level."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the tables of the lowest minimum."""

    def checksum(self) -> int:
        """Checksum of the data: a run is not resumed with others."""

    def begin(self, numbers: Numbers) -> Batch:
        """The starts of these numbers, which depend on nothing else.

        Raises:
            InputError: They cannot be made.
        """

    def climb(self, batch: Batch, asked: Callable[[], bool]) -> Iterator[Batch]:
        """Finish one rung after the other, in place, by :meth:`Batch.finish`; yields after each.

        Args:
            batch: Where to go on.
            asked: Whether to leave; to be asked as often as a second has passed.

        Raises:
            Interrupted: It was asked to leave; the batch is that of the last finished rung.
            NumericalFailure: The action of a start is not finite.
        """

    def present(self, u: Array) -> Lowest:
        """What to show of the lowest minimum ``u`` (size,)."""


def assemble(batches: Sequence[Batch]) -> tuple[Array, NDArray[np.bool_], Numbers]:
    """Records of all starts on the rungs that all batches have finished.

    Returns:
        Action, measurement, model, prior (B, rungs, 4); whether converged (B, rungs); counts of work
        (B, rungs, k). Not collective.
    """
    many, rungs = sum(b.numbers.size for b in batches), min(b.rung for b in batches)
    kinds = batches[0].work[0].shape[1] if rungs else 0
    record, converged = np.empty((many, rungs, len(PARTS))), np.zeros((many, rungs), dtype=bool)
    work = np.zeros((many, rungs, kinds), dtype=np.int64)
    for b in batches:
        for beta in range(rungs):
            record[b.numbers, beta] = b.record[beta]
            converged[b.numbers, beta] = b.converged[beta]
            work[b.numbers, beta] = b.work[beta]
    return record, converged, work
