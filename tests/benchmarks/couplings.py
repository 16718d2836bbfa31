"""A gradient with couplings by operators against one with dense coupling, from 64 to 4096 neurons.

    python3 tests/benchmarks/couplings.py [--quick]

One forward and one adjoint sweep (explicit Euler, tanh, 2 cells, 256 samples) with the gradient in the
parameters. "flop" counts the stencils alone, ``2 (C J + 1) C`` for a node, a sample and each of the three
products of a cell; "triad" is the bandwidth of what the sweeps cannot do without, 18 arrays of the size of
a state for a cell, beside that of ``a = b + s c`` on arrays of the same size. The second table has the
value of a convolution alone, by stencils, by whole matrices and by FFT.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial

import numpy as np
from common import Targets, arguments, interleaved, table

from fem_deepest.network.activation import activation
from fem_deepest.network.coupling import convolution as ways
from fem_deepest.network.coupling.convolution import convolution
from fem_deepest.network.coupling.dense import Dense
from fem_deepest.network.coupling.differential import elliptic, local
from fem_deepest.network.coupling.operators import OperatorCoupling
from fem_deepest.network.coupling.protocol import Coupling
from fem_deepest.network.flow import Flow
from fem_deepest.network.scheme import scheme
from fem_deepest.spaces import NeuronSpace, stencil

CELLS, SAMPLES, ARRAYS = 2, 256, 18
ALL = ["1", "grad", "laplace"]


def line(n: int, channels: int = 1) -> NeuronSpace:
    """P1 on an interval, ``n`` neurons in all."""
    nodes = n // channels
    return NeuronSpace.interval(nodes, "P1", extent=nodes - 1.0, channels=channels)


def plane(n: int, channels: int = 1) -> NeuronSpace:
    """Q1 on a square, ``n`` neurons in all."""
    side = round((n // channels) ** 0.5)
    sides = (side - 1.0, side - 1.0)
    return NeuronSpace.rectangle((side, side), "P1", extent=sides, channels=channels)


COUPLINGS: dict[str, Callable[[int], Coupling]] = {
    "local, line": lambda n: local(line(n), ALL),
    "local, square": lambda n: local(plane(n), ALL),
    "local uniform, square, 4 channels": lambda n: local(plane(n, 4), ALL, uniform=True),
    "elliptic, square": lambda n: elliptic(plane(n), ["1", "grad"], 0.5),
    "convolution 5 x 5, square": lambda n: convolution(plane(n), 2.0),
}


def gradient(coupling: Coupling) -> Callable[[], None]:
    """A forward and an adjoint sweep."""
    rng, n = np.random.default_rng(0), coupling.neurons
    flow = Flow(np.full(CELLS, 0.1), coupling, SAMPLES, scheme("euler"), activation("tanh"), 0.0)
    stored = np.empty((CELLS, *coupling.shape))
    coupling.start(rng, 0.5, stored)
    theta = coupling.effective(stored)[:, None]
    sums = np.empty(theta.shape)
    x, q = rng.uniform(-0.5, 0.5, (2, n, SAMPLES))

    def run() -> None:
        flow.forward(theta, x.copy())
        flow.adjoint(theta, q.copy(), sums, fresh=True)

    return run


def triad(n: int) -> Callable[[], None]:
    """``a = b + s c`` on three states."""
    a, b, c = np.ones((3, n, SAMPLES))

    def run() -> None:
        np.multiply(c, 3.0, out=a)
        np.add(a, b, out=a)

    return run


def convolutions(cases: list[tuple[NeuronSpace, float]], seconds: float) -> None:
    """Ways to multiply by a convolution."""
    rows, kept = [], (stencil._WHOLE, ways._MANY, ways._WIDE)
    for index, reach in cases:
        calls = []
        for whole, many in ((0, 10**9), (10**9, 10**9), (0, 0)):
            stencil._WHOLE, ways._MANY, ways._WIDE = whole, many, 0
            coupling = ways.convolution(index, reach)
            work, rng = coupling.buffers(SAMPLES), np.random.default_rng(0)
            theta, out = rng.standard_normal(coupling.shape), np.empty((index.neurons, SAMPLES))
            full = rng.standard_normal((index.neurons + 1, SAMPLES))
            coupling.value(theta, full, out, work)  # what is made once is made in this way
            calls.append(partial(coupling.value, theta, full, out, work))
        times = interleaved(calls, seconds, least=2)
        offsets = (coupling.shape[1] - 1) // index.channels
        rows.append([index.nodes, index.dimension, offsets, *(f"{1e3 * t:.2f}" for t in times)])
    stencil._WHOLE, ways._MANY, ways._WIDE = kept
    head = ["N", "dimension", "offsets", "stencil ms", "whole matrix ms", "FFT ms"]
    table("Convolution of 256 samples, one channel", head, rows)


def main() -> int:
    """Run the benchmark."""
    options = arguments(__doc__).parse_args()
    sizes = [64, 256] if options.quick else [64, 256, 1024, 4096]
    seconds = 0.2 if options.quick else 0.6
    targets, rows = Targets(), []
    for n in sizes:
        names = list(COUPLINGS)
        couplings = [COUPLINGS[name](n) for name in names]
        calls = [gradient(Dense(NeuronSpace.points(n))), triad(n), *map(gradient, couplings)]
        dense, three, *times = interleaved(calls, seconds, least=3)
        arrays = n * SAMPLES * 8
        for name, coupling, seconds_taken in zip(names, couplings, times, strict=True):
            assert isinstance(coupling, OperatorCoupling)
            C, J = coupling.channels, coupling.stencils.size
            flop = 3 * 2 * (C * J + 1) * C * coupling.nodes * SAMPLES * CELLS
            rates = [
                dense / seconds_taken,
                flop / seconds_taken / 1e9,
                ARRAYS * CELLS * arrays / seconds_taken / (3 * arrays / three),
            ]
            times_ms = [f"{1e3 * t:.2f}" for t in (seconds_taken, dense)]
            rows.append(
                [n, name, np.prod(coupling.shape), *times_ms, *(f"{rate:.2f}" for rate in rates)]
            )
            if name.startswith("local,") and n >= 1024:
                targets.at_least(f"dense / {name}, N = {n}", dense / seconds_taken, 4.0)
    head = ["N", "coupling", "parameters at a node", "ms", "dense ms", "dense / this", "GFlop/s"]
    table("Gradient of 2 cells, 256 samples, one thread", [*head, "of triad"], rows)
    cases = [(line(64), 16.0), (plane(64), 2.0), (line(256), 25.0), (plane(256), 2.0)]
    if not options.quick:
        cases += [(line(1024), 100.0), (plane(1024), 2.0), (plane(1024), 6.0)]
        cases += [(line(4096), 400.0), (plane(4096), 2.0), (plane(4096), 6.0)]
    convolutions(cases, seconds)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
