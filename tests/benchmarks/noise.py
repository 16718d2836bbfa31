"""Drawing noise: against NumPy's own normals, and against the solve it is drawn for.

    python3 tests/benchmarks/noise.py [--quick]

* numbers: time of one standard normal by Philox4x32-10 over that of ``Generator.standard_normal`` into an
  array, for several numbers a cell and samples at a time. A counter makes two: an odd number of them
  leaves one of the last pair unused. Beside it the version that does without a C compiler.
* load: coefficients and load of white noise on P1 triangles of the unit square (three points a cell)
  against one solve with the matrix ``M + dt K`` factorised before (Cholesky, MUMPS), one path and many.
* spaces: coefficients a degree of freedom, on cells of several kinds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
import ufl
from common import Targets, arguments, interleaved, table
from dolfinx import fem, mesh
from dolfinx.fem import petsc
from mpi4py import MPI

from fem_deepest._petsc import PETSc
from fem_deepest.noise import vectorised
from fem_deepest.noise.philox import normals
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.spaces.factorised import CHOLESKY, Factorised

RATIO = 4.0  # times NumPy's normals
LOAD = 1.0  # times the solve
COMM = MPI.COMM_SELF
CELLS = mesh.CellType


def numbers(targets: Targets, size: int, seconds: float) -> None:
    """Standard normals of this package and of NumPy."""
    generator, rows = np.random.default_rng(0), []
    for width, samples in [(1, 1), (2, 1), (3, 1), (4, 1), (6, 1), (27, 1), (3, 16), (1, 256)]:
        keys = np.arange(size // (width * samples), dtype=np.uint64)
        out = np.empty((keys.size * width, samples))
        draw = partial(normals, 1, keys, 5, 2, range(samples), width, out)
        which = np.arange(samples, dtype=np.uint64)
        fallback = partial(vectorised.fill, 1, 2, keys, 5, which, width, out)
        calls = [draw, fallback, partial(generator.standard_normal, out=out)]
        own, plain, numpy = interleaved(calls, seconds)
        cells = [f"{t / out.size * 1e9:.1f}" for t in (own, plain, numpy)]
        rows.append([width, samples, *cells, f"{own / numpy:.2f}", f"{plain / numpy:.2f}"])
        targets.at_most(
            f"a normal, {width} a cell, {samples} samples, over NumPy's", own / numpy, RATIO
        )
    head = [
        "a cell",
        "samples",
        "ns",
        "without compiler",
        "NumPy's own",
        "ratio",
        "without compiler",
    ]
    table("Standard normals", head, rows)


def solver(V: fem.FunctionSpace, dt: float) -> Factorised:
    """``(M + dt K)^{-1}``."""
    u, v = ufl.TrialFunction(V), ufl.TestFunction(V)
    A: PETSc.Mat = petsc.assemble_matrix(
        fem.form(u * v * ufl.dx + dt * ufl.inner(ufl.grad(u), ufl.grad(v)) * ufl.dx)
    )
    A.assemble()
    return Factorised(A, "benchmark_noise", CHOLESKY)


def loads(targets: Targets, n: int, seconds: float) -> None:
    """One noise load beside one solve of the step of the heat equation."""
    V = fem.functionspace(mesh.create_unit_square(COMM, n, n), ("Lagrange", 1))
    dt, white, rows = 1.0 / n, WhiteNoise(V, 1), []
    solve = solver(V, dt).solve
    for samples in (1, 8):
        which = range(samples)
        b = white.load(0, dt, which)
        calls: list[Callable[[], object]] = [
            partial(solve, b),
            partial(white.load, 3, dt, which),
            partial(white.normals, 3, which),
        ]
        times = interleaved(calls, seconds, least=3)
        rows.append(
            [b.shape[0], samples, *(f"{t * 1e3:.1f}" for t in times), f"{times[1] / times[0]:.2f}"]
        )
        if samples == 1:
            targets.at_most("load over solve, one path", times[1] / times[0], LOAD)
    head = ["unknowns", "samples", "solve, ms", "load, ms", "of it normals, ms", "load / solve"]
    table("White noise beside the solve, P1 triangles", head, rows)


def spaces() -> None:
    """How many normals a degree of freedom costs."""
    rows = []
    for kind, n in [
        ("interval", 100),
        ("triangle", 30),
        ("quadrilateral", 30),
        ("tetrahedron", 10),
        ("hexahedron", 10),
    ]:
        cell = getattr(CELLS, kind)
        if kind == "interval":
            domain = mesh.create_unit_interval(COMM, n)
        elif kind in ("triangle", "quadrilateral"):
            domain = mesh.create_unit_square(COMM, n, n, cell)
        else:
            domain = mesh.create_unit_cube(COMM, n, n, n, cell)
        counts = []
        for degree in (1, 2, 3):
            white = WhiteNoise(fem.functionspace(domain, ("Lagrange", degree)), 0)
            counts.append(f"{white.weights.size / white.blocks.owned:.1f}")
        rows.append([kind, *counts])
    table("Normals for each degree of freedom", ["cell", "degree 1", "2", "3"], rows)


def main() -> int:
    options = arguments(__doc__).parse_args()
    targets = Targets()
    numbers(targets, 100_000 if options.quick else 1_000_000, 0.3 if options.quick else 1.0)
    loads(targets, 100 if options.quick else 316, 0.5 if options.quick else 2.0)
    spaces()
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
