"""What an evaluation sends is what the formulas of :class:`.Traffic` say, kind by kind on every rank."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI
from problems import network, samples

from fem_deepest.action.slab.action import SlabAction
from fem_deepest.network.loss import CrossEntropy
from fem_deepest.spaces import ProcessGrid

WORLD = MPI.COMM_WORLD


def _expected(action: SlabAction, kind: str) -> dict[str, int]:
    """Bytes of an evaluation on this rank."""
    slabs, shapes, widths = action.slabs, action.network.shapes, action.batch.widths
    data, depth = action.grid.data.size, action.grid.depth
    one_node = action.network.scheme.name == "euler"
    M, k = len(slabs.cells) + (not one_node), 2 if one_node else 3
    _, rows, columns = shapes.theta
    own, others, C = len(slabs.share(rows)), data - 1, len(widths)
    returns, f = kind != "value", 2 if kind in ("hessian", "gauss_newton") else 1
    down, up = f, 2 if kind == "hessian" else 1
    a = min(C, depth.size - depth.rank)
    gathered = C * M if not returns else 2 * C * M - (2 * C + 1 - 2 * a) * k
    gathered = M if k >= M else gathered
    state = 8 * action.network.index.neurons * sum(widths)
    sent = {
        "gathers": 8 * f * own * columns * others * gathered,
        "reductions": 8 * (rows - own) * columns * C * M * returns,
        "states": state * (down * (not slabs.last) + up * returns * (not slabs.first)),
        "ghosts": 8 * own * columns * (f * (not slabs.first) + returns * (not slabs.last)),
        "ends": 0,
        "sums": 8 * (6 if f == 1 else 5) * (WORLD.size > 1),
    }
    if one_node:
        sent["ghosts"] = 0
    for here, (r, c) in ((slabs.first, shapes.lift), (slabs.last, shapes.readout)):
        mine = len(slabs.share(r))
        sent["ends"] += 8 * c * here * (f * mine * others + returns * (r - mine) * (data > 1))
    return sent


@pytest.mark.parametrize("cells, count, chunk", [(7, 20, 3), (WORLD.size, 2, 1)])
@pytest.mark.parametrize("scheme_name", ["euler", "midpoint", "rk4"])
@pytest.mark.parametrize("slabs", [s for s in range(1, WORLD.size + 1) if WORLD.size % s == 0])
def test_bytes_are_those_of_the_formulas(
    slabs: int, scheme_name: str, cells: int, count: int, chunk: int
) -> None:
    net = network(scheme_name=scheme_name, cells=cells, lift="linear", neurons=5)
    z, targets = samples(count, 3, 3, "cross_entropy")
    grid = ProcessGrid.create(WORLD, depth=slabs)
    action = SlabAction(grid, net, CrossEntropy(), z, targets, strength=1e-2, chunk=chunk)
    u, d, g = (action.create() for _ in range(3))
    evaluations = {
        "value": (u,),
        "gradient": (u, g),
        "hessian": (u, d, g),
        "gauss_newton": (u, d, g),
    }
    for kind, vectors in evaluations.items():
        getattr(action, kind)(*vectors)
        sent, expected = vars(action.traffic), _expected(action, kind)
        assert {name: sent[name] for name in expected} == expected
        assert action.traffic.bytes == sum(expected.values())
        assert (sent["messages"] == 0) == (WORLD.size == 1)
    assert np.isfinite(action.parts.action)
