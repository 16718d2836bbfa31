"""The stochastic heat equation here and in py-pde, at equal accuracy.

    docker/run python3 tests/benchmarks/heat.py
    FEM_DEEPEST_PYPDE_PYTHON=/path/to/python python3 tests/benchmarks/heat.py

``du = u_xx dt + dW`` on (0, 1), zero at both ends, white noise, from zero to T = 0.5. The error is that of
``E |u(T)|^2``, which is known exactly for both methods (sums over the modes): P1 with Crank-Nicolson here,
finite differences with explicit Euler-Maruyama in py-pde, which offers no other scheme for noise. For
each tolerance each method takes the mesh and step that reach it with the least work among many; then time
is CPU time a path. Explicit Euler takes ``h^-2`` steps for its stability, so its work grows like ``h^-3``.
The second moments of the paths are compared with their exact values, so that both are seen to do what
they say. ``heat_pypde.py`` runs in the interpreter FEM_DEEPEST_PYPDE_PYTHON, which needs py-pde (on PyPI).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import ufl
from common import Targets, arguments, table
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.white_covariance import WhiteCovariance
from fem_deepest.noise.wiener import QWiener
from fem_deepest.spde.ensemble import Ensemble
from fem_deepest.spde.problem import SemilinearSPDE
from fem_deepest.spde.schemes import Theta

T = 0.5
EXACT = sum(
    (1.0 - np.exp(-2.0 * T * (j * np.pi) ** 2)) / (2.0 * (j * np.pi) ** 2)
    for j in range(1, 200_000)
)
TOLERANCES = (1e-1, 3e-2, 1e-2, 3e-3)


def ours(cells: int, steps: int) -> float:
    """``E |u_h|^2`` of P1 with Crank-Nicolson."""
    k, x = T / steps, np.arange(1, cells) * np.pi / cells
    lam = 6.0 * cells**2 * (1.0 - np.cos(x)) / (2.0 + np.cos(x))
    factor = (1.0 - 0.5 * k * lam) / (1.0 + 0.5 * k * lam)
    return float(np.sum((1.0 - factor ** (2 * steps)) / (2.0 * lam)))


def theirs(cells: int, steps: int) -> float:
    """``E |u_h|^2`` of finite differences in cells with explicit Euler."""
    k, x = T / steps, np.arange(1, cells + 1) * np.pi / cells
    lam = 4.0 * cells**2 * np.sin(0.5 * x) ** 2
    if k * lam.max() >= 2.0:
        return np.inf
    return float(np.sum((1.0 - (1.0 - k * lam) ** (2 * steps)) / (lam * (2.0 - k * lam))))


def cheapest(moment, tolerance: float) -> tuple[int, int]:
    """Cells and steps of least work with a relative error below the tolerance."""
    sizes = np.unique(np.round(2.0 ** np.arange(2.0, 11.0, 0.25)).astype(int))
    found = []
    for cells in sizes:
        ratios = cells**2 * np.array([1.0, 1.05, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0])
        for steps in sorted({*sizes, *np.ceil(ratios).astype(int)}):
            if found and cells * steps >= min(found)[0]:
                break
            if abs(moment(cells, steps) / EXACT - 1.0) <= tolerance:
                found.append((cells * steps, int(cells), int(steps)))
                break
    _, cells, steps = min(found)
    return cells, steps


def run(cells: int, steps: int, paths: int) -> tuple[float, float, float]:
    """CPU seconds a path, mean of ``|u(T)|^2`` and its standard error."""
    V = fem.functionspace(mesh.create_unit_interval(MPI.COMM_SELF, cells), ("Lagrange", 1))
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    V.mesh.topology.create_connectivity(0, 1)
    facets = mesh.exterior_facet_indices(V.mesh.topology)
    problem = SemilinearSPDE(
        V,
        A=ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx,
        noise=QWiener(WhiteCovariance(V), WhiteNoise(V, 1)),
        bcs=[fem.dirichletbc(0.0, fem.locate_dofs_topological(V, 0, facets), V)],
    )
    Ensemble(Theta(problem, 0.5), T / steps, range(paths)).advance()  # compiles, warms up
    begun = time.process_time()
    U = Ensemble(Theta(problem, 0.5), T / steps, range(paths)).advance(steps)
    seconds = (time.process_time() - begun) / paths
    squares = np.einsum("is,is->s", U, problem.mass(U))
    return seconds, float(squares.mean()), float(squares.std(ddof=1) / np.sqrt(paths))


def main() -> int:
    options = arguments(__doc__).parse_args()
    targets, python = Targets(), os.environ.get("FEM_DEEPEST_PYPDE_PYTHON")
    rows, ratios, off = [], [], []
    for tolerance in TOLERANCES[: 2 if options.quick else None]:
        size = cheapest(ours, tolerance)
        one, many = run(*size, 1)[0], run(*size, 64)
        off.append(abs(many[1] - ours(*size)) / many[2])
        row = [
            f"{tolerance:g}",
            f"{size[0]} x {size[1]}",
            f"{1e3 * one:.2f}",
            f"{1e3 * many[0]:.3f}",
        ]
        if python:
            size = cheapest(theirs, tolerance)
            script = Path(__file__).with_name("heat_pypde.py")
            paths = 64
            command = [python, str(script), *map(str, (*size, paths))]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            off.append(abs(found["moment"] - theirs(*size)) / found["error"])
            ratios.append(found["seconds"] / many[0])
            row += [f"{size[0]} x {size[1]}", f"{1e3 * found['seconds']:.2f}", f"{ratios[-1]:.1f}"]
            row.append(f"{found['seconds'] / one:.2f}")
        rows.append(row)
    head = ["tolerance", "cells x steps", "one path ms", "of 64 ms"]
    if python:
        head += ["py-pde cells x steps", "a path ms", "ratio of 64", "of one"]
    table("CPU time a path of the stochastic heat equation", head, rows)
    targets.at_most("second moments off the exact ones, standard errors", max(off), 4.5)
    if python:
        targets.at_least("time of py-pde over ours at the smallest tolerance", ratios[-1], 1.0)
    else:
        targets.skip("time of py-pde over ours", "FEM_DEEPEST_PYPDE_PYTHON names no interpreter")
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
