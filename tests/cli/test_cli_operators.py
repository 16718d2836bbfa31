"""Local, elliptic and convolution couplings through the command: trained, drawn, exported, refused."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from launch import ROOT

from fem_deepest.runs.train import Run

# Two channels of two inputs on a line of five nodes, as the donut has two inputs.
BASE = [
    "network.index=interval",
    "network.element=P1",
    "network.neurons=10",
    "network.channels=2",
    "network.extent=[4.0]",
    "network.cells=2",
    "network.lift=linear",
]
COUPLINGS = {
    "local": (["network.coupling=local"], (3, 5, 2 * 7)),
    "uniform": (["network.coupling=local", "network.uniform=true"], (3, 2, 7)),
    "elliptic": (["network.coupling=elliptic", "network.operators=['1']"], (3, 5, 2 * 3)),
    "convolution": (["network.coupling=convolution", "network.reach=1.0"], (3, 2, 7)),
}


def _options(settings: list[str]) -> list[str]:
    return [word for setting in BASE + settings for word in ("--set", setting)]


@pytest.mark.parametrize("name", COUPLINGS)
def test_a_run_is_kept_drawn_and_exported(command, tiny, tmp_path, name: str) -> None:
    settings, shape = COUPLINGS[name]
    out = tmp_path / "out"
    shown = ["output.figures=true", "output.fields=true", "solve.tolerance=0.05"]
    ended = command("train", tiny, "--out", out, *_options(settings + shown))
    assert ended.code == 0, ended.err
    run = Run.load(out)
    assert run.model.network.shapes.theta == shape
    assert run.metrics["train_accuracy"] > 0.7
    assert (out / "figures" / "coefficients.png").stat().st_size > 10_000
    fields = out / "fields" / "coefficients.h5"
    assert fields.exists() == (name != "uniform")
    theta = run.model.parameters.theta
    if name == "local":
        with h5py.File(fields) as file:
            at_depths = file["Function/w_Delta_2_to_1"]
            assert len(at_depths) == 3
            values = np.sort([v[...].ravel() for v in at_depths.values()], axis=1)
        expected = np.sort(theta[:, :, 5], axis=1)
        np.testing.assert_array_equal(np.sort(values, axis=0), np.sort(expected, axis=0))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["network.coupling=local", "network.element=P0"], ("'grad'", "P0", "P1")),
        (
            ["network.coupling=local", "network.operators=['1','hessian']"],
            ("'hessian'", "interval", "'laplace'"),
        ),
        (["network.coupling=local", "network.operators=[]"], ("network.operators",)),
        (["network.coupling=local", "network.operators=['1','1']"], ("twice",)),
        (["network.coupling=local", "network.operators=['curl']"], ("'curl'", "'grad'")),
        (["network.coupling=elliptic", "network.screening=0"], ("network.screening", "0")),
        (["network.coupling=convolution", "network.reach=0.5"], ("reach = 0.5", "distance 1")),
    ],
)
def test_what_cannot_be_is_refused(command, tiny, tmp_path, settings, words) -> None:
    ended = command("train", tiny, "--out", tmp_path / "out", *_options(settings))
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    for word in words:
        assert word in ended.err, ended.err


@pytest.mark.parametrize("coupling", ["local", "elliptic", "convolution"])
def test_points_have_no_operators_or_offsets(command, tiny, tmp_path, coupling) -> None:
    options = ["--set", f"network.coupling={coupling}"]
    ended = command("train", tiny, "--out", tmp_path / "out", *options)
    assert ended.code == 2
    assert "points" in ended.err and "interval" in ended.err


def test_a_mesh_file_is_no_grid_to_convolve_on(command, tiny, tmp_path) -> None:
    mesh = ROOT / "meshes" / "square.msh"
    settings = ["index=mesh", f"mesh='{mesh}'", "coupling=convolution", "lift=linear"]
    options = [word for setting in settings for word in ("--set", f"network.{setting}")]
    ended = command("train", tiny, "--out", tmp_path / "out", *options)
    assert ended.code == 2
    assert "uniform grid" in ended.err and "'mesh'" in ended.err and "'rectangle'" in ended.err
