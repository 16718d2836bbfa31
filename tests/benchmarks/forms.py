"""Newton and Krylov iterations of the three forms from R_f = 1e-3 to the strong constraint.

    python3 tests/benchmarks/forms.py [--quick]

Lorenz 96 with five variables, three of them seen with noise at all cell ends; every solve starts from
the same path, the observations where there are some and noise around the truth elsewhere. Both linear
solvers: MUMPS (one solve a Newton step) and GMRES with cyclic reduction in depth. The residual is the
Euclidean norm of each form's own residual, whose size goes with R_f in the state form; the error is
the largest distance of the path to that of the saddle form.

The targets are those of the saddle form: at most 12 Newton steps and 3 Krylov iterations a step for
every R_f. The state form may degrade, and the table shows it. The same table comes out on several
ranks (mpirun -n 3 ...), up to rounding in what is below the tolerance.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from common import Targets, arguments, table
from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from weak_problems import twin

from fem_deepest.action.weak.forms import FORMS, make_form
from fem_deepest.errors import FemDeepestError
from fem_deepest.solve.weak.newton import solve

NEWTON, KRYLOV = 12, 3
LADDER = [*(10.0**k for k in range(-3, 13)), np.inf]


def main() -> int:
    options = arguments(__doc__).parse_args()
    if MPI.COMM_WORLD.rank:
        sys.stdout = io.StringIO()
    ladder = [1e-3, 1.0, 1e6, 1e12, np.inf] if options.quick else LADDER
    cells = 12 if options.quick else 50
    most = {"mumps": [0, 0.0], "depth": [0, 0.0]}
    missed = 0
    for name in ("midpoint", "gauss2"):
        rows = []
        for R_f in ladder:
            problem, start, w = twin(name, cells=cells, depth=1.0, R_f=R_f)
            reference = None
            for form in sorted(FORMS, key=lambda f: f != "saddle"):
                if form == "state" and R_f == np.inf:
                    continue
                for linear in ("mumps", "depth"):
                    action = make_form(form, problem)
                    try:
                        u = action.pack(start, w)
                        outcome = solve(action, u, linear=linear)
                        path, *_ = action.unpack(u)
                    except FemDeepestError as error:
                        rows.append([f"{R_f:.0e}", form, linear, type(error).__name__])
                        rows[-1] += [""] * 4
                        continue
                    reference = path if reference is None else reference
                    rows.append(
                        [
                            f"{R_f:.0e}",
                            form,
                            linear,
                            outcome.iterations if outcome.converged else outcome.reason,
                            outcome.linear,
                            f"{outcome.residual:.1e}",
                            f"{outcome.action:.10g}",
                            f"{np.abs(path - reference).max():.1e}",
                        ]
                    )
                    if form == "saddle":
                        missed += not outcome.converged or outcome.index != 0
                        a_step = outcome.linear / max(outcome.iterations, 1)
                        most[linear][0] = max(most[linear][0], outcome.iterations)
                        most[linear][1] = max(most[linear][1], a_step)
        head = ["R_f", "form", "linear", "Newton", "Krylov", "residual", "action", "error"]
        table(f"{name}, {cells} cells", head, rows)
    targets = Targets()
    targets.at_most("saddle form, solves that did not end in a minimum", missed, 0)
    for linear, (newton, krylov) in most.items():
        targets.at_most(f"saddle form, {linear}: Newton steps for any R_f", newton, NEWTON)
        targets.at_most(f"saddle form, {linear}: Krylov iterations a step", krylov, KRYLOV)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
