"""``[search]`` of an annealing of networks: what noise does, how it goes on, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from launch import start, terminated
from test_cli_anneal_networks import SMALL, Killed, same

from fem_deepest.cli.anneal import anneal
from fem_deepest.io import batches

PLAIN = SMALL.replace("lambda = 0.25", "lambda = 0.005") + "[search]\n"
NOISE = "rungs = [0, 1]\nrounds = 2\nsteps = 10\nstep = 0.2\nstart = 1.0\n"

# Sends SIGTERM to itself in the gradient of this number, which only noise takes: that of the second
# rung of the first start (two rounds of eleven gradients on each).
STOPPED = terminated("fem_deepest.annealed.columns", "ActionLandscape", "gradient", 27)


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "plain.toml"
    path.write_text(PLAIN)
    return path


@pytest.fixture
def shaken(tmp_path):
    path = tmp_path / "shaken.toml"
    path.write_text(PLAIN + NOISE)
    return path


def test_noise_lifts_no_end_of_its_rung_and_is_counted(plain, shaken, tmp_path) -> None:
    still = anneal(plain, out=tmp_path / "still")
    noisy = anneal(shaken, out=tmp_path / "noisy")
    assert (noisy.record[:, 0, 0] <= still.record[:, 0, 0]).all()
    assert (noisy.record != still.record).any()
    # Three starts, two rounds, each the start and ten steps; the descents come to that.
    work = noisy.stages[0]["evaluations"] - still.stages[0]["evaluations"]
    assert work > 3 * 2 * 11


def test_noise_after_the_last_rung_leaves_those_before(plain, tmp_path) -> None:
    still = anneal(plain, out=tmp_path / "still")
    noise = ("search.rungs=[2]", "search.steps=10")
    noisy = anneal(plain, out=tmp_path / "noisy", settings=noise)
    np.testing.assert_array_equal(noisy.record[:, :2], still.record[:, :2])
    assert (noisy.record[:, 2, 0] <= still.record[:, 2, 0]).all()
    assert noisy.stages[2]["evaluations"] > still.stages[2]["evaluations"]


def test_a_run_killed_between_rungs_goes_on_to_the_same_bits(shaken, tmp_path, monkeypatch) -> None:
    whole, out, count = tmp_path / "whole", tmp_path / "out", [0]
    anneal(shaken, out=whole)

    def killed(folder, batch):
        batches.write_batch(folder, batch)
        count[0] += 1
        if count[0] == 4:
            raise Killed

    monkeypatch.setattr("fem_deepest.cli.anneal_session.write_batch", killed)
    with pytest.raises(Killed):
        anneal(shaken, out=out)
    monkeypatch.undo()
    anneal(shaken, out=out, resume=True)
    same(whole, out)


def test_a_run_stopped_within_the_noise_goes_on_to_the_same_bits(shaken, tmp_path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    anneal(shaken, out=whole)
    stopped = start("anneal", shaken, "--out", part, script=STOPPED)
    assert stopped.returncode == 130, stopped.stderr
    resumed = start("anneal", shaken, "--out", part, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    same(whole, part)


def test_the_same_levels_under_mpirun(shaken, tmp_path) -> None:
    anneal(shaken, out=tmp_path / "one")
    ended = start("anneal", shaken, "--out", tmp_path / "two", ranks=2)
    assert ended.returncode == 0, ended.stderr
    same(tmp_path / "one", tmp_path / "two")


REFUSED = {
    "search.rungs=[3]": "numbered from 0",
    "search.end=2.0": "decreases",
    "search.rounds=0": "search.rounds",
    "search.noise=windows": "unknown key search.noise",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_wrong_input_ends_with_two_and_writes_nothing(shaken, tmp_path, command, setting) -> None:
    ended = command("anneal", shaken, "--out", tmp_path / "out", "--set", setting)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert REFUSED[setting] in ended.err
    assert not (tmp_path / "out").exists()
