# # Good and bad minima of a small network
#
# Six neurons, three depth cells, two spiral arms. The action
#
# $$ A(w) = \frac1K \sum_k \Phi(y_k(w)) + \tfrac12 \langle w, P w \rangle $$
#
# has minima that are far apart, and a descent from random weights ends in one of them by chance:
#
# * two starts in five *give up*. The weights in depth die out, $w \approx 0$, what remains is
#   logistic regression: a straight line between the arms. There the loss does not pull at the weights
#   enough to pay for their prior. This minimum is known without any network, and we compare with it;
# * the others separate the arms, at actions that differ by up to a half: where the bend of the plane is
#   steep the weights are large.
#
# Which methods find the lowest one, and how often, is measured in `compare_spiral.toml`. Here we look
# at where plain descents end, and at what two of the minima do with the plane.
#
#     docker/run python demos/spiral_minima.py

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from fem_deepest.figures.style import LINES, styled
from fem_deepest.solve.columns import descend
from fem_deepest.spaces import Parameters
from fem_deepest.studies.contests.networks import NetworkContest
from fem_deepest.studies.named import load_study

HERE = Path(__file__).parent

# ## Descents side by side
#
# All starts go down together: a block of columns, one gradient of all of them at a time.


def minima(contest: NetworkContest, starts: int) -> tuple[np.ndarray, np.ndarray]:
    """Actions at the ends of descents from random weights, increasing, and the weights."""
    U = contest.start(np.arange(starts), 0)
    found = descend(contest.landscape, U, tolerance=3e-3, most=2000, memory=20)
    order = np.argsort(found.value)
    return found.value[order], found.U[:, order]


# ## What giving up costs
#
# A network without weights in depth is linear. Two classes need one vector $v$, with $v$ for the one and
# $-v$ for the other, both of which the prior pays for:
#
# $$ \min_v \frac1K \sum_k \log(1 + e^{-2 s_k v \cdot (z_k, 1)}) + \lambda |v|^2 . $$


def logistic(contest: NetworkContest) -> float:
    """The lowest action of a linear classifier."""
    data = contest.problem.train
    z = np.column_stack([data.inputs, np.ones(data.samples)])
    sign, strength = 1.0 - 2.0 * data.targets, contest.problem.config.action.strength

    def action(v: np.ndarray) -> float:
        return float(np.mean(np.logaddexp(0.0, -2.0 * sign * (z @ v))) + strength * (v @ v))

    return float(minimize(action, np.zeros(3), tol=1e-12).fun)


# ## Figure


@styled
def draw(contest: NetworkContest, values: np.ndarray, U: np.ndarray, linear: float):  # type: ignore[no-untyped-def]
    """Left: the actions in order; then what a bad, a middling and the best minimum do with the plane."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 4.9), layout="constrained")
    axes = figure.subplots(1, 4, width_ratios=(1.25, 1, 1, 1))
    rank = np.arange(1, values.size + 1)
    axes[0].axhline(linear, color="0.4", linewidth=1.5, linestyle="--")
    axes[0].annotate(
        "logistic regression", (1, linear), (0, -7), textcoords="offset points", va="top"
    )
    axes[0].semilogy(rank, values, "o", color=LINES[0], markersize=5)
    axes[0].set_yticks([0.1, 0.2, 0.5], ["0.1", "0.2", "0.5"])
    axes[0].minorticks_off()
    axes[0].set(xlabel="starts, in order", ylabel="action $A$", title="Ends of plain descents")
    apart = values < 0.5 * linear
    chosen = (values.size - 1, int(np.sum(apart)) - 1, 0)
    for panel, i, name in zip(axes[1:], chosen, ("gives up", "bad", "lowest"), strict=True):
        axes[0].plot(rank[i], values[i], "o", color=LINES[1], markersize=10, fillstyle="none")
        regions(panel, contest, U[:, i])
        panel.set_title(f"{name}: $A = {values[i]:.4f}$")
    return figure


def regions(axes, contest: NetworkContest, u: np.ndarray) -> None:  # type: ignore[no-untyped-def]
    """Probability of class 1 in the plane, and the samples."""
    data, network = contest.problem.train, contest.landscape.action.network
    line = np.linspace(-1.2, 1.2, 121)
    plane = np.stack(np.meshgrid(line, line)).reshape(2, -1)
    y = network.output(Parameters.view(u, network.shapes), plane)
    p = 1.0 / (1.0 + np.exp(y[0] - y[1]))
    axes.imshow(
        p.reshape(line.size, -1),
        origin="lower",
        extent=(-1.2, 1.2, -1.2, 1.2),
        cmap="RdBu_r",
        vmin=-0.3,
        vmax=1.3,
    )
    axes.contour(line, line, p.reshape(line.size, -1), [0.5], colors="0.2", linewidths=1.5)
    for c, marker, colour in ((0, "o", "#2166ac"), (1, "s", "#b2182b")):
        z = data.inputs[data.targets == c]
        axes.plot(*z.T, marker, color=colour, markersize=4, markeredgecolor="white", linewidth=0)
    axes.grid(False)
    axes.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1], aspect="equal")


# ## All of it


def main(starts: int = 100, out: Path | None = None) -> float:
    """Action at which descents give up over that of logistic regression."""
    contest = load_study(HERE / "compare_spiral.toml").contest()
    assert isinstance(contest, NetworkContest)
    values, U = minima(contest, starts)
    linear = logistic(contest)
    up = values > 0.9 * linear
    lowest = values <= values[0] * 1.01
    print(f"lowest action {values[0]:.5f}, reached within 1 % by {lowest.sum()} of {starts} starts")
    print(f"{up.sum()} starts give up, at {values[up].min():.5f}; logistic regression {linear:.5f}")
    score = contest.landscape.score(U[:, [0, -1]])
    print(f"classified rightly: {score[0]:.0%} in the lowest minimum, {score[1]:.0%} in the worst")
    if out is not None:
        from fem_deepest.figures import save

        print(save(draw(contest, values, U, linear), out))
    return float(values[up].min() / linear)


if __name__ == "__main__":
    ratio = main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "spiral_minima.png"))
    print(f"action of giving up / logistic regression: {ratio:.5f}")
