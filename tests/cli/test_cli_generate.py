"""From generated data of any size to a training that reads them in parts, and predictions for them."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from datafiles import numbers, write
from launch import start
from mpi4py import MPI

import fem_deepest
from fem_deepest.data import DataSet, Samples
from fem_deepest.data.inputs import input_pieces, read_inputs
from fem_deepest.data.opening import data_bytes
from fem_deepest.errors import InputError
from fem_deepest.runs.train import Run, open_data

TEACHER = ("--samples", "3000", "--features", "6", "--outputs", "3", "--seed", "2")
SETTINGS = {
    "network": {"neurons": 6, "cells": 2, "lift": "linear"},
    "action": {"lambda": 1e-3},
    "solve": {"iterations": 12},
    "output": {"figures": False, "fields": False},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("generate")
    fem_deepest.generate(
        "teacher", out=place / "teacher.h5", samples=3000, features=6, outputs=3, seed=2
    )
    return place


def trained(folder: Path, out: str, /, **data) -> Run:
    values = {**SETTINGS, "data": {"standardise": True, **data}}
    return fem_deepest.train(values, out=folder / out, force=True)


def controls(run: Run) -> np.ndarray:
    with h5py.File(run.directory / "checkpoint.h5", "r", driver="sec2") as file:
        return file["control"][:]


def test_the_command_writes_the_same_file(command, folder, tmp_path) -> None:
    out = tmp_path / "again.h5"
    ended = command("generate", "teacher", *TEACHER, "--out", out)
    assert ended.code == 0
    assert ended.out.startswith(f"3000 samples of 6 inputs and 3 classes written to {out} (")
    assert out.read_bytes() == (folder / "teacher.h5").read_bytes()
    assert command("generate", "teacher", *TEACHER, "--out", out).code == 2
    assert command("generate", "teacher", *TEACHER, "--out", out, "--force").code == 0
    ended = command("generate", "teacher", "--out", tmp_path / "t.csv")
    assert ended.code == 2 and "expected a file that ends with .h5" in ended.err


def test_a_file_and_the_set_itself_train_alike_streamed_or_not(folder: Path) -> None:
    """A file of 162 kB, of which a rank keeps nothing, 33 kB, or all."""
    own = {"samples": 3000, "features": 6, "outputs": 3, "seed": 2}
    ways = [
        {"name": "file", "path": str(folder / "teacher.h5"), "stream": True},
        {"name": "file", "path": str(folder / "teacher.h5"), "stream": True, "memory": 0.002},
        {"name": "teacher", **own, "stream": True, "memory": 0.03},
    ]
    runs = [trained(folder, f"way{i}", **way) for i, way in enumerate(ways)]
    for run in runs[1:]:
        np.testing.assert_array_equal(controls(run), controls(runs[0]))
        assert run.metrics == runs[0].metrics
    assert {"train_accuracy", "test_accuracy"} < set(runs[0].metrics)


def test_in_memory_and_in_parts_are_the_same_but_for_the_split(folder: Path) -> None:
    way = {"name": "file", "path": str(folder / "teacher.h5"), "standardise": False}
    runs = [
        trained(folder, f"split{stream}", **way, test_fraction=0.0, stream=stream)
        for stream in (False, True)
    ]
    np.testing.assert_array_equal(controls(runs[1]), controls(runs[0]))
    assert runs[1].metrics == runs[0].metrics
    assert trained(folder, "small", **way, test_fraction=0.0).metrics == runs[0].metrics


def test_ranks_of_a_grid_read_their_parts(folder: Path) -> None:
    text = (
        f'[data]\nname = "file"\npath = "{folder}/teacher.h5"\nstream = true\nmemory = 0.01\n'
        "standardise = true\n[network]\nneurons = 6\ncells = 2\nlift = 'linear'\n"
        "[action]\nlambda = 1e-3\n[solve]\niterations = 12\n"
        "[output]\nfigures = false\nfields = false\n"
    )
    (folder / "two.toml").write_text(text)
    alone = trained(
        folder,
        "alone",
        name="file",
        path=str(folder / "teacher.h5"),
        stream=True,
    )
    out = folder / "two"
    words = ("--set", "parallel.grid=2x1")
    ended = start("train", folder / "two.toml", "--out", out, *words, ranks=2)
    assert ended.returncode in (0, 3), ended
    metrics = json.loads((out / "run.json").read_text())["metrics"]
    assert metrics == pytest.approx(alone.metrics, rel=1e-10)


def test_a_run_goes_on_with_another_memory(folder: Path) -> None:
    way = {"name": "file", "path": str(folder / "teacher.h5"), "stream": True}
    whole = trained(folder, "whole", **way)
    values = {**SETTINGS, "data": {"standardise": True, **way}}
    few = {**values, "solve": {"iterations": 5}}
    fem_deepest.train(few, out=folder / "parts", force=True)
    values["data"]["memory"] = 0.002
    again = fem_deepest.train(values, out=folder / "parts", resume=True)
    assert again.status == whole.status
    with h5py.File(folder / "teacher.h5", "r+", driver="sec2") as file:
        kept = file["inputs"][7, 1]
        file["inputs"][7, 1] = kept + 1e-9
    with pytest.raises(InputError, match="checksum of the data"):
        fem_deepest.train(values, out=folder / "parts", resume=True)
    with h5py.File(folder / "teacher.h5", "r+", driver="sec2") as file:
        file["inputs"][7, 1] = kept


def test_predictions_piece_by_piece(folder: Path, tmp_path: Path, monkeypatch) -> None:
    run = trained(folder, "predicting", name="file", path=str(folder / "teacher.h5"), stream=True)
    header, rows = fem_deepest.predict(run.directory, folder / "teacher.h5")
    assert len(rows) == 3000
    monkeypatch.setattr("fem_deepest.data.inputs._PIECE", 6 * 700)
    out = tmp_path / "predicted.csv"
    again = fem_deepest.predict(run.directory, folder / "teacher.h5", out=out)
    assert again[0] == header
    assert len(again[1]) == 3000
    assert list(again[1]) == list(rows) and again[1][2999] == rows[2999]
    assert [item.name for item in tmp_path.iterdir()] == ["predicted.csv"]
    for kind in ("table.csv", "deflated.npz", "plain.h5"):
        x, y = numbers(2000)
        path = write(tmp_path, kind, x, y)
        pieces = list(input_pieces(path, ("a", "b", "c"), 3, large=0))
        assert len(pieces) > 1
        np.testing.assert_array_equal(np.concatenate(pieces), x)
        np.testing.assert_array_equal(read_inputs(path, ("a", "b", "c"), 3), x)


def test_a_table_is_converted(command, tmp_path: Path) -> None:
    x, y = numbers(100)
    path, out = write(tmp_path, "table.csv", x, y), tmp_path / "table.h5"
    assert command("generate", path, "--out", out, "--target", "t0").code == 0
    known, made = fem_deepest.data.read_file(path), fem_deepest.data.read_file(out)
    assert (made.classes, made.columns) == (known.classes, known.columns)
    np.testing.assert_array_equal(made.inputs, known.inputs)
    np.testing.assert_array_equal(made.targets, known.targets)


def test_large_data_are_read_in_parts_by_themselves() -> None:
    """From 256 MiB: 11.2 million samples of three numbers."""
    for samples, kind in [(11_184_811, Samples), (11_184_810, DataSet)]:
        assert data_bytes("spiral", samples, 2, 2) // 2**28 == (kind is Samples)
    for samples, kind in [(2_000_000_000, Samples), (1000, DataSet)]:
        config = fem_deepest.load({"data": {"name": "spiral", "samples": samples}})
        train, test = open_data(config, MPI.COMM_SELF)
        assert isinstance(train, kind)
        assert test is not None
        assert (train.samples, test.samples) == (samples * 4 // 5, samples // 5)
        assert train.shown().samples == min(train.samples, 2000)


def test_other_verbs_need_all_samples(command, tmp_path: Path) -> None:
    (tmp_path / "train.toml").write_text('[data]\nname = "spiral"\nstream = true\n')
    (tmp_path / "sample.toml").write_text('[posterior]\ntrain = "train.toml"\n')
    ended = command("sample", tmp_path / "sample.toml", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "of the verbs only train reads data in parts" in ended.err


@pytest.mark.parametrize("samples", [10**13, 10**20])
def test_a_set_that_no_disk_can_hold_is_refused_before_it_is_begun(tmp_path, samples):
    with pytest.raises(InputError, match=f"{samples} samples take .* left; give another --out"):
        fem_deepest.generate("spiral", out=tmp_path / "large.h5", samples=samples)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_and_an_unknown_kind_are_told_in_one_sentence(tmp_path):
    out = tmp_path / "nowhere" / "set.h5"
    with pytest.raises(InputError) as told:
        fem_deepest.generate("spiral", out=out, samples=4)
    assert str(told.value) == f"cannot write {out} (No such file or directory); give another --out"
    with pytest.raises(InputError, match="expected 'classification' or 'regression'"):
        fem_deepest.generate("teacher", out=tmp_path / "set.h5", kind="clasification")
