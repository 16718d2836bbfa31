# # Where in the depth do layers pay?
#
# The action of a network with layers is that of the continuous network and an error. The error is known
# layer by layer: of the scheme, what a step does wrong to the states times what the loss feels of it (the
# *dual weighted residual*), and of the weights, what piecewise linear functions miss,
#
# $$ \eta_i = -\frac1K \sum_k q_{i+1} \cdot \big(x_{i+1}^{\text{flow}} - x_{i+1}\big)
#    + \frac{\lambda h_i^3}{24} |w''|^2 , \qquad \sum_i \eta_i \approx A_h - A . $$
#
# With $\eta_i = c(t_i) h_i^{p+1}$ the best $n$ layers are those on which $\int c^{1/(p+1)}$ is the same in
# each (de Boor 1973). They are worth
#
# $$ \frac{\big(T^p \int c\big)^{1/p}}{\big(\int c^{1/(p+1)}\big)^{(p+1)/p}} \ge 1 $$
#
# times as many equal ones. So, is that much? In the settings of `toy_spiral.toml` and `digits.toml` it is
# not: 1.1. There is a reason. The prior has no preferred depth, so at a minimum the energy
#
# $$ \frac1K \sum_k q_k \cdot F(x_k, w) + \frac\lambda2 \big(\kappa^2 |w|^2 - |w'|^2\big) $$
#
# is the same at all depths: a trained network works at a constant pace, as a geodesic does.
#
# It is much where the flow is long and expanding. An ordinary residual network $x + \sigma(Wx + b)$ of 16
# blocks has steps of one, $T = 16$, starts from matrices of deviation $1/\sqrt N$ and has a weak prior:
# then the sensitivity to the first layers is orders of magnitude larger than that to the last ones. We
# train such a network with fine layers and ask how many are enough for the same action.
#
#     docker/run python demos/adaptivity.py

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import fem_deepest
from fem_deepest._petsc import PETSc
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.configuration.train import load
from fem_deepest.figures.style import LINES, styled
from fem_deepest.runs.problem import Problem
from fem_deepest.runs.train import load_data
from fem_deepest.solve.adaptivity import Indicators, estimate
from fem_deepest.spaces import DepthMesh, ProcessGrid, Resolution, prolong
from fem_deepest.spaces.equidistribution import equidistributed, gain

# ## The networks

QUIET = {"figures": False, "fields": False}
DATA: dict[str, dict[str, Any]] = {
    "spiral": {"name": "spiral", "samples": 300},
    "digits": {"name": "digits", "test_fraction": 0.6},
}
USUAL: dict[str, dict[str, Any]] = {
    "spiral": {
        "network": {"neurons": 8, "depth": 2.0, "scheme": "rk2"},
        "action": {"lambda": 1e-4},
    },
    "digits": {
        "network": {"neurons": 64, "depth": 2.0, "scheme": "rk2"},
        "action": {"lambda": 1e-4},
    },
}
DEEP: dict[str, dict[str, Any]] = {
    "spiral": {
        "network": {"neurons": 8, "depth": 8.0, "start": 1.0, "scheme": "rk2"},
        "action": {"lambda": 1e-6},
    },
    "digits": {
        "network": {"neurons": 64, "depth": 16.0, "start": 1.0, "scheme": "rk2"},
        "action": {"lambda": 1e-5},
    },
}


@dataclass(frozen=True)
class Trained:
    """A network with fine equal layers: its action, its weights, where its error is."""

    problem: Problem
    action: NetworkAction
    u: PETSc.Vec
    indicators: Indicators

    @property
    def gain(self) -> float:
        """Equal layers that one of the best ones is worth."""
        return gain(self.indicators.mesh, self.indicators.cells, self.indicators.order)


