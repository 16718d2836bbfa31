"""The prior with a length along the index: its share of a gradient, and iterations under refinement.

    python3 tests/benchmarks/prior.py [--quick]

First table: dense kernels on P1 with 16 depth cells and 1000 samples. A solve with ``ell > 0`` has
``8 n N^3`` floating-point operations in the transforms to modes and back and ``8 n N^2`` in the
elimination in depth, a gradient ``6 n K N^2``; "expected" is the ratio of these, at equal speed. A step of
the quasi-Newton method takes one gradient (with a product with the prior in it) and one solve.

Second table: steps of the quasi-Newton method, and conjugate gradients for the Gauss-Newton step there, of
one problem on finer and finer indices: four coefficients enter as a function of the index, two functionals
of the last state are fitted. The target is that the counts with ``ell > 0`` do not grow.
"""

from __future__ import annotations

import sys

import numpy as np
from common import Targets, arguments, interleaved, table

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.network.activation import activation
from fem_deepest.network.loss import CrossEntropy, LeastSquares
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.solve.lmvm import minimise
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid

CELLS, SAMPLES, ELL = 16, 1000, 0.3
GROWTH = 1.2


def share(neurons: int, samples: int) -> list[float]:
    """Times of a gradient, and of product and solve of the prior with ``ell = 0`` and ``ell > 0``."""
    random = np.random.default_rng(0)
    network = Network(
        DepthMesh.graded(2.0, CELLS),
        NeuronSpace.interval(neurons, "P1"),
        scheme("euler"),
        activation("tanh"),
        inputs=10,
        outputs=10,
        linear_lift=True,
    )
    z, classes = random.standard_normal((samples, 10)), random.integers(10, size=samples)
    actions = [
        NetworkAction(
            ProcessGrid.create(), network, CrossEntropy(), z, classes, strength=1e-4, ell=ell
        )
        for ell in (0.0, ELL)
    ]
    plain, smooth = actions
    u, r, d = (plain.create() for _ in range(3))
    u.array[...] = random.standard_normal(u.getSize())
    return interleaved(
        [
            lambda: plain.gradient(u, r),
            lambda: plain.metric.apply(u, d),
            lambda: plain.metric.solve(u, d),
            lambda: smooth.metric.apply(u, d),
            lambda: smooth.metric.solve(u, d),
        ],
        seconds=1.0,
    )


def iterations(neurons: int, ell: float, samples: int) -> tuple[int, int, float]:
    """Quasi-Newton steps, iterations for the Newton step after them, and the action reached."""
    index = NeuronSpace.interval(neurons, "P1", "consistent")
    s, random = index.coordinates[:, 0], np.random.default_rng(0)
    enter = np.stack([np.cos(k * np.pi * s) for k in range(4)], axis=1)
    z = random.standard_normal((samples, 4))
    y = np.stack([np.sin(2.0 * z[:, 0] * z[:, 1]), np.tanh(z[:, 2] - z[:, 3] ** 2)], axis=1)
    network = Network(
        DepthMesh.graded(2.0, CELLS),
        index,
        scheme("euler"),
        activation("tanh"),
        inputs=4,
        outputs=2,
        enter=enter,
    )
    action = NetworkAction(
        ProcessGrid.create(), network, LeastSquares(1.0), z, y, strength=1e-4, ell=ell
    )
    u, g = action.create(), action.create()
    action.gradient(u, g)
    first = dual_norm(action.metric, g)
    memory = LimitedMemory(action.metric, 20)
    outcome = minimise(action, u, memory, tolerance=1e-3 * first, iterations=2000)
    assert outcome.converged
    return outcome.iterations, conjugate_gradients(action, u), action.value(u)


def conjugate_gradients(action: NetworkAction, u: PETSc.Vec) -> int:
    """Iterations for a Gauss-Newton step at ``u`` in the metric, to a millionth of the start."""
    r, p, z, image = (action.create() for _ in range(4))
    action.gradient(u, r)
    action.metric.solve(r, z)
    z.copy(p)
    rz = first = r.dot(z)
    for count in range(1000):
        if rz <= 1e-12 * first:
            return count
        action.gauss_newton(u, p, image)
        r.axpy(-rz / p.dot(image), image)
        action.metric.solve(r, z)
        rz, old = r.dot(z), rz
        p.aypx(rz / old, z)
    return 1000


def main() -> int:
    """Print both tables and the verdicts."""
    quick = arguments(__doc__).parse_args().quick
    targets, rows = Targets(), []
    for neurons in (64,) if quick else (64, 256, 512):
        gradient, *times = share(neurons, SAMPLES)
        plain_apply, plain_solve, apply, solve = (f"{t / gradient:.3f}" for t in times)
        expected = f"{8 * (neurons + 1) / (6 * SAMPLES):.3f}"
        rows.append(
            (neurons, f"{1e3 * gradient:.1f} ms", plain_apply, plain_solve, apply, solve, expected)
        )
    head = ("N", "gradient", "product, ell = 0", "solve, ell = 0", "product", "solve", "expected")
    table(f"The prior in gradients of {SAMPLES} samples, {CELLS} cells, P1", head, rows)

    sizes, found = ((9, 17) if quick else (17, 33, 65, 129)), {}
    for ell in (ELL, 0.0):
        found[ell] = [iterations(n, ell, 100) for n in sizes]
    rows = [
        (n, *smooth[:2], f"{smooth[2]:.6f}", *rough[:2], f"{rough[2]:.6f}")
        for n, smooth, rough in zip(sizes, found[ELL], found[0.0], strict=True)
    ]
    head = ("N", f"steps, ell = {ELL}", "CG", "action", "steps, ell = 0", "CG", "action")
    table("Iterations as the index is refined", head, rows)
    counts = np.array([row[:2] for row in found[ELL]])
    for name, own in zip(("quasi-Newton steps", "conjugate gradients"), counts.T, strict=True):
        targets.at_most(
            f"{name}, the most over the fewest, ell = {ELL}", own.max() / own.min(), GROWTH
        )
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
