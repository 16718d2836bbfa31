"""Iterations on the weight Schur complement: does the mesh, R_f or the number of ranks matter?

    python3 tests/benchmarks/schur.py [--quick]

The Gauss-Newton system of the network twin of ``twin.py`` (N = 10, K = 20, seed 0) at its cold start,
states eliminated sample by sample, right-hand side the gradient. Conjugate gradients until the energy
norm of the error is 1e-6 of that of the start, which is zero:

* two-level: the prior as smoother, exact Galerkin solve on 9 depth nodes (``WeightSchur``);
* prior: the prior alone;
* fieldsplit + GAMG: the whole system of states and weights, assembled, symmetric multiplicative field
  split with one cycle of GAMG for each of the two blocks; where it can be assembled.

``>`` means not within the limit. The two-level counts are taken again on 2, 3 and 4 ranks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial

import numpy as np
import scipy.sparse as sp
from common import Targets, arguments, table
from twin import cold_start, network_twin

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.states import StateAction
from fem_deepest.solve.network.gauss_newton import GaussNewton
from fem_deepest.solve.network.schur import WeightSchur

LIMIT = 20
TOLERANCE = 1e-6
PRIOR_LIMIT = 2000


class Energy:
    """Monitor: the first iteration whose error has at most the wanted energy.

    With ``S d* = b`` and the residual ``r`` of ``d``: ``(d - d*) . S (d - d*) = (d* - d) . r``.
    """

    def __init__(self, exact: PETSc.Vec, stride: int = 1) -> None:
        self.exact, self.stride = exact, stride
        self.first, self.reached = np.nan, None

    def __call__(self, ksp: PETSc.KSP, iteration: int, _: float) -> None:
        if self.reached is not None or iteration % self.stride:
            return
        d = ksp.buildSolution()
        b = ksp.getRhs()
        r = b.duplicate()
        ksp.getOperators()[0].mult(d, r)
        r.aypx(-1.0, b)
        e = self.exact.copy()
        e.axpy(-1.0, d)
        energy = np.sqrt(max(e.dot(r), 0.0))
        if iteration == 0:
            # The start of the two-level method has the coarse solve in it: compare with zero.
            self.first = np.sqrt(self.exact.dot(b))
        if energy <= TOLERANCE * self.first:
            self.reached = iteration
        for vec in (r, e):
            vec.destroy()


def count(action: StateAction, u: PETSc.Vec, two_level: bool) -> int | None:
    """Iterations to the energy, on the ranks of the action."""
    g, d = action.create(), action.create()
    action.gradient(u, g)
    exact = GaussNewton(action, u, partial(WeightSchur, tolerance=1e-13))
    exact.solve(g, d)
    options = {"tolerance": 1e-9, "limit": 200} if two_level else {"tolerance": 1e-12}
    solver = partial(WeightSchur, two_level=two_level, **{"limit": PRIOR_LIMIT, **options})
    system = GaussNewton(action, u, solver)
    monitor = Energy(exact.step, 1 if two_level else 20)
    system.solver.monitor = monitor
    system.solve(g, d)
    return monitor.reached


def assembled(action: StateAction, u: PETSc.Vec) -> tuple[sp.csr_matrix, int]:
    """Gauss-Newton matrix of the state form in the numbering of its vectors, and the weights' number."""
    lin, network = GaussNewton(action, u, WeightSchur).lin, action.network
    n, k, size = lin.slope.shape
    h, width = network.depth.steps, size * (size + 1)
    weights = (n + 1) * width
    cell, sample, row = np.meshgrid(np.arange(n), np.arange(k), np.arange(size), indexing="ij")
    equation = (cell * k + sample) * size + row
    rows, columns, values = [], [], []

    def add(column, value) -> None:
        shape = np.broadcast_shapes((*equation.shape, 1), column.shape, value.shape)
        rows.append(np.broadcast_to(equation[..., None], shape).ravel())
        columns.append(np.broadcast_to(column, shape).ravel())
        values.append(np.broadcast_to(value, shape).ravel())

    right = weights + (sample * n + cell) * size
    for end, weight in ((0, 0.5), (1, 0.5)):
        theta = (cell + end)[..., None] * width + row[..., None] * (size + 1) + np.arange(size + 1)
        add(theta, -weight * lin.slope[..., None] * lin.full[:, :, None, :])
        flow = -weight * lin.derivative
        flow[..., np.arange(size), np.arange(size)] += (2 * end - 1) / h[:, None, None]
        first = 1 - end
        node = right[first:] - (1 - end) * size
        equations, equation = equation, equation[first:]
        add(node[..., None] + np.arange(size), flow[first:])
        equation = equations
    shape = (n * k * size, weights + n * k * size)
    change = sp.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape
    )
    precision = np.broadcast_to(lin.precision, (n, k, size)).ravel()
    matrix = change.T @ sp.diags(precision) @ change
    diagonal, off = action.prior.field.depth
    depth = sp.diags([off, diagonal, off], [-1, 0, 1])
    last = weights + (np.arange(k)[:, None] * n + n - 1) * size + np.arange(size)
    seen = np.zeros(shape[1])
    seen[last.ravel()] = action.loss.precision / action.samples
    prior = sp.block_diag([sp.kron(depth, sp.eye(width)), sp.csr_matrix((n * k * size,) * 2)])
    return (matrix + prior + sp.diags(seen)).tocsr(), weights


