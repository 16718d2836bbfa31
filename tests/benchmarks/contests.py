"""What a step of Levenberg and Marquardt costs in gradients: the constants of the contest of twins.

    python3 tests/benchmarks/contests.py [--quick]

The twin of demos/compare_twin.toml. Three descents at the last precision, from the starts of the first
seeds: their CPU time, less that of their gradients and of their products at the stated worth, divided by
the number of steps that had a linear system, in gradients of the state form. The contest states
``WORTH`` = 20 for it and ``PRODUCT`` = 1 for a product with the second variation; the budget is fair if
neither is off by more than a factor of two.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from common import Targets, arguments, best, table

from fem_deepest.solve.network.levenberg import levenberg
from fem_deepest.studies.contests.twin import PRODUCT, WORTH
from fem_deepest.studies.named import load_study

TWIN = Path(__file__).resolve().parents[2] / "demos" / "compare_twin.toml"


def main() -> int:
    options = arguments(__doc__).parse_args()
    contest = load_study(TWIN).contest()
    action = contest.rungs[-1]
    starts = contest.start(np.arange(1 if options.quick else 3), 0)
    u, d, g = (action.create() for _ in range(3))
    u.array[...] = starts[:, 0]
    d.array[...] = np.random.default_rng(0).standard_normal(starts.shape[0])
    gradient = best(lambda: action.gradient(u, g))
    product = best(lambda: action.hessian(u, d, g)) / gradient
    rows, worths = [], []
    for column in starts.T:
        u.array[...] = column
        action.evaluations = action.hessians = 0
        before, systems = 0, 0

        def note(_) -> None:
            nonlocal before, systems
            systems += action.hessians > before
            before = action.hessians

        begun = time.process_time()
        levenberg(action, u, tolerance=0.0, decrease=3e-4, iterations=200, monitor=note)
        total = (time.process_time() - begun) / gradient
        worths.append((total - action.evaluations - PRODUCT * action.hessians) / systems)
        rows.append(
            [action.evaluations, action.hessians, systems, f"{total:.0f}", f"{worths[-1]:.1f}"]
        )
    table(
        f"Levenberg-Marquardt, a gradient of {1e3 * gradient:.2f} ms",
        ["gradients", "products", "steps with a system", "time in gradients", "worth of a system"],
        rows,
    )
    targets = Targets()
    worth = float(np.mean(worths))
    targets.at_most("worth of a system over what is stated", worth / WORTH, 2.0)
    targets.at_least("worth of a system over what is stated", worth / WORTH, 0.5)
    targets.at_most("a product in gradients over what is stated", product / PRODUCT, 2.0)
    targets.at_least("a product in gradients over what is stated", product / PRODUCT, 0.5)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
