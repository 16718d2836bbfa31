# # How many solutions? Bratu's problem and a bridge between two wells
#
# The Euler-Lagrange equations of an action may have several solutions, and not all of them are
# minima. Deflation finds one after the other: a solution that is known is divided out, so that
# Newton's method cannot go there again. Two problems where the number is known from theory show what
# can be expected from it.
#
#     docker/run python demos/bratu.py
#
# **Bratu's problem.** The action
#
# $$ A(u) = \int_0^1 \tfrac12 u'^2 - \lambda e^u \, dt, \qquad u(0) = u(1) = 0, $$
#
# is not bounded below. Its Euler-Lagrange equation $u'' + \lambda e^u = 0$ has the solutions
#
# $$ u(t) = 2 \log \frac{\cosh c}{\cosh(c\,(1 - 2t))}, \qquad \sqrt\lambda = \sqrt8\, c/\cosh c, $$
#
# so $\max u = 2 \log \cosh c$: two of them for $\lambda < \lambda_c = 3.513830719\ldots$, one there, none
# above. The lower one is a minimum, the upper one a saddle with one direction in which $A$ falls.
#
# **A bridge between two wells.** The action
#
# $$ A(u) = \int_0^1 \tfrac12 u'^2 + \tfrac\mu4 (1 - u^2)^2 \, dt, \qquad u(0) = u(1) = 0, $$
#
# prefers $u = \pm 1$ but is held at zero at both ends. Chafee and Infante (1974) counted the solutions of
# $u'' + \mu (u - u^3) = 0$: for $(k\pi)^2 < \mu < ((k+1)\pi)^2$ there are $2k + 1$ of them, namely zero
# with Morse index $k$, and for every $j = 1, \dots, k$ a pair $\pm u_j$ with $j - 1$ zeros inside and
# Morse index $j - 1$.

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest._petsc import PETSc
from fem_deepest.action.form.action import FormAction
from fem_deepest.figures.style import LINES, MARKERS, styled
from fem_deepest.solve.conjugate import conjugate_points
from fem_deepest.solve.solutions import Solution, stationary_points
from fem_deepest.spaces.constrained import Clamped

FOLD = 3.513830719  # lambda_c

# ## The actions
#
# The Lagrangian is written in UFL, the rest is derived from it. The parameter is a `Constant`, so that
# nothing is compiled anew when it changes. Quadratic elements come with the Gauss rule of two points.


def clamped_action(density, cells: int) -> tuple[FormAction, fem.Constant]:  # type: ignore[no-untyped-def]
    """Action with `density(u, u', parameter)` on (0, 1), zero at both ends; and its parameter."""
    domain = mesh.create_interval(MPI.COMM_SELF, cells, (0.0, 1.0))
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 2)), name="u")
    parameter = fem.Constant(domain, 1.0)
    ends = [Clamped(u, "start"), Clamped(u, "end")]
    return FormAction(density(u, u.dx(0), parameter), u, clamped=ends), parameter


def bratu(cells: int) -> tuple[FormAction, fem.Constant]:
    return clamped_action(lambda u, v, lam: 0.5 * v**2 - lam * ufl.exp(u), cells)


def bridge(cells: int) -> tuple[FormAction, fem.Constant]:
    return clamped_action(lambda u, v, mu: 0.5 * v**2 + 0.25 * mu * (1.0 - u**2) ** 2, cells)


# ## Looking for solutions
#
# From every start $a \sin(k \pi t)$ Newton's method runs again and again, with all known solutions
# deflated, until it fails.


def search(action: FormAction, waves: int, heights: tuple[float, ...]) -> list[Solution]:
    """Stationary points from sines with up to so many half waves."""
    u, starts = action.unknowns[0], []
    for k in range(1, waves + 1):
        for a in heights:
            u.interpolate(lambda x, k=k, a=a: a * np.sin(k * np.pi * x[0]))
            starts.append(action.pack())
    u.x.array[:] = 0.0
    return stationary_points(action, starts, tolerance=1e-9)


