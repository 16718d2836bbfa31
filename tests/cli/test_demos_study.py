"""Every study of demos/ has the orders that its comments promise, in reduced size."""

from __future__ import annotations

import pytest
from launch import DEMOS

import fem_deepest


def test_every_study_is_here():
    here = {"study_depth", "study_layers", "study_neurons", "study_samples"}
    assert {path.stem for path in DEMOS.glob("study_*.toml")} == here


def test_study_of_the_depth(tmp_path):
    """P2 on 32 cells instead of 128, where the error is 64 times as large."""
    run = fem_deepest.study(
        DEMOS / "study_depth.toml",
        out=tmp_path / "out",
        settings=["study.values=[4,8,16,32]", "check.caps={}", "check.tolerance=0.2"],
    )
    assert run.status == "converged"
    assert run.metrics["P1 L2 order"] == pytest.approx(2.0, abs=0.03)
    assert run.metrics["P2 L2 order"] == pytest.approx(3.0, abs=0.03)
    assert run.metrics["P2 L2"] < 2e-5
    assert (tmp_path / "out" / "figures" / "convergence.png").stat().st_size > 10_000


def test_study_of_the_layers(tmp_path):
    run = fem_deepest.study(
        DEMOS / "study_layers.toml",
        out=tmp_path / "out",
        settings=["study.values=[2,4,8]", "output.figures=false", "check.last=2"],
    )
    assert run.status == "converged"
    assert run.metrics["weights order"] == pytest.approx(2.0, abs=0.1)


def test_study_of_the_samples(tmp_path):
    run = fem_deepest.study(
        DEMOS / "study_samples.toml",
        out=tmp_path / "out",
        settings=["study.values=[64,256]", "study.repetitions=6", "output.figures=false"],
    )
    assert run.status == "converged"
    assert run.metrics["predictor order"] == pytest.approx(0.5, abs=0.25)


def test_study_of_the_neurons(tmp_path):
    run = fem_deepest.study(
        DEMOS / "study_neurons.toml",
        out=tmp_path / "out",
        settings=["study.values=[4,8]", "study.reference=8", "output.figures=false"],
    )
    assert run.status == "converged"
    assert run.metrics["action order"] == pytest.approx(2.0, abs=0.1)
