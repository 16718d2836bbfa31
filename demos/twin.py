# # Twin experiments
#
# A twin experiment makes its own data: one network generates input/output pairs, another one has to
# explain them. Abarbanel, Rozdeba and Shirman, *Machine learning: deepest learning as statistical
# data assimilation problems*, Neural Computation 30 (2018), treat the layers as the time of a
# dynamical system and allow for model errors $\xi$ between the layers,
#
# $$ A(x, w) = \frac1M \sum_{m=1}^M \Big[ \frac{R_m}{2N} \big( |x_0 - y_0|^2 + |x_l - y_l|^2 \big)
#    + \frac{R_f}{2} \sum_i h\,|\xi_i|^2 \Big] + \frac\lambda2 \int |w|^2 + |w'|^2\,dt , $$
#
# and raise $R_f$ step by step: *precision annealing*. The unknowns are the states of all layers and
# the weights. Here every rung of the ladder is solved by the Levenberg-Marquardt method of
# `fem_deepest.solve.network.levenberg`, which eliminates the states sample by sample.
#
#     docker/run python demos/twin.py

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.action.network.states import StateAction
from fem_deepest.data.twin import DEPTH, NEURONS, NOISE, Twin, isometric, plateau, published
from fem_deepest.figures.style import LINES, styled
from fem_deepest.network.activation import activation
from fem_deepest.network.loss import LeastSquares
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.solve.network.levenberg import levenberg
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid

R_M = 1.0 / NOISE**2  # both twins have this noise in inputs and outputs


def state_form(
    twin: Twin,
    depth: DepthMesh,
    R_f: float,
    strength: float,
    *,
    name: str = "tanh",
    leak: float = 0.25,
    method: str = "euler",
    normalised: float = 1.0,
) -> StateAction:
    """The action above; `normalised` divides $R_m$, as the published one does by $N$."""
    network = Network(
        depth,
        NeuronSpace.points(NEURONS),
        scheme(method),
        activation(name),
        NEURONS,
        NEURONS,
        leak,
        linear_readout=False,
    )
    precision = R_M / normalised
    return StateAction(
        NetworkAction(
            ProcessGrid.create(),
            network,
            LeastSquares(precision),
            twin.inputs,
            twin.outputs,
            strength=strength,
            model_precision=R_f,
            input_precision=precision,
        )
    )


# ## (a) The published experiment
#
# 100 layers of 10 sigmoid neurons make the data, `x <- sigmoid(W x)` with weights from $U(-0.1, 0.1)$; 20
# layers explain them. With step 1 and leak 1 Euler's method *is* this recursion, and
# $R_f' = R_f/95$ translates the published normalisation. The published action of the annealed network
# levels off at a plateau, and that plateau has a closed form:
#
# $$ \frac{R_m}{2NM} \sum_m |y_m - \bar y|^2 , $$
#
# the action of a network that gives the *mean output* whatever the input. It must be so: the generator
# forgets its input. Its layers contract, the spread of the states over the inputs is $10^{-5}$ after four
# layers and rounding after twelve, and what is left of the outputs is a constant plus noise.
#
# We reproduce the plateau with a prior that makes memorising this noise dear ($\lambda = 10^{-2}$). With a
# weak one ($\lambda = 10^{-4}$, $M = 10$) the same method goes far *below* the plateau: it finds a steep
# network that tells the few training inputs apart and hits their noise. That is a better action, and
# a worse error on fresh inputs than the constant predictor has.
# (Our networks have biases, the published one has none; the constant predictor does not care.)

LAYERS, LADDER = 19, [10.0**k for k in range(12)]


def annealed_published(pairs: int, strength: float) -> tuple[np.ndarray, float, float, float]:
    """Levels (R_f, measurement + model) of the ladder, the closed form, and two errors.

    The errors are root mean squares against 1000 clean validation outputs: of the network, and of the
    mean of the training outputs.
    """
    twin, fresh = published(pairs), published(1000, "validation")
    levels, u = [], None
    for R_f in LADDER:
        action = state_form(
            twin,
            DepthMesh.graded(float(LAYERS), LAYERS),
            R_f / (NEURONS * LAYERS / 2),
            strength,
            name="sigmoid",
            leak=1.0,
            normalised=NEURONS,
        )
        if u is None:
            # The published start; its weights are the first draws of the published seed.
            random, u = np.random.RandomState(89072545), action.create()
            array = u.array_w
            if action.grid.owner:
                theta = action.space.parameters(array).theta
                theta[..., :-1] = (2.0 * random.rand(*theta[..., :-1].shape) - 1.0) / 10.0
            hidden = 0.2 * random.rand(pairs, LAYERS - 1, NEURONS) + 0.4
            states, own = action.states(array), action.blocks.local
            states[:, 0], states[:, -1] = twin.inputs[own], twin.outputs[own]
            states[:, 1:-1] = hidden[own]
        levenberg(action, u, tolerance=0.0, iterations=300, decrease=1e-9)
        action.value(u)
        levels.append((R_f, action.parts.misfit + action.parts.model))
    predicted = action.network.output(
        action.space.parameters(action.space.share(u)), fresh.inputs.T
    ).T
    errors = [rms(y - fresh.clean) for y in (predicted, twin.outputs.mean(axis=0))]
    return np.array(levels), plateau(twin.outputs, R_M), *errors


def rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2)))


# ## (b) A twin that remembers
#
# Antisymmetric weights neither contract nor expand: `fem_deepest.data.twin.isometric` keeps the spread
# of the states of order one at any number of layers. The same ladder, the same method; now there is
# something to learn, and with a hundred pairs the network predicts fresh inputs where the constant
# fails. With one pair or ten the data leave most of the weights open, and the prior fills them.
#
# The model error is not just a numerical device. With it, at moderate $R_f$, the prediction is *better*
# than at the end of the ladder: the strong constraint forces noise of the inputs and the error of a
# prior that is not the truth into the weights. With a hundred pairs it shows in the work, too. Noise
# makes the measurement term about 10 at the truth, and this prior lets it fall to a hundredth, by
# weights that the noise alone wants. From $R_f = 10^3$ to $10^4$ that takes a hundred steps or two along a
# curved valley: the linear systems are solved exactly, but there the second variation differs from
# Gauss and Newton's by as much as half, and has negative eigenvalues.


def annealed(twin: Twin, fresh: Twin, layers: int, ladder: Sequence[float]) -> np.ndarray:
    """Rows (R_f, action, measurement, model, prior, error on fresh inputs)."""
    pairs, rows, u, finished = len(twin.inputs), [], None, False
    for R_f in ladder:
        action = state_form(twin, DepthMesh.graded(DEPTH, layers), R_f, 1.0 / pairs)
        if u is None:
            u = action.create()
            array, way = u.array_w, np.linspace(0.0, 1.0, layers + 1)[None, :, None]
            first = 0.1 * np.random.default_rng(1).standard_normal((NEURONS, NEURONS + 1))
            if action.grid.owner:
                action.space.parameters(array).theta[...] = first
            own = action.blocks.local
            x, y = twin.inputs[own, None], twin.outputs[own, None]
            action.states(array)[...] = (1.0 - way) * x + way * y
        outcome = levenberg(action, u, tolerance=0.0, iterations=500, decrease=1e-3)
        action.value(u)
        parameters = action.space.parameters(action.space.share(u))
        error = rms(action.network.output(parameters, fresh.inputs.T).T - fresh.clean)
        parts = action.parts
        rows.append((R_f, parts.action, parts.misfit, parts.model, parts.prior, error))
        finished = outcome.converged
    if not finished:
        print(f"    {layers} layers, M = {pairs}: the last rung was cut off after 40 steps")
    return np.array(rows)


# ## (c) The number of layers to infinity
#
# The weights are a field over the depth, so networks with more and more layers are discretisations of
# one continuous problem. Same data (400 layers of the generator), more and more layers of the
# model: the minimiser of the discrete-layer action (Euler) converges with order one, that of the midpoint
# rule with order two, to the same limit. Every solve starts from the coarser one, so that all of them
# are on one branch.