def train(name: str, settings: dict[str, Any], cells: int) -> Trained:
    """Nested iteration from at most 16 equal layers to ``cells``."""
    levels = [n for n in (4, 16, 32, 64) if n < cells and n >= settings["network"]["depth"]]
    config = load(
        {
            "seed": 1,
            "data": DATA[name],
            "network": {**settings["network"], "cells": cells},
            "action": settings["action"],
            "solve": {
                "levels": [*levels, cells],
                "tolerance": 2e-3,
                "memory": 40,
                "loosening": 1.0,
            },
            "output": QUIET,
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        run = fem_deepest.train(config, out=Path(folder) / "run")
    problem = Problem.create(config, *load_data(config))
    action = problem.action(Resolution(cells), ProcessGrid.create())
    u = action.create()
    u.array[:] = run.model.flat
    return Trained(problem, action, u, estimate(action, u))


# ## The same network with fewer layers
#
# The weights are a field: on any other mesh they are read off where its nodes are. What action it has as
# a continuous network is told by a scheme of order four on the fine mesh.


def on(trained: Trained, mesh: DepthMesh) -> tuple[NetworkAction, PETSc.Vec]:
    """The network on another mesh."""
    action = trained.problem.action(Resolution.of_mesh(mesh), ProcessGrid.create())
    own = trained.action
    v = prolong(own.space, action.space, own.network.depth, mesh, trained.u)
    return action, v


def continuous(trained: Trained) -> float:
    """The action of the continuous network with these weights."""
    config = trained.problem.config
    network = config.network.model_copy(update={"scheme": "rk4"})
    problem = Problem.create(
        config.model_copy(update={"network": network}), trained.problem.train, trained.problem.test
    )
    action = problem.action(Resolution(network.cells), ProcessGrid.create())
    return action.value(trained.u)


# On few layers the error is not yet a power of their lengths. So we place them by the error on the fine
# mesh, look where it is with these layers, and place them again.


def place(trained: Trained, cells: int, times: int = 4) -> DepthMesh:
    """So many layers where the error of the network is."""
    found = trained.indicators
    mesh = equidistributed(found.mesh, found.cells, found.order, cells)
    for _ in range(times):
        action, v = on(trained, mesh)
        mesh = equidistributed(mesh, estimate(action, v).cells, found.order, cells)
    return mesh


def errors(trained: Trained, layers: list[int]) -> np.ndarray:
    """``|A_n - A|/A`` on equal layers and on placed ones, (2, len(layers))."""
    exact, table = continuous(trained), []
    for n in layers:
        uniform = DepthMesh.graded(trained.action.network.depth.nodes[-1], n)
        values = [
            action.value(v) for action, v in (on(trained, m) for m in (uniform, place(trained, n)))
        ]
        table.append([abs(value - exact) / exact for value in values])
        print(
            f"    {n:3d} layers: error {table[-1][0]:.2e} of equal ones, {table[-1][1]:.2e} of placed ones"
        )
    return np.array(table).T


def enough(layers: list[int], error: np.ndarray, tolerance: float) -> float:
    """Layers from which on the error stays below a tolerance."""
    above = np.flatnonzero(error > tolerance)
    first = above[-1] + 1 if above.size else 0
    return float(layers[first]) if first < len(layers) else np.inf


# ## The figure


@styled
def draw(found: dict[str, dict[str, Any]], layers: list[int]):  # type: ignore[no-untyped-def]
    """Above the error against the number of layers, below where it is and where the layers lie."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2 * len(found), 9.5), layout="constrained")
    axes = figure.subplots(2, len(found), squeeze=False)
    for (name, one), above, below in zip(found.items(), *axes, strict=True):
        for error, label, colour, mark in zip(
            one["errors"], ("equal layers", "placed layers"), LINES, "os", strict=False
        ):
            above.loglog(layers, error, f"-{mark}", color=colour, label=label)
        above.axhline(one["tolerance"], color="0.4", linestyle=":")
        above.set_xticks(layers, [str(n) for n in layers])
        above.minorticks_off()
        above.set_xlabel("layers")
        above.set_ylabel("error of the action, $|A_n - A| / A$")
        T = one["deep"].indicators.mesh.nodes[-1]
        above.set_title(f"{name}, $T = {T:.0f}$: the same weights")
        above.legend()
        for trained, label, dash, colour in (
            (one["usual"], "settings of the demo", "--", LINES[2]),
            (one["deep"], "residual network", "-", LINES[1]),
        ):
            mesh, eta = trained.indicators.mesh, np.abs(trained.indicators.cells)
            density = eta / mesh.steps * mesh.nodes[-1] / eta.sum()
            middle = 0.5 * (mesh.nodes[:-1] + mesh.nodes[1:]) / mesh.nodes[-1]
            text = f"{label}: gain {trained.gain:.2f}"
            below.semilogy(middle, density, dash, color=colour, label=text)
        nodes = one["mesh"].nodes / T
        bottom, top = 1e-6, 1e2
        below.vlines(nodes, bottom, 5.0 * bottom, color=LINES[1], linewidth=1.2)
        below.text(0.99, 8.0 * bottom, f"nodes of {nodes.size - 1} placed layers", ha="right")
        below.set_ylim(bottom, top)
        below.set_xlabel("depth $t/T$")
        below.set_ylabel("density of the error (mean 1)")
        below.legend()
    return figure


# ## All of it
#
# In a training the layers of a level are placed by the error on the level before it with
#
#     [solve]
#     levels = [16, 24, 32]
#     adapt = "move"          # or "bisect": only halves cells, so that the meshes are nested
#
# and `run.json` tells nodes and error of every level. Of the two deep networks above 32 layers placed like
# this end with the estimated errors 1.4e-5 of 5.3e-3 (digits) and 5e-7 of 5.3e-5 (spiral), 64 equal ones
# with 3.0e-5 and 1.0e-6. In the settings of the demos 32 placed layers are as good as 32 equal ones.
#
# What "the same action" means differs: that of the spiral is 1e-4 of the one of a network that knows
# nothing, and a tenth of it is little; of the digits we want a hundredth.

TOLERANCES = {"spiral": 0.1, "digits": 0.01}
LAYERS = [12, 16, 24, 32, 48, 64, 96]


def main(
    names: tuple[str, ...] = ("spiral", "digits"),
    cells: int = 128,
    layers: list[int] = LAYERS,
    tolerances: dict[str, float] = TOLERANCES,
    out: Path | None = None,
) -> float:
    """Placed layers over equal ones for the same action, in the worse of the examples."""
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        usual, deep = train(name, USUAL[name], 32), train(name, DEEP[name], cells)
        print(f"{name}: gain {usual.gain:.2f} in the settings of the demo, {deep.gain:.2f} if deep")
        table, tolerance = errors(deep, layers), tolerances[name]
        equal, placed = (enough(layers, error, tolerance) for error in table)
        print(f"    within {tolerance:.0%}: {equal:.0f} equal layers, {placed:.0f} placed ones")
        found[name] = {
            "usual": usual,
            "deep": deep,
            "errors": table,
            "tolerance": tolerance,
            "ratio": placed / equal,
            "mesh": place(deep, int(min(placed, layers[-1]))),
        }
    if out is not None:
        from fem_deepest.figures import save

        print(save(draw(found, layers), out))
    return max(one["ratio"] for one in found.values())


if __name__ == "__main__":
    ratio = main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "adaptivity.png"))
    print(f"placed / equal layers: {ratio:.2f}")
