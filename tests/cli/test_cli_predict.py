"""From the user's own file to predictions: CSV and NPZ, classes and numbers."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from launch import history

from fem_deepest.runs.train import Run

TOML = """\
[data]
name = "file"
path = "{path}"
kind = "{kind}"
{more}
[network]
neurons = 3
cells = 2
depth = 1.0
[action]
lambda = 1e-6
[solve]
tolerance = 1e-5
[output]
figures = {figures}
fields = false
"""


def configuration(folder, path, kind, more="", figures="false"):
    file = folder / f"{kind}.toml"
    file.write_text(TOML.format(path=path, kind=kind, more=more, figures=figures))
    return file


def write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)
    return path


def table(text):
    """Header and rows of printed CSV."""
    header, *rows = csv.reader(text.splitlines())
    return header, rows


# Numbers: an exactly linear target in awkward units ----------------------------------------------


@pytest.fixture(scope="module")
def linear():
    rng = np.random.default_rng(3)
    x = np.column_stack([rng.uniform(250.0, 320.0, 60), rng.uniform(-1e-4, 1e-4, 60)])
    return x, 1e5 + 300.0 * x[:, 0] - 2e7 * x[:, 1]


@pytest.fixture(scope="module")
def regression(linear, tmp_path_factory):
    import fem_deepest

    folder = tmp_path_factory.mktemp("regression")
    x, y = linear
    rows = [[repr(float(v)) for v in (y[k], *x[k])] for k in range(60)]
    write(folder / "own.csv", ["pressure", "temperature", "strain"], rows)
    config = configuration(folder, "own.csv", "regression", 'target = "pressure"', "true")
    return fem_deepest.train(config, out=folder / "out")


def test_regression_is_as_good_as_least_squares(command, linear, regression, tmp_path):
    x, y = linear
    path = write(tmp_path / "new.csv", ["temperature", "strain"], x.tolist())
    header, rows = table(command("predict", regression.directory, "--data", path).out)
    assert header == ["output 1"]
    predicted = np.array(rows, dtype=float)[:, 0]
    system = np.column_stack([x, np.ones(60)])
    scale = np.abs(system).max(axis=0)
    fit = system / scale @ np.linalg.lstsq(system / scale, y, rcond=None)[0]
    assert np.abs(fit - y).max() < 1e-6
    assert np.sqrt(np.mean((predicted - fit) ** 2)) < 0.01 * y.std()
    assert regression.status == "converged"
    assert regression.metrics["train_rmse"] < 0.01 * y.std()
    assert regression.metrics["test_rmse"] < 0.01 * y.std()


def test_regression_errors_are_in_the_units_of_the_file(linear, regression):
    x, y = linear
    values = json.loads((regression.directory / "run.json").read_text())
    error = regression.predict(x)[:, 0] - y
    both = 48 * values["metrics"]["train_rmse"] ** 2 + 12 * values["metrics"]["test_rmse"] ** 2
    assert both / 60 == pytest.approx(np.mean(error**2), rel=1e-10)


def test_regression_is_drawn(regression):
    assert (regression.directory / "figures" / "prediction.png").stat().st_size > 1000
    assert not (regression.directory / "figures" / "confusion.png").exists()


def test_columns_are_found_by_name(command, linear, regression, tmp_path):
    x = linear[0][:5]
    direct = write(tmp_path / "direct.csv", ["temperature", "strain"], x.tolist())
    permuted = [[b, "remark", a] for a, b in x.tolist()]
    permuted = write(tmp_path / "other.csv", ["strain", "note", "temperature"], permuted)
    bare = write(tmp_path / "bare.csv", None, x.tolist())
    np.savez(tmp_path / "bare.npz", x=x)
    first = command("predict", regression.directory, "--data", direct)
    assert first.code == 0
    assert len(first.out.splitlines()) == 6
    for path in (permuted, bare, tmp_path / "bare.npz"):
        assert command("predict", regression.directory, "--data", path) == first


def test_predict_refuses_what_does_not_fit(command, linear, regression, tmp_path):
    x = linear[0][:5]
    cases = {
        "three.csv": (None, np.column_stack([x, x[:, 0]]).tolist(), ("3 columns", "2 inputs")),
        "one.csv": (None, x[:, :1].tolist(), ("1 columns", "2 inputs")),
        "names.csv": (["temperature", "stain"], x.tolist(), ("'strain'", "'stain'")),
        "missing.csv": (["temperature", "strain"], [[300, ""]], ("row 2", "'strain'", "missing")),
        "nan.csv": (["temperature", "strain"], [["nan", 0]], ("row 2", "'temperature'", "nan")),
    }
    for name, (header, rows, fragments) in cases.items():
        path = write(tmp_path / name, header, rows)
        ended = command("predict", regression.directory, "--data", path)
        assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1), name
        for fragment in (name, *fragments):
            assert fragment in ended.err
    np.savez(tmp_path / "three.npz", x=np.zeros((4, 3)))
    ended = command("predict", regression.directory, "--data", tmp_path / "three.npz")
    assert ended.code == 2
    assert "3 columns" in ended.err
    ended = command("predict", regression.directory, "--data", tmp_path / "absent.csv")
    assert ended.code == 2
    assert "absent.csv" in ended.err


def test_predictions_go_to_a_file_that_is_not_there_yet(command, linear, regression, tmp_path):
    path = write(tmp_path / "new.csv", ["temperature", "strain"], linear[0][:3].tolist())
    words = ("predict", regression.directory, "--data", path)
    printed, out = command(*words).out, tmp_path / "out.csv"
    ended = command(*words, "--out", out)
    assert ended.code == 0
    assert ended.out == f"3 rows written to {out}\n"
    assert out.read_text().splitlines() == printed.splitlines()
    out.write_text("mine")
    ended = command(*words, "--out", out)
    assert ended.code == 2
    assert "--force" in ended.err
    assert out.read_text() == "mine"
    assert command(*words, "--out", out, "--force").code == 0
    assert out.read_text().splitlines() == printed.splitlines()
    assert command(*words, "--out", tmp_path / "absent" / "out.csv").code == 2


# Classes -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def boxes():
    """Three colours side by side; inputs of very different size."""
    rng = np.random.default_rng(5)
    colours = ["red", "green", "light blue"]
    kind = np.arange(60) % 3
    x = np.column_stack([1e6 * (kind + 0.6 * rng.random(60)), 1e-3 * rng.standard_normal(60)])
    return x, np.array(colours)[kind]


@pytest.fixture(scope="module")
def classification(boxes, tmp_path_factory):
    import fem_deepest

    folder = tmp_path_factory.mktemp("classification")
    x, y = boxes
    rows = [[*x[k], y[k]] for k in range(60)]
    write(folder / "own.csv", ["size", "noise", "colour"], rows)
    config = configuration(folder, "own.csv", "classification")
    return fem_deepest.train(config, out=folder / "out", settings=["solve.tolerance=1e-3"])


def test_predicts_the_labels_of_the_file(command, boxes, classification, tmp_path):
    x, y = boxes
    path = write(tmp_path / "new.csv", ["noise", "size"], x[:, ::-1].tolist())
    ended = command("predict", classification.directory, "--data", path)
    assert ended.code == 0
    header, rows = table(ended.out)
    assert header == ["class", *(f"probability {c}" for c in ("green", "light blue", "red"))]
    assert [row[0] for row in rows] == y.tolist()
    probability = np.array([row[1:] for row in rows], dtype=float)
    assert np.abs(probability.sum(axis=1) - 1.0).max() < 5e-6
    assert [header[1 + k].removeprefix("probability ") for k in probability.argmax(axis=1)] == [
        row[0] for row in rows
    ]
    assert np.abs(probability - classification.predict(x)).max() < 1e-6
    assert classification.metrics["train_accuracy"] == 1.0


def test_labels_in_the_file_do_not_disturb(command, boxes, classification, tmp_path):
    """The training file itself can be predicted from: its target is passed over."""
    x, _ = boxes
    own = classification.directory.parent / "own.csv"
    path = write(tmp_path / "new.csv", ["size", "noise"], x.tolist())
    words = ("predict", classification.directory, "--data")
    assert command(*words, own) == command(*words, path)


def test_npz_is_the_same_as_csv(command, boxes, classification, tmp_path):
    x, y = boxes
    np.savez(tmp_path / "own.npz", x=x, y=y)
    config = configuration(tmp_path, "own.npz", "classification")
    words = ("--out", tmp_path / "out", "--set", "solve.tolerance=1e-3")
    assert command("train", config, *words).code == 0
    run = Run.load(tmp_path / "out")
    assert run.model.classes == classification.model.classes
    assert np.array_equal(run.model.flat, classification.model.flat)
    assert [row["action"] for row in history(tmp_path / "out")] == [
        row["action"] for row in history(classification.directory)
    ]


def test_inputs_can_be_chosen(command, boxes, classification, tmp_path):
    own = classification.directory.parent / "own.csv"
    more = 'target = "colour"\ninputs = ["size"]'
    config = configuration(tmp_path, own, "classification", more)
    words = ("--set", "solve.tolerance=1e-2", "--set", "data.test_fraction=0.0")
    assert command("train", config, "--out", tmp_path / "out", *words).code == 0
    run = Run.load(tmp_path / "out")
    assert run.model.columns == ("size",)
    assert run.metrics.keys() == {"action", "train_accuracy"}
    assert run.metrics["train_accuracy"] == 1.0


def test_path_is_relative_to_the_configuration(command, classification, tmp_path, monkeypatch):
    config = classification.directory.parent / "classification.toml"
    monkeypatch.chdir(tmp_path)
    assert command("train", config, "--out", "out", "--set", "solve.iterations=1").code == 3
    values = json.loads((tmp_path / "out" / "run.json").read_text())
    assert values["config"]["data"]["path"] == str(config.parent / "own.csv")


def test_plot_says_that_the_data_is_gone(command, boxes, tmp_path):
    x, y = boxes
    own = write(tmp_path / "own.csv", None, [[*x[k], y[k]] for k in range(60)])
    config = configuration(tmp_path, "own.csv", "classification")
    words = ("--out", tmp_path / "out", "--set", "solve.iterations=1")
    assert command("train", config, *words).code == 3
    own.unlink()
    ended = command("plot", tmp_path / "out")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "own.csv" in ended.err
    # A prediction needs the checkpoint alone.
    new = write(tmp_path / "new.csv", None, x[:2].tolist())
    assert command("predict", tmp_path / "out", "--data", new).code == 0
