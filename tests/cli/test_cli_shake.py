"""``[search]`` of an annealing: what noise at chosen rungs does, how it goes on, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from launch import start, terminated
from test_cli_anneal import same

import fem_deepest

# Two of six paths end far above the others, which see the truth.
PLAIN = """\
[data]
times = 41
components = [0, 2, 4]
interval = 0.05
noise = 0.3
seed = 1
[dynamics]
states = 8
[anneal]
paths = 6
batch = 3
R_f0 = 0.1
alpha = 6.0
rungs = 3
[output]
figures = false
"""

SEARCH = """\
[search]
rungs = [2]
rounds = 5
start = 1.0
"""

# Sends SIGTERM to itself in the gradient of this number, which only noise takes.
STOPPED = terminated("fem_deepest.annealed.paths", "PathsLandscape", "gradient", 90)


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "plain.toml"
    path.write_text(PLAIN)
    return path


@pytest.fixture
def shaken(tmp_path):
    path = tmp_path / "shaken.toml"
    path.write_text(PLAIN + SEARCH)
    return path


def test_noise_takes_all_paths_to_the_lowest_level(plain, shaken, tmp_path) -> None:
    """The rungs before are those of an annealing without noise, bit for bit."""
    still = fem_deepest.anneal(plain, out=tmp_path / "still")
    noisy = fem_deepest.anneal(shaken, out=tmp_path / "noisy")
    np.testing.assert_array_equal(noisy.record[:, :2], still.record[:, :2])
    assert still.metrics["fraction"] == pytest.approx(4 / 6)
    assert noisy.metrics["fraction"] == 1.0
    assert noisy.metrics["action"] == pytest.approx(still.metrics["action"], rel=1e-8)
    # 6 paths, 5 rounds, each the start and 50 steps; the descents come to that.
    work = noisy.stages[2]["evaluations"] - still.stages[2]["evaluations"]
    assert work > 6 * 5 * 51


WINDOWS = ("search.noise=windows", "search.rounds=20")


def test_hops_take_all_paths_to_the_lowest_level(plain, shaken, tmp_path) -> None:
    """Windows of depth and components that are drawn anew, descents of 30 gradients."""
    still = fem_deepest.anneal(plain, out=tmp_path / "still")
    hops = fem_deepest.anneal(shaken, out=tmp_path / "hops", settings=WINDOWS)
    np.testing.assert_array_equal(hops.record[:, :2], still.record[:, :2])
    assert hops.metrics["fraction"] == 1.0
    assert hops.metrics["action"] == pytest.approx(still.metrics["action"], rel=1e-8)
    work = hops.stages[2]["evaluations"] - still.stages[2]["evaluations"]
    assert 6 * 20 * 20 < work < 6 * 20 * 31


def test_noise_of_no_temperature_changes_nothing(plain, shaken, tmp_path) -> None:
    still = fem_deepest.anneal(plain, out=tmp_path / "still").record
    cold = ("search.start=1e-20", "search.end=1e-21", "search.rounds=1")
    kept = fem_deepest.anneal(shaken, out=tmp_path / "cold", settings=cold).record
    assert kept == pytest.approx(still, rel=1e-7)


def test_a_stopped_run_goes_on_to_the_same_bits(shaken, tmp_path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert start("anneal", shaken, "--out", whole).returncode == 0
    stopped = start("anneal", shaken, "--out", part, script=STOPPED)
    assert stopped.returncode == 130, stopped.stderr
    resumed = start("anneal", shaken, "--out", part, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    same(whole, part)


@pytest.mark.parametrize("noise", ["flow", "windows"])
def test_the_same_levels_under_mpirun(shaken, tmp_path, noise: str) -> None:
    for ranks in (0, 2):
        more = ("--set", f"search.noise={noise}")
        ended = start("anneal", shaken, "--out", tmp_path / str(ranks), *more, ranks=ranks)
        assert ended.returncode == 0, ended.stderr
    same(tmp_path / "0", tmp_path / "2")


REFUSED = {
    "search.rungs=[3]": "numbered from 0",
    "search.end=2.0": "decreases",
    "action.form=saddle": "state form",
    "search.rounds=0": "search.rounds",
    "search.noise=white": "search.noise",
}


def test_windows_of_no_size_are_refused(shaken, tmp_path, command) -> None:
    more = ("--set", "search.noise=windows", "--set", "search.width=[0.6, 0.2]")
    ended = command("anneal", shaken, "--out", tmp_path / "out", *more)
    assert ended.code == 2
    assert "smaller one first" in ended.err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("setting", REFUSED)
def test_wrong_input_ends_with_two_and_writes_nothing(shaken, tmp_path, command, setting) -> None:
    ended = command("anneal", shaken, "--out", tmp_path / "out", "--set", setting)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert REFUSED[setting] in ended.err
    assert not (tmp_path / "out").exists()
