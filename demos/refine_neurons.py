# # Width is a discretisation too
#
# The neurons of this network are the nodes of a mesh of $(0, 1)$, and its states are functions on it,
#
# $$ \partial_t x(t, s) = \sigma\Big( \int_0^1 w(t, s, s')\, x(t, s')\,ds' + b(t, s) \Big), $$
# $$ x(0, s) = \sum_j E_j(s)\, z_j + e(s), \qquad y = \int_0^1 C(s)\, x(T, s)\,ds + c . $$
#
# Kernel, bias, lift and readout are fields with an $H^1$ prior along $t$ and, over the length $\ell$,
# along $s$ and $s'$. So they can be prolonged to more layers *and* to more neurons. A gradient costs in
# proportion to the layers and to the square of the neurons: with 17 neurons and 2 layers it has less than
# a hundredth of the products that it has with 129 neurons and 8 layers, and most steps can be made there.
#
# This script trains on the handwritten digits three times,
#
# 1. nested in depth and along the index: 17, 65 and 129 neurons with 2, 4 and 8 layers,
# 2. nested in depth alone, with all the neurons from the start,
# 3. on the finest level at once,
#
# and draws the action against the seconds that it took.
#
#     docker/run python demos/refine_neurons.py

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import fem_deepest
from fem_deepest.figures.style import LINES, styled

# ## Three runs
#
# All of them end at the same size of the gradient, relative to that at their start.

CONFIG = Path(__file__).with_name("refine_neurons.toml")


def runs(
    cells: Sequence[int], neurons: Sequence[int], settings: Sequence[str]
) -> dict[str, dict[str, np.ndarray]]:
    """History of every run, by its name."""
    variants = {
        "nested in depth and index": (cells, neurons),
        "nested in depth": (cells, neurons[-1:]),
        "one level": (cells[-1:], neurons[-1:]),
    }
    found = {}
    for name, (depth, index) in variants.items():
        own = [f"network.cells={cells[-1]}", f"network.neurons={neurons[-1]}"]
        own += [f"solve.levels={list(depth)}", f"solve.neurons={list(index)}"]
        own += ["output.figures=false", "output.fields=false", *settings]
        with tempfile.TemporaryDirectory() as folder:
            run = fem_deepest.train(CONFIG, out=folder, settings=own)
            seconds, action = run.seconds, run.metrics["action"]
            print(f"{name:26s} {run.status} after {seconds:.1f} s, action {action:.6f}")
            found[name] = run.history()
    return found


def finest(history: dict[str, np.ndarray]) -> np.ndarray:
    """Which steps are on the finest level."""
    return np.asarray(
        (history["cells"] == history["cells"].max())
        & (history["neurons"] == history["neurons"].max())
    )


def seconds_to(history: dict[str, np.ndarray], action: float) -> float:
    """Seconds until the action on the finest level is at most this; infinite if it never is."""
    there = finest(history) & (history["action"] <= action)
    return float(history["seconds"][there][0]) if there.any() else np.inf


# ## The figure
#
# The marks are where a finer level begins. The action rises there: the coarser level has not seen what the
# finer one can tell apart.


@styled
def draw(found: dict[str, dict[str, np.ndarray]]):  # type: ignore[no-untyped-def]
    """Action against seconds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    for (name, history), colour, dash in zip(found.items(), LINES, ("-", "--", ":"), strict=False):
        seconds, action = history["seconds"], history["action"]
        axes.plot(seconds, action, dash, color=colour, linewidth=2.4, label=name)
        levels = np.stack([history["cells"], history["neurons"]])
        change = np.any(np.diff(levels, prepend=levels[:, :1]) != 0.0, axis=0)
        first = np.flatnonzero(change)
        axes.plot(seconds[first], action[first], "o", color=colour, markersize=7)
        for i in (0, *first) if name == "nested in depth and index" else ():
            axes.vlines(seconds[i], 0.0, action[i], colors=colour, linewidth=0.8)
            axes.annotate(
                f"{history['neurons'][i]:.0f} neurons",
                (seconds[i], 0.02),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                xytext=(5, 0),
                fontsize=12,
                color=colour,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(0.55 * min(history["action"].min() for history in found.values()), None)
    axes.set_xlabel("seconds")
    axes.set_ylabel("action $A$")
    axes.set_title("Digits: the same network, refined on the way or not")
    axes.legend(loc="upper right")
    return figure


# ## All of it


def main(
    cells: Sequence[int] = (2, 4, 8),
    neurons: Sequence[int] = (17, 65, 129),
    settings: Sequence[str] = (),
    out: Path | None = None,
) -> float:
    """Seconds of the nested run over those on one level, to the action where the worst run ends."""
    found = runs(cells, neurons, settings)
    target = 1.001 * max(history["action"][-1] for history in found.values())
    for name, history in found.items():
        print(f"{name:26s} reaches {target:.6f} in {seconds_to(history, target):.1f} s")
    if out is not None:
        from fem_deepest.figures import save

        print(save(draw(found), out))
    nested, _, alone = (seconds_to(history, target) for history in found.values())
    return nested / alone


if __name__ == "__main__":
    ratio = main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "refine_neurons.png"))
    print(f"nested in depth and index / one level: {ratio:.2f}")
