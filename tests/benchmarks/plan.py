"""The performance model against measured gradients and iterations on one to four ranks.

    python3 tests/benchmarks/plan.py [--quick]

256 neurons, 32 cells, euler, tanh, 1024 samples in chunks of 64. The script measures the constants of this
machine with as many ranks as it has cores, then starts itself on one to four ranks and times sharded
weights on every grid, and whole weights; round and round, and the shortest time of each counts. Ranks
beyond the cores share these: waiting ranks have to yield (``mpi_yield_when_idle``, which Open MPI sets by
itself where it knows of too few cores), and the model assumes that they do.

The target is 25 % between model and measurement, on a quiet machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from common import Targets, arguments, table
from mpi4py import MPI

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.slab.action import SlabAction
from fem_deepest.network.activation import activation
from fem_deepest.network.loss import CrossEntropy
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.performance import calibration, traffic
from fem_deepest.performance.choose import Estimate
from fem_deepest.performance.layout import Layout, factorisations
from fem_deepest.performance.machine import node
from fem_deepest.performance.workload import Workload
from fem_deepest.solve.lmvm import minimise
from fem_deepest.solve.memory import LimitedMemory
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid

NEURONS, CELLS, SAMPLES, CHUNK, INPUTS, CLASSES, MEMORY = 256, 32, 1024, 64, 64, 10, 5
ITERATIONS = MEMORY + 2
WITHIN = 0.25


def make_network(quick: bool) -> tuple[Network, int]:
    """The network and its number of samples."""
    network = Network(
        depth=DepthMesh.graded(2.0, 8 if quick else CELLS),
        index=NeuronSpace.points(64 if quick else NEURONS),
        scheme=scheme("euler"),
        activation=activation("tanh"),
        inputs=INPUTS,
        outputs=CLASSES,
    )
    return network, 256 if quick else SAMPLES


def measure(grid: str, quick: bool, seconds: float) -> dict[str, Any] | None:
    """Shortest times of a gradient and an iteration on the ranks of this run. Collective."""
    comm, rng = MPI.COMM_WORLD, np.random.default_rng(0)
    network, samples = make_network(quick)
    inputs = rng.uniform(-0.5, 0.5, (samples, INPUTS))
    targets = rng.integers(CLASSES, size=samples)
    given = network, CrossEntropy(), inputs, targets
    slabs = 1 if grid == "whole" else int(grid.split("x")[0])
    ranks = ProcessGrid.create(comm, depth=slabs)
    action: Any
    if grid == "whole":
        action = NetworkAction(ranks, *given, strength=1e-4)
    else:
        action = SlabAction(ranks, *given, strength=1e-4, chunk=CHUNK)
    u, g = action.create(), action.create()
    own = np.random.default_rng(comm.rank)
    u.array_w[...] = 0.5 / np.sqrt(network.index.neurons) * own.standard_normal(u.getLocalSize())
    times: dict[str, list[float]] = {"gradient": [], "iteration": []}

    def clock() -> float:
        comm.barrier()
        return time.perf_counter()

    action.gradient(u, g)
    end = clock() + seconds
    while comm.bcast(not times["iteration"] or time.perf_counter() < end):
        for _ in range(3):
            begun = clock()
            action.gradient(u, g)
            times["gradient"].append(clock() - begun)
        memory, v, stamps = (
            LimitedMemory(action.metric, MEMORY),
            u.copy(),
            list[tuple[float, int]](),
        )
        minimise(
            action,
            v,
            memory,
            tolerance=0.0,
            iterations=ITERATIONS,
            monitor=lambda _, s=stamps: s.append((clock(), action.evaluations)),
        )
        # Steps with a full memory and one gradient.
        steps = [b[0] - a[0] for a, b in pairwise(stamps) if b[1] == a[1] + 1]
        times["iteration"].append(min(steps[-3:], default=np.nan))
        v.destroy()
    counted = sum(comm.allgather(action.traffic.bytes)) if grid != "whole" else -1
    return {name: float(np.nanmin(values)) for name, values in times.items()} | {"bytes": counted}


def launch(ranks: int, *words: str) -> str:
    """What this script prints as a run of its own."""
    command = ["mpirun", "-n", str(ranks), "--bind-to", "none", "--oversubscribe", sys.executable]
    environment = os.environ | {"OMPI_MCA_mpi_yield_when_idle": "1"}
    run = subprocess.run(
        [*command, __file__, *words], stdout=subprocess.PIPE, text=True, env=environment
    )
    if run.returncode:
        raise SystemExit(f"{' '.join(run.args)} failed with {run.returncode}")
    return run.stdout


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--measure", metavar="GRID", help="measure in this process, as JSON")
    parser.add_argument("--calibrate", metavar="FILE", help="measure the machine, into a file")
    parser.add_argument("--seconds", type=float, default=2.0, help="time of one measurement")
    parser.add_argument("--rounds", type=int, default=3, help="times that all is measured")
    options = parser.parse_args()
    root = MPI.COMM_WORLD.rank == 0
    if options.calibrate:
        machine = calibration.measure(neurons=64 if options.quick else NEURONS)
        if root:
            calibration.save(machine, options.calibrate)
        return 0
    if options.measure:
        result = measure(options.measure, options.quick, options.seconds)
        if root:
            print(json.dumps(result), flush=True)
        return 0
    return compare(options.quick, options.seconds, 1 if options.quick else options.rounds)


def compare(quick: bool, seconds: float, rounds: int) -> int:
    """Measure, predict, compare."""
    cores = calibration.cores_here()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "node.toml"
        launch(cores, "--calibrate", str(file))
        machine = node(file, {})
    print(", ".join(f"{k} = {v:.3g}" for k, v in machine if isinstance(v, float)))
    network, samples = make_network(quick)
    workload = Workload.of(network, samples, memory=MEMORY)
    cases = [(n, f"{s}x{d}") for n in (1, 2, 3, 4) for s, d in factorisations(n)]
    cases += [(n, "whole") for n in (1, 2, 4)]
    extra = ["--quick"] if quick else []
    found: dict[tuple[int, str], dict[str, float]] = {}
    for _ in range(rounds):
        for ranks, grid in cases:
            words = ["--measure", grid, "--seconds", str(seconds), *extra]
            result = json.loads(launch(ranks, *words).splitlines()[-1])
            print(ranks, grid, result, file=sys.stderr, flush=True)
            before = found.get((ranks, grid), result)
            found[ranks, grid] = {k: min(v, before[k]) for k, v in result.items()}
    rows, errors, equal = [], {}, True
    for (ranks, grid), measured in found.items():
        sharded = grid != "whole"
        slabs, data = map(int, grid.split("x")) if sharded else (1, ranks)
        layout = Layout.of_width(workload, slabs, data, CHUNK, sharded)
        estimate = Estimate.of(layout, machine)
        row = [ranks, grid]
        for what, cost in (("gradient", estimate.gradient), ("iteration", estimate.iteration)):
            ratio = cost.seconds / measured[what]
            row += [f"{1e3 * cost.seconds:.0f}", f"{1e3 * measured[what]:.0f}", f"{ratio:.2f}"]
            errors[f"{what} on {ranks}: {grid}"] = max(ratio, 1.0 / ratio) - 1.0
        g = estimate.gradient
        row.append(" / ".join(f"{1e3 * part:.0f}" for part in (g.compute, g.waiting, g.transfer)))
        sent = traffic.total(layout).bytes
        equal &= not sharded or sent == measured["bytes"]
        rows.append([*row, f"{sent / 1e6:.1f}", f"{measured['bytes'] / 1e6:.1f}" * sharded])
    head = ["ranks", "grid", "gradient ms: model", "measured", "ratio"]
    head += ["iteration ms: model", "measured", "ratio", "compute / wait / send"]
    table("Model and measurement", [*head, "MB sent: model", "counted"], rows)
    targets = Targets()
    for what, error in errors.items():
        if quick:
            targets.skip(f"error of the model, {what}", "a small problem is all overhead")
        else:
            targets.at_most(f"error of the model, {what}", error, WITHIN)
    targets.at_least("bytes sent are those of the model", float(equal), 1.0)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
