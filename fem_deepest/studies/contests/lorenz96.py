"""Lorenz 96 under data of somebody else as a contest: the lowest action of a path, out of many levels."""

from __future__ import annotations

from typing import ClassVar

from fem_deepest.studies.comparison import (
    ANNEALING,
    MULTISTART,
    NOISE,
    NOISE_ANNEALING,
    PLAIN,
    ComparisonStudy,
    Contest,
)
from fem_deepest.studies.contests.lorenz96_config import FLOW, MIDWAY, LorenzConfig


class LorenzStudy(ComparisonStudy):
    """Random paths; success is the lowest known action at the last precision.

    * plain descent, multistart: Newton's method at the last precision;
    * precision annealing: up from the first precision, again and again;
    * noise: hops at the last precision;
    * noise + precision annealing: hops at the precision midway, then up from there;
    * multistart midway: as the one before, but instead of hops many random starts, of which the lowest
      goes up: what noise has to beat;
    * annealed flow midway: as these, with the annealed gradient flow from a random start.
    """

    title = "Lorenz 96: the lowest level of the action"
    Config: ClassVar[type[LorenzConfig]] = LorenzConfig
    config: LorenzConfig

    def names(self) -> tuple[str, ...]:
        """Names of the arms. Not collective."""
        return PLAIN, MULTISTART, ANNEALING, NOISE, NOISE_ANNEALING, MIDWAY, FLOW

    def contest(self) -> Contest:
        """The contest. Not collective."""
        # All of annealed and sample: imported only where something is computed.
        from fem_deepest.studies.contests.lorenz96_arms import LorenzContest

        return LorenzContest(self.config)
