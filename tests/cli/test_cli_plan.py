"""The verb ``plan``: a table, files, and one sentence where nothing can be planned."""

from __future__ import annotations

import csv

import pytest

import fem_deepest
from fem_deepest.cli.plan import COLUMNS, rows
from fem_deepest.errors import InputError
from fem_deepest.performance import calibration
from fem_deepest.performance.machine import node
from fem_deepest.performance.presets import PRESETS

LARGE = """\
[data]
name = "teacher"
samples = 1_000_000
features = 256
outputs = 10
test_fraction = 0.0
[network]
neurons = 1024
cells = 256
[solve]
memory = 10
"""


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.toml"
    path.write_text(LARGE)
    return path


def test_grids_of_many_ranks_in_a_table_and_a_figure(command, large, tmp_path):
    ended = command("plan", large, "--ranks", "4096", "--out", tmp_path / "out")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    parameters = 257 * 1024 * 1025 + 10 * 1025
    assert lines[0].startswith(
        f"1024 neurons, 256 cells, 1,000,000 samples, {parameters:,} parameters"
    )
    assert lines[1] == "4096 ranks on 32 x 'epyc', 128 on each"
    assert lines[2].split()[:3] == ["grid", "weights", "chunk"]
    table = list(csv.DictReader((tmp_path / "out" / "table.csv").open()))
    assert tuple(table[0]) == COLUMNS
    # The best first; no more slabs than cells.
    best = table[0]
    assert lines[3].split()[0] == best["grid"]
    assert f"best: parallel.grid = {best['grid']}, weights = sharded" in ended.out
    assert "Assumed, not measured at this size" in ended.out
    fitting = [row for row in table if row["fits"] == "True"]
    times = [float(row["iteration_seconds"]) for row in fitting]
    assert times == sorted(times)
    assert {row["grid"] for row in fitting} <= {f"{2**i}x{4096 >> i}" for i in range(9)}
    for row in fitting:
        assert sum(float(row[k]) for k in ("compute", "waiting", "transfer")) == pytest.approx(1.0)
        assert 0.0 < float(row["efficiency"]) < 1.0
        assert float(row["memory_share"]) <= 1.0
    # Copies of all weights do not fit 128 times into a node.
    (whole,) = [row for row in table if row["weights"] == "whole"]
    assert whole["fits"] == "False"
    assert (tmp_path / "out" / "scaling.png").stat().st_size > 20_000


def test_the_function_gives_the_same_plan_of_sizes_without_data(tiny):
    sizes = {"samples": 5000, "inputs": 7, "outputs": 3}
    found = fem_deepest.plan(tiny, ranks=2, settings=["network.neurons=16"], **sizes)
    assert isinstance(found, fem_deepest.Plan)
    w = found.workload
    assert (w.samples, w.inputs, w.outputs, w.neurons, w.cells) == (5000, 7, 3, 16, 4)
    assert found.best is found.estimates[0]
    assert [row["grid"] for row in rows(found)] == [e.layout.name for e in found.estimates]
    kept = ["network.neurons=16", "parallel.weights=sharded", "parallel.chunk=50"]
    one = fem_deepest.plan(tiny, ranks=2, settings=kept, **sizes)
    assert {(e.layout.sharded, e.layout.width) for e in one.estimates} == {(True, 50)}


def test_this_machine_is_measured_and_kept_in_a_file(command, tiny, tmp_path, monkeypatch):
    measured = PRESETS["xeon"].model_copy(update={"name": "this", "cores": 2, "nodes": 1})
    monkeypatch.setattr(calibration, "measure", lambda comm, neurons: measured)
    file = tmp_path / "node.toml"
    first = command("plan", tiny, "--ranks", "2", "--node", "this", "--save", file)
    assert first.code == 0
    assert node(file, {}) == measured
    again = command("plan", tiny, "--ranks", "2", "--node", file)
    assert again.out == first.out
    assert "2 ranks on 1 x 'this'" in again.out


@pytest.mark.parametrize(
    "words, fragments",
    [
        (["--ranks", "0"], ["0 ranks", "at least one"]),
        (["--ranks", "4", "--node", "epic"], ["'epic'", "epyc", "xeon"]),
        (["--ranks", "4", "--set", "parallel.grdi=1x4"], ["parallel.grdi", "'grid'"]),
        (
            ["--ranks", "16", "--set", "network.neurons=8192"],
            ["16 ranks", "GB each", "take", "ranks"],
        ),
        (
            ["--ranks", "128", "--set", "parallel.weights=whole"],
            ["128 ranks", "GB each", "weights = 'sharded'"],
        ),
    ],
)
def test_what_cannot_be_planned_is_one_sentence(command, large, words, fragments):
    ended = command("plan", large, *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("fem-deepest: ") and ended.err.count("\n") == 1
    for fragment in fragments:
        assert fragment in ended.err


@pytest.mark.parametrize("name", ["samples", "inputs", "outputs"])
@pytest.mark.parametrize("value", [0, -1])
def test_sizes_of_none_are_refused(command, large, name, value):
    ended = command("plan", large, "--ranks", "4", f"--{name}", str(value))
    assert ended.code == 2 and ended.err.count("\n") == 1
    assert f"--{name} is {value}, expected at least one" in ended.err


def test_what_sharded_weights_are_not_made_for_is_planned_with_whole_ones(large):
    sizes = {"ranks": 4, "samples": 1000, "inputs": 8, "outputs": 2}
    sgd = ["solve.method=sgd", "network.neurons=16", "network.cells=4"]
    found = fem_deepest.plan(large, settings=sgd, **sizes)
    assert {row["weights"] for row in rows(found)} == {"whole"}
    with pytest.raises(InputError, match=r"'sharded' is not made for solve.method = 'sgd'"):
        fem_deepest.plan(large, settings=[*sgd, "parallel.weights=sharded"], **sizes)
