"""What the benchmarks share: the digits problem, a clock, tables and verdicts."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import fem_deepest
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.configuration.train import Config
from fem_deepest.runs.network import initial_parameters
from fem_deepest.runs.problem import Problem
from fem_deepest.runs.train import load_data
from fem_deepest.solve.schedule import Schedule
from fem_deepest.spaces import Resolution

DIGITS = Path(__file__).resolve().parents[2] / "demos" / "digits.toml"


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Parser with the option that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="reduced size, a smoke test")
    return parser


# The digits of 64 neurons, T = 2, tanh, euler, lambda = 1e-4; spelled out, so that a change of the
# demo cannot move the targets. Only the schedule of the solver is the demo's.
STANDARD = (
    "data.test_fraction=0.2",
    "data.split_seed=0",
    "network.neurons=64",
    "network.depth=2.0",
    "network.scheme=euler",
    "network.activation=tanh",
    "network.start=0.5",
    "action.lambda=1e-4",
    "action.kappa=1.0",
)


def digits(*settings: str) -> Config:
    """Configuration of the digits benchmark with some settings changed."""
    return fem_deepest.load(DIGITS, [*STANDARD, *settings])


def make_problem(config: Config) -> Problem:
    """Data and scalings of a configuration."""
    return Problem.create(config, *load_data(config))


def make_schedule(config: Config, cells: Sequence[int] | None = None) -> Schedule:
    """Schedule of a configuration, on levels of other depth cells if some are given."""
    section = config.solve
    return Schedule(
        levels=[Resolution(n) for n in cells or config.depth_levels],
        tolerance=section.tolerance,
        loosening=section.loosening,
        iterations=section.iterations,
        memory=section.memory,
    )


def start(action: NetworkAction, config: Config):
    """The start of a configuration as a control of an action."""
    u = action.create()
    array = u.array_w
    if action.grid.owner:
        initial_parameters(action.network, action.space.parameters(array), config)
    return u


def best(call: Callable[[], object], seconds: float = 0.5, least: int = 5) -> float:
    """Shortest CPU time of a call, repeated for some seconds and at least so many times."""
    return interleaved([call], seconds, least)[0]


def interleaved(
    calls: Sequence[Callable[[], object]], seconds: float = 0.5, least: int = 5
) -> list[float]:
    """Shortest CPU times of several calls, taken in turn so that all see the same machine."""
    times: list[list[float]] = [[] for _ in calls]
    for call in calls:
        call()
    end = time.perf_counter() + seconds * len(calls)
    while len(times[0]) < least or time.perf_counter() < end:
        for call, own in zip(calls, times, strict=True):
            begun = time.process_time()
            call()
            own.append(time.process_time() - begun)
    return [min(own) for own in times]


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table."""
    lines = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    print(f"\n## {title}\n")
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("| " + " | ".join(cells) + " |")
    print(flush=True)


class Targets:
    """Verdicts of one script."""

    def __init__(self) -> None:
        self.missed = 0

    def at_most(self, what: str, value: float, limit: float) -> None:
        """The value must not exceed the limit."""
        self._verdict(what, value, "<=", limit, value <= limit)

    def at_least(self, what: str, value: float, limit: float) -> None:
        """The value must reach the limit."""
        self._verdict(what, value, ">=", limit, value >= limit)

    def _verdict(self, what: str, value: float, sign: str, limit: float, held: bool) -> None:
        number = f"{value:.3g}" if np.isfinite(value) else "not measured"
        print(
            f"{'PASS' if held else 'FAIL'}  {what}: {number} (target {sign} {limit:g})", flush=True
        )
        self.missed += not held

    def skip(self, what: str, why: str) -> None:
        """Say that a target has not been measured, and why."""
        print(f"SKIP  {what}: {why}", flush=True)

    def exit_code(self) -> int:
        """1 if a target was missed."""
        return int(self.missed > 0)
