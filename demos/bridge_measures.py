# # Two measures on paths: the law of an equation, and its Gibbs measure
#
# A particle in two wells follows
#
# $$ dx = f(x)\, dt + dW, \qquad f(x) = x - x^3, \qquad x(0) = -1, \quad x(T) = 1, \quad T = 2, $$
#
# and both ends have been observed. How did it cross? The most probable path minimises the action
# $A(x) = \int_0^T \frac12 |x' - f(x)|^2 dt$, so one is led to sample $\exp(-A)$. On piecewise linear
# paths, refined, that is *not* the law of the equation. Relative to the Brownian bridge $\exp(-A)$ has the
# potential $f^2/2$ (the product $f x'$ is a total derivative, and its integral fixed by the ends), the law
# of the equation has $(f^2 + f')/2$, by Girsanov's theorem and Ito's formula:
#
# $$ E\,x(T/2)^2 = 0.35322 \quad (\texttt{gibbs}), \qquad 0.55430 \quad (\texttt{sde}). $$
#
#     docker/run python demos/bridge_measures.py
#
# There is a third way: the action of the Euler scheme, with $f$ at the left end of every cell, is the
# logarithm of a product of transition densities. It needs no divergence.

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

from fem_deepest.figures.style import LINES, MARKERS, styled
from fem_deepest.sample.bridge import POTENTIALS, bridge
from fem_deepest.sample.diagnostics import rhat, standard_error
from fem_deepest.sample.hamiltonian import HamiltonianMonteCarlo
from fem_deepest.sample.run import Plan, Setting, sample
from fem_deepest.sample.target import Gaussian
from fem_deepest.sample.transfer import middle_density

T = 2.0
LIMITS = {"gibbs": 0.35322, "sde": 0.55430, "euler": 0.55430}

# What each discretisation has on N cells, by transfer operators (products of matrices, no sampling).

MESHED = {
    "gibbs": {16: 0.3650, 32: 0.3595, 64: 0.3565, 128: 0.3549},
    "sde": {16: 0.5889, 32: 0.5724, 64: 0.5636, 128: 0.5590},
    "euler": {16: 0.5576, 32: 0.5537, 64: 0.5537, 128: 0.5539},
}

# ## A target by hand
#
# A sampler asks for a Gaussian and, on many paths at once, for the potential and its gradient. Here is
# the action of the Euler scheme without its quadratic part,
# $\sum_i \frac h2 f(x_i)^2 - f(x_i)(x_{i+1} - x_i)$.


def f(x: np.ndarray) -> np.ndarray:
    return x - x**3


