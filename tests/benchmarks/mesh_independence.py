"""Iterations from 16 to 128 depth cells: does the count of the final level grow?

    python3 tests/benchmarks/mesh_independence.py [--quick]

Digits as in nested.py, to the tolerance of demos/digits.toml: the dual norm of the gradient in the
H1(depth) metric, relative to the start, for all three, so that they solve equally well.

* nested: the levels of the demo; iterations of the final level and of all levels;
* H1: the final level alone, in the H1(depth) metric;
* Euclid: the final level alone in the Euclidean metric.

The target is the count of the final level at 128 cells over that at 16, nested, the median over
three starts. The counts of the others are shown and not asserted.
"""

from __future__ import annotations

import contextlib
import sys

import numpy as np
from common import Targets, arguments, digits, make_problem, make_schedule, start, table
from nested import Euclidean, Reached

from fem_deepest.configuration.train import Config
from fem_deepest.runs.problem import Problem
from fem_deepest.solve.lmvm import Iterate, minimise
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.solve.nested import NestedIteration
from fem_deepest.spaces import ProcessGrid, Resolution

LIMIT = 1.2


def levels(problem: Problem, config: Config, cells: list[int]) -> list[int]:
    """Iterations of each level."""
    grid = ProcessGrid.create()
    schedule = make_schedule(config, cells)
    iteration = NestedIteration(lambda level: problem.action(level, grid), schedule)
    stages = iteration.run(iteration.begin(lambda action: start(action, config)))
    return [stage.outcome.iterations for stage in stages]


def euclidean(problem: Problem, config: Config) -> int:
    """Iterations in the Euclidean metric, to the same norm of the gradient."""
    action = problem.action(Resolution(config.network.cells), ProcessGrid.create())
    u, g = start(action, config), action.create()
    action.gradient(u, g)
    goal, count = config.solve.tolerance * dual_norm(action.metric, g), [0]
    other = Euclidean(action)

    def gradient(x, out) -> float:
        value = action.gradient(x, out)
        out.copy(g)
        return value

    def monitor(iterate: Iterate) -> None:
        # The last gradient taken is the one of the accepted step.
        count[0] = iterate.iteration
        if dual_norm(action.metric, g) <= goal:
            raise Reached

    other.gradient = gradient
    memory = LimitedMemory(other.metric, config.solve.memory)
    with contextlib.suppress(Reached):
        minimise(other, u, memory, tolerance=1e-14, iterations=2000, monitor=monitor)
    return count[0]


def main() -> int:
    options = arguments(__doc__).parse_args()
    meshes = (16, 32) if options.quick else (16, 32, 64, 128)
    seeds = (1,) if options.quick else (1, 2, 3)
    rows, final = [], {}
    for cells in meshes:
        counts: dict[str, list[int]] = {"final": [], "all": [], "H1": [], "Euclid": []}
        for seed in seeds:
            config = digits(f"network.cells={cells}", f"seed={seed}")
            problem = make_problem(config)
            nested = levels(problem, config, config.depth_levels)
            counts["final"].append(nested[-1])
            counts["all"].append(sum(nested))
            counts["H1"] += levels(problem, config, [cells])
            counts["Euclid"].append(euclidean(problem, config))
        final[cells] = counts
        rows.append([cells, *(" ".join(map(str, values)) for values in counts.values())])
    table(
        f"Iterations by start, seeds {', '.join(map(str, seeds))}",
        ["cells", "nested, final level", "nested, all levels", "H1 alone", "Euclid alone"],
        rows,
    )
    first, last = final[meshes[0]], final[meshes[-1]]
    for name in ("H1", "Euclid"):
        growth = np.median(last[name]) / np.median(first[name])
        print(f"growth of {name} alone from {meshes[0]} to {meshes[-1]} cells: {growth:.2f}")
    targets = Targets()
    targets.at_most(
        f"final level of the nested run, {meshes[-1]} cells / {meshes[0]} cells",
        float(np.median(last["final"]) / np.median(first["final"])),
        LIMIT,
    )
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
