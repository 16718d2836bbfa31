"""What a training needs is compared with the memory there is before anything is allocated."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest
from mpi4py import MPI

from fem_deepest.configuration.train import Config, load
from fem_deepest.errors import InputError
from fem_deepest.performance.layout import Layout
from fem_deepest.performance.memory import bytes_of_rank
from fem_deepest.runs import memory_estimate
from fem_deepest.runs.auto_grid import make_workload
from fem_deepest.runs.network import make_network
from fem_deepest.runs.problem import Problem
from fem_deepest.runs.train import load_data
from fem_deepest.spaces import ProcessGrid, Resolution


def config(**changes: Any) -> Config:
    values: dict[str, dict[str, Any]] = {
        "data": {"name": "spiral", "samples": 100, "test_fraction": 0.0},
        "network": {"neurons": 50, "cells": 10},
        "solve": {"memory": 5},
    }
    for key, value in changes.items():
        section, name = key.split("__")
        values.setdefault(section, {})[name] = value
    return load(values)


def test_estimate_counts_controls_stages_and_states() -> None:
    network = make_network(config(), 2, 2, Resolution(10))
    parameters, field = 11 * 50 * 51 + 2 * 51, 11 * 50 * 51
    rank = parameters + 15 * field + 10 * 101 * 100
    expected = 8 * (30 * parameters + rank)
    assert memory_estimate.needed(network, config(), 100) == expected
    # Model errors are part of every control: here of 10 layers and the inputs.
    forced = config(action__R_f=1.0, action__R_0=1.0)
    more = 8 * 30 * 11 * 50 * 100
    assert memory_estimate.needed(network, forced, 100) == expected + more
    # Two ranks: the controls once, the rest twice, with half the samples each.
    half = parameters + 15 * field + 10 * 101 * 50
    assert memory_estimate.needed(network, config(), 100, 2) == 8 * (30 * parameters + 2 * half)


def test_free_memory_is_some_of_this_machine() -> None:
    assert 2**20 < memory_estimate.available() < 2**62


def test_a_network_too_large_is_refused_before_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    settled = config(network__neurons=4000, network__cells=100)
    train, test = load_data(settled)
    problem = Problem.create(settled, train, test)
    monkeypatch.setattr(memory_estimate, "available", lambda: 2**33)
    tracemalloc.start()
    with pytest.raises(InputError) as error:
        problem.action(Resolution(100), ProcessGrid.create(MPI.COMM_SELF))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**26  # the kernel alone has 12 GiB
    text = str(error.value)
    assert "1,616,412,002 parameters (101 x 4000 x 4001 of the weights)" in text
    assert "GiB, but 8 GiB are available" in text
    assert error.value.exit_code == 2


def test_a_network_that_fits_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    network = make_network(config(), 2, 2, Resolution(10))
    need = memory_estimate.needed(network, config(), 100)
    monkeypatch.setattr(memory_estimate, "available", lambda: need)
    memory_estimate.require(network, config(), 100, MPI.COMM_SELF)
    monkeypatch.setattr(memory_estimate, "available", lambda: need - 1)
    with pytest.raises(InputError, match=r"MiB, but .* MiB are available"):
        memory_estimate.require(network, config(), 100, MPI.COMM_SELF)


def test_a_network_larger_than_the_memory_of_a_rank_is_accepted_on_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settled = config(network__neurons=1000, network__cells=64)
    network = make_network(settled, 2, 2, Resolution(64))
    workload = make_workload(network, settled, 100)
    monkeypatch.setattr(memory_estimate, "available", lambda: 2**33)
    comm = MPI.COMM_SELF

    def require(slabs: int, data: int) -> None:
        dealt = Layout.of_width(workload, slabs, data, 64)
        need = bytes_of_rank(dealt)
        memory_estimate.require_sharded(network, settled, 100, comm, dealt.name, need)

    # 43 vectors of 520 MB on one rank; a quarter of that on a host of its own fits.
    with pytest.raises(InputError, match=r"21\..* GiB, but 8 GiB .*take more ranks .* than 1x1"):
        require(1, 1)
    require(4, 1)
    require(1, 4)
