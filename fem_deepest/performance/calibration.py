"""The constants of a machine, measured in seconds with the operations that the sweeps are made of."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy.optimize import nnls

from fem_deepest.network.activation import Activation, tanh
from fem_deepest.performance.machine import NUMBER, Machine

Array = NDArray[np.float64]

_NEURONS = (64, 256, 512)
_WIDTHS = (8, 32, 128, 256)
_TOGETHER = 1 << 25  # bytes of matrices that take turns, so that they come from memory
_SMALL, _LARGE = 8, 1 << 20  # bytes of messages


def measure(
    comm: MPI.Intracomm = MPI.COMM_WORLD,
    seconds: float = 4.0,
    activation: Activation | None = None,
    memory: float | None = None,
) -> Machine:
    """Measure this machine as one node.

    All ranks compute at the same time, as in a run, and the slowest counts. On one rank there are no
    messages to measure: those are then assumed, which :attr:`Machine.source` says.

    Args:
        comm: Ranks of one host, at most one a core.
        seconds: About how long it may take.
        activation: ``sigma``; default tanh.
        memory: Bytes of the host; default: what the system says.

    Collective on ``comm``.
    """
    clock = _Clock(comm, seconds / 24.0)
    call, flops, stream = _products(clock)
    passing, sigma = _elementwise(clock, activation or tanh(), call)
    latency, link = (1e-6, 5e9) if comm.size == 1 else _messages(comm)
    cores = comm.bcast(cores_here())
    how = f"{comm.size} ranks computing at a time" if comm.size > 1 else "one rank"
    messages = "" if comm.size > 1 else "; messages assumed, start it on ranks to measure them"
    return Machine(
        name="this",
        source=f"measured on {platform.node()} with {how}{messages}",
        cores=cores,
        nodes=1,
        memory=float(memory or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")),
        flops=flops,
        stream=stream,
        node_stream=stream * (cores if comm.size == 1 else min(comm.size, cores)),
        call=call,
        passing=passing,
        sigma=sigma,
        latency=latency,
        link=link,
        node_latency=latency,
        node_link=link,
        # Messages inside a node are copies that the core itself makes.
        overlap=0.0,
    )


def cores_here() -> int:
    """Cores that this process may use. Not collective."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def save(machine: Machine, path: str | Path) -> Path:
    """Write a node file, which ``--node`` reads. Not collective."""
    words = [f"{key} = {json.dumps(value)}" for key, value in machine.model_dump().items()]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(words) + "\n", encoding="utf-8")
    return path


class _Clock:
    """Shortest CPU time of a call, the longest of all ranks'."""

    def __init__(self, comm: MPI.Intracomm, seconds: float) -> None:
        self.comm, self.seconds = comm, seconds

    def __call__(self, call: Callable[[], object]) -> float:
        call()
        self.comm.barrier()
        best, end = np.inf, time.perf_counter() + self.seconds
        while time.perf_counter() < end:
            begun = time.process_time()  # others on the machine are not its speed
            call()
            best = min(best, time.process_time() - begun)
        return float(self.comm.allreduce(best, op=MPI.MAX))


def _products(clock: _Clock) -> tuple[float, float, float]:
    """``call``, ``flops``, ``stream`` that fit forward, adjoint and gradient products best."""
    rows, times, rng = [], [], np.random.default_rng(0)
    for n in _NEURONS:
        count = max(_TOGETHER // (NUMBER * n * n), 2)
        count = min(count, 64)
        matrices = rng.standard_normal((count, n, n + 1))
        for k in _WIDTHS:
            x, v = rng.standard_normal((n + 1, k)), rng.standard_normal((n, k))
            z, sums = np.empty((n, k)), np.empty((n, n + 1))

            def turn(
                m: Array = matrices, x: Array = x, v: Array = v, z: Array = z, sums: Array = sums
            ) -> None:
                for matrix in m:
                    np.matmul(matrix, x, out=z)
                    np.matmul(matrix[:, :-1].T, v, out=z)
                    np.matmul(v, x.T, out=sums)

            rows.append([1.0, 2.0 * n * n * k, NUMBER * n * n])
            times.append(clock(turn) / (3 * count))
    return _fit(np.array(rows), np.array(times))


def _fit(rows: Array, times: Array) -> tuple[float, float, float]:
    """Constants ``a`` with ``rows a ~ times``, none negative, errors relative."""
    start, inverse_flops, inverse_stream = nnls(rows / times[:, None], np.ones(times.size))[0]
    fastest = 1.0 / np.max(rows[:, 2] / times)
    return (
        float(max(start, 1e-7)),
        float(1.0 / inverse_flops),
        float(1.0 / max(inverse_stream, 0.01 * fastest)),
    )


def _elementwise(clock: _Clock, activation: Activation, call: float) -> tuple[float, float]:
    """``passing`` and ``sigma``: seconds for a number."""
    rng = np.random.default_rng(0)
    a, b, out = (rng.standard_normal((256, 256)) for _ in range(3))

    def passes() -> None:
        np.multiply(a, b, out=out)
        np.add(out, a, out=out)

    passing = clock(passes) / 2.0
    sigma = clock(lambda: activation.value(a, out))
    return tuple(max(t - call, 0.1 * t) / a.size for t in (passing, sigma))  # type: ignore[return-value]


def _messages(comm: MPI.Intracomm) -> tuple[float, float]:
    """Seconds of a short message and bytes/s of long ones, all ranks talking to a neighbour."""
    partner = comm.rank ^ 1
    partner = MPI.PROC_NULL if partner >= comm.size else partner
    found = []
    for size, repeats in ((_SMALL, 2000), (_LARGE, 40)):
        out, back = np.zeros(size, dtype=np.uint8), np.zeros(size, dtype=np.uint8)
        best = np.inf
        for _ in range(5):
            comm.barrier()
            begun = time.perf_counter()
            for _ in range(repeats):
                comm.Sendrecv(out, partner, recvbuf=back, source=partner)
            best = min(best, (time.perf_counter() - begun) / repeats)
        found.append(float(comm.allreduce(best if partner != MPI.PROC_NULL else 0.0, op=MPI.MAX)))
    latency, long = found
    return latency, _LARGE / max(long - latency, 1e-9)