def profile(action: FormAction, u: PETSc.Vec) -> tuple[np.ndarray, np.ndarray]:
    """Depths and values of a solution, ends included."""
    action.unpack(u)
    unknown = action.unknowns[0]
    t = unknown.function_space.tabulate_dof_coordinates()[:, 0]
    order = np.argsort(t)
    return t[order], unknown.x.array[order].copy()


def bratu_branches(strengths: np.ndarray, cells: int) -> list[tuple[float, float, int]]:
    """Strength, maximum and Morse index of every solution found."""
    action, lam = bratu(cells)
    points = []
    for strength in strengths:
        lam.value = strength
        found = search(action, 1, (0.0, 1.0, 4.0, 8.0))
        print(f"lambda {strength:5.2f}: {len(found)} solutions")
        for solution in found:
            points.append((strength, profile(action, solution.u)[1].max(), solution.morse.index))
    return points


def exact_maximum(strength: float, upper: bool) -> float:
    """Maximum of the lower or the upper solution, by bisection in $c$; the fold is $c \\tanh c = 1$."""
    low, high = (1.199678640257734, 30.0) if upper else (0.0, 1.199678640257734)
    for _ in range(80):
        c = 0.5 * (low + high)
        if (np.sqrt(8.0) * c / np.cosh(c) < np.sqrt(strength)) == upper:
            high = c
        else:
            low = c
    return float(2.0 * np.log(np.cosh(c)))


# ## How large are the solutions of the bridge?
#
# On a branch with $j$ half waves of height $a$ each quarter wave takes the time
#
# $$ \int_0^a \frac{du}{\sqrt{\mu\,(a^2 - u^2)(1 - (a^2 + u^2)/2)}} = \frac{1}{2j}, $$
#
# an elliptic integral (substitute $u = a \sin\varphi$): $\sqrt\mu = 2j \int_0^{\pi/2} d\varphi /
# \sqrt{1 - a^2 (1 + \sin^2\varphi)/2}$. This is the curve in the bifurcation diagram.


def time_map(heights: np.ndarray, half_waves: int) -> np.ndarray:
    """$\\mu$ at which a solution with so many half waves has these heights."""
    x, w = np.polynomial.legendre.leggauss(200)
    phi, w = 0.25 * np.pi * (1.0 + x), 0.25 * np.pi * w
    inside = 1.0 - 0.5 * heights[:, None] ** 2 * (1.0 + np.sin(phi) ** 2)
    return (2.0 * half_waves * (w / np.sqrt(inside)).sum(axis=1)) ** 2


def bridge_branches(mus: np.ndarray, cells: int) -> list[tuple[float, float, int]]:
    """$\\mu$, signed largest value and Morse index of every solution found."""
    action, parameter = bridge(cells)
    points = []
    for mu in mus:
        parameter.value = mu
        half_waves = int(np.sqrt(mu) / np.pi)
        found = search(action, half_waves + 1, (0.1, 1.0))
        print(f"mu {mu:6.1f}: {len(found)} solutions, theory {2 * half_waves + 1}")
        for solution in found:
            t, values = profile(action, solution.u)
            first = values[(t > 0) & (t <= 1.0 / max(half_waves, 1))]
            sign = np.sign(first[np.argmax(np.abs(first) > 1e-6)])
            points.append((mu, sign * np.abs(values).max(), solution.morse.index))
    return points


# ## The figures
#
# Colour and marker tell the Morse index; the grey curves are the exact branches. The last panel shows
# the solutions of the bridge at the largest $\mu$.

NAMES = ("minimum", "index 1", "index 2", "index 3", "index 4", "index 5")


def _points(axes, points: list[tuple[float, float, int]]) -> None:  # type: ignore[no-untyped-def]
    for index in sorted({i for *_, i in points}):
        some = np.array([(p, v) for p, v, i in points if i == index])
        look = {"color": LINES[index], "marker": MARKERS[index], "label": NAMES[index]}
        axes.plot(some[:, 0], some[:, 1], linestyle="", markersize=7, zorder=3, **look)


