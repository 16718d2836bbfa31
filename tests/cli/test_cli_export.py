"""``export``: the files of a trained run, their defaults, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from launch import TINY, contents, start

import fem_deepest


@pytest.fixture(scope="module")
def donut(tmp_path_factory):
    """A trained run: 4 neurons, 4 layers."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "tiny.toml").write_text(TINY)
    return fem_deepest.train(folder / "tiny.toml", out=folder / "out")


@pytest.fixture
def run(donut, tmp_path):
    """A copy of it."""
    return shutil.copytree(donut.directory, tmp_path / "run")


def parameters(layers):
    """The lift is the identity (4 x 2 and 4), a layer 4 x 4 and 4, the readout 2 x 4 and 2."""
    return 12 + layers * 20 + 10


def test_npz_of_the_run_itself(command, donut, run):
    ended = command("export", run)
    assert ended.code == 0
    first, *lines = ended.out.splitlines()
    assert first == str(run / "network.npz")
    assert lines[0] == f"4 layers of 4 neurons, {parameters(4)} parameters in double precision"
    for line, part in zip(lines[1:], ("train", "test"), strict=True):
        score = f"{donut.metrics[f'{part}_accuracy']:.4g}"
        assert line == f"{part}_accuracy {score}, of the run {score}"
    z = np.random.default_rng(0).standard_normal((5, 2))
    with np.load(run / "network.npz") as file:
        x = (z - file["mean"]) / file["scale"] @ file["lift_weight"].T + file["lift_bias"]
        for h, W, b in zip(file["steps"], file["weight_1"], file["bias"], strict=True):
            x = x + h * np.tanh(x @ W[0].T + b[0])
        y = x @ file["readout_weight"].T + file["readout_bias"]
    p = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    assert np.max(np.abs(p - donut.predict(z))) < 1e-12


def test_other_layers_to_another_file(command, donut, run, tmp_path):
    out = tmp_path / "small.npz"
    ended = command("export", run, "--layers", "2", "--out", out, "--precision", "single")
    assert ended.code == 0
    assert f"2 layers of 4 neurons, {parameters(2)} parameters in single" in ended.out
    with np.load(out) as file:
        assert file["weight_1"].shape == (2, 1, 4, 4)
        assert file["weight_1"].dtype == np.float32
        theta = donut.model.parameters.theta
        assert np.array_equal(file["weight_1"][1, 0], theta[2, :, :-1].astype(np.float32))
    assert not (run / "network.npz").exists()


def test_torch_is_two_files(command, run):
    ended = command("export", run, "--format", "torch")
    assert ended.code == 0
    names = [run / "network.py", run / "network.npz"]
    assert ended.out.splitlines()[:2] == [str(name) for name in names]
    assert all(name.exists() for name in names)
    assert "single precision" in ended.out


def test_onnx(command, donut, run):
    pytest.importorskip("onnx", reason="the Python package onnx is not installed")
    from onnx.reference import ReferenceEvaluator

    assert command("export", run, "--format", "onnx").code == 0
    z = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
    _, p = ReferenceEvaluator(str(run / "network.onnx")).run(None, {"input": z})
    assert np.max(np.abs(p - donut.predict(z))) < 1e-5


@pytest.mark.parametrize("coupling", ["dense", "low_rank"])
def test_neurons_of_an_interval_can_be_refined(command, tmp_path, coupling):
    """Twice the cells of P0 are the same network."""
    settings = ["network.index=interval", "network.lift=linear", f"network.coupling={coupling}"]
    settings += ["network.rank=2", "solve.iterations=20"]
    (tmp_path / "tiny.toml").write_text(TINY)
    found = fem_deepest.train(tmp_path / "tiny.toml", out=tmp_path / "out", settings=settings)
    ended = command("export", tmp_path / "out", "--neurons", "8")
    assert ended.code == 0
    score = f"{found.metrics['train_accuracy']:.4g}"
    assert "4 layers of 8 neurons" in ended.out
    assert f"train_accuracy {score}, of the run {score}" in ended.out
    refused = command("export", tmp_path / "out", "--neurons", "4x4", "--out", tmp_path / "b.npz")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "--neurons is 4x4, expected one number" in refused.err


