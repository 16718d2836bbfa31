"""The constants of a machine, measured in seconds with the operations that the sweeps are made of."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.optimize import nnls

from fem_deepest.network.activation import tanh
from fem_deepest.performance.machine import NUMBER, Machine

Array = NDArray[np.float64]

_LEAST, _MOST = 16, 1024  # rows of the matrices that are multiplied
_WIDTHS = (16, 32, 64, 128, 256)
_TOGETHER = 1 << 25  # bytes of matrices that take turns, so that they come from memory
_SMALL, _LARGE = 8, 1 << 20  # bytes of messages


def measure(
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    neurons: int = 256,
    seconds: float = 4.0,
) -> Machine:
    """Measure this machine as one node.

    All ranks compute at the same time, as in a run, and the slowest counts. On one rank there are no
    messages to measure: those are then assumed, which :attr:`Machine.source` says.

    Args:
        comm: Ranks of one host, at most one a core.
        neurons: Rows and columns of the matrices that are multiplied: small ones are slower.
        seconds: About how long it may take.

    Collective on ``comm``.
    """
    clock = _Clock(comm, seconds / 16.0)
    call, together = _memory(clock)
    stream = together
    if comm.size > 1:
        alone = _memory(_Clock(MPI.COMM_SELF, clock.seconds))[1] if comm.rank == 0 else 0.0
        stream = max(together, comm.bcast(alone))
    rows = min(max(neurons, _LEAST), _MOST)
    flops, packing = _products(clock, call, together, rows)
    passing, sigma = _elementwise(clock, call)
    latency, link = (1e-6, 5e9) if comm.size == 1 else _messages(comm, seconds / 8.0)
    cores = comm.bcast(cores_here())
    how = f"{comm.size} ranks computing at a time" if comm.size > 1 else "one rank"
    messages = "" if comm.size > 1 else "; messages assumed, start it on ranks to measure them"
    return Machine(
        name="this",
        source=f"measured with {how}, {rows} neurons{messages}",
        cores=cores,
        nodes=1,
        memory=float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        flops=flops,
        stream=stream,
        node_stream=together * (cores if comm.size == 1 else min(comm.size, cores)),
        packing=packing,
        call=call,
        passing=passing,
        sigma=sigma,
        latency=latency,
        link=link,
        inside=link * (cores if comm.size == 1 else min(comm.size, cores)),
        node_latency=latency,
        node_link=link,
        # Messages inside a node are copies that the core itself makes.
        overlap=0.0,
    )


def cores_here() -> int:
    """Number of cores that this process may use. Not collective."""
    return len(own_cores())


def own_cores() -> set[int]:
    """Cores that this process may use. Not collective."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def save(machine: Machine, path: str | Path) -> Path:
    """Write a node file, which ``--node`` reads. Not collective."""
    words = [f"{key} = {json.dumps(value)}" for key, value in machine.model_dump().items()]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


class _Clock:
    """CPU time of a call, the median of several and the longest of all ranks'.

    CPU time, as what others do on the machine is not its speed; the median, as that of a long run.
    """

    def __init__(self, comm: MPI.Intracomm, seconds: float) -> None:
        self.comm, self.seconds = comm, seconds

    def __call__(self, call: Callable[[], object]) -> float:
        call()
        self.comm.barrier()
        times, end = list[float](), time.perf_counter() + self.seconds
        while not times or time.perf_counter() < end:
            begun = time.process_time()
            call()
            times.append(time.process_time() - begun)
        return float(self.comm.allreduce(np.median(times), op=MPI.MAX))


