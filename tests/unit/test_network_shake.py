"""Noise at the minima of networks: what is kept, what the noise depends on, what it costs."""

from __future__ import annotations

import numpy as np
import pytest

from fem_deepest.configuration.network_anneal import NetworkAnnealConfig
from fem_deepest.configuration.section import validate
from fem_deepest.errors import InputError, Interrupted
from fem_deepest.runs.network_rung import Ends, Rung
from fem_deepest.runs.network_search import NetworkSearch

VALUES = {
    "seed": 3,
    "data": {"samples": 4, "layers": 6, "fresh": 5},
    "network": {
        **{"neurons": 10, "depth": 4.0, "cells": 6, "leak": 0.25},
        **{"readout": "observed"},
    },
    "action": {"lambda": 5e-3, "R_0": 4e4},
    "anneal": {"R_f0": 10.0, "rungs": 2, "decrease": 1e-4},
    "search": {"rungs": [0], "steps": 5, "step": 0.2, "start": 1.0},
}
NUMBERS = np.arange(3)


def make(**noise):
    """Search, its first rung and the ends there of three starts."""
    values = VALUES | {"search": VALUES["search"] | noise}
    search = NetworkSearch.create(validate(NetworkAnnealConfig, values))
    rung = Rung(search.first, search.config.anneal, lambda: False)
    return search, rung, rung.descend(search.begin(NUMBERS).u)


@pytest.fixture(scope="module")
def made():
    return make()


def value(rung: Rung, u) -> float:
    vec = rung.action.create()
    vec.array_w[...] = u
    found = rung.action.value(vec)
    vec.destroy()
    return found


def lifted(ends: Ends, part: float) -> Ends:
    """Ends that are said to be higher or lower than they are."""
    record = ends.record.copy()
    record[:, 0] *= part
    return ends._replace(record=record)


def test_what_is_lower_is_kept(made) -> None:
    """From ends that are said to be ten times as high; the action of the new ones is their action."""
    search, rung, ends = made
    shaken = search.shake(rung, lifted(ends, 10.0), 0, NUMBERS)
    assert (shaken.record[:, 0] < 10.0 * ends.record[:, 0]).all()
    assert (shaken.u != ends.u).any(axis=1).all()
    told = [value(rung, u) for u in shaken.u]
    np.testing.assert_allclose(shaken.record[:, 0], told, rtol=1e-12)
    np.testing.assert_allclose(shaken.record[:, 1:].sum(axis=1), told, rtol=1e-12)


def test_what_is_not_lower_is_left_alone(made) -> None:
    """From ends that are said to be a hundred times as low as they are: nothing comes down to that."""
    search, rung, ends = made
    low = lifted(ends, 0.01)
    shaken = search.shake(rung, low, 0, NUMBERS)
    for name in ("u", "record", "converged"):
        np.testing.assert_array_equal(getattr(shaken, name), getattr(low, name))


def test_noise_is_counted(made) -> None:
    """The start of the flow and its steps are a gradient each; the descents come to that."""
    search, rung, ends = made
    shaken = search.shake(rung, ends, 0, NUMBERS)
    more = shaken.work - ends.work
    assert (more[:, 0] > 0).all()
    # A step of a descent takes the action at least once.
    assert (more[:, 1] >= 6 + more[:, 0]).all()


def test_noise_is_a_function_of_the_start_alone(made) -> None:
    search, rung, ends = made
    high = lifted(ends, 10.0)
    both = search.shake(rung, high, 0, NUMBERS)
    again = search.shake(rung, high, 0, NUMBERS)
    np.testing.assert_array_equal(both.u, again.u)
    last = Ends(*(field[2:] for field in high))
    alone = search.shake(rung, last, 0, NUMBERS[2:])
    np.testing.assert_allclose(alone.record, both.record[2:], rtol=1e-6)


def test_starts_and_rounds_have_their_own_noise(made) -> None:
    """One end three times over goes three ways; a second round goes on, and another seed elsewhere."""
    search, rung, ends = made
    same = Ends(*(np.repeat(field[:1], 3, axis=0) for field in lifted(ends, 10.0)))
    ways = search.shake(rung, same, 0, NUMBERS).u
    assert len(np.unique(ways, axis=0)) == 3
    seeds = [search.shake.__class__(search.shake.section, seed) for seed in (3, 4)]
    one, other = (shake(rung, same, 0, NUMBERS).u for shake in seeds)
    np.testing.assert_array_equal(one, ways)
    assert (one != other).any(axis=1).all()
    twice, _, _ = make(rounds=2)
    second = twice.shake(rung, same, 0, NUMBERS)
    assert (second.work > search.shake(rung, same, 0, NUMBERS).work).all()


def test_other_rungs_are_left_alone(made) -> None:
    search, rung, ends = made
    assert search.shake(rung, ends, 1, NUMBERS) is ends


def test_it_leaves_when_asked_to(made) -> None:
    search, rung, ends = made
    asked = Rung(rung.action, rung.section, lambda: True)
    with pytest.raises(Interrupted):
        search.shake(asked, ends, 0, NUMBERS)


def test_a_long_step_does_no_harm(made) -> None:
    """Noise that explodes ends nowhere, and nothing of it is kept that is not lower."""
    _, rung, ends = made
    search, _, _ = make(step=50.0, start=1e4, end=1e3)
    shaken = search.shake(rung, ends, 0, NUMBERS)
    assert (shaken.record[:, 0] <= ends.record[:, 0]).all()


def test_temperatures_that_do_not_decrease_are_refused() -> None:
    with pytest.raises(InputError, match="decreases"):
        make(end=2.0)
