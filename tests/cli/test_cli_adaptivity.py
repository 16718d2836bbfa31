"""``[solve] adapt``: layers that follow the error, kept in the run directory, the same after a restart."""

from __future__ import annotations

import itertools
import json
import os
import signal

import numpy as np
import pytest
from launch import TINY, history, start, timeless

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.runs.train import Run
from fem_deepest.spaces import DepthMesh
from fem_deepest.spaces.equidistribution import equidistributed, refined

PLACES = {"move": equidistributed, "bisect": refined}
ADAPT = {
    how: ["network.cells=9", "solve.levels=[2,4,9]", f"solve.adapt={how}", "network.depth=3.0"]
    for how in PLACES
}


def _words(settings):
    return [word for setting in settings for word in ("--set", setting)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Uninterrupted runs of either kind."""
    import fem_deepest

    folder = tmp_path_factory.mktemp("whole")
    (folder / "tiny.toml").write_text(TINY)
    return {
        how: fem_deepest.train(folder / "tiny.toml", out=folder / how, settings=settings)
        for how, settings in ADAPT.items()
    }


@pytest.mark.parametrize("how", sorted(PLACES))
def test_layers_follow_the_error_of_the_level_before(whole, how):
    stages = json.loads((whole[how].directory / "run.json").read_text())["stages"]
    assert [stage["cells"] for stage in stages] == [2, 4, 9]
    assert stages[0]["nodes"] == [0.0, 1.5, 3.0]
    for coarse, fine in itertools.pairwise(stages):
        eta = np.array(coarse["indicators"])
        assert coarse["error"] == pytest.approx(eta.sum(), rel=1e-12)
        mesh = PLACES[how](DepthMesh(np.array(coarse["nodes"])), eta, 1, fine["cells"])
        assert fine["nodes"] == mesh.nodes.tolist()
    assert np.ptp(np.diff(stages[-1]["nodes"])) > 1e-3
    assert abs(stages[-1]["error"]) < abs(stages[0]["error"])


@pytest.mark.parametrize("how", sorted(PLACES))
def test_predictions_use_the_layers_of_the_run(command, whole, tmp_path, how):
    run = whole[how]
    loaded = Run.load(run.directory)
    np.testing.assert_array_equal(loaded.model.network.depth.nodes, run.stages[-1]["nodes"])
    z = np.random.default_rng(0).standard_normal((7, 2))
    np.testing.assert_array_equal(loaded.predict(z), run.predict(z))
    table = tmp_path / "new.csv"
    np.savetxt(table, z, delimiter=",", header="x1,x2", comments="")
    ended = command("predict", run.directory, "--data", table, "--out", tmp_path / "p.csv")
    assert ended.code == 0, ended
    rows = np.genfromtxt(tmp_path / "p.csv", delimiter=",", skip_header=1)
    assert rows.shape[0] == 7


@pytest.mark.parametrize("part", [0.35, 0.9])
@pytest.mark.parametrize("how", sorted(PLACES))
def test_resumed_run_ends_like_an_uninterrupted_one(
    command, tiny, tmp_path, whole, monkeypatch, how, part
):
    gradient, calls = NetworkAction.gradient, []
    call = 2 + int(part * int(history(whole[how].directory)[-1]["evaluations"]))

    def counted(self, u, g):
        calls.append(None)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGINT)
        return gradient(self, u, g)

    out = tmp_path / "out"
    monkeypatch.setattr(NetworkAction, "gradient", counted)
    assert command("train", tiny, "--out", out, *_words(ADAPT[how])).code == 130
    monkeypatch.undo()
    ended = command("train", tiny, "--out", out, "--resume", *_words(ADAPT[how]))
    assert ended.code == 0, ended
    assert f"(error {whole[how].stages[-1]['error']:.1e})" in ended.out
    assert timeless(out) == timeless(whole[how].directory)
    one, other = Run.load(out), Run.load(whole[how].directory)
    np.testing.assert_array_equal(one.model.flat, other.model.flat)
    np.testing.assert_array_equal(one.model.network.depth.nodes, other.model.network.depth.nodes)


def test_layers_are_placed_alike_on_any_number_of_ranks(whole, tiny, tmp_path):
    ended = start("train", tiny, "--out", tmp_path / "two", *_words(ADAPT["move"]), ranks=2)
    assert ended.returncode == 0, ended
    assert timeless(tmp_path / "two") == timeless(whole["move"].directory)
    stages = json.loads((tmp_path / "two" / "run.json").read_text())["stages"]
    assert [s["nodes"] for s in stages] == [s["nodes"] for s in whole["move"].stages]


def test_checkpoint_of_other_layers_is_refused(command, tiny, tmp_path):
    out = tmp_path / "out"
    assert command("train", tiny, "--out", out).code == 0
    ended = command("train", tiny, "--out", out, "--resume", "--set", "solve.adapt=move")
    assert ended.code == 2
    assert "adapt = none" in ended.err


def test_posterior_without_a_run_does_not_know_the_layers(command, tmp_path):
    (tmp_path / "tiny.toml").write_text(TINY)
    path = tmp_path / "posterior.toml"
    path.write_text('[posterior]\ntrain = "tiny.toml"\nsettings = ["solve.adapt=move"]\n')
    ended = command("sample", path, "--out", tmp_path / "out")
    assert ended.code == 2
    assert "posterior.run" in ended.err
