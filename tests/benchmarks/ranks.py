"""Two ranks: speed-up of a gradient and of a training iteration.

    python3 tests/benchmarks/ranks.py [--quick]

Digits as in nested.py with 16 cells, the 1437 training samples and 20000 (the same, tiled, with
noise). The script runs itself on one rank, on two ranks, and as two independent copies at the same
time, one after the other and round again: the copies show what two cores of this machine give to
two processes that need nothing of each other, 2 t_1/t_copies. Wall time, shortest of the rounds.
Nothing is asserted: the speed-up depends on the machine more than on the code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import numpy as np
from common import arguments, digits, make_problem, start, table
from mpi4py import MPI

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.runs.network import make_network
from fem_deepest.runs.problem import make_loss
from fem_deepest.solve.lmvm import minimise
from fem_deepest.solve.memory import LimitedMemory
from fem_deepest.spaces import ProcessGrid, Resolution

ITERATIONS = 10


def measure(samples: int, seconds: float) -> dict[str, float]:
    """Shortest wall times of a gradient and of an iteration on the ranks of this run. Collective."""
    comm, config = MPI.COMM_WORLD, digits("network.cells=16", "seed=1")
    train = make_problem(config).train
    take, rng = np.arange(samples) % train.samples, np.random.default_rng(0)
    inputs = train.inputs[take]
    inputs[train.samples :] += 0.02 * rng.standard_normal(inputs[train.samples :].shape)
    action = NetworkAction(
        ProcessGrid.create(comm),
        make_network(config, train.features, train.outputs, Resolution(16)),
        make_loss(config, True),
        inputs,
        train.targets[take],
        strength=config.action.strength,
    )
    u, g = start(action, config), action.create()
    times: dict[str, list[float]] = {"gradient": [], "iteration": []}

    def clock() -> float:
        comm.barrier()
        return time.perf_counter()

    action.gradient(u, g)
    end = clock() + seconds
    while comm.bcast(len(times["iteration"]) < 2 or time.perf_counter() < end):
        for _ in range(5):
            begun = clock()
            action.gradient(u, g)
            times["gradient"].append(clock() - begun)
        memory = LimitedMemory(action.metric, config.solve.memory)
        v, begun = u.copy(), clock()
        done = minimise(action, v, memory, tolerance=0.0, iterations=ITERATIONS)
        times["iteration"].append((clock() - begun) / max(done.iterations, 1))
        v.destroy()
    return {name: min(values) for name, values in times.items()}


def launch(ranks: int, samples: int, seconds: float) -> subprocess.Popen[str]:
    """This script as a run of its own."""
    command = ["mpirun", "-n", str(ranks), "--bind-to", "none", sys.executable, __file__]
    command += ["--measure", str(samples), "--seconds", str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ)


def collect(runs: list[subprocess.Popen[str]]) -> dict[str, float]:
    """Times of runs that go on at the same time, the mean over the runs."""
    results = []
    for run in runs:
        out, _ = run.communicate()
        if run.returncode:
            raise SystemExit(f"{' '.join(map(str, run.args))} failed with {run.returncode}")
        results.append(json.loads(out.splitlines()[-1]))
    return {name: float(np.mean([r[name] for r in results])) for name in results[0]}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--measure", type=int, metavar="K", help="measure in this process, as JSON")
    parser.add_argument("--seconds", type=float, default=5.0, help="time of one measurement")
    options = parser.parse_args()
    if options.measure:
        result = measure(options.measure, options.seconds)
        if MPI.COMM_WORLD.rank == 0:
            print(json.dumps(result), flush=True)
        return 0
    rows = []
    for samples in (1437,) if options.quick else (1437, 20000):
        rounds: dict[str, list[dict[str, float]]] = {"one": [], "two": [], "copies": []}
        for _ in range(1 if options.quick else 3):
            for name, ranks in (("one", [1]), ("two", [2]), ("copies", [1, 1])):
                runs = [launch(n, samples, options.seconds) for n in ranks]
                rounds[name].append(collect(runs))
        for what in ("gradient", "iteration"):
            times = {name: min(r[what] for r in values) for name, values in rounds.items()}
            speed, ideal = times["one"] / times["two"], 2.0 * times["one"] / times["copies"]
            rows.append([samples, what, *(f"{1e3 * t:.1f}" for t in times.values())])
            rows[-1] += [f"{speed:.2f}", f"{ideal:.2f}", f"{100 * speed / ideal:.0f} %"]
    head = ["K", "what", "1 rank ms", "2 ranks ms", "copies ms"]
    table("Two ranks", [*head, "speed-up", "two copies reach", "speed-up of copies"], rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
