# # What a field over depth buys
#
# A network of depth $T$ is the flow of $x' = \sigma(W(t)\,x + b(t))$ from $t = 0$ to $t = T$, and a
# residual network with $n$ layers is its explicit Euler discretisation. The weights are a *field*
# over the depth: continuous, piecewise linear, with an $H^1$ prior that makes neighbouring layers
# alike,
#
# $$ A(W, b) = \frac1K \sum_{k=1}^K \Phi(x_k(T)) + \frac\lambda2 \int_0^T \big(|W|^2 + |W'|^2 + |b|^2 +
#    |b'|^2\big)\,dt + \frac\lambda2 |C|^2 . $$
#
# A field can be prolonged to a finer mesh. So we train two layers first, interpolate the weights to
# four layers, go on, interpolate to eight, ... The coarse levels cost a fraction of the fine one and
# leave little for it to do. The memory of the quasi-Newton method is made of fields too, and is
# prolonged with them: the fine level starts with the curvature that the coarse ones have seen.
#
# This script trains the same network on the handwritten digits three times,
#
# 1. nested, from 2 to $n$ layers,
# 2. on $n$ layers from the start,
# 3. as 2, but with the memory of the method cut to 5 pairs, the default of PETSc,
#
# all of them in the metric of the prior, and draws the action against the work. The unit of work is
# one gradient on the finest mesh.
#
#     docker/run python demos/nested_depth.py

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import fem_deepest
from fem_deepest.figures.style import LINES, styled

# ## Three runs
#
# `fem_deepest.train` takes the mapping that a TOML file would give. Every run starts from the same
# Gaussian matrix and stops at the same norm of the gradient, measured in the dual of the metric, so
# that the tolerance means the same on every mesh.


def runs(cells: int, neurons: int, tolerance: float) -> dict[str, dict[str, np.ndarray]]:
    """History of every run."""
    nested = [n for n in (2, 4, 8, 16, 32, 64, 128) if n < cells] + [cells]
    variants: dict[str, dict[str, Any]] = {
        "nested in depth": {"levels": nested, "memory": 40},
        "one mesh": {"levels": [cells], "memory": 40},
        "one mesh, 5 pairs": {"levels": [cells], "memory": 5},
    }
    found = {}
    for name, solve in variants.items():
        config = {
            "seed": 1,
            "data": {"name": "digits"},
            "network": {"neurons": neurons, "depth": 2.0, "cells": cells, "lift": lift(neurons)},
            "action": {"lambda": 1e-4},
            "solve": {"tolerance": tolerance, **solve},
            "output": {"figures": False, "fields": False},
        }
        with tempfile.TemporaryDirectory() as folder:
            run = fem_deepest.train(config, out=folder)
            print(f"{name:20s} {run.status}, action {run.metrics['action']:.6f}")
            found[name] = run.history()
    return found


def lift(neurons: int) -> str:
    """The 64 pixels are the first neurons, or a trained linear map brings them to fewer."""
    return "pad" if neurons >= 64 else "linear"


# ## Work
#
# A gradient on $m$ layers costs $m/n$ of one on $n$ layers.


def work(history: dict[str, np.ndarray]) -> np.ndarray:
    """Gradients of the finest mesh that the steps of a run are worth."""
    steps = np.diff(history["evaluations"], prepend=0.0)
    return np.cumsum(steps * history["cells"] / history["cells"].max())


def work_to(history: dict[str, np.ndarray], action: float) -> float:
    """Work until the action on the finest mesh is at most this; infinite if it never is."""
    there = (history["cells"] == history["cells"].max()) & (history["action"] <= action)
    return float(work(history)[there][0]) if there.any() else np.inf


# ## The figure


@styled
def draw(found: dict[str, dict[str, np.ndarray]]):  # type: ignore[no-untyped-def]
    """Action against work; the marks are where a finer mesh begins."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for (name, history), colour, dash in zip(found.items(), LINES, ("-", "--", ":"), strict=False):
        done = work(history)
        axes.plot(done, history["action"], dash, color=colour, linewidth=2.4, label=name)
        first = np.flatnonzero(np.diff(history["cells"], prepend=history["cells"][0]))
        axes.plot(done[first], history["action"][first], "o", color=colour, markersize=7)
        for i in first:
            axes.annotate(
                f"{history['cells'][i]:.0f}",
                (done[i], history["action"][i]),
                textcoords="offset points",
                xytext=(0, 9),
                ha="center",
                fontsize=12,
                color=colour,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("work (gradients on the finest mesh)")
    axes.set_ylabel("action $A$")
    axes.set_title("Digits: the same network, the same start (marks: so many layers from here)")
    axes.legend()
    return figure


# ## All of it


def main(
    cells: int = 64, neurons: int = 64, tolerance: float = 5e-4, out: Path | None = None
) -> float:
    """Work of the nested run over that on one mesh, to the action where the worst run ends."""
    found = runs(cells, neurons, tolerance)
    target = 1.001 * max(history["action"][-1] for history in found.values())
    for name, history in found.items():
        print(f"{name:20s} reaches {target:.6f} with the work of {work_to(history, target):.0f}")
    if out is not None:
        from fem_deepest.figures import save

        print(save(draw(found), out))
    return work_to(found["nested in depth"], target) / work_to(found["one mesh"], target)


if __name__ == "__main__":
    ratio = main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "nested_depth.png"))
    print(f"nested / one mesh: {ratio:.2f}")
