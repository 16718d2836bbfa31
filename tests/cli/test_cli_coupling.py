"""Couplings through the command: trained, kept, drawn, exported, and refused."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import h5py
import numpy as np
import pytest
from launch import timeless

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.runs.train import Run

LOW_RANK = ("--set", "network.coupling=low_rank", "--set", "network.rank=2")


def test_low_rank_run_is_kept_drawn_and_exported(command, tiny, tmp_path) -> None:
    out = tmp_path / "out"
    shown = ("--set", "output.figures=true", "--set", "output.fields=true")
    ended = command("train", tiny, "--out", out, *LOW_RANK, *shown)
    assert ended.code == 0, ended.err
    run = Run.load(out)
    assert run.config.network.coupling == "low_rank"
    assert run.model.network.shapes.theta == (5, 4, 5)
    theta = run.model.parameters.theta
    kernels = theta[..., 2:4] @ theta[..., :2].swapaxes(1, 2)
    with h5py.File(out / "fields" / "kernel.h5") as file:
        (values,) = file["Function/W"].values()
        np.testing.assert_allclose(
            np.sort(values[...].ravel()), np.sort(kernels.ravel()), atol=1e-15
        )
    with h5py.File(out / "fields" / "bias.h5") as file:
        (values,) = file["Function/b"].values()
        np.testing.assert_array_equal(np.sort(values[...].ravel()), np.sort(theta[..., -1].ravel()))
    picture = out / "figures" / "weights.png"
    picture.unlink()
    assert command("plot", out).code == 0
    assert picture.stat().st_size > 10_000


def test_antisymmetric_run_has_the_damping_of_its_configuration(command, tiny, tmp_path) -> None:
    options = ("--set", "network.coupling=antisymmetric", "--set", "network.damping=0.25")
    out = tmp_path / "out"
    assert command("train", tiny, "--out", out, *options).code == 0
    network = Run.load(out).model.network
    one = network.coupling.matrix(np.zeros(network.coupling.shape))
    np.testing.assert_array_equal(one, -0.25 * np.eye(4))


def test_interrupted_low_rank_run_ends_like_an_uninterrupted_one(
    command, tiny, tmp_path, monkeypatch
) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert command("train", tiny, "--out", whole, *LOW_RANK).code == 0
    gradient, calls = NetworkAction.gradient, [0]

    def counted(self, u, g):
        calls[0] += 1
        if calls[0] == 12:
            os.kill(os.getpid(), signal.SIGINT)
        return gradient(self, u, g)

    monkeypatch.setattr(NetworkAction, "gradient", counted)
    assert command("train", tiny, "--out", part, *LOW_RANK).code == 130
    assert command("train", tiny, "--out", part, *LOW_RANK, "--resume").code == 0
    assert timeless(part) == timeless(whole)
    np.testing.assert_array_equal(Run.load(part).model.flat, Run.load(whole).model.flat)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("network.coupling=low_rank", "network.rank=5"), ("rank 5", "1 to 4", "dense")),
        (
            ("network.neurons=200000",),
            ("3 x 200000 x 200001", "GiB are available", "coupling"),
        ),
    ],
    ids=["rank", "memory"],
)
def test_what_cannot_be_is_refused_with_the_numbers(
    command, tiny, tmp_path: Path, settings: tuple[str, ...], words: tuple[str, ...]
) -> None:
    """A kernel that does not fit is refused before anything is allocated: at once."""
    options = [word for setting in settings for word in ("--set", setting)]
    ended = command("train", tiny, "--out", tmp_path / "out", *options)
    assert ended.code == 2
    for word in words:
        assert word in ended.err
    assert "Traceback" not in ended.err
