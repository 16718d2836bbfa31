"""``fem-deepest flow``: what it leaves behind, how it is stopped and goes on, how it ends."""

from __future__ import annotations

import numpy as np
import pytest
from launch import contents, record, start, terminated, timeless

from fem_deepest.io.frames import read_frames

SMALL = """\
[mesh]
domain = "rectangle"
cells = 8
[equation]
diffusion = 0.01
[noise]
strength = 0.3
length = 0.3
[time]
scheme = "implicit"
T = 1.0
steps = 20
[output]
figures = false
frames = 4
"""

# Sends SIGTERM to itself in the step of this number.
STOPPED = terminated("fem_deepest.spde.schemes", "DriftImplicitEuler", "step", 7)

# Linear solves fail from the step of this number on, however short the step.
STUCK = """\
import fem_deepest.cli.main as command
from fem_deepest.errors import NotConverged
from fem_deepest.spde.schemes import DriftImplicitEuler
step = DriftImplicitEuler.step
def failing(self, U, t, dt, dW):
    if t + dt > 0.401:
        raise NotConverged("stuck")
    return step(self, U, t, dt, dW)
DriftImplicitEuler.step = failing
command.main()
"""


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_a_stopped_run_goes_on_to_the_same_end(small, tmp_path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    ended = start("flow", small, "--out", whole)
    assert ended.returncode == 0, ended.stderr
    assert "converged at t = 1" in ended.stdout
    stopped = start("flow", small, "--out", part, script=STOPPED)
    assert stopped.returncode == 130
    assert "go on with --resume" in stopped.stdout
    assert record(part)["status"] == "interrupted"
    assert record(part)["stages"][0]["steps"] == 7
    resumed = start("flow", small, "--out", part, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert timeless(part) == timeless(whole)
    assert record(part)["metrics"] == record(whole)["metrics"]


def test_petsc_options_reach_the_time_stepper(small, tmp_path) -> None:
    ended = start("flow", small, "--out", tmp_path / "out", "--", "-ts_monitor", "-ts_dt", "0.25")
    assert ended.returncode == 0, ended.stderr
    assert "4 TS dt 0.25 time 1." in ended.stdout
    assert record(tmp_path / "out")["stages"][0]["steps"] == 4


def test_a_solver_that_fails_ends_with_three_and_the_last_state(small, tmp_path) -> None:
    out = tmp_path / "out"
    options = ["-spde_ksp_type", "cg", "-spde_pc_type", "none", "-spde_ksp_max_it", "1"]
    ended = start("flow", small, "--out", out, "--", *options, "-ts_max_reject", "3")
    assert ended.returncode == 3
    assert "NOT CONVERGED" in ended.stdout
    assert record(out)["status"] == "not_converged"
    assert len(list((out / "fields").glob("u_*.xdmf"))) == 2  # the first state and the last


def test_a_run_that_is_stuck_keeps_its_last_state_and_goes_on(small, tmp_path) -> None:
    """The last state is in fields/ and in the checkpoint, from which the whole path can be had."""
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert start("flow", small, "--out", whole).returncode == 0
    stuck = start("flow", small, "--out", part, script=STUCK)
    assert stuck.returncode == 3
    assert record(part)["stages"][0]["steps"] == 8
    last = read_frames(part / "fields")[-1]
    assert last.t == record(part)["metrics"]["time"]
    assert 0.4 <= last.t < 0.401
    assert last.values.max() == pytest.approx(record(part)["metrics"]["max"], rel=1e-14)
    resumed = start("flow", small, "--out", part, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert timeless(part) == timeless(whole)
    assert record(part)["metrics"] == record(whole)["metrics"]


@pytest.mark.parametrize("dt", ["0.3", "3.0"])
def test_a_step_that_does_not_divide_the_time_is_refused(small, tmp_path, dt: str) -> None:
    ended = start("flow", small, "--out", tmp_path / "out", "--", "-ts_dt", dt)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert f"a step of {float(dt):g}" in ended.stderr
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_belongs_to_the_step_of_its_run(small, tmp_path) -> None:
    """Its number of steps times another step would be another time."""
    out = tmp_path / "out"
    start("flow", small, "--out", out, "--", "-ts_max_steps", "7")
    ended = start("flow", small, "--out", out, "--resume", "--", "-ts_dt", "0.1")
    assert ended.returncode == 2
    assert "dt = 0.05" in ended.stderr


def test_numbers_out_of_range_write_nothing(small, tmp_path) -> None:
    for setting in ("sample=16777216", "seed=4294967296", "noise.length=-0.1", "time.T=0"):
        ended = start("flow", small, "--out", tmp_path / "out", "--set", setting)
        assert ended.returncode == 2
        assert setting.split("=")[0] in ended.stderr
        assert not (tmp_path / "out").exists()


def test_wrong_input_ends_with_two_and_writes_nothing(small, tmp_path) -> None:
    out = tmp_path / "out"
    ended = start("flow", small, "--out", out, "--set", "noise.covariance=white")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "too rough" in ended.stderr
    assert not out.exists()
    start("flow", small, "--out", out)
    before = contents(out)
    again = start("flow", small, "--out", out)
    assert again.returncode == 2
    assert "not empty" in again.stderr
    assert contents(out) == before


def test_the_same_path_under_mpirun(small, tmp_path) -> None:
    for ranks in (0, 2):
        ended = start("flow", small, "--out", tmp_path / str(ranks), ranks=ranks)
        assert ended.returncode == 0, ended.stderr
    one, two = (record(tmp_path / d)["metrics"] for d in ("0", "2"))
    assert np.allclose([one[k] for k in one], [two[k] for k in one], rtol=0.0, atol=1e-9)
