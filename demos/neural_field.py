# # A network is a neural field
#
# With neurons on an interval $S = (0, L)$ instead of a set of points, the leak $a = 1$ and a sigmoid, the
# network $x' = -a x + \sigma(W x + b)$ is the equation of Wilson, Cowan and Amari for the activity of
# nerve tissue,
#
# $$ \frac{\partial x}{\partial t}(t, s) = -x(t, s)
#    + \sigma\Big(\beta\Big( \int_S w(s - s')\, x(t, s')\,ds' - \theta \Big)\Big),
#    \qquad \sigma(z) = \frac1{1 + e^{-z}}: $$
#
# the depth is the time, a layer is a time step, the weights are the synapses, the bias is the threshold,
# and the kernel $\beta w$ is the same for all layers. For a steep gain, $\beta \to \infty$ and $\sigma$ a
# step, its solutions are known in closed form. They make a test of the network that knows the answer:
# nothing is trained here, the weights are given, and the forward sweep of the toolkit must travel at the
# right speed.
#
#     docker/run python demos/neural_field.py

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import lambertw

from fem_deepest.figures.style import LINES, SEQUENTIAL, styled
from fem_deepest.network.activation import activation
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.spaces import DepthMesh, NeuronSpace

Array = NDArray[np.float64]

LENGTH = 16.0  # of the interval

# ## The network
#
# Hat functions on the interval, lumped mass $M_S$: the effective matrix is $W_h = w M_S$, that is, the
# integral by the trapezoidal rule. A layer is a step of the classical Runge-Kutta scheme. The stage
# weights are the same everywhere, so one matrix serves all layers: a view of it is repeated.


def field(nodes: int, cells: int, depth: float) -> Network:
    """A neural field: ``x' = -x + sigma(w x + b)`` on P1 in the index, RK4 in the depth."""
    return Network(
        depth=DepthMesh.graded(depth, cells),
        index=NeuronSpace.interval(nodes, "P1", extent=LENGTH),
        scheme=scheme("rk4"),
        activation=activation("sigmoid"),
        inputs=nodes,
        outputs=0,
        leak=1.0,
        linear_readout=False,
    )


def evolve(network: Network, kernel: Array, bias: Array, steepness: float, x: Array) -> Array:
    """States (n + 1, N, K) at the depth nodes of a field that starts at ``x`` (N, K)."""
    theta = steepness * np.column_stack([kernel, bias])
    cells, stages = network.depth.cells, len(network.scheme.abscissae)
    everywhere = np.broadcast_to(
        network.coupling.effective(theta), (cells, stages, *network.coupling.shape)
    )
    nodes = np.empty((cells + 1, *x.shape))
    network.flow(x.shape[1]).forward(everywhere, x.copy(), nodes=nodes)
    return nodes


def argument(network: Network, kernel: Array, bias: Array, states: Array) -> Array:
    """``v = w * x + b``, positive where the tissue is excited."""
    return (kernel * network.index.weights) @ states + bias[:, None]


# ## A front and its speed
#
# Let the synapses excite, $w(s) = e^{-|s|/d}/(2d)$. For a step, $v = w * x - \theta$ obeys Amari's
# equation $v' = -v - \theta + w * H(v)$: convolve the equation of $x$ with $w$. Look for a front that
# moves to the right: $v(t, s) = V(\xi)$, $\xi = s - c\,t$, excited behind its edge, $V > 0$
# for $\xi < 0$, with $V(0) = 0$. Then $U = V + \theta$ satisfies
#
# $$ -c\,U'(\xi) = -U(\xi) + \int_\xi^\infty w(y)\,dy, \qquad\text{for } \xi > 0:\quad
#    c\,U' = U - \tfrac12 e^{-\xi/d}. $$
#
# The only solution that stays bounded ahead of the front is $U = A\,e^{-\xi/d}$ with
# $A (1 + c/d) = \frac12$, and $U(0) = \theta$ gives the speed (Ermentrout and McLeod 1993,
# doi:10.1017/S030821050002583X, prove that there is exactly one front for smooth gains too; Bressloff
# 2012, doi:10.1088/1751-8113/45/3/033001, reviews both)
#
# $$ c = d\,\frac{1 - 2\theta}{2\theta} . $$
#
# The activity behind the edge is $x = 1 - e^{\xi/c}$: a neuron charges from the moment the front
# passes. We start with this profile; the tissue left of the interval is excited throughout, and its
# synapses enter through the bias, $b(s) = -\theta + \frac12 e^{-s/d}$, so that about 1e-6
# is cut off.

