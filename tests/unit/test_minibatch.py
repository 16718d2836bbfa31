"""Batches of samples: their law, and what they make of the gradient of a network."""

from __future__ import annotations

from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pytest
from problems import network_action, random_control, samples
from scipy import stats

from fem_deepest.action.network.minibatch import Minibatches
from fem_deepest.action.network.minibatch_replicas import MinibatchReplicas
from fem_deepest.errors import InputError
from fem_deepest.noise.philox import philox4x32
from fem_deepest.noise.subsets import Subsets
from fem_deepest.spaces import Parameters

OPTIONS: dict[str, dict[str, Any]] = {
    "classes": {},
    "values": {"loss": "least_squares", "lift": "linear", "index": "interval"},
    "one input": {"inputs": 1, "scheme_name": "midpoint", "readout": "observed"},
}
all_options = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())


def _one_by_one(seed: int, total: int, size: int, step: int, number: int) -> list[int]:
    """The first different numbers of the sequence, in plain integers."""
    wanted, found, c = min(size, total - size), list[int](), 0
    while len(found) < wanted:
        w = [int(x) for x in philox4x32([0, c, step, number << 8], [2**32 - 1, seed])]
        for high, low in ((w[0], w[1]), (w[2], w[3])):
            i = total * ((high << 32 | low) >> 11) >> 53
            if i not in found and len(found) < wanted:
                found.append(i)
        c += 1
    if size > total - size:
        found = [i for i in range(total) if i not in found]
    return sorted(found)


@pytest.mark.parametrize(
    ("total", "size"), [(1, 1), (5, 2), (5, 3), (7, 7), (40, 20), (40, 21), (1000, 30)]
)
def test_subsets_are_the_first_different_numbers(total: int, size: int) -> None:
    subsets = Subsets(7, total, size)
    for step, number in [(0, 0), (63, 0), (64, 0), (3, 2), (2**32 - 1, 2**24 - 1), (0, 0)]:
        found = subsets(step, number)
        assert found.tolist() == _one_by_one(7, total, size, step, number)


