"""Samples read in parts: the same numbers as read whole, whatever the file and the division."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from datafiles import KINDS, numbers, opened, parts, write
from problems import network_action, random_control

from fem_deepest.action.network.minibatch import Minibatches
from fem_deepest.action.network.regression import regress_readout
from fem_deepest.data import DataSet, Standardiser, read_file
from fem_deepest.data.opening import open_file
from fem_deepest.data.source import Memory
from fem_deepest.data.survey import sum_over, survey
from fem_deepest.data.window import Window
from fem_deepest.errors import InputError, NumericalFailure

COUNT = 1237


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("regression", [False, True])
def test_parts_of_a_file_are_its_rows(tmp_path: Path, kind: str, regression: bool) -> None:
    x, y = numbers(COUNT, regression)
    path = write(tmp_path, kind, x, y)
    source = opened(path, regression)
    assert (source.samples, source.features) == (COUNT, 3)
    assert source.outputs == (2 if regression else 3)
    assert source.classes == (None if regression else ("3", "7", "20"))
    wanted = y if regression else np.array([1, 0, 2])[np.arange(COUNT) % 3]
    assert source.columns == (("a", "b", "c") if kind == "table.csv" else ("x1", "x2", "x3"))
    # Not in order: back to the start of what has to be read through.
    for first, last in [(0, COUNT), (700, 701), (511, 1025), (40, 40), (0, 3), (COUNT - 1, COUNT)]:
        inputs, targets = source.read(first, last)
        np.testing.assert_array_equal(inputs, x[first:last])
        np.testing.assert_array_equal(targets, wanted[first:last])
        assert inputs.flags.c_contiguous and targets.dtype == (float if regression else int)


def test_h5_files_are_read_whole_too(tmp_path: Path) -> None:
    x, _ = numbers(9)
    with h5py.File(tmp_path / "named.h5", "w", driver="sec2") as file:
        file["group/images"] = x.astype(np.float32)
        file["labels"] = ["dog", "cat", "eel"] * 3
    data = read_file(tmp_path / "named.h5", "labels", inputs=["group/images"])
    np.testing.assert_array_equal(data.inputs, x.astype(np.float32).astype(float))
    assert data.classes == ("cat", "dog", "eel")
    assert data.targets.tolist() == [1, 0, 2] * 3


def damaged(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_value_that_is_none_is_named(tmp_path: Path, kind: str) -> None:
    x, y = numbers(600)
    x[598, 1] = np.nan
    source = opened(write(tmp_path, kind, x, y))
    # Of a CSV file the line is named: behind the header and a blank line.
    row, column = ("601", "'b'") if kind == "table.csv" else ("599", "'x2'")
    with pytest.raises(InputError, match=f"row {row}, column {column}"):
        source.read(590, 600)
    with pytest.raises(InputError, match=f"row {row}, column {column}"):
        survey(parts(source))


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "table.csv"])
def test_a_truncated_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = damaged(write(tmp_path, kind, *numbers(600)))
    with pytest.raises(InputError, match=r"truncated|damaged") as error:
        survey(parts(opened(path)))
    assert str(error.value).startswith(str(path))


def test_what_is_missing_or_has_another_shape_is_named(tmp_path: Path) -> None:
    path = tmp_path / "odd.h5"
    with h5py.File(path, "w", driver="sec2") as file:
        file["inputs"], file["values"] = np.ones((4, 2)), np.ones(3)
        file["cube"] = np.ones((4, 2, 2))
    with pytest.raises(InputError, match="holds cube, inputs, values; expected 'inputs' and"):
        open_file(path)
    with pytest.raises(
        InputError, match="holds cube, inputs, values; expected 'inputs' and 'labels'"
    ):
        open_file(path, "labels")
    with pytest.raises(InputError, match=r"4 rows of inputs but targets 'values' of shape \(3,\)"):
        open_file(path, "values", "regression")
    with pytest.raises(InputError, match=r"'cube' has shape \(4, 2, 2\); expected"):
        open_file(path, "values", "regression", ["cube"])
    path.write_text("no HDF5")
    with pytest.raises(InputError, match="cannot be opened as an HDF5 file"):
        open_file(path)
    path = tmp_path / "lines.csv"
    path.write_text('1,2,a\n3,4,"b\nc"\n')
    with pytest.raises(InputError, match="row 2: a quoted field goes on in the next line"):
        open_file(path)
    path.write_text("1,2,a\n3,4\n5,6,b\n")
    with pytest.raises(InputError, match="row 2 has 2 fields, expected 3"):
        open_file(path)


@pytest.mark.parametrize("fraction", [0.0, 0.013, 0.2, 0.9])
@pytest.mark.parametrize("count", [7, 1024, 5000])
def test_every_sample_is_in_one_part(fraction: float, count: int) -> None:
    x, y = numbers(count, regression=True)
    source = Memory(DataSet("set", x, y))
    if count - int(np.ceil(fraction * count)) == 0:
        with pytest.raises(InputError, match="leaves none for training"):
            parts(source, fraction)
        return
    both = [parts(source, fraction, test=test) for test in (False, True)]
    assert both[1].samples == int(np.ceil(fraction * count))
    found = [part.read(0, part.samples)[0] for part in both]
    # Increasing in the order of the source, without a sample twice.
    where = [np.flatnonzero((x[:, None, 0] == rows[:, 0]).any(axis=1)) for rows in found]
    assert sorted(np.concatenate(where)) == list(range(count))
    for part, rows, places in zip(both, found, where, strict=True):
        np.testing.assert_array_equal(rows, x[places])
        for first in range(0, part.samples, 997):
            some = part.read(first, min(first + 997, part.samples))
            np.testing.assert_array_equal(some[0], rows[first : first + 997])
            np.testing.assert_array_equal(some[1], y[places][first : first + 997])
    if count == 5000 and fraction == 0.2:
        # Of each 1024 a fifth, not the same ones: places within a pack are uniform, mean 511.5 of
        # deviation 296/sqrt(1000).
        assert abs((where[1] % 1024).mean() - 511.5) < 4 * 296 / np.sqrt(1000)
        assert set(where[1][where[1] < 1024]) != set(
            where[1][(where[1] >= 1024) & (where[1] < 2048)] - 1024
        )


def test_survey_has_mean_and_deviation_of_the_part() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((9000, 4)) * [1.0, 1e-3, 1e5, 0.0] + [1e4, 0.0, -3.0, 0.1]
    source = Memory(DataSet("set", x, x[:, :2]))
    train = parts(source, 0.25)
    found = survey(train)
    own = train.read(0, train.samples)[0]
    wanted = Standardiser.fit(own)
    # Rounding of 6750 terms, relative to the largest of them.
    size = np.abs(own).max(axis=0)
    assert np.all(np.abs(found.inputs.mean - wanted.mean) <= 1e-14 * size)
    np.testing.assert_allclose(found.inputs.scale, wanted.scale, rtol=1e-11)
    assert (found.inputs.mean[3], found.inputs.scale[3]) == (0.1, 1.0)
    assert found.targets is not None
    np.testing.assert_array_equal(found.targets.scale, found.inputs.scale[:2])
    changed = x.copy()
    changed[5, 1] = np.nextafter(changed[5, 1], 1.0)
    swapped = x[[1, 0, *range(2, 9000)]]
    sums = set()
    for values in (x, changed, swapped):
        part = parts(Memory(DataSet("set", values, values[:, :2])))
        survey(part)
        sums.add(part.checksum)
    assert len(sums) == 3

    def count(x, y, total, _) -> None:
        total += len(x)

    assert sum_over(train, count, 1).tolist() == [train.samples]


def test_window_keeps_what_fits_and_reads_the_rest_ahead() -> None:
    x, seen = np.arange(100.0).reshape(50, 2), list[tuple[int, int]]()

    def read(first: int, last: int):
        seen.append((first, last))
        return x[first:last], x[first:last, 0]

    window = Window(read, memory=2 * 240, concurrent=True)  # two ranges of ten samples
    ranges = [(i, i + 10) for i in range(0, 50, 10)]
    for _ in range(3):
        for first, last in ranges:
            for _ in range(2):  # inputs, then targets
                np.testing.assert_array_equal(window(first, last)[0], x[first:last])
    assert [seen.count(r) for r in ranges[:2]] == [1, 1]
    # The others once each time; the last may have been begun for a fourth.
    assert all(3 <= seen.count(r) <= 4 for r in ranges[2:])
    # Another level, another cut: it takes the place of the first one.
    cut = [(i, i + 5) for i in range(0, 20, 5)]
    seen.clear()
    for _ in range(3):
        for first, last in cut:
            np.testing.assert_array_equal(window(first, last)[0], x[first:last])
    assert [seen.count(r) for r in cut] == [1, 1, 1, 1]


def evaluations(action, seed: int = 1):
    u, g, r = random_control(action, seed), action.create(), action.create()
    value = action.gradient(u, g)
    action.hessian(u, g, r)
    return value, action.value(u), g.array.copy(), r.array.copy()


@pytest.mark.parametrize("memory", [2**20, 2**13])
@pytest.mark.parametrize(
    "options", [{}, {"loss": "least_squares", "R_f": 3.0, "R_0": 2.0}], ids=str
)
def test_action_has_the_same_bits_from_files(tmp_path: Path, memory: int, options) -> None:
    regression = "loss" in options
    x, y = numbers(COUNT, regression)
    path = write(tmp_path, "plain.h5", x, y)
    source = opened(path, regression)
    data = parts(source, memory=memory)
    options = {"inputs": 3, "outputs": source.outputs, "cells": 2, "lift": "linear", **options}
    scaling = Standardiser(np.array([0.1, 0.2, 0.3]), np.array([1.1, 1.2, 1.3]))
    whole = network_action(data=(scaling.apply(x), source.read(0, COUNT)[1]), **options)
    lazy = network_action(data=(scaling.apply(data.inputs), data.targets), **options)  # type: ignore[arg-type]
    assert isinstance(lazy.tiles.inputs, list) == (memory == 2**20)
    for _ in range(2):
        for mine, known in zip(evaluations(lazy), evaluations(whole), strict=True):
            np.testing.assert_array_equal(mine, known)


def test_readout_and_batches_have_the_same_bits(tmp_path: Path) -> None:
    x, y = numbers(COUNT, regression=True)
    data = parts(opened(write(tmp_path, "stored.npz", x, y), True), memory=2**13)
    options = {"inputs": 3, "outputs": 2, "cells": 2, "loss": "least_squares"}
    whole = network_action(data=(x, y), **options)
    lazy = network_action(data=(data.inputs, data.targets), **options)  # type: ignore[arg-type]
    ends = []
    for action in (whole, lazy):
        u, g = random_control(action, 1), action.create()
        regress_readout(action, u)
        batches = Minibatches(action, 33, 7)
        values = [batches.gradient(u, g, step) for step in (0, 5)]
        ends.append((values, u.array.copy(), g.array.copy()))
    assert ends[0][0] == ends[1][0]
    for mine, known in zip(ends[1][1:], ends[0][1:], strict=True):
        np.testing.assert_array_equal(mine, known)
    table = parts(opened(write(tmp_path, "table.csv", x, y), True), memory=2**13)
    action = network_action(data=(table.inputs, table.targets), **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="convert it with 'fem-deepest generate"):
        Minibatches(action, 33, 7).gradient(u, g, 0)


def test_a_file_that_goes_away_ends_the_evaluation(tmp_path: Path) -> None:
    path = write(tmp_path, "plain.h5", *numbers(COUNT))
    data = parts(opened(path), memory=2**13)
    action = network_action(data=(data.inputs, data.targets), inputs=3, outputs=3)  # type: ignore[arg-type]
    u = random_control(action, 1)
    action.value(u)
    damaged(path)
    with pytest.raises(NumericalFailure, match=r"could not be read again: .*truncated"):
        action.value(u)


def test_memory_of_an_evaluation_is_bounded_by_what_is_allowed(tmp_path: Path) -> None:
    """A file of 32 MiB with 2 MiB allowed: the peak is an eighth of the file."""
    path = tmp_path / "large.h5"
    rows, width = 2**14, 256
    with h5py.File(path, "w", driver="sec2") as file:
        file["inputs"] = np.random.default_rng(0).standard_normal((rows, width))
        file["targets"] = np.arange(rows) % 2
    assert path.stat().st_size > 2**25
    tracemalloc.start()
    try:
        data = parts(open_file(path), memory=2**21)
        survey(data)
        action = network_action(
            data=(data.inputs, data.targets), inputs=width, outputs=2, cells=2, lift="linear"
        )  # type: ignore[arg-type]
        u, g = random_control(action, 1, 0.01), action.create()
        for _ in range(2):
            value = action.gradient(u, g)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.isfinite(value)
    # 2 MiB of ranges, three pieces of a mebibyte of the survey, states of a tile.
    assert peak < 2**22 + 2**20, peak / 2**20
