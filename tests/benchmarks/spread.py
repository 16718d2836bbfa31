"""A neuron index of 500 x 500 nodes spread over two ranks: time of a gradient, and memory of a rank.

    python3 tests/benchmarks/spread.py [--quick]

Local coupling by 1, grad and Laplace on bilinear elements, explicit Euler, tanh, 8 cells, 8 samples. The
script runs itself on an index that is not spread, on one that is "spread" over one rank, and on two ranks,
and as two independent copies at the same time, round and round: the copies show what two cores of this
machine give to two processes that need nothing of each other. Wall time of the shortest gradient, CPU
seconds of a rank, and its peak of resident memory above that of the imports. Nothing is asserted but that
the gradients are equal: the speed-up depends on the machine more than on the code.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time

import numpy as np
from common import arguments, table
from mpi4py import MPI

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.network.activation import activation
from fem_deepest.network.coupling.differential import local
from fem_deepest.network.coupling.spread import spread_local
from fem_deepest.network.loss import CrossEntropy
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid
from fem_deepest.spaces.spread import SpreadSpace

CELLS, SAMPLES, INPUTS, CLASSES = 8, 8, 4, 3
NAMES = ["1", "grad", "laplace"]


def peak() -> float:
    """Peak of resident memory, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def measure(side: int, seconds: float, is_spread: bool) -> dict[str, float]:
    """Shortest times of a gradient, and memory. Collective."""
    comm, before, extent = MPI.COMM_WORLD, peak(), (side - 1.0, side - 1.0)
    grid = ProcessGrid.create(comm, comm.size if is_spread else 1)
    index: NeuronSpace
    if is_spread:
        index = SpreadSpace.over_rectangle(grid.index, (side, side), extent)
        coupling = spread_local(index, NAMES)
    else:
        index = NeuronSpace.rectangle((side, side), extent=extent)
        coupling = local(index, NAMES)
    x, y = index.coordinates.T * (np.pi / extent[0])
    enter = np.stack([np.cos(i * x) * np.cos(j * y) for i in (1, 2) for j in (1, 2)], axis=1)
    random = np.random.default_rng(1)
    network = Network(
        DepthMesh.graded(1.0, CELLS), index, scheme("euler"), activation("tanh"), INPUTS, CLASSES,
        coupling=coupling, enter=enter,
    )  # fmt: skip
    action = NetworkAction(
        grid,
        network,
        CrossEntropy(),
        random.standard_normal((SAMPLES, INPUTS)),
        random.integers(0, CLASSES, SAMPLES),
        strength=1e-3,
        blocks=1,
    )
    u, g = action.create(), action.create()
    parameters = action.space.parameters(u.array_w)
    coupling.start(random, 0.5, parameters.theta)
    parameters.readout[:, : index.nodes] = (enter[:, :CLASSES] / np.prod(extent)).T
    begun, best, cpu, least = time.perf_counter(), np.inf, np.inf, 3
    while comm.bcast(least > 0 or time.perf_counter() < begun + seconds):
        comm.barrier()
        start, used = time.perf_counter(), time.process_time()
        value = action.gradient(u, g)
        best = min(best, time.perf_counter() - start)
        cpu, least = min(cpu, time.process_time() - used), least - 1
    norm = g.norm()
    memory = comm.allreduce(peak() - before, op=MPI.MAX)
    return {"wall": best, "cpu": cpu, "MB": memory, "action": value, "norm": norm}


def launch(ranks: int, side: int, seconds: float, is_spread: bool) -> subprocess.Popen[str]:
    """This script as a run of its own."""
    command = ["mpirun", "-n", str(ranks), "--bind-to", "none", sys.executable, __file__]
    command += ["--measure", str(side), "--seconds", str(seconds), *["--spread"] * is_spread]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)


def collect(runs: list[subprocess.Popen[str]]) -> dict[str, float]:
    """Results of runs that go on at the same time, the mean over the runs."""
    results = []
    for run in runs:
        out, _ = run.communicate()
        if run.returncode:
            raise SystemExit(f"{' '.join(map(str, run.args))} failed with {run.returncode}")
        results.append(json.loads(out.splitlines()[-1]))
    return {name: float(np.mean([r[name] for r in results])) for name in results[0]}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--measure", type=int, metavar="SIDE", help="measure here, as JSON")
    parser.add_argument("--spread", action="store_true", help="with an index that is spread")
    parser.add_argument("--seconds", type=float, default=5.0, help="time of one measurement")
    options = parser.parse_args()
    if options.measure:
        result = measure(options.measure, options.seconds, options.spread)
        if MPI.COMM_WORLD.rank == 0:
            print(json.dumps(result), flush=True)
        return 0
    side = 100 if options.quick else 500
    ways = {
        "not spread": ([1], False),
        "1 rank": ([1], True),
        "2 ranks": ([2], True),
        "two copies": ([1, 1], True),
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(1 if options.quick else 2):
        for name, (ranks, is_spread) in ways.items():
            runs = [launch(n, side, options.seconds, is_spread) for n in ranks]
            found[name].append(collect(runs))
    best = {
        name: {key: min(f[key] for f in values) for key in values[0]}
        for name, values in found.items()
    }
    one = best["1 rank"]
    rows = [
        [name, f"{b['wall']:.2f}", f"{b['cpu']:.2f}", f"{one['wall'] / b['wall']:.2f}",
         f"{one['cpu'] / b['cpu']:.2f}", f"{b['MB']:.0f}", f"{b['MB'] / one['MB']:.2f}"]
        for name, b in best.items()
    ]  # fmt: skip
    head = ["index", "wall s", "CPU s", "speed-up", "of CPU", "MB of a rank", "of 1 rank"]
    table(f"A gradient, {side} x {side} nodes, {SAMPLES} samples, {CELLS} cells", head, rows)
    same = all(
        np.isclose(b[key], one[key], rtol=1e-10)
        for b in best.values()
        for key in ("action", "norm")
    )
    print("PASS" if same else "FAIL", "action and norm of the gradient are equal")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
