# # Random fields by elliptic solves
#
# A stationary Gaussian field with the Matérn covariance of standard deviation $\sigma$, smoothness $\nu$
# and correlation length $\ell$ is the solution of
#
# $$ (\kappa^2 - \Delta)^{\alpha/2}\, u = \tau\, \dot W, \qquad \alpha = \nu + \tfrac d2, \quad
#    \kappa = \frac{\sqrt{8 \nu}}{\ell}, \quad
#    \sigma^2 = \frac{\tau^2\, \Gamma(\nu)}{\Gamma(\alpha)\, (4 \pi)^{d/2}\, \kappa^{2 \nu}}, $$
#
# with white noise $\dot W$ on the right. So a sample on any mesh costs a few elliptic solves, with no
# covariance matrix in sight: $\alpha/2$ solves for even $\alpha$, and for the others a sum of solves with
# $\kappa^2 + t_i - \Delta$, since $x^{-s} \approx \sum_i w_i / (x + t_i)$ with positive $w_i$ and $t_i$.
#
# Here the *same* white noise is coloured three times: $\alpha = 3/2$, which is the exponential covariance
# $\sigma^2 e^{-\kappa r}$, $\alpha = 2$ and $\alpha = 4$. Only the smoothness changes. Below, the standard
# deviation for two boundary conditions, and the covariance with the middle of the square against the
# closed form.
#
#     docker/run python demos/matern_fields.py

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI
from scipy.special import gamma, kv

from fem_deepest.figures.style import DIVERGING, LINES, styled
from fem_deepest.noise.matern import WhittleMatern
from fem_deepest.noise.white import WhiteNoise

SIGMA, LENGTH, SIDE = 1.0, 0.5, 3.0
ALPHAS = {1.5: r"$\nu = 1/2$", 2.0: r"$\nu = 1$", 4.0: r"$\nu = 3$"}

# ## The fields
#
# `WhiteNoise.load` gives $b_i = \int \varphi_i\, dW$, exactly $N(0, M)$; `WhittleMatern` makes fields of
# it. Robin conditions $\partial_n u + (\kappa / 1.42)\, u = 0$ disturb the variance least.


def covariance(V: fem.FunctionSpace, alpha: float, boundary: str = "robin") -> WhittleMatern:
    """The law that is asked for."""
    return WhittleMatern.with_law(
        V, sigma=SIGMA, length=LENGTH, alpha=alpha, boundary=boundary, tolerance=1e-6
    )


def matern(r: np.ndarray, alpha: float) -> np.ndarray:
    """The closed form in the plane."""
    nu = alpha - 1.0
    x = np.maximum(np.sqrt(8.0 * nu) / LENGTH * r, 1e-9)
    return SIGMA**2 * 2.0 ** (1.0 - nu) / gamma(nu) * x**nu * kv(nu, x)


# ## The covariance without sampling
#
# `apply` is the covariance operator $C$ itself. Applied to a unit vector it gives the covariances of all
# nodes with one of them.


def with_the_middle(field: WhittleMatern) -> tuple[np.ndarray, np.ndarray]:
    """Distances from the middle node, and covariances with it."""
    x = field.V.tabulate_dof_coordinates()[:, :2]
    r = np.linalg.norm(x - 0.5 * SIDE, axis=1)
    unit = field.blocks.zeros()
    unit[r.argmin()] = 1.0
    return r, field.apply(unit)[:, 0]


# ## The figure


@styled
def draw(V: fem.FunctionSpace, fields: dict, curves: dict, deviations: dict):  # type: ignore[no-untyped-def]
    """Three fields; two standard deviations and the correlation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), layout="constrained")
    axes = figure.subplots(2, 3)
    x = V.tabulate_dof_coordinates()
    cells = V.dofmap.list

    def picture(ax: Any, values: np.ndarray, title: str, label: str, **look: Any) -> None:
        drawn = ax.tripcolor(x[:, 0], x[:, 1], cells, values, shading="gouraud", **look)
        ax.set_aspect("equal")
        ax.grid(visible=False)
        ax.set(title=title, xlabel="$x$", ylabel="$y$")
        figure.colorbar(drawn, ax=ax, label=label, shrink=0.9)

    for ax, (alpha, values) in zip(axes[0], fields.items(), strict=True):
        picture(
            ax,
            values,
            rf"$\alpha = {alpha:g}$  ({ALPHAS[alpha]})",
            "$u$",
            cmap=DIVERGING,
            vmin=-3.0 * SIGMA,
            vmax=3.0 * SIGMA,
        )
    for ax, (boundary, values) in zip(axes[1], deviations.items(), strict=False):
        picture(
            ax,
            values,
            rf"{boundary.capitalize()}, $\alpha = 2$",
            "standard deviation",
            cmap=DIVERGING,
            vmin=0.0,
            vmax=2.0 * SIGMA,
        )
    ax = axes[1, 2]
    exact = np.linspace(0.0, 1.2, 200)
    for (alpha, (r, c)), colour in zip(curves.items(), LINES, strict=False):
        near = np.flatnonzero(r < 1.2)
        some = near[np.unique(np.round(r[near], 2), return_index=True)[1]][::4]
        ax.plot(exact, matern(exact, alpha), color=colour, label=rf"$\alpha = {alpha:g}$")
        ax.plot(r[some], c[some], "o", color=colour, markersize=5, markerfacecolor="none")
    ax.axvline(LENGTH, color="0.6", linewidth=1.2, linestyle=":")
    ax.annotate(r"$\ell$", (LENGTH, 0.9), textcoords="offset points", xytext=(6, 0), fontsize=14)
    ax.set_box_aspect(1.0)
    ax.set(
        title="Covariance (rings: on the mesh)",
        xlabel="distance $r$ from the middle",
        ylabel="covariance",
    )
    ax.legend()
    return figure


# ## All of it


def main(cells: int = 96, seed: int = 3, out: Path | None = None) -> float:
    """Greatest error of the covariances at distances from a quarter to one and a half lengths."""
    domain = mesh.create_rectangle(MPI.COMM_SELF, ((0.0, 0.0), (SIDE, SIDE)), (cells, cells))
    V = fem.functionspace(domain, ("Lagrange", 1))
    white = WhiteNoise(V, seed)
    laws = {alpha: covariance(V, alpha) for alpha in ALPHAS}
    curves = {alpha: with_the_middle(law) for alpha, law in laws.items()}
    errors = []
    for alpha, (r, c) in curves.items():
        away = (r > 0.25 * LENGTH) & (r < 1.5 * LENGTH)
        errors.append(float(np.abs(c - matern(r, alpha))[away].max()))
        fractions = laws[alpha].fractions
        solves = "" if fractions is None else f", {fractions.shifts.size} shifted solves"
        print(f"alpha = {alpha:g}: error of the covariance {errors[-1]:.4f}{solves}")
    if out is not None:
        from fem_deepest.figures import save

        fields = {alpha: law.sample(white)[:, 0] for alpha, law in laws.items()}
        deviations = {
            boundary: np.sqrt(covariance(V, 2.0, boundary).variance())
            for boundary in ("neumann", "robin")
        }
        print(save(draw(V, fields, curves, deviations), out))
    return max(errors)


if __name__ == "__main__":
    worst = main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "matern_fields.png"))
    print(f"greatest error of the covariances: {worst:.4f}")