REACH, THRESHOLD = 1.0, 0.3
EDGE, DEPTH = 5.0, 9.0  # where the front starts, and how long it runs


def speed(d: float = REACH, theta: float = THRESHOLD) -> float:
    """``c = d (1 - 2 theta)/(2 theta)``."""
    return d * (1.0 - 2.0 * theta) / (2.0 * theta)


def front(nodes: int, cells: int, steepness: float) -> tuple[float, Network, Array]:
    """Measured speed of the front, the network, and its states (n + 1, N)."""
    network = field(nodes, cells, DEPTH)
    s = network.index.coordinates[:, 0]
    kernel = np.exp(-np.abs(s[:, None] - s) / REACH) / (2.0 * REACH)
    bias = -THRESHOLD + 0.5 * np.exp(-s / REACH)
    x = np.where(s < EDGE, -np.expm1(np.minimum(s - EDGE, 0.0) / speed()), 0.0)
    states = evolve(network, kernel, bias, steepness, x[:, None])[..., 0]
    edge = crossing(s, argument(network, kernel, bias, states.T).T)
    t = np.linspace(0.0, DEPTH, cells + 1)
    late = t >= DEPTH / 3.0  # the profile of a finite gain is found by then
    return float(np.polyfit(t[late], edge[late], 1)[0]), network, states


def crossing(s: Array, v: Array) -> Array:
    """Where ``v`` (n + 1, N) changes from positive to negative, (n + 1,), linear between the nodes."""
    last = np.count_nonzero(v > 0.0, axis=1) - 1
    here = np.arange(len(v))
    left, right = v[here, last], v[here, last + 1]
    return s[last] + (s[last + 1] - s[last]) * left / (left - right)


# Three errors are mixed in the speed, and each can be seen alone.
#
# * *The gain.* A sigmoid of steepness $\beta$ differs from the step like the second moment of its
#   derivative, $\frac{\pi^2}{3} \beta^{-2}$: order two in $1/\beta$.
# * *The mesh.* Let $\beta \to \infty$ on a mesh of step $h$. Neuron $i$ is switched on at the time
#   $i h / c_h$ and $x_i = 1 - e^{-(t - i h/c_h)}$ from then on. That the next one is just at its threshold
#   is a geometric series,
#   $$ \frac{h}{2d} \sum_{i \ge 1} e^{-i h/d} \big(1 - e^{-i h/c_h}\big) = \theta, $$
#   an equation for $c_h$. Its left-hand side is the trapezoidal rule for
#   $\int_0^\infty w\,(1 - e^{-y/c})\,dy = \theta$, so that $c_h = c + O(h^2)$, and the front is as fast on
#   the mesh as *this* equation says.
# * *Both together*, $\beta \propto 1/h$, is order two again. When the front is wide enough for the mesh
#   the trapezoidal rule for a smooth function has nearly no error, and the gain is all.


def speed_on_mesh(h: float, d: float = REACH, theta: float = THRESHOLD) -> float:
    """``c_h`` of a step gain on a mesh of step ``h``."""
    q = np.exp(-h / d)

    def excess(c: float) -> float:
        p = q * np.exp(-h / c)
        return float(h / (2.0 * d) * (q / (1.0 - q) - p / (1.0 - p)) - theta)

    return float(brentq(excess, 1e-3 * d, 1e3 * d, xtol=1e-14))


def orders(errors: Sequence[float]) -> list[float]:
    """Orders between neighbours of a sequence of halved steps."""
    e = np.abs(errors)
    return [float("nan"), *np.log2(e[:-1] / e[1:])]


