"""Gradients of many networks side by side against the same ones one after the other.

    python3 tests/benchmarks/replicas.py [--quick]

4 cells, tanh, linear lift and readout. "alone" is a gradient of the action, "side by side" one of
replicas, each for one network. With few samples the time of one network is that of the calls, which
side by side serve all; with many it is that of the floating-point operations, which nothing saves.
"""

from __future__ import annotations

import sys

import numpy as np
from common import Targets, arguments, interleaved, table
from mpi4py import MPI

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.replicas import Replicas
from fem_deepest.network.activation import activation
from fem_deepest.network.loss import CrossEntropy
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid

CASES = ((4, 1, 30), (8, 64, 898), (10, 64, 1437))  # neurons, inputs, samples
LEAST = (8.0, 2.0, 1.5)  # of alone / side by side, for 8 networks


def make_action(neurons: int, inputs: int, samples: int) -> NetworkAction:
    """An action on random data."""
    rng = np.random.default_rng(0)
    network = Network(
        depth=DepthMesh.graded(2.0, 4),
        index=NeuronSpace.points(neurons),
        scheme=scheme("euler"),
        activation=activation("tanh"),
        inputs=inputs,
        outputs=10,
        linear_lift=True,
    )
    z, targets = rng.uniform(-0.5, 0.5, (samples, inputs)), rng.integers(10, size=samples)
    grid = ProcessGrid.create(MPI.COMM_SELF)
    return NetworkAction(grid, network, CrossEntropy(), z, targets, strength=1e-3)


def main() -> int:
    options = arguments(__doc__).parse_args()
    rows, gains = [], []
    for neurons, inputs, samples in CASES:
        action = make_action(neurons, inputs, samples)
        u, g, replicas = action.create(), action.create(), Replicas(action)
        for many in (8,) if options.quick else (1, 8, 32):
            w = 0.3 * np.random.default_rng(1).standard_normal((many, replicas.size))
            u.array_w[...] = w[0]
            alone, block = interleaved(
                [
                    lambda action=action, u=u, g=g: action.gradient(u, g),
                    lambda replicas=replicas, w=w: replicas.gradient(w),
                ]
            )
            gain = alone * many / block
            times = [f"{1e3 * alone:.3f}", f"{1e3 * block / many:.3f}", f"{gain:.1f}"]
            rows.append([neurons, samples, many, *times])
            if many == 8:
                gains.append((f"N = {neurons}, K = {samples}", gain))
    head = ["N", "K", "networks", "alone ms", "side by side ms", "ratio"]
    table("A gradient of one network, one thread", head, rows)
    targets = Targets()
    for (case, gain), least in zip(gains, LEAST, strict=True):
        targets.at_least(f"alone / side by side of 8, {case}", gain, least)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
