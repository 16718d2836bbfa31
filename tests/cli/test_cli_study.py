"""``fem-deepest study``: what it leaves behind, what it skips, how it ends."""

from __future__ import annotations

import signal

import numpy as np
import pytest
from launch import contents, record, start

import fem_deepest
from fem_deepest.studies.table import Table

SMALL = """\
[study]
name = "weak_constraint"
values = [8, 16, 32]
methods = ["midpoint", "gauss2"]
"""

# Sends SIGINT to itself while the point of so many cells is computed.
STOPPED = """\
import os, signal, sys
import fem_deepest.cli.main as command
from fem_deepest.studies.linear import LinearProblem
transcribed = LinearProblem.transcribed
def counted(self, transcription, cells):
    if cells == 16:
        os.kill(os.getpid(), signal.SIGINT)
    return transcribed(self, transcription, cells)
LinearProblem.transcribed = counted
command.main()
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_the_command_leaves_table_figure_and_record(command, small, tmp_path) -> None:
    out = tmp_path / "out"
    ended = command("study", small, "--out", out)
    assert ended.code == 0, ended
    assert ended.err == ""
    assert {name for name in contents(out) if not name.startswith("points/")} == {
        "run.json",
        "table.csv",
        "table.md",
        "figures/convergence.png",
    }
    table = Table.from_csv((out / "table.csv").read_text())
    assert table.quantity == "depth cells n"
    np.testing.assert_array_equal(table.refined, [8, 16, 32])
    assert list(table.errors) == ["midpoint ends", "gauss2 ends"]
    assert table.check(0.15) == []
    assert Table.from_markdown((out / "table.md").read_text()).refined.size == 3
    values = record(out)
    assert (values["verb"], values["status"], values["ranks"]) == ("study", "converged", 1)
    assert values["config"]["problem"]["R_m"] == 4.0
    assert values["config"]["check"] == {"tolerance": 0.25, "last": 3, "caps": {}}
    assert values["failures"] == []
    assert [s["point"] for s in values["stages"][:2]] == ["midpoint, 8 cells", "gauss2, 8 cells"]
    assert all(s["computed"] and s["converged"] for s in values["stages"])
    assert values["metrics"]["gauss2 ends"] == table.errors["gauss2 ends"].values[-1]
    assert values["metrics"]["midpoint ends order"] == pytest.approx(
        table.fit("midpoint ends").order
    )
    assert "gauss2 ends: finest " in ended.out
    assert "(expected 4)" in ended.out


def test_the_function_returns_what_the_command_writes(small, tmp_path) -> None:
    run = fem_deepest.study(small, out=tmp_path / "out", settings=["output.figures=false"])
    assert (run.status, run.exit_code, run.failures) == ("converged", 0, [])
    assert run.table.to_csv() == (tmp_path / "out" / "table.csv").read_text()
    assert not (tmp_path / "out" / "figures").exists()
    assert run.config.study.name == "weak_constraint"


def test_finished_points_are_skipped(small, tmp_path) -> None:
    def computed(*settings: str, **options) -> list[str]:
        run = fem_deepest.study(
            small, out=tmp_path / "out", settings=["output.figures=false", *settings], **options
        )
        return [stage["point"] for stage in run.stages if stage["computed"]]

    assert len(computed()) == 6
    first = (tmp_path / "out" / "table.csv").read_text()
    assert computed() == []
    assert (tmp_path / "out" / "table.csv").read_text() == first  # seconds are those of the points
    assert computed("study.values=[8,16,64]") == ["midpoint, 64 cells", "gauss2, 64 cells"]
    assert computed('study.methods=["euler","midpoint"]') == [
        f"euler, {n} cells" for n in (8, 16, 32)
    ]
    assert len(computed("problem.R_f=2.0")) == 6
    assert computed("check.tolerance=0.01", "check.last=2") == []
    assert computed() == []
    assert len(computed(force=True)) == 6


def test_a_study_that_is_not_as_expected_ends_with_3(command, small, tmp_path) -> None:
    out = tmp_path / "out"
    ended = command("study", small, "--out", out, "--set", "check.tolerance=1e-6")
    assert ended.code == 3
    assert "NOT AS EXPECTED: midpoint ends: observed order 1.9" in ended.out
    values = record(out)
    assert values["status"] == "not_converged"
    assert len(values["failures"]) == 2
    assert (out / "table.csv").exists()
    assert (out / "figures" / "convergence.png").exists()
    capped = ["--set", 'check.caps={"gauss2 ends" = 1e-9}']
    ended = command("study", small, "--out", out, *capped)
    assert ended.code == 3
    assert "gauss2 ends: the finest error is" in ended.out


def test_a_point_whose_solver_stopped_early_is_told(tmp_path) -> None:
    config = {
        "study": {"name": "neurons", "values": [2, 4], "reference": 2},
        "network": {"cells": 2},
        "solve": {"iterations": 2, "polish": False},
        "output": {"figures": False},
    }
    run = fem_deepest.study(config, out=tmp_path / "out")
    assert (run.status, run.exit_code) == ("not_converged", 3)
    assert "2 neurons: the solver stopped before its tolerance" in run.failures
    assert not any(stage["converged"] for stage in run.stages)


def test_a_study_goes_on_after_an_interruption(small, tmp_path) -> None:
    out = tmp_path / "out"
    ended = start("study", small, "--out", out, script=STOPPED)
    assert ended.returncode == 130, ended.stderr
    assert "Interrupted; 3 of 6 points are in" in ended.stdout
    assert record(out)["status"] == "interrupted"
    assert not (out / "table.csv").exists()
    before = signal.getsignal(signal.SIGINT)
    run = fem_deepest.study(small, out=out)
    assert [s["computed"] for s in run.stages] == [False] * 3 + [True] * 3
    assert run.status == "converged"
    assert signal.getsignal(signal.SIGINT) is before


def test_results_do_not_outlive_their_configuration(small, tmp_path) -> None:
    """A run that is stopped leaves no table of the one before."""
    out = tmp_path / "out"
    fem_deepest.study(small, out=out)
    ended = start("study", small, "--out", out, "--set", "problem.R_f=3.0", script=STOPPED)
    assert ended.returncode == 130, ended.stderr
    left = set(contents(out))
    assert not left & {"table.csv", "table.md", "figures/convergence.png"}


def test_failure_ends_with_4_and_keeps_the_points(tmp_path) -> None:
    """Weights that make the states overflow: the action is not finite."""
    config = {
        "study": {"name": "neurons", "values": [2, 4], "reference": 2},
        "network": {"cells": 2},
        "action": {"R_m": 1e300},
        "output": {"figures": False},
    }
    with np.errstate(all="ignore"):
        run = fem_deepest.study(config, out=tmp_path / "out")
    assert (run.status, run.exit_code, run.table) == ("failed", 4, None)
    assert record(tmp_path / "out")["status"] == "failed"


def test_plot_draws_the_figure_again(command, small, tmp_path) -> None:
    out = tmp_path / "out"
    fem_deepest.study(small, out=out)
    figure = out / "figures" / "convergence.png"
    first = figure.read_bytes()
    figure.unlink()
    ended = command("plot", out)
    assert (ended.code, ended.out) == (0, f"{figure}\n")
    assert figure.read_bytes() == first
    (out / "table.csv").unlink()
    ended = command("plot", out)
    assert ended.code == 2
    assert "run it to its end first" in ended.err


def test_predict_with_a_study_is_refused(command, small, tmp_path) -> None:
    fem_deepest.study(small, out=tmp_path / "out", settings=["output.figures=false"])
    ended = command("predict", tmp_path / "out", "--data", small)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "checkpoint" in ended.err


@pytest.mark.parametrize(
    ("setting", "fragment"),
    [
        ("study.name='strong'", "no study 'strong'"),
        ("study.values=[8,4]", "expected numbers that increase"),
        ("problem.R_f=-1.0", "problem.R_f: got -1.0"),
        ("check.caps={e=1.0}", "check.caps names 'e'"),
        ("network.cells=3", "unknown key network"),
    ],
)
def test_wrong_input_writes_nothing(command, small, tmp_path, setting, fragment) -> None:
    ended = command("study", small, "--out", tmp_path / "out", "--set", setting)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("fem-deepest: ")
    assert ended.err.count("\n") == 1
    assert fragment in ended.err
    assert not (tmp_path / "out").exists()


def test_a_directory_of_another_verb_is_refused(command, small, tiny, tmp_path) -> None:
    out = tmp_path / "out"
    assert command("train", tiny, "--out", out).code == 0
    before = contents(out)
    ended = command("study", small, "--out", out)
    assert ended.code == 2
    assert "is not empty" in ended.err
    assert "--resume" not in ended.err
    assert contents(out) == before
    assert command("study", small, "--out", out, "--force").code == 0
    assert record(out)["verb"] == "study"
    assert not (out / "checkpoint.h5").exists()


def test_two_ranks_do_what_one_does(small, tmp_path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    fem_deepest.study(small, out=one)
    ended = start("study", small, "--out", two, ranks=2)
    assert ended.returncode == 0, ended.stderr
    tables = [Table.from_csv((out / "table.csv").read_text()) for out in (one, two)]
    for name in tables[0].errors:
        np.testing.assert_array_equal(*(t.errors[name].values for t in tables))
    assert record(two)["ranks"] == 2
    assert ended.stdout.count("gauss2, 8 cells") == 1