def together(meshes: Sequence[int], steepness: float) -> list[float]:
    """Errors of the speed for these numbers of cells; ``beta`` grows with them from ``steepness``."""
    betas = [steepness * m / meshes[0] for m in meshes]
    errors = [front(m + 1, m, b)[0] - speed() for m, b in zip(meshes, betas, strict=True)]
    print(f"front, c = {speed():.6f}\n    h        beta    c_h - c      order")
    for m, b, e, p in zip(meshes, betas, errors, orders(errors), strict=True):
        print(f"    {LENGTH / m:<8g} {b:<7g} {e:+.3e}   {p:.2f}")
    return errors


def step_gain(meshes: Sequence[int], cells: int, steepness: float) -> list[tuple[float, float]]:
    """Measured error of the speed of a nearly discontinuous gain, and the one of ``c_h``."""
    found = []
    print("a step on the mesh\n    h        measured    closed form")
    for m in meshes:
        measured = front(m + 1, cells, steepness)[0] - speed()
        exact = speed_on_mesh(LENGTH / m) - speed()
        print(f"    {LENGTH / m:<8g} {measured:+.3e}  {exact:+.3e}")
        found.append((measured, exact))
    return found


# ## Bumps
#
# Synapses that excite near by and inhibit farther away, $w(s) = (1 - |s|)\,e^{-|s|}$, keep a stimulus
# where it is. Let $W(\ell) = \int_0^\ell w = \ell\,e^{-\ell}$. A stationary state that is excited on an
# interval of width $\ell$ has $v = W(\ell) - \theta = 0$ at both edges (Amari 1977,
# doi:10.1007/BF00337259), hence two of them for $\theta < 1/e$: with the two branches of Lambert's
# function
#
# $$ \ell_1 = -W_0(-\theta) < 1 < \ell_2 = -W_{-1}(-\theta). $$
#
# The wide one is stable ($W'(\ell_2) < 0$), the narrow one is not: a stimulus narrower than $\ell_1$ is
# forgotten, and a wider one (we try up to 3.3) becomes a bump of width $\ell_2$. So the network is a
# classifier of widths with a decision boundary that is known, and a memory of one bit. All stimuli are
# the samples of one batch.

HOLD = 0.25  # threshold of the bumps


def widths_of_bumps() -> tuple[float, float]:
    """``l_1`` and ``l_2``."""
    return -float(lambertw(-HOLD, 0).real), -float(lambertw(-HOLD, -1).real)


def bumps(nodes: int, cells: int, steepness: float, starts: Array, depth: float) -> Array:
    """Width excited at the depth nodes, (n + 1, K), of stimuli that start with these widths (K,)."""
    network = field(nodes, cells, depth)
    s = network.index.coordinates[:, 0]
    distance = np.abs(s[:, None] - s)
    kernel = (1.0 - distance) * np.exp(-distance)
    bias = np.full(nodes, -HOLD)
    # The part of the interval between the midpoints of the cells that the stimulus covers: its
    # integral is exact.
    h, from_centre = LENGTH / (nodes - 1), np.abs(s - LENGTH / 2.0)
    x = np.clip((starts / 2.0 - from_centre[:, None]) / h + 0.5, 0.0, 1.0)
    states = evolve(network, kernel, bias, steepness, x)
    return np.array([excited(argument(network, kernel, bias, x), h) for x in states])


def excited(v: Array, h: float) -> Array:
    """Measure (K,) of the set where the piecewise linear ``v`` (N, K) is positive."""
    positive = np.maximum(v, 0.0)
    size = np.abs(v[:-1]) + np.abs(v[1:])
    return h * np.sum((positive[:-1] + positive[1:]) / np.where(size > 0.0, size, 1.0), axis=0)


# ## The figure