def limit(cells: Sequence[int], finest: int, pairs: int = 10, R_f: float = 100.0) -> np.ndarray:
    """Rows (layers, error of w for euler, of A; error of w for midpoint, of A)."""
    twin = isometric(pairs, 400)
    fields: dict[tuple[str, int], tuple[np.ndarray, float]] = {}
    for method in ("euler", "midpoint"):
        meshes = [*cells, finest] if method == "midpoint" else cells
        before = None
        for n in meshes:
            depth = DepthMesh.graded(DEPTH, n)
            action = state_form(twin, depth, R_f, 1.0, method=method)
            u = action.create()
            array = u.array_w
            theta, states = action.space.parameters(array).theta, action.states(array)
            if before is None:
                way = np.linspace(0.0, 1.0, n + 1)[None, :, None]
                theta[...] = 0.1 * np.random.default_rng(1).standard_normal(theta.shape[1:])
                states[...] = (1.0 - way) * twin.inputs[:, None] + way * twin.outputs[:, None]
            else:
                coarse, w, x = before
                theta[...] = coarse.prolong(depth, w)
                states[...] = coarse.prolong(depth, x.transpose(1, 0, 2)).transpose(1, 0, 2)
            outcome = levenberg(action, u, tolerance=1e-9, iterations=300)
            if not outcome.converged:
                print(f"{method}, {n} layers: {outcome.reason}")
            before = depth, theta.copy(), states.copy()
            fields[method, n] = theta[:: n // cells[0]].copy(), action.value(u)
    exact = fields["midpoint", finest]
    rows = []
    for n in cells:
        row = [float(n)]
        for method in ("euler", "midpoint"):
            w, value = fields[method, n]
            row += [rms(w - exact[0]) / rms(exact[0]), abs(value / exact[1] - 1.0)]
        rows.append(row)
    return np.array(rows)


def orders(errors: np.ndarray) -> np.ndarray:
    """Observed orders from one mesh to the next, twice as fine."""
    return np.log2(errors[:-1] / errors[1:])


# ## Figures


@styled
def draw(forgotten, kept):  # type: ignore[no-untyped-def]
    """Left: levels of (a); middle: levels of (b); right: error on fresh inputs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 5.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for colour, ((pairs, strength), (levels, flat, *_)) in zip(
        LINES, forgotten.items(), strict=False
    ):
        left.loglog(
            levels[:, 0] / R_M,
            levels[:, 1],
            "-" if strength > 1e-3 else "--",
            color=colour,
            label=rf"$M = {pairs}$, $\lambda = 10^{{{np.log10(strength):.0f}}}$",
        )
        if strength > 1e-3:
            left.axhline(flat, color=colour, linewidth=1.2, linestyle=":")
    left.set_ylim(1e-4, 1.0)
    left.set_ylabel("measurement + model error")
    left.set_title("Published twin (dotted: constant predictor)")
    left.legend(loc="lower right")
    styles = ("-", "--", ":")
    pairs = sorted({m for _, m in kept})
    layers = sorted({n for n, _ in kept})
    for (n, m), (rows, constant) in kept.items():
        colour, dash = LINES[pairs.index(m)], styles[layers.index(n) % 3]
        middle.loglog(rows[:, 0] / R_M, rows[:, 1], dash, color=colour)
        right.semilogx(rows[:, 0] / R_M, rows[:, 5], dash, color=colour)
        if n == layers[0]:
            right.axhline(constant, color=colour, linewidth=5.0, alpha=0.25)
    for m, colour in zip(pairs, LINES, strict=False):
        middle.plot([], [], color=colour, label=f"$M = {m}$")
    for n, dash in zip(layers, styles, strict=False):
        middle.plot([], [], dash, color="0.3", label=f"{n} layers")
    middle.set_ylim(1e-2, 1e1)
    middle.set_ylabel("action $A$")
    middle.set_title("Twin that remembers")
    middle.legend(ncols=2, loc="lower right")
    right.set_ylim(0.0, None)
    right.set_ylabel("rms error on fresh inputs")
    right.set_title(f"Prediction (bands: constant, {layers[0]} layers)")
    for axes in (left, middle, right):
        axes.set_xlabel(r"$R_f / R_m$")
    return figure


# ## All of it


def main(
    layers: Sequence[int] = (20, 50, 100),
    pairs: Sequence[int] = (1, 10, 100),
    cells: Sequence[int] = (10, 20, 40, 80),
    finest: int = 320,
    ladder: Sequence[float] = tuple(10.0**k for k in range(7)),
    out: Path | None = None,
) -> float:
    """Error on fresh inputs over that of the constant predictor, fewest layers and most pairs."""
    print("(a) published twin: measurement + model error at the end of the ladder")
    print("      M   lambda       level  closed form   network rms   constant rms")
    forgotten = {}
    for m, strength in ((2, 1e-2), (10, 1e-2), (10, 1e-4)):
        forgotten[m, strength] = found = annealed_published(m, strength)
        levels, flat, error, constant = found
        print(f"{m:7d} {strength:8g} {levels[-1, 1]:11.6f} {flat:12.6f}", end="")
        print(f" {error:13.6f} {constant:14.6f}")
    print("    spread of the generator's states over the inputs, layers 0 to 12:")
    print("   ", " ".join(f"{s:.0e}" for s in published(100).spread[:13]))

    print("(b) twin that remembers")
    print(" layers    M      action  measurement  model error       prior  fresh rms", end="")
    print("  best on the way  constant rms")
    kept, spreads = {}, {}
    for n in layers:
        fresh = isometric(200, n, "test")
        spreads[n] = fresh.spread
        for m in pairs:
            twin = isometric(m, n)
            constant = rms(twin.outputs.mean(axis=0) - fresh.clean)
            rows = annealed(twin, fresh, n, ladder)
            kept[n, m] = rows, constant
            last = rows[-1]
            print(f"{n:7d} {m:4d} {last[1]:11.5f} {last[2]:12.5f} {last[3]:12.6f}", end="")
            print(f" {last[4]:11.5f} {last[5]:10.4f} {rows[:, 5].min():16.4f} {constant:13.4f}")
    for n, spread in spreads.items():
        print(f"    spread of the states, {n} layers: first {spread[0]:.2f}, last {spread[-1]:.2f}")

    print("(c) layers to infinity: relative errors and observed orders")
    table = limit(cells, finest)
    print(" layers    euler w  order    euler A  order  midpoint w  order  midpoint A  order")
    rates = np.vstack([np.full(4, np.nan), orders(table[:, 1:])])
    for row, rate in zip(table, rates, strict=True):
        cells_text = "".join(f" {e:11.2e} {r:5.2f}" for e, r in zip(row[1:], rate, strict=True))
        print(f"{row[0]:7.0f}{cells_text}")

    if out is not None:
        from fem_deepest.figures import save

        print(save(draw(forgotten, kept), out))
    rows, constant = kept[layers[0], pairs[-1]]
    return float(rows[-1, 5] / constant)


if __name__ == "__main__":
    ratio = main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "twin.png"))
    print(f"error on fresh inputs / that of the constant predictor: {ratio:.2f}")