def _memory(clock: _Clock) -> tuple[float, float]:
    """``call``, seconds of an operation on next to nothing, and ``stream`` of a copy of long vectors."""
    one, two = np.ones((2, 2)), np.empty((2, 2))
    a, b = np.ones(_TOGETHER // NUMBER), np.ones(_TOGETHER // NUMBER)

    def start() -> None:
        for _ in range(100):
            np.matmul(one, one, out=two)

    return clock(start) / 100.0, 2.0 * a.nbytes / clock(lambda: np.copyto(b, a))


def _products(clock: _Clock, call: float, stream: float, n: int) -> tuple[float, float]:
    """``flops`` and ``packing`` that fit the times of products and outer products best."""
    times, rng = [], np.random.default_rng(0)
    count = min(max(_TOGETHER // (NUMBER * n * n), 2), 64)
    matrices: Array = rng.standard_normal((count, n, n + 1))
    for k in _WIDTHS:
        # States come from memory, as the sweeps have left them; what is made of them stays in the cache.
        states, v = rng.standard_normal((count, n + 1, k)), rng.standard_normal((n, k))
        z, sums = np.empty((n, k)), np.empty((n, n + 1))

        def products(states: Array = states, v: Array = v, z: Array = z) -> None:
            for i in range(count):
                np.matmul(matrices[i], states[i], out=z)
                np.matmul(matrices[i, :, :-1].T, v, out=z)

        def outer(states: Array = states, v: Array = v, sums: Array = sums) -> None:
            for x in states:
                np.matmul(v, x.T, out=sums)

        times.append((clock(products) / (2 * count), clock(outer) / count))
    return _fit(n, np.array(_WIDTHS), np.array(times), call, stream)


def _fit(n: int, k: Array, times: Array, call: float, stream: float) -> tuple[float, float]:
    """``flops`` and ``packing`` of the times (products, outer products), errors relative.

    See :mod:`.machine` for the equations.
    """
    entries, product, outer = float(n * n), times[:, 0], times[:, 1]
    operations = np.tile(2.0 * entries * k, 2)
    packed = np.repeat([entries, 0.0], k.size)
    known = np.concatenate([product - call, outer - call - NUMBER * entries / stream])
    both = np.concatenate([product, outer])
    inverse, packing = nnls(np.stack([operations, packed], axis=1) / both[:, None], known / both)[0]
    # No faster than ten times what the products would have if they were all there is.
    return float(1.0 / max(inverse, 0.1 * np.min(both / operations))), float(max(packing, 1e-12))


def _elementwise(clock: _Clock, call: float) -> tuple[float, float]:
    """``passing`` and ``sigma``: seconds for a number."""
    rng = np.random.default_rng(0)
    states, (b, out) = rng.standard_normal((64, 256, 128)), rng.standard_normal((2, 256, 128))

    def passes() -> None:
        for a in states:
            np.multiply(a, b, out=out)
            np.add(out, b, out=out)

    passing = clock(passes) / (2 * len(states))
    sigma = clock(lambda: tanh().value(b, out))
    return tuple(max(t - call, 0.1 * t) / b.size for t in (passing, sigma))  # type: ignore[return-value]


def _messages(comm: MPI.Intracomm, seconds: float) -> tuple[float, float]:
    """Seconds of a short message and bytes/s of long ones, all ranks talking to a neighbour."""
    partner = comm.rank ^ 1
    partner = MPI.PROC_NULL if partner >= comm.size else partner
    found = []
    for size, repeats in ((_SMALL, 50), (_LARGE, 3)):
        out, back = np.zeros(size, dtype=np.uint8), np.zeros(size, dtype=np.uint8)
        best = np.inf
        end = time.perf_counter() + seconds
        while comm.bcast(not np.isfinite(best) or time.perf_counter() < end):
            comm.barrier()
            begun = time.perf_counter()
            for _ in range(repeats):
                comm.Sendrecv(out, partner, recvbuf=back, source=partner)
            best = min(best, (time.perf_counter() - begun) / repeats)
        found.append(float(comm.allreduce(best if partner != MPI.PROC_NULL else 0.0, op=MPI.MAX)))
    latency, long = found
    return latency, _LARGE / max(long - latency, 0.5 * long)