@styled
def draw(
    shown: tuple[Network, Array],
    curves: dict[str, tuple[Array, Array]],
    starts: Array,
    width: Array,
    depth: float,
):  # type: ignore[no-untyped-def]
    """The front over index and depth, the errors of its speed, and the widths of bumps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.8), layout="constrained")
    figure.get_layout_engine().set(wspace=0.06)
    left, middle, right = figure.subplots(1, 3)
    network, states = shown
    image = left.pcolormesh(
        network.index.coordinates[:, 0],
        np.linspace(0.0, DEPTH, len(states)),
        states,
        cmap=SEQUENTIAL,
        shading="gouraud",
        rasterized=True,
    )
    line = np.array([0.0, DEPTH])
    left.plot(EDGE + speed() * line, line, "--", color="white", label="closed form")
    left.set_xlabel("neuron $s$")
    left.set_ylabel("depth $t$")
    left.set_title("A front crosses the network")
    left.legend(loc="lower right", labelcolor="white")
    left.grid(visible=False)
    figure.colorbar(image, ax=left, label="state $x(t,s)$")
    looks: list[tuple[str, str, Callable[..., object]]] = [
        (LINES[0], "o-", middle.loglog),
        (LINES[1], "s", middle.loglog),
        (LINES[1], ":", middle.loglog),
    ]
    for (name, (h, error)), (colour, mark, plot) in zip(curves.items(), looks, strict=True):
        plot(h, np.abs(error), mark, color=colour, label=name)
    h, error = curves[next(iter(curves))]
    middle.loglog(h, 0.5 * np.abs(error[-1]) * (h / h[-1]) ** 2, "--", color="0.5", label="order 2")
    middle.set_xlabel("step $h$ in the index")
    middle.set_ylabel(r"error of the speed $|c_h - c|$")
    middle.set_title(f"Speed: $c = {speed():.3f}$")
    middle.legend(loc="lower right")
    t = np.linspace(0.0, depth, len(width))
    narrow, wide = widths_of_bumps()
    for start, curve in zip(starts, width.T, strict=True):
        right.plot(t, curve, color=LINES[2] if start > narrow else LINES[3], linewidth=1.2)
    for root, text in ((narrow, r"$\ell_1$"), (wide, r"$\ell_2$")):
        right.axhline(root, linestyle="--", color="0.2", linewidth=1.5)
        right.annotate(text, (0.97 * depth, root + 0.06), fontsize=15, ha="right")
    right.set_xlabel("depth $t$")
    right.set_ylabel("width that is excited")
    right.set_title("Stimuli are forgotten or become a bump")
    return figure


# ## All of it


def main(
    meshes: Sequence[int] = (100, 200, 400, 800),
    steps: Sequence[int] = (50, 100, 200),
    cells: int = 4000,
    stimuli: int = 41,
    out: Path | None = None,
) -> float:
    """Order of the speed of the front in the step of the mesh, with the steepness as its inverse."""
    errors = together(meshes, 0.5 * meshes[0])
    sharp = step_gain(steps, cells, 1e4)
    starts, depth = np.linspace(0.1, 3.3, stimuli), 24.0
    width = bumps(401, 240, 60.0, starts, depth)
    narrow, wide = widths_of_bumps()
    dead = width[-1] < 0.5 * narrow
    print(
        f"bumps: widths up to {starts[dead].max():.3f} are forgotten, "
        f"from {starts[~dead].min():.3f} kept; "
        f"l_1 = {narrow:.4f}\n       the others end at {width[-1][~dead].min():.4f} to "
        f"{width[-1][~dead].max():.4f}; l_2 = {wide:.4f}"
    )
    if out is not None:
        from fem_deepest.figures import save

        _, network, states = front(201, 200, 400.0)
        coarse = LENGTH / np.array(steps)
        curves = {
            r"gain $\beta = 8/h$": (LENGTH / np.array(meshes), np.array(errors)),
            "step on the mesh": (coarse, np.array([m for m, _ in sharp])),
            "closed form $c_h$": (coarse, np.array([e for _, e in sharp])),
        }
        print(save(draw((network, states), curves, starts, width, depth), out))
    return orders(errors)[-1]


if __name__ == "__main__":
    order = main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "neural_field.png"))
    print(f"order of the speed: {order:.2f}")
