"""Active contours as a contest: small circles on an image, and which of them find the objects."""

from __future__ import annotations

from typing import ClassVar

from fem_deepest.studies.comparison import (
    MULTISTART,
    NOISE,
    PLAIN,
    ComparisonStudy,
    Contest,
)
from fem_deepest.studies.contests.contours_config import ContoursConfig


class ContoursStudy(ComparisonStudy):
    """The same circle is where all arms of a seed begin; success is the energy of the objects."""

    title = "Contours that find the objects"
    Config: ClassVar[type[ContoursConfig]] = ContoursConfig
    config: ContoursConfig

    def names(self) -> tuple[str, ...]:
        """Names of the arms. Not collective."""
        return PLAIN, MULTISTART, NOISE

    def contest(self) -> Contest:
        """The contest. Not collective."""
        from fem_deepest.studies.contests.contours_arms import Contours

        return Contours(self.config)
