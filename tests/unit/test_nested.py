"""Nested iteration in depth and along the neuron index: levels, checkpoints, the same minimiser."""

from __future__ import annotations

import numpy as np
import pytest
from levels import configuration, gathered, iteration
from mpi4py import MPI

import fem_deepest
from fem_deepest.errors import InputError
from fem_deepest.io import checkpoint
from fem_deepest.io.search import level_of, restore, save
from fem_deepest.runs.start import random_start
from fem_deepest.solve.schedule import Search
from fem_deepest.spaces import Resolution

COMM = MPI.COMM_SELF
LEVELS = [
    ("auto", 8, [4, 8, 16], [(2, 4), (4, 8), (8, 16)]),
    ("auto", 8, [8, 16], [(2, 8), (4, 8), (8, 16)]),
    ([8], 8, [4, 8, 16], [(8, 4), (8, 8), (8, 16)]),
    ([2, 8], 8, [4, 8, 16], [(2, 4), (2, 8), (8, 16)]),
    ([2, 2, 8], 8, [4, 8, 8], [(2, 4), (2, 8), (8, 8)]),
]


@pytest.mark.parametrize(("depth", "cells", "neurons", "levels"), LEVELS)
def test_levels_of_depth_and_index_end_together(depth, cells, neurons, levels) -> None:
    config = fem_deepest.load(
        {
            "network": {
                **{"index": "interval", "neurons": neurons[-1], "cells": cells},
                **{"lift": "linear", "depth": 2.0},
            },
            "solve": {"levels": depth, "neurons": neurons},
        }
    )
    assert [(n, shape[0]) for n, shape in config.levels] == levels


SHAPES = {"index": "rectangle", "shape": [4, 4]}
WRONG = [
    ({"index": "points"}, {"neurons": [4, 8]}, "'points' cannot be refined"),
    ({"index": "mesh", "mesh": "x.msh"}, {"neurons": [4, 8]}, "'mesh' cannot be refined"),
    ({"lift": "pad"}, {"neurons": [4, 8]}, "network.lift = 'pad' takes the first neurons"),
    ({"lift": None}, {"neurons": [4, 8]}, "network.lift = 'pad' takes the first neurons"),
    ({"readout": "observed"}, {"neurons": [4, 8]}, "network.readout = 'observed' takes"),
    ({}, {"neurons": [4, 7]}, "expected numbers that end with that of the network, 8"),
    ({}, {"neurons": []}, "expected numbers"),
    ({}, {"neurons": [[2, 2], 8]}, "expected numbers"),
    ({}, {"neurons": [9, 8]}, "every level must be finer"),
    ({}, {"neurons": [4, 4, 8], "levels": [4]}, "every level must be finer"),
    ({}, {"neurons": [4, 8], "levels": [4, 2]}, "must increase and end with network.cells"),
    (SHAPES, {"neurons": [4, [4, 4]]}, "expected shapes"),
    (SHAPES, {"neurons": [[2, 2], [4, 5]]}, r"end with that of the network, \[4, 4\]"),
    (SHAPES, {"neurons": [[2, 5], [4, 4]]}, "every level must be finer"),
]


@pytest.mark.parametrize(("network", "solve", "sentence"), WRONG)
def test_levels_that_cannot_be(network, solve, sentence) -> None:
    base = {"index": "interval", "neurons": 8, "cells": 4, "lift": "linear"}
    with pytest.raises(InputError, match=sentence):
        fem_deepest.load({"network": base | network, "solve": solve})


@pytest.mark.parametrize("level", [Resolution(4), Resolution((0.0, 0.1, 1.0 / 3.0), (3, 5))])
def test_levels_come_back_from_a_checkpoint(level) -> None:
    import json

    again = Resolution.from_dict(json.loads(json.dumps(level.to_dict())))
    assert again == level
    assert hash(again) == hash(level)
    assert again.cells == level.cells
    np.testing.assert_array_equal(again.mesh(2.0, 1.5).nodes, level.mesh(2.0, 1.5).nodes)


@pytest.mark.parametrize("kind", ["P0", "P1", "rectangle"])
def test_nested_iteration_finds_the_minimiser_of_the_last_level(kind) -> None:
    """The prior is strong enough for one minimiser; Newton goes to rounding on both ways.

    The inputs enter by projection: a trained lift could change its sign together with the readout, and
    so could a channel that starts at zero.
    """
    found = []
    solve = {"polish": True, "polish_tolerance": 1e-9}
    for nested in (True, False):
        config = configuration(
            kind,
            nested=nested,
            solve=solve,
            data={"shape": [1, 2] if kind == "rectangle" else [2]},
            network={"lift": "project"},
            action={"lambda": 0.2},
        )
        nest = iteration(config)
        search = nest.begin(lambda action, config=config: random_start(action, config))
        stages = nest.run(search)
        assert all(stage.outcome.converged for stage in stages)
        assert len(stages) == (1 + len(config.levels) if nested else 2)
        found.append((stages[-1].parts.action, search.u.array_r.copy()))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-10)
    scale = np.abs(found[1][1]).max()
    assert scale > 1e-2  # not the trivial minimiser
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-6 * scale)


@pytest.mark.parametrize("kind", ["P0", "P1", "rectangle"])
def test_a_run_resumed_at_any_level_ends_with_the_same_bits(kind, tmp_path) -> None:
    config, kept = configuration(kind), []

    def on_stage(search: Search, *_) -> None:
        path = tmp_path / f"{len(kept)}.h5"
        save(path, search, {"signature": {}}, COMM)
        kept.append(path)

    nest = iteration(config, on_stage=on_stage)
    search = nest.begin(lambda action: random_start(action, config))
    stages = nest.run(search)
    whole = gathered(search.u)
    assert [stage.level for stage in stages] == [Resolution(*level) for level in config.levels]
    for path in kept:
        other = iteration(config)
        meta = checkpoint.read_meta(path)
        again = restore(path, meta, other.action(level_of(meta)), other.schedule.memory, COMM)
        rest = other.run(again)
        assert len(rest) == max(len(stages) - 1 - kept.index(path), 1)
        np.testing.assert_array_equal(gathered(again.u), whole)
        assert again.evaluations + again.own[0] == search.evaluations + search.own[0]
