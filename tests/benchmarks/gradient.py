"""A gradient against its own matrix products and activations, and against dgemm.

    python3 tests/benchmarks/gradient.py [--quick]

16 cells, tanh, linear readout, tiles as the action makes them. "parts" are the matrix products and
the activation passes that the sweeps cannot do without, timed alone in the same process on buffers
of the same shapes, one buffer for each cell and stage as in the sweeps:

    forward  (N, N+1) (N+1, k) and sigma;  adjoint  (N, N) (N, k), (N, k) (k, N+1) and sigma'.

"dgemm" are the products alone. GFlop/s count the products alone too, so that the share of dgemm is
what the gradient loses to everything else. An implicit stage has no fixed number of products; they
are counted while it runs.
"""

from __future__ import annotations

import sys

import numpy as np
from common import Targets, arguments, interleaved, table

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.network import stage
from fem_deepest.network.activation import activation
from fem_deepest.network.loss import CrossEntropy
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid

CELLS, DEPTH, CLASSES = 16, 2.0, 10


def make_action(neurons: int, samples: int, name: str) -> NetworkAction:
    """An action on random data."""
    rng = np.random.default_rng(0)
    network = Network(
        depth=DepthMesh.graded(DEPTH, CELLS),
        index=NeuronSpace.points(neurons),
        scheme=scheme(name),
        activation=activation("tanh"),
        inputs=neurons,
        outputs=CLASSES,
    )
    return NetworkAction(
        ProcessGrid.create(),
        network,
        CrossEntropy(),
        rng.uniform(-0.5, 0.5, (samples, neurons)),
        rng.integers(CLASSES, size=samples),
        strength=1e-4,
    )


class Parts:
    """Products and activations of a gradient on buffers of their own.

    Args:
        action: Gives the shapes.
        turns: Products of the fixed-point turns of the implicit stages, forward and adjoint, summed
            over the tiles, per cell and tile on average.
    """

    def __init__(self, action: NetworkAction, turns: tuple[float, float]) -> None:
        network = action.network
        n, stages = network.index.neurons, network.scheme.stages
        self.widths = [z.shape[1] for z in action.tiles.inputs]
        self.layers = CELLS * stages
        rng = np.random.default_rng(1)
        self.activation = network.activation
        slots = len(network.scheme.abscissae)
        self.matrices = 0.5 / np.sqrt(n) * rng.standard_normal((CELLS, slots, n, n + 1))
        self.slot = network.scheme.slot
        self.turns = [round(t * CELLS) for t in turns]
        self.sums = np.empty((n, n + 1))
        self.buffers = {
            k: (
                rng.standard_normal((self.layers, n + 1, k)),
                np.empty((self.layers, n, k)),
                rng.standard_normal((n, k)),
                np.empty((n, k)),
            )
            for k in set(self.widths)
        }

    @property
    def flops(self) -> float:
        """Floating-point operations of the products."""
        n = self.sums.shape[0]
        forward, turned = n * (n + 1), n * n
        each = self.layers * (2 * forward + turned)
        each += self.turns[0] * forward + self.turns[1] * turned
        return 2.0 * sum(self.widths) * each

    def products(self) -> None:
        """Only the matrix products."""
        self._run(False)

    def all(self) -> None:
        """Products and activations."""
        self._run(True)

    def _run(self, activations: bool) -> None:
        for k in self.widths:
            states, values, v, chi = self.buffers[k]
            for i in range(self.layers):
                cell, j = divmod(i, self.layers // CELLS)
                matrix = self.matrices[cell, self.slot[j]]
                np.matmul(matrix, states[i], out=values[i])
                if activations:
                    self.activation.value(values[i], values[i])
            for i in range(self.turns[0]):
                np.matmul(self.matrices[i % CELLS, 0], states[i % CELLS], out=chi)
                if activations:
                    self.activation.value(chi, chi)
            for i in reversed(range(self.layers)):
                cell, j = divmod(i, self.layers // CELLS)
                matrix = self.matrices[cell, self.slot[j]]
                if activations:
                    self.activation.first(values[i], chi)
                np.matmul(matrix[:, :-1].T, v, out=chi)
                np.matmul(v, states[i].T, out=self.sums)
            for i in range(self.turns[1]):
                np.matmul(self.matrices[i % CELLS, 0, :, :-1].T, v, out=chi)


def implicit_turns(action: NetworkAction, gradient) -> tuple[float, float]:
    """Fixed-point turns per cell and tile in a forward and in an adjoint sweep."""
    if not any(action.network.scheme.a[j][j] for j in range(action.network.scheme.stages)):
        return 0.0, 0.0
    counts, original = [0, 0], stage.contract

    def counted(step, y):
        # The linear stage of the adjoint solves for a new array, the forward one in the buffer.
        kind = int(y.base is None)

        def turn(z, out):
            counts[kind] += 1
            step(z, out)

        return original(turn, y)

    stage.contract = counted
    try:
        gradient()
    finally:
        stage.contract = original
    cells = CELLS * len(action.tiles.inputs)
    return counts[0] / cells, counts[1] / cells


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="time for each of the three")
    options = parser.parse_args()
    cases = [(n, k, "euler") for n in (16, 64, 128, 256) for k in (128, 1437, 8000)]
    cases += [(64, 1437, "rk4"), (64, 1437, "midpoint")]
    if options.quick:
        cases = [(64, 128, "euler"), (64, 1437, "euler"), (64, 1437, "rk4")]
    rows, excess, share = [], {}, {}
    for neurons, samples, name in cases:
        action = make_action(neurons, samples, name)
        u, g = action.create(), action.create()
        rng = np.random.default_rng(2)
        u.array_w[...] = 0.5 / np.sqrt(neurons) * rng.standard_normal(u.getSize())

        def gradient(action=action, u=u, g=g) -> None:
            action.gradient(u, g)

        parts = Parts(action, implicit_turns(action, gradient))
        times = interleaved([gradient, parts.all, parts.products], options.seconds)
        case = f"N = {neurons}, K = {samples}, {name}"
        excess[case] = times[0] / times[1]
        share[case] = times[2] / times[0]
        rates = [parts.flops / t / 1e9 for t in (times[0], times[2])]
        rows.append(
            [neurons, samples, name, "+".join(map(str, sorted(set(parts.widths))))]
            + [f"{1e3 * t:.2f}" for t in times]
            + [f"{excess[case]:.2f}", *(f"{r:.1f}" for r in rates), f"{100 * share[case]:.0f} %"]
        )
    head = ["N", "K", "scheme", "tile", "gradient ms", "parts ms", "dgemm ms", "gradient/parts"]
    head += ["GFlop/s", "dgemm GFlop/s", "share"]
    table(f"Gradient of {CELLS} cells, one thread", head, rows)
    targets = Targets()
    for case, value in excess.items():
        targets.at_most(f"gradient / parts, {case}", value, 2.0)
    for (neurons, samples, _), (case, value) in zip(cases, share.items(), strict=True):
        if neurons >= 64 and samples >= 128:
            targets.at_least(f"share of dgemm, {case}", value, 0.3)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
