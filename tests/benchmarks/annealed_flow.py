"""A step of an annealed flow against the gradient that it needs, and what columns side by side win.

    python3 tests/benchmarks/annealed_flow.py [--quick]

* paths: Lorenz 96 with 20 variables, 80 Simpson-Hermite cells, 8 components observed: a step with every
  rule of acceptance over one gradient of the same columns, and a gradient of many columns over as many
  single ones.
* network: 10 neurons, 16 cells, 500 samples.
* form: a double-well bridge in UFL, column by column, and the same as a target, all columns at once.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import numpy as np
from common import Targets, arguments, interleaved, table
from dolfinx import fem, mesh
from gradient import make_action
from mpi4py import MPI

from fem_deepest.action.form.action import FormAction
from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.observations import Observations
from fem_deepest.annealed.columns import ActionLandscape
from fem_deepest.annealed.flow import AnnealedFlow
from fem_deepest.annealed.paths import PathsLandscape
from fem_deepest.annealed.schedule import Constant
from fem_deepest.annealed.target import TargetLandscape
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.sample.bridge import double_well
from fem_deepest.spaces.constrained import Clamped

STEP, SIDE = 2.0, 1.0  # times a gradient; times the gradients of single columns
RULES = ("always", "contour", "metropolis")


def lorenz() -> PathsLandscape:
    """Paths of 20 variables under data that do not matter here."""
    t = np.linspace(0.0, 4.0, 161)
    y = 3.0 * np.random.default_rng(0).standard_normal((t.size, 8))
    observations = Observations(t, y, list(range(8)), precision=4.0)
    defects = Defects(Lorenz96(20), transcription("simpson_hermite"), t[::2])
    return PathsLandscape(Paths(defects, observations), 1.0)


def bridge(cells: int) -> ActionLandscape:
    """``int 1/2 x'^2 + (x^2 - 1)^2`` between clamped ends."""
    x = fem.Function(
        fem.functionspace(mesh.create_interval(MPI.COMM_SELF, cells, (0.0, 4.0)), ("Lagrange", 1))
    )
    prior = 0.5 * x.dx(0) ** 2
    ends = [Clamped(x, "start"), Clamped(x, "end")]
    return ActionLandscape(FormAction(prior + (x**2 - 1) ** 2, x, clamped=ends, metric=prior))


def steps(landscape: Any, columns: int, seconds: float) -> list[float]:
    """CPU times of a gradient and of steps with each rule."""
    start = landscape.draw(0, 0, range(columns))
    flows = [
        AnnealedFlow(
            landscape, Constant(1.0), step=1e-4, U0=start, numbers=range(columns), accept=rule
        )
        for rule in RULES
    ]
    calls = [partial(landscape.gradient, start), *(flow.advance for flow in flows)]
    return interleaved(calls, seconds)


def main(arguments_: list[str] | None = None) -> int:
    """Measure, print, compare with the targets."""
    options = arguments(__doc__).parse_args(arguments_)
    seconds, many = (0.1, 16) if options.quick else (1.0, 64)
    targets, rows = Targets(), []
    single: dict[str, float] = {}
    network = ActionLandscape(make_action(10, 500, "euler"))
    cases: list[tuple[str, Any, int]] = [
        ("paths", lorenz(), 1),
        ("paths", lorenz(), many),
        ("network", network, 1),
        ("form", bridge(200), 1),
        ("target", TargetLandscape(double_well(200, 4.0)), 1),
        ("target", TargetLandscape(double_well(200, 4.0)), many),
    ]
    for name, landscape, columns in cases:
        gradient, *times = steps(landscape, columns, seconds)
        ratios = [t / gradient for t in times]
        single.setdefault(name, gradient)
        side = gradient / (columns * single[name])
        cells = [f"{ratio:.2f}" for ratio in ratios]
        rows.append([name, columns, f"{gradient / columns * 1e3:.3f}", *cells, f"{side:.2f}"])
        if name in ("paths", "network"):
            targets.at_most(f"{name}, {columns} columns: a step over a gradient", ratios[0], STEP)
        if columns > 1:
            targets.at_most(f"{name}: a gradient of {columns} columns over single ones", side, SIDE)
    head = ["landscape", "columns", "gradient, ms a column", *RULES, "over single columns"]
    table("A step of an annealed flow, in gradients", head, rows)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
