# # Replicas that exchange their temperatures
#
# The action of a path between two wells of which one is a little lower,
#
# $$ A(x) = \int_0^T \tfrac12 |x'|^2 + V(x)\, dt, \qquad V(x) = (x^2 - 1)^2 + \varepsilon x, $$
#
# with free ends and $T = 2$. A flow at the temperature $\theta$, corrected by Metropolis and Hastings,
#
# $$ du = -C\,\nabla A\, d\tau + \sqrt{2\theta}\, C^{1/2} dW, $$
#
# samples $\exp(-A/\theta)$. So it has to spend most of its time near $-1$, in the limit. Between the wells
# lies a barrier of about 1.9, a kink: at $\theta = 0.12$ the flow waits for it some
# $e^{1.9/0.12} \approx 10^7$ units of time. In whatever well it starts, it stays there.
#
# Several replicas at temperatures $\theta_1 < \dots < \theta_R$ know a way round. Now and then neighbours
# exchange their temperatures with probability $\min(1, \exp((1/\theta_i - 1/\theta_j)(A_i - A_j)))$, which
# keeps the law of all of them. A replica becomes hot, changes the well, and cools down.
#
#     docker/run python demos/replicas.py
#     docker/run mpirun -n 2 python demos/replicas.py      the same numbers
#
# The exact law of $x(T/2)$ comes from products of transfer matrices: no sampling.

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from dolfinx import fem, mesh
from mpi4py import MPI

from fem_deepest.annealed.flow import AnnealedFlow
from fem_deepest.annealed.replicas import Replicas
from fem_deepest.annealed.schedule import Constant
from fem_deepest.annealed.target import TargetLandscape
from fem_deepest.figures.style import LINES, styled
from fem_deepest.sample.diagnostics import standard_error
from fem_deepest.sample.integral import IntegralTarget
from fem_deepest.spaces.lumped import Lumped

T, CELLS, TILT = 2.0, 16, 0.06
TEMPERATURES = np.geomspace(0.12, 1.0, 8)
STEP, EVERY = 0.15, 4


def landscape() -> TargetLandscape:
    """All columns at once; $x^2$ goes from the potential to the metric, which is positive with it."""
    V = fem.functionspace(mesh.create_interval(MPI.COMM_SELF, CELLS, (0.0, T)), ("Lagrange", 1))
    x = fem.Function(V)
    return TargetLandscape(
        IntegralTarget(
            x,
            lambda u: (u**2 - 1) ** 2 + TILT * u - u**2,
            0.5 * x.dx(0) ** 2 + x**2,
            rule=Lumped(V),
        )
    )


# The law of the middle: the density is a product of kernels over the cells, and integrating the nodes out
# one after the other is multiplying by a matrix. (The metric's $x^2$ is integrated exactly, the rest by
# the nodes, which leaves $-\frac h6 |x_{i+1} - x_i|^2$ in every cell.)