def test_couplings_of_a_configuration_are_exported(command, tmp_path):
    """A local coupling, written out as matrices: tridiagonal with P1."""
    settings = ["network.index=interval", "network.lift=linear", "network.element=P1"]
    settings += ["network.coupling=local", "network.neurons=9", "solve.iterations=5"]
    (tmp_path / "tiny.toml").write_text(TINY)
    run = fem_deepest.train(tmp_path / "tiny.toml", out=tmp_path / "out", settings=settings)
    assert command("export", tmp_path / "out").code == 0
    z = np.random.default_rng(0).standard_normal((5, 2))
    with np.load(tmp_path / "out" / "network.npz") as file:
        x = z @ file["lift_weight"].T + file["lift_bias"]
        for h, W, b in zip(file["steps"], file["weight_1"][:, 0], file["bias"][:, 0], strict=True):
            assert np.all(np.triu(W, 2) == 0.0)
            assert np.all(np.tril(W, -2) == 0.0)
            assert np.all(np.diagonal(W, 1) != 0.0)
            x = x + h * np.tanh(x @ W.T + b)
        y = x @ file["readout_weight"].T + file["readout_bias"]
    p = np.exp(y) / np.exp(y).sum(axis=1, keepdims=True)
    assert np.max(np.abs(p - run.predict(z))) < 1e-12


def test_function_returns_what_it_wrote(donut, run):
    found = fem_deepest.export(run, layers=8, format="torch")
    assert found.files == (run / "network.py", run / "network.npz")
    assert found.network.layers == 8
    assert found.network.parameters == parameters(8)
    assert set(found.metrics) == {"train_accuracy", "test_accuracy"}


def test_data_that_is_gone_is_said(command, run):
    values = json.loads((run / "run.json").read_text())
    values["config"]["data"] |= {"name": "file", "path": "/absent.csv"}
    (run / "run.json").write_text(json.dumps(values))
    ended = command("export", run)
    assert ended.code == 0
    assert ended.out.splitlines()[-1].endswith("cannot be read, so the network is not scored")


def test_refuses_and_writes_nothing(command, run, tmp_path):
    command("export", run)
    before = contents(tmp_path)
    cases = [
        ((run,), "network.npz exists; give --force"),
        ((run, "--format", "torch"), "network.npz exists; give --force"),
        ((run, "--layers", "0"), "0 layers is none"),
        ((run, "--neurons", "8"), "the run has 4 neurons and --neurons is 8, but its neurons are"),
        ((run, "--neurons", "many"), "--neurons is 'many', expected a number like 64"),
        (
            (run, "--format", "caffe"),
            "unknown format 'caffe', expected one of ('npz', 'torch', 'onnx')",
        ),
        ((run, "--precision", "half"), "unknown precision 'half'"),
        ((run, "--format", "onnx", "--out", tmp_path / "a.npz"), "does not end in .onnx"),
        ((run, "--out", tmp_path / "absent" / "a.npz"), "give another --out"),
        ((tmp_path / "absent",), "holds no run"),
    ]
    for words, fragment in cases:
        ended = command("export", *words)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), words
        assert fragment in ended.err
    assert contents(tmp_path) == before
    assert command("export", run, "--force", "--neurons", "4").code == 0


def test_refuses_the_run_of_another_verb(command, run):
    values = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(values | {"verb": "flow"}))
    ended = command("export", run)
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "holds a run of 'flow', expected one of 'train'" in ended.err


@pytest.mark.slow
def test_on_two_ranks_it_is_written_and_told_once(run):
    ended = start("export", str(run), ranks=2)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("network.npz") == 1
