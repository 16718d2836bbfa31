"""The phase flow of the Euler-Lagrange equations of one state.

Nothing in here is collective: the rank that has the arrays draws, and the others need not come.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.figures.style import LINES, MARKERS, check_shape, styled

__all__ = ["phase_flow"]

Floats = NDArray[np.float64]
LEVELS = 15
MOST = 50  # points drawn of a trajectory


@styled
def phase_flow(
    t: Floats, x: Floats, p: Floats, energy: Floats, grid: tuple[Floats, Floats, Floats]
) -> Figure:
    """Discrete trajectories on the level sets of the Hamiltonian, and how far they drift off.

    Args:
        t: Depth of the nodes, (n + 1,).
        x: Positions of ``B`` trajectories, (n + 1, B).
        p: Their momenta, (n + 1, B).
        energy: ``H`` along them, (n + 1, B).
        grid: Positions (J,), momenta (I,) and ``H`` there, (I, J), for the level sets.

    Returns:
        A figure with two axes: the phase plane; the largest ``|H(s) - H(0)|`` up to a depth.

    Raises:
        InputError: The shapes disagree.
    """
    t, x, p, energy = (np.asarray(array, dtype=np.float64) for array in (t, x, p, energy))
    across, up, levels = (np.asarray(array, dtype=np.float64) for array in grid)
    if t.ndim != 1 or x.ndim != 2 or t.size < 2:
        raise InputError(f"t has shape {t.shape} and x {x.shape}; expected (n+1,) and (n+1, B).")
    check_shape("x", x.shape, (t.size, x.shape[1]))
    check_shape("p", p.shape, x.shape)
    check_shape("energy", energy.shape, x.shape)
    check_shape("H on the grid", levels.shape, (up.size, across.size))

    figure = Figure(figsize=(12, 5.2))
    axes: Any = figure.subplots(1, 2, width_ratios=(1.35, 1))
    plane, drift = axes
    # Every trajectory has its own level; the others are spread over what is seen.
    spread = np.quantile(levels, np.linspace(0.02, 0.98, LEVELS))
    plane.contour(
        across,
        up,
        levels,
        levels=np.unique(spread),
        colors="0.78",
        linewidths=0.9,
        linestyles="solid",
    )
    for k in range(x.shape[1]):
        colour = LINES[k % len(LINES)]
        plane.contour(
            across,
            up,
            levels,
            levels=[energy[0, k]],
            colors=[colour],
            linewidths=1.2,
            linestyles="solid",
        )
        marker = {"marker": MARKERS[k % len(MARKERS)], "markersize": 4.5, "color": colour}
        every = max(1, t.size // MOST)
        plane.plot(x[::every, k], p[::every, k], linestyle="", **marker)
        plane.plot(x[0, k], p[0, k], linestyle="", **(marker | {"markersize": 9}))
        error = np.maximum.accumulate(np.abs(energy[1:, k] - energy[0, k]))
        shown = np.where(error > 0.0, error, np.nan)
        drift.semilogy(t[1:], shown, color=colour, linewidth=1.6, label=f"$H = {energy[0, k]:.3g}$")
    plane.set_xlim(across[0], across[-1])
    plane.set_ylim(up[0], up[-1])
    plane.set_xlabel("position $x$")
    plane.set_ylabel("momentum $p$")
    plane.set_title("Discrete flow on the level sets of $H$")
    plane.grid(False)
    drift.set_xlabel("depth $t$")
    drift.set_ylabel(r"$\max_{s \leq t}\, |H(s) - H(0)|$")
    drift.set_title("Drift of the Hamiltonian")
    drift.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