@styled
def draw(bratu_points, bridge_points, action, solutions):  # type: ignore[no-untyped-def]
    """Two bifurcation diagrams and the solutions of the bridge."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 4.9), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    c = np.linspace(0.0, 3.7, 400)
    left.plot(8.0 * (c / np.cosh(c)) ** 2, 2.0 * np.log(np.cosh(c)), color="0.6")
    _points(left, bratu_points)
    left.axvline(FOLD, color="0.6", linestyle=":", linewidth=1.5)
    left.text(FOLD - 0.08, 3.4, r"$\lambda_c$", ha="right")
    left.set(
        xlabel=r"$\lambda$",
        ylabel=r"$\max u$",
        title="Bratu: two solutions, then none",
        xlim=(0, 4),
    )

    largest = max(mu for mu, *_ in bridge_points) * 1.03
    middle.plot([0, largest], [0, 0], color="0.6")
    heights = np.concatenate([np.linspace(1e-3, 0.99, 200), 1.0 - np.logspace(-2, -12, 100)])
    for j in range(1, int(np.sqrt(largest) / np.pi) + 1):
        mu = time_map(heights, j)
        for sign in (1, -1):
            middle.plot(mu[mu < largest], sign * heights[mu < largest], color="0.6")
    _points(middle, bridge_points)
    middle.set(xlabel=r"$\mu$", ylabel=r"$\pm\max |u|$", title=r"Two wells: $2k + 1$ solutions")

    for solution in solutions:
        t, values = profile(action, solution.u)
        index = solution.morse.index
        right.plot(t, values, color=LINES[index], linestyle="-" if values[1] >= 0 else "--")
    right.set(xlabel="$t$", ylabel="$u$", title=rf"All solutions at $\mu = {largest / 1.03:.0f}$")
    handles, labels = middle.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


# ## All of it
#
# At the end Morse's theorem is checked on all solutions of the bridge: as many conjugate points along
# the depth as directions in which the action falls.


def main(
    cells: int = 64, bratu_values: int = 12, bridge_values: int = 14, out: Path | None = None
) -> float:
    """Largest error of $\\max u$ on Bratu's branches; every count is compared with theory."""
    strengths = np.append(np.linspace(0.3, 3.5, bratu_values), [3.53, 3.9])
    bratu_points = bratu_branches(strengths, cells)
    for strength in strengths:
        count = sum(s == strength for s, *_ in bratu_points)
        expected = 2 if strength < FOLD else 0
        if count != expected:
            raise AssertionError(f"Bratu at {strength}: {count} solutions, theory says {expected}")
    error = max(
        abs(value - exact_maximum(strength, upper=index == 1))
        for strength, value, index in bratu_points
    )

    roots = np.linspace(0.6, 4.5, bridge_values)
    mus = (roots[np.abs(roots - np.rint(roots)) > 0.05] * np.pi) ** 2
    bridge_points = bridge_branches(mus, cells)
    for mu in mus:
        indices = sorted(index for m, _, index in bridge_points if m == mu)
        k = int(np.sqrt(mu) / np.pi)
        if indices != sorted([*range(k), *range(k), k]):
            raise AssertionError(f"bridge at {mu}: Morse indices {indices}")

    action, parameter = bridge(cells)
    parameter.value = mus[-1]
    solutions = search(action, int(np.sqrt(mus[-1]) / np.pi) + 1, (0.1, 1.0))
    for solution in solutions:
        if conjugate_points(action, solution.u).index != solution.morse.index:
            raise AssertionError("the Morse index is not the number of conjugate points")
    if out is not None:
        from fem_deepest.figures import save

        print(save(draw(bratu_points, bridge_points, action, solutions), out))
    return error


if __name__ == "__main__":
    largest = main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "bratu.png"))
    print(f"largest error of max u on Bratu's branches: {largest:.1e}")