def field_split(action: StateAction, u: PETSc.Vec) -> int | None:
    """Iterations of conjugate gradients with field split and GAMG."""
    matrix, weights = assembled(action, u)
    g, d = action.create(), action.create()
    action.gradient(u, g)
    exact = GaussNewton(action, u, partial(WeightSchur, tolerance=1e-13))
    exact.solve(g, d)
    a = PETSc.Mat().createAIJ(matrix.shape, csr=(matrix.indptr, matrix.indices, matrix.data))
    r = g.duplicate()
    a.mult(d, r)
    r.axpy(-1.0, g)
    assert r.norm() < 1e-6 * g.norm(), "the assembled matrix is not the eliminated one"
    ksp = PETSc.KSP().create(a.getComm())
    ksp.setOptionsPrefix("split_")
    options = PETSc.Options("split_")
    for name, value in {
        "ksp_type": "cg",
        "pc_type": "fieldsplit",
        "pc_fieldsplit_type": "symmetric_multiplicative",
        "fieldsplit_w_ksp_type": "preonly",
        "fieldsplit_w_pc_type": "gamg",
        "fieldsplit_x_ksp_type": "preonly",
        "fieldsplit_x_pc_type": "gamg",
    }.items():
        options[name] = value
    ksp.setOperators(a)
    pc = ksp.getPC()
    pc.setType("fieldsplit")
    first = PETSc.IS().createStride(weights, 0, 1)
    second = PETSc.IS().createStride(matrix.shape[0] - weights, weights, 1)
    pc.setFieldSplitIS(("w", first), ("x", second))
    ksp.setNormType(PETSc.KSP.NormType.NATURAL)
    ksp.setTolerances(rtol=1e-13, atol=0.0, max_it=PRIOR_LIMIT)
    ksp.setFromOptions()
    monitor = Energy(d, 20)
    ksp.setMonitor(monitor)
    x = d.duplicate()
    ksp.solve(g, x)
    for name in list(options.getAll()):
        options.delValue(name)
    return monitor.reached


def problem(cells: int, precision: float) -> tuple[StateAction, PETSc.Vec]:
    action = StateAction(network_twin(0, precision, cells=cells))
    return action, cold_start(action, 0)


def on_ranks(ranks: int, meshes: list[int], precisions: list[float]) -> dict[str, int]:
    """Two-level counts in a process group of its own."""
    command = ["mpirun", "--oversubscribe", "-n", str(ranks), sys.executable, __file__]
    command += ["--counts", json.dumps([meshes, precisions])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--counts", help="meshes and precisions, JSON; prints the two-level counts")
    options = parser.parse_args()
    if options.counts:
        meshes, precisions = json.loads(options.counts)
        found = {f"{n} {p}": count(*problem(n, p), True) for n in meshes for p in precisions}
        if PETSc.COMM_WORLD.getRank() == 0:
            print(json.dumps(found))
        return 0
    meshes = [32, 64] if options.quick else [32, 128, 1024]
    precisions = [1.0, 1e6] if options.quick else [1.0, 1e2, 1e4, 1e6]
    small, other_ranks = (32,), (2,) if options.quick else (2, 3, 4)
    counts = {ranks: on_ranks(ranks, meshes, precisions) for ranks in other_ranks}
    rows, worst = [], 0.0

    def shown(reached: int | None) -> str:
        return f"> {PRIOR_LIMIT}" if reached is None else str(reached)

    for n in meshes:
        for precision in precisions:
            action, u = problem(n, precision)
            two = [count(action, u, True)]
            two += [counts[ranks][f"{n} {precision}"] for ranks in other_ranks]
            worst = max(worst, *(np.inf if c is None else c for c in two))
            alone = shown(count(action, u, False)) if n <= 128 else "-"
            split = shown(field_split(action, u)) if n in small else "-"
            rows.append([n, f"{precision:g}", *map(shown, two), alone, split])
    table(
        "Iterations until the energy of the error is 1e-6",
        [
            *("cells", "R_f", "two-level"),
            *(f"{ranks} ranks" for ranks in other_ranks),
            *("prior alone", "fieldsplit + GAMG"),
        ],
        rows,
    )
    targets = Targets()
    targets.at_most("most iterations of the two-level method", worst, LIMIT)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
