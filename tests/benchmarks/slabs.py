"""Sharded weights on two ranks: speed-up of a gradient along the data axis and along the depth axis.

    python3 tests/benchmarks/slabs.py [--quick]

Dense coupling, explicit Euler, tanh, cross-entropy, random samples. One job of two ranks takes the ways in
turn, round and round, so that all see the same machine: the action with whole weights on one rank, the
one on sharded weights on one rank (the other one sleeps), on both ranks as two independent copies, and on
the grids 1x2 and 2x1. The copies show what two cores of this machine give to two processes that need
nothing of each other. Wall time, and CPU time of a rank, shortest of the rounds; waiting for messages
takes CPU time too.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
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
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid

INPUTS, CLASSES = 16, 10
COMM = MPI.COMM_WORLD
WAYS = ("whole", "1x1", "copies", "1x2", "2x1")


def sleepy_barrier() -> None:
    """Wait for the other ranks without taking a core from them."""
    request = COMM.Ibarrier()
    while not request.Test():
        time.sleep(2e-4)


def make(way: str, neurons: int, cells: int, samples: int, chunk: int | None) -> Any:
    """The action of a way, and a control of it, the same one for all."""
    random = np.random.default_rng(0)
    network = Network(
        DepthMesh.graded(1.0, cells), NeuronSpace.points(neurons), scheme("euler"),
        activation("tanh"), INPUTS, CLASSES, linear_lift=True,
    )  # fmt: skip
    z = random.standard_normal((samples, INPUTS))
    targets = random.integers(0, CLASSES, samples)
    kind: Any = NetworkAction if way == "whole" else SlabAction
    alone = way in ("whole", "1x1", "copies")
    grid = ProcessGrid.create(MPI.COMM_SELF if alone else COMM, depth=2 if way == "2x1" else 1)
    options = {} if way == "whole" else {"chunk": chunk}
    action = kind(grid, network, CrossEntropy(), z, targets, strength=1e-3, **options)
    u, parameters = action.create(), None
    shapes = network.shapes
    whole = random.standard_normal(shapes.size) / np.sqrt(neurons)
    flat = [part.ravel() for part in np.split(whole, np.cumsum([np.prod(s) for s in shapes])[:-1])]
    for k, (own, part) in enumerate(zip(_parts(action, u), flat, strict=True)):
        parameters = part.reshape(shapes[k])
        own[...] = parameters if own.shape == parameters.shape else parameters[_own(action, k)]
    return action, u


def _parts(action: Any, u: Any) -> Any:
    parameters = action.space.parameters(u.array_w)
    return parameters.theta, parameters.readout, parameters.lift


def _own(action: Any, part: int) -> Any:
    """Where this rank's part is in the whole."""
    space = action.space
    rows = (space.rows, space.readout_rows, space.lift_rows)[part]
    own = slice(rows.start, rows.stop)
    nodes = space.slabs.nodes
    return (slice(nodes.start, nodes.stop), own) if part == 0 else own


def measure(
    sizes: tuple[int, int, int], chunk: int | None, seconds: float, kinds: int
) -> dict[str, Any]:
    """Shortest wall times of the ways, in turn. Collective."""
    ways: dict[str, tuple[Callable[[], object], Callable[[], object], bool]] = {}
    facts: dict[str, Any] = {}
    for way in WAYS:
        active = COMM.rank == 0 or way not in ("whole", "1x1")
        if active:
            action, u = make(way, *sizes, chunk)
            g, r = action.create(), action.create()
            value = action.gradient(u, g)
            facts[way] = {"action": value, "norm": g.norm(), "chunk": getattr(action, "chunk", 256)}
            if way in ("1x2", "2x1"):
                facts[way]["traffic"] = vars(action.traffic)

            def gradient(action: Any = action, u: Any = u, g: Any = g) -> None:
                action.gradient(u, g)

            def hessian(action: Any = action, u: Any = u, g: Any = g, r: Any = r) -> None:
                action.hessian(u, g, r)

            ways[way] = gradient, hessian, active
        sleepy_barrier()
    best = {way: [np.inf] * 4 for way in WAYS}
    end = time.perf_counter() + seconds
    least = 2
    while COMM.bcast(least > 0 or time.perf_counter() < end):
        least -= 1
        for what in range(kinds):
            for way in WAYS:
                sleepy_barrier()
                begun, used = time.perf_counter(), time.process_time()
                if way in ways:
                    ways[way][what]()
                spent = [time.perf_counter() - begun, time.process_time() - used]
                sleepy_barrier()
                for k, seconds in enumerate(spent):
                    longest = COMM.allreduce(seconds, op=MPI.MAX)
                    best[way][2 * k + what] = min(best[way][2 * k + what], longest)
    return {"facts": facts, "best": best}


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--measure", action="store_true", help="on these two ranks, as JSON")
    parser.add_argument("--sizes", type=int, nargs=3, metavar=("N", "n", "K"))
    parser.add_argument(
        "--chunk", type=int, help="samples in a chunk; default: from measured costs"
    )
    parser.add_argument("--hessian", action="store_true", help="products with the Hessian too")
    parser.add_argument("--seconds", type=float, default=60.0, help="time of the measurement")
    options = parser.parse_args()
    sizes = options.sizes or ((128, 8, 1024) if options.quick else (512, 16, 4096))
    if options.measure:
        seconds = 1.0 if options.quick else options.seconds
        result = measure(tuple(sizes), options.chunk, seconds, 1 + options.hessian)
        if COMM.rank == 0:
            print(json.dumps(result), flush=True)
        return 0
    command = ["mpirun", "-n", "2", "--bind-to", "none", sys.executable, __file__, "--measure"]
    command += sys.argv[1:]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ, check=True)
    result = json.loads(done.stdout.splitlines()[-1])
    facts, best = result["facts"], result["best"]
    rows, neurons, cells, samples = [], *sizes
    for what, name in enumerate(("gradient", "Hessian product")[: 1 + options.hessian]):
        one = best["1x1"][what]
        copies = 2.0 * one / best["copies"][what]
        for way in WAYS:
            speed = one / best[way][what] * (2.0 if way == "copies" else 1.0)
            used = [best[w][2 + what] for w in ("1x1", way)]
            row = [name, way, facts[way]["chunk"], f"{best[way][what]:.3f}", f"{speed:.2f}"]
            rows.append(
                [
                    *row,
                    f"{100 * speed / copies:.0f} %",
                    *(f"{used[1]:.3f}", f"{used[0] / used[1]:.2f}"),
                ]
            )
    title = f"Two ranks, N = {neurons}, {cells} cells, {samples} samples"
    table(
        title, ["what", "way", "chunk", "seconds", "speed-up", "of copies", "CPU s", "of CPU"], rows
    )
    head = ["grid", "messages", "gathers", "reductions", "states", "ends", "sums"]
    sent = {way: facts[way]["traffic"] for way in ("1x2", "2x1")}
    kinds = head[2:]
    table(
        "What rank 0 sends in a gradient, MB",
        head,
        [[w, t["messages"], *(f"{1e-6 * t[kind]:.3f}" for kind in kinds)] for w, t in sent.items()],
    )
    targets = Targets()
    for way, limit in (("1x2", 1.8), ("2x1", 1.6)):
        targets.at_least(f"speed-up of a gradient on {way}", best["1x1"][0] / best[way][0], limit)
    for way in WAYS:
        error = max(abs(facts[way][k] / facts["whole"][k] - 1.0) for k in ("action", "norm"))
        targets.at_most(f"difference of action and norm of the gradient, {way}", error, 1e-12)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
