"""One step of the stochastic heat equation in 2D against its linear solve and its noise.

    python3 tests/benchmarks/spde_step.py [--quick]

Unit square, P1, 1e5 unknowns, white noise on this mesh, backward Euler. Everything is timed in turn in
one run, on one core (CPU time):

* *step*: one step of the ensemble, noise included;
* *solve*: one KSP solve with the same set-up, factorised or with multigrid;
* *load*: one noise load.

The target is step <= 1.3 (solve + load), and load < solve for one sample. The drawing of the numbers
and the products with matrices are listed too: they are where the rest of a step goes. Blocks of
samples share the matrix and the factorisation; their time is for one sample.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import ufl
from common import Targets, arguments, interleaved, table
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.white_covariance import WhiteCovariance
from fem_deepest.noise.wiener import QWiener
from fem_deepest.spaces.factorised import CHOLESKY, MULTIGRID
from fem_deepest.spde.ensemble import Ensemble
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes import EulerMaruyama

DT = 1e-3


def make_problem(cells: int) -> SemilinearSPDE:
    """``du = Laplace u dt + dW`` on a square, zero on the boundary."""
    domain = mesh.create_unit_square(MPI.COMM_SELF, cells, cells)
    V = fem.functionspace(domain, ("Lagrange", 1))
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    domain.topology.create_connectivity(1, 2)
    edge = fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(domain.topology))
    return SemilinearSPDE(
        V,
        A=ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx,
        bcs=[fem.dirichletbc(0.0, edge, V)],
        noise=QWiener(WhiteCovariance(V), WhiteNoise(V, 1)),
        rough=True,
    )


def measure(problem: SemilinearSPDE, name: str, options: Any, samples: int) -> list[float]:
    """CPU seconds of a step, a solve, a load, its random numbers, and a product with the stiffness."""
    scheme = EulerMaruyama(problem, prefix=f"step_{name}", options=options)
    ensemble = Ensemble(scheme, DT, range(samples))
    ensemble.advance(2)
    solver, noise = scheme.solver(DT), problem.noise
    b = noise.increment(0, DT, range(samples)).load
    return interleaved(
        [
            ensemble.advance,
            lambda: solver.solve(b),
            lambda: noise.increment(1, DT, range(samples)).load,
            lambda: noise.white.normals(1, range(samples)),
            lambda: problem.linear(ensemble.U),
        ],
        seconds=2.0,
    )


def main(quick: bool) -> int:
    """Print the tables and the verdicts."""
    problem, targets = make_problem(40 if quick else 315), Targets()
    rows, seen = [], {}
    for name, options in (("cholesky", CHOLESKY), ("multigrid", MULTIGRID)):
        for samples in (1, 8):
            times = measure(problem, name, options, samples)
            step, solve, load = times[:3]
            seen[name, samples] = step / (solve + load), load / solve
            each = [f"{1e3 * t / samples:.2f}" for t in times]
            rows.append([name, samples, *each, f"{step / (solve + load):.2f}"])
    head = ["solver", "samples", "step", "solve", "load", "numbers", "K U", "step/(solve+load)"]
    table(f"{problem.blocks.size} unknowns, CPU ms a sample", head, rows)
    for (name, samples), (ratio, share) in seen.items():
        targets.at_most(f"step / (solve + load), {name}, {samples} samples", ratio, 1.3)
        if samples == 1:
            targets.at_most(f"load / solve, {name}", share, 1.0)
    return targets.exit_code()


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    sys.exit(main(arguments(__doc__).parse_args().quick))