def test_a_sequence_that_repeats_itself_much_is_drawn_further(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twenty of forty need 27 numbers on average and never 56 in a test: let them be short at first."""
    full, lengths = Subsets._sequence, list[int]()

    def short(self: Subsets, steps: range, number: int, length: int) -> Any:
        lengths.append(length)
        return full(self, steps, number, length // 4 * 2)

    monkeypatch.setattr(Subsets, "_sequence", short)
    assert Subsets(7, 40, 20)(5).tolist() == _one_by_one(7, 40, 20, 5, 0)
    assert len(lengths) > 1


def test_subsets_of_few_runs_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """And those of a run that was forgotten are drawn again."""
    monkeypatch.setattr("fem_deepest.noise.subsets._RUNS", 3)
    subsets = Subsets(7, 40, 5)
    first = [subsets(2, number).tolist() for number in range(6)]
    assert len(subsets._drawn) == 3
    assert [subsets(2, number).tolist() for number in range(6)] == first


def test_many_runs_with_wide_batches_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The entries kept grow like the logarithm of the number of runs, as long as one step fits."""
    monkeypatch.setattr("fem_deepest.noise.subsets._KEPT", 2**10)
    subsets = Subsets(7, 40, 8)
    first = [[subsets(step, run).tolist() for run in range(128)] for step in range(3)]
    assert sum(drawn.size for _, drawn in subsets._drawn.values()) <= 2**10 * (1 + np.log(128))
    assert first == [
        [Subsets(7, 40, 8)(step, run).tolist() for run in range(128)] for step in range(3)
    ]


def test_every_subset_is_as_likely_as_any_other() -> None:
    """Chi-square over all subsets of three of six, and over pairs of those of successive steps."""
    subsets, count = Subsets(1, 6, 3), 20000
    number = {s: i for i, s in enumerate(combinations(range(6), 3))}
    found = np.array([number[tuple(subsets(step).tolist())] for step in range(count)])
    assert stats.chisquare(np.bincount(found, minlength=20)).pvalue > 1e-5
    pairs = 20 * found[:-1:2] + found[1::2]
    assert stats.chisquare(np.bincount(pairs, minlength=400)).pvalue > 1e-5


@all_options
def test_a_batch_is_the_action_on_these_samples(options: dict[str, Any]) -> None:
    """Against an action that is made of them, with all derivatives, batch after batch."""
    count, size, loss = 11, 4, options.get("loss", "cross_entropy")
    action = network_action(count=count, **options)
    z, targets = samples(count, action.network.inputs, action.network.outputs, loss)
    batches = Minibatches(action, size, 3)
    u, d = random_control(action, 1), random_control(action, 2)
    g, h = action.create(), action.create()
    for step in (0, 5, 5, 1):
        chosen = batches.subsets(step)
        alone = network_action(data=(z[chosen], targets[chosen]), **options)
        value = batches.gradient(u, g, step)
        assert value == pytest.approx(alone.gradient(u, h), rel=1e-14)
        np.testing.assert_allclose(g.array, h.array, rtol=0, atol=1e-13)
        batches.at(step).hessian(u, d, g)
        alone.hessian(u, d, h)
        np.testing.assert_allclose(g.array, h.array, rtol=0, atol=1e-12)
    assert batches.at(2, 1).value(u) != batches.at(2, 0).value(u)
    value = batches.at(2).value(u)
    assert batches.of(np.arange(size)).value(u) != value
    assert batches.at(2).value(u) == value


@all_options
def test_the_mean_over_all_batches_is_the_gradient(options: dict[str, Any]) -> None:
    """All 35 batches one by one: mean and covariance are those of sampling without replacement."""
    count, size = 7, 4
    action = network_action(count=count, **options)
    batches, every = Minibatches(action, size, 0), list(combinations(range(count), size))
    assert len(every) == comb(count, size)
    u, g = random_control(action, 1), action.create()
    value = action.gradient(u, g)
    full, single = g.array.copy(), np.empty((count, g.array.size))
    values, gradients = np.empty(len(every)), np.empty((len(every), g.array.size))
    for i, chosen in enumerate(every):
        values[i] = batches.of(np.array(chosen)).gradient(u, g)
        gradients[i] = g.array
    assert values.mean() == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(gradients.mean(axis=0), full, rtol=0, atol=1e-14)
    ones = Minibatches(action, 1, 0)
    for k in range(count):
        ones.of(np.array([k])).gradient(u, g)
        single[k] = g.array
    scale = (count - size) / (size * (count - 1))
    expected = scale * np.cov(single.T, bias=True)
    np.testing.assert_allclose(np.cov(gradients.T, bias=True), expected, rtol=0, atol=1e-14)
    assert np.abs(expected).max() > 1e-4  # not all nothing


@all_options
def test_a_batch_of_all_samples_is_the_action(options: dict[str, Any]) -> None:
    action = network_action(count=9, **options)
    batches = Minibatches(action, 9, 0)
    u, g, h = random_control(action, 1), action.create(), action.create()
    assert batches.gradient(u, g, 4) == pytest.approx(action.gradient(u, h), rel=1e-14)
    np.testing.assert_allclose(g.array, h.array, rtol=0, atol=1e-13)


@all_options
def test_networks_side_by_side_have_batches_of_their_own(options: dict[str, Any]) -> None:
    """As one after the other."""
    action = network_action(count=11, **options)
    batches, numbers = Minibatches(action, 4, 3), [0, 7, 2]
    replicas, g = MinibatchReplicas(action, 4, 3, numbers), action.create()
    u = [random_control(action, i) for i in range(3)]
    for step in (5, 1):
        parts, gradients = replicas.gradient(np.array([v.array for v in u]), step)
        for i, number in enumerate(numbers):
            value = batches.gradient(u[i], g, step, number)
            assert parts.action[i] == pytest.approx(value, rel=1e-13)
            np.testing.assert_allclose(gradients[i], g.array, rtol=0, atol=1e-13)


@all_options
def test_the_inverse_of_the_metric_side_by_side(options: dict[str, Any]) -> None:
    action = network_action(count=2, **options)
    prior, shapes, n = action.metric, action.network.shapes, action.create().getSize()
    w = np.random.default_rng(0).standard_normal((3, n))
    image, back = np.empty_like(w), np.empty_like(w)
    views = [Parameters.view(a, shapes) for a in (w, image, back)]
    prior.on_parameters(*views[:2])
    prior.solve_parameters(*views[1:])
    np.testing.assert_allclose(back, w, rtol=0, atol=1e-12)


@all_options
def test_taylor(options: dict[str, Any]) -> None:
    """The value of a batch against its gradient: a remainder of second order."""
    action = network_action(count=11, **options)
    batches = Minibatches(action, 4, 2)
    u, d, v = random_control(action, 1), random_control(action, 2), action.create()
    g = action.create()
    value = batches.gradient(u, g, 3)
    slope = g.dot(d)
    eps = 2.0 ** -np.arange(4, 10)
    remainders = []
    for e in eps:
        v.waxpy(e, d, u)
        remainders.append(abs(batches.at(3).value(v) - value - e * slope))
    orders = np.diff(np.log(remainders)) / np.diff(np.log(eps))
    np.testing.assert_allclose(orders[2:], 2.0, atol=0.1)


@pytest.mark.parametrize("size", [1, 200, 300, 800])
def test_wide_batches_are_cut_into_blocks_and_tiles(size: int) -> None:
    """The batch of a large set, whatever its number of blocks, against an action made of its samples."""
    small: dict[str, Any] = {"cells": 2, "neurons": 3}
    action = network_action(count=801, **small)
    z, targets = samples(801, 3, 3, "cross_entropy")
    batches = Minibatches(action, size, 0)
    u, g, h = random_control(action, 1), action.create(), action.create()
    value, chosen = batches.gradient(u, g, 1), batches.subsets(1)
    alone = network_action(data=(z[chosen], targets[chosen]), **small)
    assert value == pytest.approx(alone.gradient(u, h), rel=1e-13)
    np.testing.assert_allclose(g.array, h.array, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Subsets(-1, 5, 2), "seed of a batch is -1"),
        (lambda: Subsets(0, 5, 0), "a batch of 0 out of 5"),
        (lambda: Subsets(0, 5, 6), "a batch of 6 out of 5"),
        (lambda: Subsets(0, 5, 2)(-1), "step of a batch is -1"),
        (lambda: Subsets(0, 5, 2)(2**32), "below 4294967296"),
        (lambda: Subsets(0, 5, 2)(0, 2**24), "number of a batch"),
        (lambda: Minibatches(network_action(R_f=5.0), 3, 0), "R_f = 5: a forcing belongs"),
        (lambda: Minibatches(network_action(R_0=5.0), 3, 0), "R_0 = 5"),
        (lambda: Minibatches(network_action(count=4), 5, 0), "5 out of 4"),
    ],
)
def test_what_makes_no_batch_is_refused(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
