"""Progress of a run: one live line on a terminal, plain lines elsewhere; rank 0 alone."""

from __future__ import annotations

import math
import os
import sys
import time
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

_REFRESH = 0.1  # seconds between two states of the live line


@dataclass(frozen=True)
class Progress:
    """One step of a run, as shown.

    Attributes:
        stage: "lmvm", "sgd" or "newton".
        cells: Depth cells of the level.
        neurons: Neurons of the level.
        evaluations: Gradients since the start of the run.
        action: The action.
        gradient: Dual norm relative to the start of the run.
        tolerance: What ``gradient`` must reach on this level.
        score: Accuracy or root mean square error on the training part.
        metric: Name of the score.
    """

    stage: str
    cells: int
    neurons: int
    evaluations: int
    action: float
    gradient: float
    tolerance: float
    score: float
    metric: str


class Reporter(Protocol):
    """What :func:`fem_deepest.train` tells a listener."""

    def step(self, progress: Progress) -> None:
        """After every accepted step."""

    def note(self, message: str) -> None:
        """Something worth a line of its own."""


class Silent:
    """Says nothing."""

    def step(self, progress: Progress) -> None:
        """Nothing."""

    def note(self, message: str) -> None:
        """Nothing."""


class Printer:
    """A live line on a terminal; elsewhere a plain line every few seconds.

    Args:
        stream: Where to print; default: standard output.
        interval: Seconds between plain lines.
    """

    def __init__(self, stream: TextIO | None = None, interval: float = 5.0) -> None:
        # mpirun gives rank 0 a terminal of its own, wherever the output goes in the end.
        plain = (
            False if {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"} & set(os.environ) else None
        )
        self._console = Console(
            file=stream or sys.stdout, highlight=False, soft_wrap=True, force_terminal=plain
        )
        self._interval = interval
        self._live: Live | None = None
        self._level: tuple[str, int, int] = ("", 0, 0)
        self._begun = (0.0, 0.0)
        self._printed = 0.0

    def step(self, progress: Progress) -> None:
        """Show a step."""
        now = time.monotonic()
        level = (progress.stage, progress.cells, progress.neurons)
        if level != self._level:
            self._level, self._begun = level, (now, progress.gradient)
            self._printed = 0.0
        left = self._left(progress, now)
        if self._console.is_terminal:
            line = (
                f"{progress.cells} cells  {progress.evaluations} gradients  A {progress.action:.6f}  "
                f"|g| {progress.gradient:.0e}>{progress.tolerance:.0e}  "
                f"{progress.metric} {progress.score:.3f}{left}"
            )
            if self._live is None:
                self._live = Live(console=self._console, auto_refresh=False, transient=True)
                self._live.start()
            due = now - self._printed >= _REFRESH
            self._live.update(Text(line, no_wrap=True), refresh=due)
            self._printed = now if due else self._printed
        elif now - self._printed >= self._interval:
            self._printed = now
            self._console.print(
                f"{progress.stage} {progress.cells:4d} cells  {progress.evaluations:6d} gradients  "
                f"action {progress.action:.6f}  |gradient| {progress.gradient:.1e} -> "
                f"{progress.tolerance:.1e}  {progress.metric} {progress.score:.4f}{left}"
            )

    def note(self, message: str) -> None:
        """End the live line and print a line."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._console.print(message)

    def _left(self, progress: Progress, now: float) -> str:
        """Seconds left in this level if the gradient goes on falling as it did; by chance it does not."""
        begun, first = self._begun
        if progress.stage == "sgd" or not 0.0 < progress.tolerance < progress.gradient < first:
            return ""
        pace = math.log(first / progress.gradient) / max(now - begun, 1e-9)
        return f"  {math.log(progress.gradient / progress.tolerance) / pace:.0f} s left"
