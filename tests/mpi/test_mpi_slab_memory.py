"""What a rank needs for an evaluation: its own part and some nodes, never the whole network."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from mpi4py import MPI
from problems import network, samples

from fem_deepest.action.slab.action import SlabAction
from fem_deepest.action.slab.chunk import state_bytes
from fem_deepest.network.loss import CrossEntropy
from fem_deepest.spaces import ProcessGrid

WORLD = MPI.COMM_WORLD
NEURONS, CELLS, CHUNK = 128, 100, 1
NODES = (
    20  # gathered, reduced, interpolated, and work arrays of the sweeps, of weights and a direction
)
MB = 2.0**20


def _resident() -> float:
    """Peak of resident memory since it was reset, in bytes; nothing where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 0.0


def _peaks(call: Callable[[], object]) -> tuple[float, float]:
    """Bytes of a call at its peak: of NumPy and Python, and of the process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    before = _resident()
    tracemalloc.start()
    call()
    _, traced = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return traced, _resident() - before


@pytest.mark.parametrize("scheme_name", ["euler", "rk4"])
@pytest.mark.parametrize("slabs", [s for s in range(1, WORLD.size + 1) if WORLD.size % s == 0])
def test_a_rank_has_its_part_and_some_nodes(slabs: int, scheme_name: str) -> None:
    net = network(neurons=NEURONS, cells=CELLS, scheme_name=scheme_name, lift="linear")
    z, targets = samples(6, net.inputs, net.outputs, "cross_entropy")
    grid = ProcessGrid.create(WORLD, depth=slabs)
    action = SlabAction(grid, net, CrossEntropy(), z, targets, strength=1e-2, chunk=CHUNK)
    u, d, g = (action.create() for _ in range(3))
    whole, node = 8.0 * net.shapes.size, 8.0 * NEURONS * (NEURONS + 1)
    own = 8.0 * action.space.local_size
    states = CHUNK * state_bytes(net, len(action.slabs.cells), WORLD.size)
    for call in (lambda: action.gradient(u, g), lambda: action.hessian(u, d, g)):
        traced, resident = _peaks(call)
        # Twice its part: the prior takes as much for its product.
        assert traced < 2.1 * own + NODES * node + states
        # Pages of u, d and g that were zero are there now, and what messages take.
        assert resident < 5.1 * own + NODES * node + states + 4.0 * MB
        assert traced < whole or WORLD.size < 3
