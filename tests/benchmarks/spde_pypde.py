"""The stochastic heat equation in 2D against py-pde, at equal accuracy.

    python3 -m venv pypde && pypde/bin/pip install py-pde
    NUMBA_NUM_THREADS=1 pypde/bin/python tests/benchmarks/spde_pypde.py --pypde > pypde.json
    python3 tests/benchmarks/spde_pypde.py pypde.json [--quick]

``du = Laplace u dt + dW`` on the unit square, zero on the boundary, white noise, ``u(0) = 0``. White noise
in 2D has no solution in L2 in the limit, but every mode has one: what is computed is
``E (u(T), e_1)^2``, ``e_1 = 2 sin(pi x) sin(pi y)``, whose exact value is
``(1 - exp(-2 lam T)) / (2 lam)``, ``lam = 2 pi^2``. Both discretisations keep ``e_1``, so the error of the
mean has a closed form and needs no sampling:

* py-pde: cell-centred differences, explicit Euler, its default;
* this package: Q1, theta = 1/2, factorised.

Each takes the coarsest mesh and the longest step whose errors in space and time add up to the
tolerance. Times are CPU seconds of one path on one core, without set-up and compilation, from a part of
the steps where there are many. The first line checks that a step of py-pde has the noise that the
closed form assumes; a step here is compared with its closed form too.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

T = 0.1
LAM = 2.0 * np.pi**2
EXACT = -np.expm1(-2.0 * LAM * T) / (2.0 * LAM)
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-5)


class Grid(NamedTuple):
    """``N`` cells in each direction, ``n`` steps."""

    N: int
    n: int


def differences(N: int) -> float:
    """Eigenvalue of cell-centred differences."""
    return 8.0 * N**2 * np.sin(0.5 * np.pi / N) ** 2


def q1(N: int) -> float:
    """Eigenvalue of Q1."""
    c = np.cos(np.pi / N)
    return 12.0 * N**2 * (1.0 - c) / (2.0 + c)


def mean(lam: float, k: float, n: int, theta: float) -> float:
    """``E (u(T), e_1)^2`` of n theta steps."""
    s = 1.0 / (1.0 + theta * k * lam)
    r = s * (1.0 - (1.0 - theta) * k * lam)
    return s**2 * k * (1.0 - r ** (2 * n)) / (1.0 - r**2)


def coarsest(eigenvalue: Callable[[int], float], theta: float, tolerance: float) -> Grid:
    """The grid for a relative error: half of it at most from the mesh."""
    N = 4
    while True:
        lam = eigenvalue(N)
        space = abs(-np.expm1(-2.0 * lam * T) / (2.0 * lam) - EXACT) / EXACT
        if space <= 0.5 * tolerance:
            break
        N += 1
    n = int(np.ceil(4.0 * N**2 * T)) if theta == 0.0 else 1
    semi = -np.expm1(-2.0 * lam * T) / (2.0 * lam)
    while abs(mean(lam, T / n, n, theta) - semi) / EXACT > tolerance - space:
        n += 1
    return Grid(N, n)


def pypde() -> None:
    """Times of py-pde as JSON."""
    import pde

    def run(N: int, k: float, n: int) -> tuple[np.ndarray, float]:
        grid = pde.CartesianGrid([[0, 1], [0, 1]], [N, N], periodic=False)
        equation = pde.DiffusionPDE(diffusivity=1, noise=1, bc={"value": 0})
        control = pde.Controller(pde.EulerSolver(equation), t_range=n * k, tracker=None)
        found = control.run(pde.ScalarField(grid, 0.0), dt=k)
        return found.data, control.diagnostics["controller"]["profiler"]["solver"]

    data, _ = run(200, 1e-6, 1)
    out = {"version": pde.__version__, "noise": float((data**2).mean() * 1e6 / 200**2), "times": []}
    for tolerance in TOLERANCES:
        N, n = coarsest(differences, 0.0, tolerance)
        steps = min(n, 200)
        seconds = min(run(N, T / n, steps)[1] for _ in range(3))
        out["times"].append([N, n, seconds / steps * n])
    json.dump(out, sys.stdout)


def ours(grid: Grid, samples: int) -> float:
    """CPU seconds of one path here; the step is compared with the closed form."""
    import ufl
    from common import interleaved
    from dolfinx import fem, mesh
    from mpi4py import MPI

    from fem_deepest.noise.white import WhiteNoise
    from fem_deepest.noise.white_covariance import WhiteCovariance
    from fem_deepest.noise.wiener import QWiener
    from fem_deepest.spaces.factorised import CHOLESKY
    from fem_deepest.spde.ensemble import Ensemble
    from fem_deepest.spde.problem import SemilinearSPDE
    from fem_deepest.spde.schemes import Theta

    domain = mesh.create_unit_square(MPI.COMM_SELF, grid.N, grid.N, mesh.CellType.quadrilateral)
    V = fem.functionspace(domain, ("Lagrange", 1))
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    domain.topology.create_connectivity(1, 2)
    edge = fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(domain.topology))
    problem = SemilinearSPDE(
        V,
        A=ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx,
        bcs=[fem.dirichletbc(0.0, edge, V)],
        noise=QWiener(WhiteCovariance(V), WhiteNoise(V, 1)),
        rough=True,
    )
    scheme, k = Theta(problem, 0.5, options=CHOLESKY), T / grid.n
    e = fem.Function(V)
    e.interpolate(lambda x: 2.0 * np.sin(np.pi * x[0]) * np.sin(np.pi * x[1]))
    e = problem.blocks.of(e)
    r = float(problem.inner(e, scheme.step(e, 0.0, k, None))[0] / problem.inner(e, e)[0])
    lam = q1(grid.N)
    np.testing.assert_allclose(r, (1.0 - 0.5 * k * lam) / (1.0 + 0.5 * k * lam), rtol=1e-9)
    ensemble = Ensemble(scheme, k, range(samples))
    return interleaved([ensemble.advance], seconds=1.0)[0] * grid.n / samples


def main(path: str, quick: bool) -> int:
    """Print the table and the verdicts."""
    from common import Targets, table

    with open(path) as file:
        peer = json.load(file)
    print(f"py-pde {peer['version']}: variance of a step / closed form = {peer['noise']:.3f}")
    rows, targets = [], Targets()
    for tolerance, (N, n, seconds) in zip(TOLERANCES, peer["times"], strict=True):
        if quick and tolerance < 1e-3:
            continue
        grid = coarsest(q1, 0.5, tolerance)
        one, eight = ours(grid, 1), ours(grid, 8)
        grids = f"{N}^2 x {n}", f"{grid.N}^2 x {grid.n}"
        times = f"{seconds:.3g}", f"{one:.3g}", f"{eight:.3g}"
        ratios = f"{seconds / one:.3g}", f"{seconds / eight:.3g}"
        rows.append([f"{tolerance:g}", *grids, *times, *ratios])
    head = ["error", "py-pde grid", "grid here", "py-pde", "here", "here, of 8", "ratio", "of 8"]
    table("CPU seconds of a path at equal accuracy", head, rows)
    targets.at_least("py-pde / this package at the smallest error", seconds / one, 1.0)
    return targets.exit_code()


if __name__ == "__main__":
    if "--pypde" in sys.argv:
        pypde()
    else:
        names = [a for a in sys.argv[1:] if not a.startswith("--")]
        sys.exit(main(names[0], "--quick" in sys.argv))
