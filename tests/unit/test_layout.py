"""Which grid and which weights a training gets on how many ranks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fem_deepest.configuration.train import Config, load
from fem_deepest.errors import InputError
from fem_deepest.performance.choose import estimates
from fem_deepest.performance.presets import PRESETS
from fem_deepest.runs import auto_grid, layout, memory_estimate
from fem_deepest.runs.layout import Layout, make_layout
from fem_deepest.runs.network import make_network
from fem_deepest.spaces import Resolution


def config(parallel: dict[str, Any], neurons: int = 4, **more: Any) -> Config:
    return load(
        {
            "data": {"name": "donut"},
            "network": {"neurons": neurons, "cells": 8},
            "parallel": parallel,
            **more,
        }
    )


def laid_out(ranks: int, settled: Config) -> Layout:
    comm: Any = SimpleNamespace(size=ranks)
    return make_layout(settled, lambda: make_network(settled, 2, 2, Resolution(8)), 100, comm)


@pytest.fixture(autouse=True)
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_estimate, "fits", lambda *_: True)
    monkeypatch.setattr(auto_grid, "host", lambda _: PRESETS["xeon"])


@pytest.mark.parametrize(
    "ranks, parallel, slabs, data, weights",
    [
        (1, {}, 1, 1, "whole"),
        (4, {}, 1, 4, "whole"),
        (4, {"grid": "1x4"}, 1, 4, "whole"),
        (4, {"grid": "2x2"}, 2, 2, "sharded"),
        (4, {"grid": "4x1"}, 4, 1, "sharded"),
        (1, {"weights": "sharded"}, 1, 1, "sharded"),
        (3, {"grid": "1x3", "weights": "sharded"}, 1, 3, "sharded"),
    ],
)
def test_few_weights_are_whole_in_one_slab(
    ranks: int, parallel: dict[str, Any], slabs: int, data: int, weights: str
) -> None:
    found = laid_out(ranks, config(parallel))
    assert (found.slabs, found.data, found.weights) == (slabs, data, weights)
    assert not found.large


def test_an_automatic_grid_of_sharded_weights_is_the_fastest_of_the_model() -> None:
    settled = config({"weights": "sharded"})
    found = laid_out(6, settled)
    network = make_network(settled, 2, 2, Resolution(8))
    workload = auto_grid.make_workload(network, settled, 100)
    times = {
        e.layout.slabs: e.iteration.seconds
        for e in estimates(workload, PRESETS["xeon"], 6, weights="sharded")
    }
    assert set(times) == {1, 2, 3, 6}
    assert times[found.slabs] == min(times.values())
    assert found.slabs * found.data == 6


def test_many_weights_are_sharded_on_several_ranks() -> None:
    # 9 x 970 x 971 numbers: just over 64 MiB.
    assert 8 * 9 * 970 * 971 > layout.FEW > 8 * 9 * 960 * 961
    assert laid_out(2, config({}, 970)).weights == "sharded"
    assert laid_out(2, config({}, 960)).weights == "whole"
    assert laid_out(1, config({}, 970)).weights == "whole"
    assert laid_out(2, config({"weights": "whole"}, 970)).weights == "whole"
    # What is not made for them keeps whole ones.
    assert laid_out(2, config({}, 970, solve={"method": "sgd"})).weights == "whole"


def test_weights_that_do_not_fit_are_sharded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_estimate, "fits", lambda *_: False)
    assert laid_out(2, config({})).weights == "sharded"
    assert laid_out(1, config({})).weights == "whole"


@pytest.mark.parametrize(
    "ranks, parallel, message",
    [
        (4, {"grid": "2x1"}, "'2x1' is for 2 ranks, but there are 4; start mpirun -n 2"),
        (2, {"grid": "3x2"}, "'3x2' is for 6 ranks, but there are 2"),
        (2, {"grid": "2x1", "weights": "whole"}, "2 slabs .* take grid = '1x2'"),
    ],
)
def test_other_grids_are_refused(ranks: int, parallel: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        laid_out(ranks, config(parallel))


@pytest.mark.parametrize(
    "section, values, message",
    [
        ("solve", {"method": "sgd"}, "take 'lmvm'"),
        ("solve", {"adapt": "move"}, "take 'none'"),
        ("search", {"steps": 5}, "take search.steps = 0"),
    ],
)
def test_what_is_not_made_for_sharded_weights(
    section: str, values: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        laid_out(2, config({"grid": "2x1"}, **{section: values}))


def test_a_spread_index_has_a_grid_of_its_own() -> None:
    spread = {
        "network": {"index": "interval", "element": "P1", "coupling": "local", "spread": True}
    }
    comm: Any = SimpleNamespace(size=3)
    settled = load({"data": {"name": "donut"}, **spread})
    assert make_layout(settled, lambda: None, 10, comm) == Layout(3, 1, False, 0, False)
    settled = load({"data": {"name": "donut"}, "parallel": {"grid": "1x3"}, **spread})
    with pytest.raises(InputError, match=r"network.spread = true, .* over 3 ranks"):
        make_layout(settled, lambda: None, 10, comm)