def middle(theta: float) -> tuple[np.ndarray, np.ndarray]:
    """A grid and the density of $x(T/2)$ under $\\exp(-A/\\theta)$ on this mesh."""
    h, x = T / CELLS, np.linspace(-2.5, 2.5, 801)
    V = (x**2 - 1) ** 2 + TILT * x
    cell = (0.5 / h - h / 6) * (x[:, None] - x) ** 2 + h * (V[:, None] + V) / 2
    K = np.exp(-cell / theta)
    row = np.ones(x.size)
    for _ in range(CELLS // 2):
        row = K @ row
        row /= row.max()
    density = row**2
    return x, density / (density.sum() * (x[1] - x[0]))


# ## The wrong well
#
# All start at $x = 1$, the higher minimum: eight flows at the lowest temperature and eight replicas, with
# as many gradients.


def alone(steps: int, flows: int = 8) -> np.ndarray:
    """Middles of flows that know nothing of each other, (flows, steps)."""
    target = landscape()
    flow = AnnealedFlow(
        target,
        Constant(TEMPERATURES[0]),
        step=STEP,
        U0=start(target, np.arange(flows)),
        numbers=range(flows),
        accept="metropolis",
    )
    kept = np.empty((flows, steps))
    for i in range(steps):
        flow.advance()
        kept[:, i] = target.target.path(flow.U)[CELLS // 2]
    return kept


def start(target: TargetLandscape, numbers: np.ndarray) -> np.ndarray:
    """The constant path 1."""
    return np.ones((target.rows, numbers.size)) - target.target.prior.mean


def exchanging(rounds: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middles by temperature (R, rounds), who was coldest (rounds,), and the rates of exchange."""
    target = landscape()
    replicas = Replicas(
        landscape,
        TEMPERATURES,
        lambda numbers: start(target, numbers),
        step=STEP,
        every=EVERY,
        seed=seed,
        comm=MPI.COMM_WORLD,
    )
    kept, coldest = np.empty((TEMPERATURES.size, rounds)), np.empty(rounds, dtype=int)
    for i in range(rounds):
        replicas.advance()
        kept[:, i] = target.target.path(replicas.gathered())[CELLS // 2]
        coldest[i] = replicas.at[0]
    return kept, coldest, replicas.exchanged


# ## The figure


@styled
def draw(single: np.ndarray, kept: np.ndarray, rates: np.ndarray):  # type: ignore[no-untyped-def]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.6), layout="constrained")
    left, centre, right = figure.subplots(1, 3)
    steps = EVERY * np.arange(1, kept.shape[1] + 1)
    thin = slice(None, None, max(1, steps.size // 1500))
    few = slice(None, None, max(1, single.shape[1] // 1500))
    own = np.arange(1, single.shape[1] + 1)[few]
    left.plot(own, single[0, few], lw=0.8, color=LINES[1], alpha=0.7, label="alone")
    left.plot(steps[thin], kept[0, thin], ".", ms=4, color=LINES[0], label="coldest replica")
    left.set(xlabel="step", ylabel="$x(T/2)$", title=rf"At $\theta = {TEMPERATURES[0]:g}$")
    left.set_ylim(-1.9, 2.7)
    left.legend(loc="upper right", ncols=2, markerscale=3)
    x, density = middle(TEMPERATURES[0])
    bins = np.linspace(-1.8, 1.8, 61)
    late = kept[0, kept.shape[1] // 10 :]
    centre.hist(single.ravel(), bins, density=True, color=LINES[1], alpha=0.35, label="alone")
    centre.hist(late, bins, density=True, color=LINES[0], alpha=0.45, label="replicas")
    centre.plot(x, density, color="k", lw=1.8, label="exact")
    centre.set(xlabel="$x(T/2)$", ylabel="density", title="Law of the middle", xlim=(-1.8, 1.8))
    centre.legend(loc="upper center")
    seen = (kept[:, kept.shape[1] // 10 :] < 0.0).astype(float)
    errors = [standard_error(row[None]) for row in seen]
    exact = [lower_well(theta) for theta in TEMPERATURES]
    right.plot(TEMPERATURES, exact, color="k", lw=1.8, label="exact")
    right.errorbar(
        TEMPERATURES,
        seen.mean(axis=1),
        2 * np.array(errors),
        fmt="o",
        color=LINES[0],
        capsize=4,
        label="replicas",
    )
    pairs = np.sqrt(TEMPERATURES[1:] * TEMPERATURES[:-1])
    right.plot(pairs, rates, "^--", color=LINES[2], label="rate of exchange")
    never = float((single < 0.0).mean())
    right.plot(TEMPERATURES[:1], [never], "D", ms=8, color=LINES[1], label="alone")
    right.set_xscale("log")
    right.set_xticks(TEMPERATURES[::2], [f"{t:.2g}" for t in TEMPERATURES[::2]])
    right.minorticks_off()
    right.set(xlabel=r"temperature $\theta$", ylabel="probability", title="In the lower well")
    right.set_ylim(-0.05, 1.05)
    right.legend(loc="lower center", bbox_to_anchor=(0.5, 0.1), ncols=2, fontsize=11)
    return figure


def lower_well(theta: float) -> float:
    """Probability of $x(T/2) < 0$."""
    x, density = middle(theta)
    return float(density[x < 0.0].sum() / density.sum())


def main(rounds: int = 8000, out: Path | None = None) -> float:
    """Distance of the probability of the lower well from the exact one, in standard errors."""
    kept, coldest, rates = exchanging(rounds)
    single = alone(EVERY * rounds)
    seen = (kept[0, rounds // 10 :] < 0.0).astype(float)
    error, exact = standard_error(seen[None]), lower_well(TEMPERATURES[0])
    if MPI.COMM_WORLD.rank == 0:
        print(f"lower well, exact:    {exact:.4f}")
        print(f"replicas:             {seen.mean():.4f} +- {error:.4f}")
        print(f"8 flows alone:        {float((single < 0.0).mean()):.4f}")
        print(f"changes of the coldest replica: {int((np.diff(coldest) != 0).sum())}")
        print("rates of exchange:   ", " ".join(f"{rate:.2f}" for rate in rates))
        if out is not None:
            from fem_deepest.figures import save

            print(save(draw(single, kept, rates), out))
    return float(abs(seen.mean() - exact) / error)


if __name__ == "__main__":
    distance = main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "replicas.png"))
    if MPI.COMM_WORLD.rank == 0:
        print(f"distance from the exact probability: {distance:.1f} standard errors")
