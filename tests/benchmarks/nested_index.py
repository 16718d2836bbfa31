"""Nested iteration in depth and along the neuron index: time to the same action.

    python3 tests/benchmarks/nested_index.py [--quick]

The digits of demos/refine_neurons.toml, neurons as nodes of a P1 mesh of (0, 1). All runs use the same
solver to the same relative size of the gradient; the clock is the CPU time of the one thread until the
action on the *last* level is at the target, construction of all levels included:

* depth and index: nested in both;
* depth: nested in depth, all the neurons from the start;
* one level: the last level alone.

The target action is where the worst of the three ends. Targets are the ratios of the first to the others,
the median over the seeds. The random start of few neurons is another field than that of many, so single
seeds differ.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import numpy as np
from common import DIGITS, Targets, arguments, make_problem, start, table

import fem_deepest
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.configuration.train import Config
from fem_deepest.runs.problem import make_schedule
from fem_deepest.solve.lmvm import Iterate
from fem_deepest.solve.nested import NestedIteration
from fem_deepest.solve.schedule import Search
from fem_deepest.spaces import ProcessGrid, Resolution

DEMO = DIGITS.with_name("refine_neurons.toml")
LIMITS = {"depth": 0.8, "one level": 0.6}

Steps = list[tuple[float, float]]


def run(config: Config) -> tuple[Steps, float]:
    """Seconds and action of the steps on the last level; all seconds."""
    problem, grid, steps = make_problem(config), ProcessGrid.create(), Steps()
    begun, last = time.process_time(), Resolution(*config.levels[-1])

    def on_step(search: Search, action: NetworkAction, iterate: Iterate) -> None:
        if search.level == last:
            steps.append((time.process_time() - begun, iterate.action))

    nested = NestedIteration(
        lambda level: problem.action(level, grid), make_schedule(config), on_step
    )
    nested.run(nested.begin(lambda action: start(action, config)))
    return steps, time.process_time() - begun


def compare(cells: Sequence[int], neurons: Sequence[int], seed: int) -> dict[str, float]:
    """Seconds to the target by method; a table."""
    methods = {
        "depth and index": (cells, neurons),
        "depth": (cells, neurons[-1:]),
        "one level": (cells[-1:], neurons[-1:]),
    }
    found = {}
    for name, (depth, index) in methods.items():
        settings = [f"seed={seed}", f"network.cells={cells[-1]}", f"network.neurons={neurons[-1]}"]
        settings += [f"solve.levels={list(depth)}", f"solve.neurons={list(index)}"]
        found[name] = run(fem_deepest.load(DEMO, settings))
    goal = 1.001 * max(steps[-1][1] for steps, _ in found.values())
    seconds = {
        name: next(t for t, action in steps if action <= goal) for name, (steps, _) in found.items()
    }
    table(
        f"Seconds to the action {goal:.5f} with {cells[-1]} cells and {neurons[-1]} neurons, seed {seed}",
        ["nested in", "seconds", "last action", "seconds in all"],
        [
            [name, f"{seconds[name]:.2f}", f"{steps[-1][1]:.5f}", f"{total:.2f}"]
            for name, (steps, total) in found.items()
        ],
    )
    return seconds


def main() -> int:
    options, targets = arguments(__doc__).parse_args(), Targets()
    cells, neurons = ([2, 4], [17, 65]) if options.quick else ([2, 4, 8], [17, 65, 129])
    found = [compare(cells, neurons, seed) for seed in ([1] if options.quick else [1, 2, 3])]
    for name, limit in LIMITS.items():
        ratios = [seconds["depth and index"] / seconds[name] for seconds in found]
        print(f"depth and index / {name}, by seed: " + ", ".join(f"{r:.2f}" for r in ratios))
        targets.at_most(f"depth and index / {name}", float(np.median(ratios)), limit)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
