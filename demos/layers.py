# # How few layers are enough?
#
# Training leaves a field: weights $W(t), b(t)$ over the depth $0 \le t \le T$, continuous and piecewise
# linear. The network of the run is one way to read it, explicit Euler on the mesh that it was trained
# on. The same field makes a network of any other number of layers $L$: step $h = T/L$, weights at
# $t_i = i h$,
#
# $$ x_{i+1} = x_i + h\,\sigma(W(t_i)\,x_i + b(t_i)), \qquad i = 0, \dots, L - 1. $$
#
# `fem-deepest export DIR --layers L` writes it to a file for PyTorch, ONNX or NumPy. As $L$ grows its
# outputs tend to those of the continuous network, $x' = \sigma(W(t)\,x + b(t))$, with the error $O(h)$ of
# Euler's method. Fewer layers cost less, and nothing is trained again; so how few will do?
#
# This script trains on 64 layers, once the handwritten digits and once two spiral arms, and exports
# 1, 2, 4, ..., 64 layers of either field. It also trains networks of 1, 2, 4, ... layers from the
# start, by the same action and tolerance: those need not follow a flow, may use their few layers as
# they like, and show that neither task asks for depth. What a trained flow asks for is that Euler's
# method follows it. On the digits 4 layers do, within one per cent of accuracy. The arms of the spiral
# are pulled apart by a stronger flow, and need 16.
#
#     docker/run python demos/layers.py

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fem_deepest
from fem_deepest.figures.style import LINES, MARKERS, styled
from fem_deepest.runs.train import load_data

# ## Two trainings
#
# Half of the samples are kept for testing.

TASKS: dict[str, dict[str, Any]] = {
    "digits": {
        "data": {"name": "digits", "test_fraction": 0.5},
        "network": {"neurons": 64},
        "solve": {"tolerance": 5e-4, "memory": 40},
    },
    "spiral": {
        "data": {"name": "spiral", "samples": 1000, "test_fraction": 0.5},
        "network": {"neurons": 8},
        "solve": {"tolerance": 1e-3, "memory": 40},
    },
}


def train(folder: Path, task: dict[str, Any], cells: int) -> fem_deepest.Run:
    """A network of so many layers."""
    config = {
        "seed": 1,
        **task,
        "network": {**task["network"], "depth": 2.0, "cells": cells, "scheme": "euler"},
        "action": {"lambda": 1e-4},
        "output": {"figures": False, "fields": False},
    }
    return fem_deepest.train(config, out=folder / f"trained_{cells}")


# ## Many networks
#
# `fem_deepest.export` is what the command calls. It returns what it has written, and the accuracies
# beside those of the run. The archive is all that a prediction needs; with Euler's method it is a
# loop of one line, on raw inputs.


def logits(path: Path, z: np.ndarray) -> np.ndarray:
    """Outputs of an exported network, by NumPy alone."""
    with np.load(path) as f:
        x = (z - f["mean"]) / f["scale"] @ f["lift_weight"].T + f["lift_bias"]
        for h, W, b in zip(f["steps"], f["weight_1"][:, 0], f["bias"][:, 0], strict=True):
            x = x + h * np.tanh(x @ W.T + b)
        return x @ f["readout_weight"].T + f["readout_bias"]


@dataclass(frozen=True)
class Found:
    """Test accuracies, and how far the logits are from those of the continuous network."""

    sampled: np.ndarray  # layers of one field
    trained: np.ndarray  # trained with so many
    distance: np.ndarray  # root mean square, relative to the logits

    def enough(self, layers: list[int]) -> int:
        """Layers from which on the accuracy is at most 1 % below that of the run."""
        short = np.flatnonzero(self.sampled < self.sampled[-1] - 0.01)
        return layers[short[-1] + 1 if short.size else 0]


def explore(folder: Path, task: dict[str, Any], layers: list[int]) -> Found:
    """Train, export and compare; a network of 16 times the layers stands for the continuous one."""
    runs = [train(folder, task, L) for L in layers]
    _, test = load_data(runs[-1].config)
    accuracies, outputs = [], []
    for L in [*layers, 16 * layers[-1]]:
        out = folder / f"network_{L}.npz"
        found = fem_deepest.export(runs[-1].directory, layers=L, format="npz", out=out)
        accuracies.append(found.metrics["test_accuracy"])
        outputs.append(logits(out, test.inputs))
    *outputs, limit = outputs
    return Found(
        np.array(accuracies[:-1]),
        np.array([run.metrics["test_accuracy"] for run in runs]),
        np.array([np.linalg.norm(y - limit) / np.linalg.norm(limit) for y in outputs]),
    )


# ## The figure


@styled
def draw(layers: list[int], results: dict[str, Found]):  # type: ignore[no-untyped-def]
    """Accuracy against layers, a panel for each task; distance against layers for all."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.8), layout="constrained")
    *panels, last = figure.subplots(1, len(results) + 1)
    for axes, (name, found) in zip(panels, results.items(), strict=True):
        enough = found.enough(layers)
        axes.plot(layers, 100 * found.trained, "s--", color=LINES[1], label="trained with so many")
        label = f"layers of the field of {layers[-1]}"
        axes.plot(layers, 100 * found.sampled, "o-", color=LINES[0], label=label)
        mark = enough, 100 * found.sampled[layers.index(enough)]
        axes.plot(*mark, "o", color="0.3", fillstyle="none", markersize=16, markeredgewidth=1.6)
        axes.set_ylabel("test accuracy (%)")
        axes.set_title(f"{name}: {enough} layers are enough")
        axes.legend(loc="lower right")
    for i, (name, found) in enumerate(results.items()):
        last.plot(layers, found.distance, MARKERS[2 * i] + "-", color=LINES[2 * i], label=name)
    largest = max(found.distance[-1] for found in results.values())
    line = 2.0 * largest * layers[-1] / np.array(layers)
    last.plot(layers[1:], line[1:], ":", color="0.4", label="$O(h)$")
    last.set_yscale("log")
    last.set_ylabel("distance of the logits, relative")
    last.set_title("to the continuous network")
    last.legend()
    for axes in (*panels, last):
        axes.set_xscale("log", base=2)
        axes.set_xticks(layers, [str(L) for L in layers])
        axes.set_xlabel("layers $L$")
    return figure


# ## All of it


def main(cells: int = 64, out: Path | None = None) -> dict[str, int]:
    """For each task the least number of layers whose accuracy is at most 1 % below that of the run."""
    layers = [2**p for p in range(cells.bit_length())]
    results = {}
    for name, task in TASKS.items():
        with tempfile.TemporaryDirectory() as folder:
            results[name] = found = explore(Path(folder), task, layers)
        for row in zip(layers, found.sampled, found.trained, found.distance, strict=True):
            numbers = "{:3d} layers: accuracy {:.4f}, trained with so many {:.4f}, distance {:.1e}"
            print(f"{name}, {numbers.format(*row)}")
    if out is not None:
        from fem_deepest.figures import save

        print(save(draw(layers, results), out))
    return {name: found.enough(layers) for name, found in results.items()}


if __name__ == "__main__":
    fewest = main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "layers.png"))
    for task_name, count in fewest.items():
        print(f"{task_name}: {count} layers are enough")
