"""Newton against L-BFGS-B, the published method, up the same ladder on the same discrete action.

    python3 tests/benchmarks/annealing.py [--quick]

Lorenz 96 with 10 variables, 4 observed with noise of deviation 1 at 161 times 0.01 apart (a twin with
a fixed seed), Simpson-Hermite in the normalisation of minAone, R_f = 0.01 * 4^beta, beta = 0..14,
random starts uniform in the bounds. Both methods see the same vectorised value and gradient; L-BFGS-B
one path at a time, as SciPy does it, Newton all paths of a batch at once.

An evaluation is a point at which the action was taken, with or without its derivatives. Newton also
takes Hessians and solves linear systems, which are counted in a column of their own, and are paid for
in the time. Both start from Newton's minimiser of the first rung, so that they follow the same
branch. L-BFGS-B ends a rung when its action is within 1e-4 of Newton's, the same level to four
digits: that spares it the convergence to Newton's accuracy. A rung that it does not finish in 5000
evaluations is left, and the last column says that the level has not been reached.

Targets: evaluations of L-BFGS-B over those of Newton at least 20, time at least 5.
"""

from __future__ import annotations

import contextlib
import sys
import time

import numpy as np
from common import Targets, arguments, table
from scipy.optimize import minimize

from fem_deepest.configuration.anneal import load_annealing
from fem_deepest.runs.path_search import PathSearch
from fem_deepest.solve.annealing.search import Batch
from fem_deepest.solve.paths.annealing import random_starts

SAME = 1e-4
MOST = 5000  # evaluations of L-BFGS-B on a rung


class Reached(Exception):
    """The level is reached."""


def problem(rungs: int) -> PathSearch:
    """The twin and its action."""
    values = {
        "data": {"components": [0, 1, 2, 3], "interval": 0.01, "noise": 1.0, "seed": 0},
        "action": {"normalisation": "minaone"},
        "anneal": {"rungs": rungs, "alpha": 4.0},
    }
    return PathSearch.create(load_annealing(values))


def newton(task: PathSearch, u: np.ndarray) -> tuple[np.ndarray, list[np.ndarray], float]:
    """Work (rungs, paths, 4), minimisers of every rung, CPU seconds after the first rung."""
    found, times = [], []
    batch = Batch(np.arange(len(u)), u.copy())
    for state in task.climb(batch):
        times.append(time.process_time())
        found.append(state.u.copy())
    return np.array(batch.work), found, times[-1] - times[0]


def lbfgsb(task: PathSearch, u: np.ndarray, goals: np.ndarray) -> tuple[int, np.ndarray, float]:
    """Evaluations, action by rung and CPU seconds of one path; ``goals`` are Newton's actions."""
    paths, bounds = task.newton.paths, task.newton.bounds
    box = list(zip(bounds.lower, bounds.upper, strict=True))
    begun, count, actions = time.process_time(), 0, []
    ladder = list(zip(task.precisions, goals, strict=True))
    for R_f, goal in ladder[1:]:
        last = [u, np.inf]

        def both(v: np.ndarray, R_f: float = R_f, goal: float = goal, last: list = last):
            nonlocal count
            count += 1
            parts, g = paths.gradient(v[None], R_f)
            if parts.action[0] < last[1]:
                last[:] = [v.copy(), parts.action[0]]
            if parts.action[0] <= goal * (1.0 + SAME):
                raise Reached
            return parts.action[0], g[0]

        with contextlib.suppress(Reached):
            minimize(
                both,
                u,
                jac=True,
                method="L-BFGS-B",
                bounds=box,
                options={"maxcor": 20, "ftol": 0.0, "gtol": 1e-12, "maxiter": MOST, "maxfun": MOST},
            )
        u = last[0]
        actions.append(last[1])
    return count, np.array(actions), time.process_time() - begun


def main() -> int:
    options = arguments(__doc__).parse_args()
    rungs, starts = (6, 2) if options.quick else (15, 10)
    task = problem(rungs)
    u = random_starts(task.newton.bounds, np.arange(starts), 0)
    work, found, seconds = newton(task, u)
    # The first rung belongs to neither: from a random start they may end in different basins.
    final = np.array(
        [task.newton.paths.value(v, r).action for v, r in zip(found, task.precisions, strict=True)]
    )
    rows, ratios, speed = [], [], []
    compared = 1 if options.quick else 2
    for k in range(compared):
        count, actions, other = lbfgsb(task, found[0][k], final[:, k])
        own = int(work[1:, k, 1].sum())
        ratios.append(count / own)
        speed.append(other / (seconds / starts))
        reached = actions[-1] <= final[-1, k] * (1.0 + 1e-4)
        rows.append(
            [
                k,
                own,
                int(work[1:, k, 2].sum()),
                f"{seconds / starts:.2f}",
                f"{final[-1, k]:.5f}",
                count,
                f"{other:.2f}",
                f"{actions[-1]:.5f}" + ("" if reached else " (above)"),
                f"{ratios[-1]:.0f}",
                f"{speed[-1]:.1f}",
            ]
        )
    table(
        f"Ladder of {rungs} precisions, Newton (N) in a batch of {starts}, L-BFGS-B (L) one by one",
        [
            *("path", "N evaluations", "N Hessians", "N s", "N action"),
            *("L evaluations", "L s", "L action", "evaluations L/N", "time L/N"),
        ],
        rows,
    )
    targets = Targets()
    for what, values, least in (("evaluations", ratios, 20.0), ("CPU time", speed, 5.0)):
        name = f"{what}, L-BFGS-B / Newton"
        if options.quick:
            targets.skip(name, "the first rungs alone, where the action is easy to minimise")
        else:
            targets.at_least(name, float(np.median(values)), least)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