class EulerAction:
    """$\\sum_i |x_{i+1} - x_i - h f(x_i)|^2 / (2 h)$; columns are chains."""

    def __init__(self, cells: int) -> None:
        line = bridge(POTENTIALS["diffusion"]("gibbs"), cells, T)
        self.h, self._line = T / cells, line
        self.prior: Gaussian = line.prior

    def path(self, v: np.ndarray) -> np.ndarray:
        return self._line.path(v)

    def potential(self, v: np.ndarray) -> np.ndarray:
        return self.gradient(v)[0]

    def gradient(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = self._line.path(v)
        left, move = f(x[:-1]), np.diff(x, axis=0)
        slope = 1.0 - 3.0 * x[1:-1] ** 2
        value = np.sum(0.5 * self.h * left**2 - left * move, axis=0)
        return value, slope * (self.h * left[1:] - move[1:]) + left[1:] - left[:-1]


# The other two are one line each: `gibbs` and `sde` differ by the divergence that is added to the
# potential in UFL. All three share the prior, the Brownian bridge around the straight line from -1 to 1.


def make(measure: str, cells: int) -> Setting:
    """Target, kernel, and what is kept: the middle of the path, and the whole path of a few draws."""
    if measure == "euler":
        target = EulerAction(cells)
    else:
        target = bridge(POTENTIALS["diffusion"](measure), cells, T, exact=True)
    observe = {"middle": lambda v: target.path(v)[cells // 2]}
    if cells == max(MESHED["gibbs"]):
        observe["path"] = target.path
    return Setting(target, lambda: HamiltonianMonteCarlo(target), observe)


class Estimate(NamedTuple):
    """Mean of $x(T/2)^2$, its standard error, R-hat, all draws of the middle, some paths."""

    mean: float
    error: float
    rhat: float
    middle: np.ndarray
    paths: np.ndarray | None


def estimate(measure: str, cells: int, draws: int) -> Estimate:
    plan = Plan(chains=32, batch=32, relax=200, warmup=200, draws=draws, seed=cells)
    values = sample(lambda: make(measure, cells), plan, MPI.COMM_SELF).values
    x = values["middle"]
    paths = values["path"][:, -1] if "path" in values else None
    return Estimate(float(np.mean(x**2)), standard_error(x**2), rhat(x**2), x, paths)


# ## The figure
#
# Left: twelve paths of each measure on the finest mesh. The Gibbs measure holds the particle in the
# middle of its way too often: near $x = 0$ the drift expands, $f' > 0$, and the law of the equation knows
# that paths are driven apart there. Middle: the law of $x(T/2)$ with the exact densities. Right:
# refinement does not bring the two together.


@styled
def draw(found: dict[str, dict[int, Estimate]]):  # type: ignore[no-untyped-def]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    looks = dict(zip(found, zip(LINES, MARKERS, strict=False), strict=False))
    finest = max(found["gibbs"])
    t = np.linspace(0.0, T, finest + 1)
    for measure in ("sde", "gibbs"):
        best, (colour, _) = found[measure][finest], looks[measure]
        if best.paths is not None:
            for i, path in enumerate(best.paths[:12]):
                label = measure if i == 0 else None
                left.plot(t, path, color=colour, linewidth=1.0, alpha=0.8, label=label)
        density = bridge(POTENTIALS["diffusion"](measure), 4, T).density
        x, p = middle_density(density, T)
        middle.hist(best.middle.ravel(), bins=50, density=True, color=colour, alpha=0.35)
        middle.plot(x, p, color=colour, label=f"{measure}, exact")
    left.set_xticks([0.0, 0.5, 1.0, 1.5, 2.0])
    left.set(xlabel="$t$", ylabel="$x(t)$", title=f"Paths, $N = {finest}$")
    middle.set(xlabel="$x(T/2)$", ylabel="density", title="In the middle", xlim=(-2.3, 2.3))
    middle.set_ylim(0.0, 0.85)
    middle.legend(loc="upper center", ncols=2)
    for measure, row in found.items():
        cells, (colour, marker) = np.array(list(row)), looks[measure]
        means, errors = (
            np.array([getattr(e, name) for e in row.values()]) for name in ("mean", "error")
        )
        shift = {"gibbs": 1.0, "sde": 0.96, "euler": 1.04}[measure]
        right.errorbar(
            shift * cells,
            means,
            2.0 * errors,
            fmt=marker,
            color=colour,
            capsize=4,
            label={"euler": "Euler action"}.get(measure, measure),
        )
        right.plot(cells, [MESHED[measure][n] for n in row], color=colour, linewidth=1.2)
    for value in set(LIMITS.values()):
        right.axhline(value, color="0.4", linestyle=":", linewidth=1.5)
        right.text(48, value - 0.008, f"{value:.5f}", color="0.3", ha="center", va="top")
    right.set_xscale("log", base=2)
    right.set_xticks(cells, [str(n) for n in cells])
    right.set(
        xlabel="cells $N$", ylabel="$E\\,x(T/2)^2$", title="Refined, two limits", ylim=(0.3, 0.68)
    )
    right.legend(loc="upper right", ncols=3, columnspacing=1.0, handletextpad=0.2)
    return figure


# ## All of it
#
# Every estimate is compared with the number that its own mesh has. Twelve of them: one beyond three
# standard errors would be bad luck (3 %), one beyond four an error.


def main(
    draws: int = 1000, cells: tuple[int, ...] = (16, 32, 64, 128), out: Path | None = None
) -> float:
    """Largest distance from the exact numbers of the meshes, in standard errors."""
    found: dict[str, dict[int, Estimate]] = {}
    worst = 0.0
    for measure, known in MESHED.items():
        found[measure] = {n: estimate(measure, n, draws) for n in cells}
        for n, e in found[measure].items():
            away = max(abs(e.mean - known[n]) - 5e-5, 0.0) / e.error
            worst = max(worst, away)
            print(
                f"{measure:5s} N = {n:3d}: {e.mean:.4f} +- {e.error:.4f}, exact {known[n]:.4f}, "
                f"R-hat {e.rhat:.4f}"
            )
    if out is not None:
        from fem_deepest.figures import save

        print(save(draw(found), out))
    return worst


if __name__ == "__main__":
    distance = main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "bridge_measures.png"))
    print(f"largest distance from the exact numbers: {distance:.1f} standard errors")
