"""What a Newton step on the action of paths costs, in gradients.

    python3 tests/benchmarks/newton_worth.py [--quick]

Lorenz 96 with 20 variables on 80 Simpson-Hermite cells, one constant parameter, 16 paths at once: as in
``demos/compare_lorenz96.toml``, whose ``[cost]`` counts the second derivatives and the Newton systems
(set up, factorised, solved) at what is measured here. The latter are what three steps of Newton's method
take besides second derivatives.
"""

from __future__ import annotations

import sys

import numpy as np
from common import Targets, arguments, interleaved, table

from fem_deepest.action.paths.action import Paths
from fem_deepest.action.paths.normalisation import normalisation
from fem_deepest.action.paths.observations import Observations
from fem_deepest.annealed.paths import PathsLandscape
from fem_deepest.dynamics.defects import Defects
from fem_deepest.dynamics.lorenz96 import Lorenz96
from fem_deepest.dynamics.transcription import transcription
from fem_deepest.solve.paths.newton import NewtonPaths
from fem_deepest.studies.contests.lorenz96_config import CostSection

PATHS, STEPS, R_f = 16, 3, 5.8
COMPONENTS = [0, 2, 4, 6, 8, 10, 14, 16]


def main() -> int:
    """Print the table; 1 if a stated cost is off by more than a factor of two."""
    quick = arguments(__doc__).parse_args().quick
    t = 0.025 * np.arange(161)
    rng = np.random.default_rng(0)
    paths = Paths(
        Defects(Lorenz96(20), transcription("simpson_hermite"), t[::2]),
        Observations(t, 4.0 * rng.standard_normal((161, 8)), COMPONENTS, 4.0),
        normalisation=normalisation("varanneal"),
    )
    landscape = PathsLandscape(paths, R_f)
    u = 4.0 * rng.standard_normal((PATHS, paths.size))
    U = u.T.copy()
    newton = NewtonPaths(paths)
    result = newton.minimise(u, R_f, cold=True, iterations=STEPS)
    gradient, second, steps = interleaved(
        (
            lambda: landscape.gradient(U),
            lambda: paths.curvature(u, R_f),
            lambda: newton.minimise(u, R_f, cold=True, iterations=STEPS),
        ),
        0.1 if quick else 3.0,
    )
    rest = steps - second * result.hessians.sum() / PATHS
    times = {
        "gradient": gradient,
        "second derivatives": second,
        "system": rest * PATHS / result.factorisations.sum(),
    }
    worth = {name: seconds / gradient for name, seconds in times.items()}
    table(
        f"{PATHS} paths of {paths.size} unknowns",
        ("", "ms of a path", "gradients"),
        [(n, f"{1e3 * times[n] / PATHS:.3f}", f"{worth[n]:.1f}") for n in times],
    )
    targets, stated = Targets(), CostSection()
    for name, cost in (("second derivatives", stated.curvature), ("system", stated.system)):
        targets.at_least(f"{name}, counted as {cost:g}: measured ratio", worth[name] / cost, 0.5)
        targets.at_most(f"{name}, counted as {cost:g}: measured ratio", worth[name] / cost, 2.0)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
