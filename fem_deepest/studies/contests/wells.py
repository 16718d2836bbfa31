"""The tilted double well as a contest: out of the higher well, over a barrier that is known."""

from __future__ import annotations

from typing import ClassVar

from fem_deepest.studies.comparison import (
    MULTISTART,
    NOISE,
    PLAIN,
    ComparisonStudy,
    Contest,
)
from fem_deepest.studies.contests.wells_config import COOLED, RESTARTED, WellsConfig
from fem_deepest.studies.kramers import check_length


class WellsStudy(ComparisonStudy):
    """Starts around the higher well; success is the lower one.

    Plain descent cannot succeed, multistart does where a draw lies beyond the saddle, noise at the rate
    of :mod:`fem_deepest.studies.kramers`. There is no precision to anneal in this action: a factor before
    the wells leaves the start a minimum.
    """

    title = "Out of the higher well"
    Config: ClassVar[type[WellsConfig]] = WellsConfig
    config: WellsConfig

    def __init__(self, config: WellsConfig) -> None:
        super().__init__(config)
        check_length(config.problem.L)

    def names(self) -> tuple[str, ...]:
        """Names of the arms. Not collective."""
        return PLAIN, MULTISTART, NOISE, COOLED, RESTARTED

    def contest(self) -> Contest:
        """The contest. Not collective."""
        # All of annealed and sample: imported only where something is computed.
        from fem_deepest.studies.contests.wells_arms import Wells

        return Wells(self.config)
