# # Contours that are led out of their first object by noise
#
# An *active contour* is a closed curve that moves until an energy is lowest,
#
# $$ E = \nu\,\mathrm{length} + \int_{\rm inside} e_{\rm in}(I) + \int_{\rm outside} e_{\rm out}(I), $$
#
# with the grey values $I$ of an image and costs $e$ that are learnt from the two regions while the
# curve moves: squared distances from two means (Chan, Vese 2001), or minus the log-likelihood of normal
# laws or mixtures. It moves along its normal with $\nu$ times its curvature plus $e_{\rm out} - e_{\rm
# in}$, and where it sees no object it stalls. *Stochastic* active contours (Juan, Keriven, Postelnicu
# 2006) shake it,
#
# $$ V = \nu\kappa + e_{\rm out} - e_{\rm in} + \circ\,\dot W , $$
#
# and take a step only with the probability $\min(1, e^{-\Delta E/\theta})$, while the temperature
# $\theta$ goes to zero.
#
#     docker/run python demos/contours.py
#
# The contour is the zero level of a phase field $u$ on P1 elements, with the profile
# $\tanh(z/\sqrt2\varepsilon)$ across it. A step consists of three exact flows (curvature, data, noise),
# for all samples together.

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.annealed.schedule import Geometric
from fem_deepest.contours import synthetic
from fem_deepest.contours.circle import CircleLaw, circle_law
from fem_deepest.contours.descent import descend
from fem_deepest.contours.energy import ContourEnergy
from fem_deepest.contours.flow import ContourFlow, good_step
from fem_deepest.contours.image import from_array
from fem_deepest.contours.noise import normal_noise
from fem_deepest.contours.phasefield import PhaseField
from fem_deepest.contours.regions.chan_vese import ChanVese
from fem_deepest.contours.regions.gaussian import Gaussian
from fem_deepest.contours.regions.mixture import Mixture
from fem_deepest.contours.seen import Seen
from fem_deepest.contours.truth import Truth
from fem_deepest.spaces.domain import create_domain
from fem_deepest.studies.proportion import wilson

Array = NDArray[np.float64]


def phase_field(cells: int, side: float = 1.0) -> PhaseField:
    """Contours on a square; the profile is one and a half cells wide."""
    domain = create_domain(MPI.COMM_SELF, [side, side], [cells, cells])
    return PhaseField(fem.functionspace(domain, ("Lagrange", 1)), 1.5 * side / cells)


# ## The noise is Stratonovich's
#
# A circle, no image, one Brownian motion for the whole contour: $dR = -\frac{\nu}{R}\,dt +
# \sigma\,d\beta$. By Ito's formula $E R^2 = R_0^2 - (2\nu - \sigma^2)\,t$ as long as no circle has
# vanished. As an equation for the phase field the noise is $|\nabla u| \circ d\beta = G(u) \circ
# d\beta$, $G(u) = (1 - u^2)/\sqrt2\varepsilon$; in Ito's form there is $\frac12 G'G\sigma^2$ in
# addition. Leave that out, and the profile gets steeper by $\sqrt{1 + \sigma^2/2\nu}$: the contour
# answers to the noise by that much less, and the circle shrinks too fast.
#
# A quarter of the circle about the corner of a square is enough. Circles are stopped when they get
# smaller than the mesh can show; then the law holds with $E[t \wedge \tau]$ for $t$, by optional
# stopping. The martingale $2\sigma\int R\,d\beta$ is known with each circle; without it the mean is the
# same and the error a tenth.


def circles(
    interpretation: str, sigma: float, samples: int, cells: int, T: float = 0.05
) -> CircleLaw:
    """Circles of radius 0.6 with ``nu = 1``."""
    field = phase_field(cells, side=1.5)
    seen = Seen(field, from_array(np.full((2, 2), 0.5)))
    energy = ContourEnergy(field, seen, ChanVese(seen.grey), 1.0)
    flow = ContourFlow(
        energy,
        field.start(synthetic.circle((0.0, 0.0), 0.6), samples),
        dt=good_step(energy),
        noise=normal_noise(field.V, "constant", strength=sigma, seed=3),
        samples=range(samples),
        interpretation=interpretation,  # type: ignore[arg-type]
    )
    return circle_law(flow, round(T / flow.dt), sigma=sigma, least=0.25, part=0.25)


# ## Three images on which a contour stalls
#
# Two discs and a ring, bright on dark; two objects with the mean of the background and another
# variance; two objects with dark and bright pixels, again with the mean of the background. Every
# contour starts as a small circle in one of the objects. `length` is the correlation length of the
# noise in space, `strength` its deviation after unit time at the first temperature; it cools like
# $\sqrt\theta$.


@dataclass(frozen=True)
class Task:
    """An image, its energy and the noise."""

    name: str
    region: Any
    nu: float
    strength: float
    first: float
    last: float
    steps: int = 200
    length: float = 0.1


TASKS = (
    Task("discs", ChanVese, nu=0.003, strength=0.12, first=1e-2, last=1e-4),
    Task("variance", Gaussian, nu=0.05, strength=0.5, first=3e-2, last=3e-4),
    Task("mixture", partial(Mixture, components=2), nu=0.04, strength=0.7, first=3e-2, last=3e-4),
)


@dataclass(frozen=True)
class Trial:
    """What came of it: energies, Dice coefficients, evaluations of each, and one contour to show."""

    task: Task
    image: Array
    field: PhaseField
    start: Array
    alone: tuple[float, float, int]
    known: float
    known_dice: float
    energies: Array
    dice: Array
    evaluations: Array
    U: Array
    plain: Array

    @property
    def success(self) -> NDArray[np.bool_]:
        """Which samples end as low as a descent from the truth, to a tenth of what noise can win."""
        return self.energies <= self.known + 0.1 * abs(self.alone[0] - self.known)


def segment(task: Task, seeds: int, cells: int, draw: int = 0) -> Trial:
    """The contour without noise, and one with noise for each seed, all side by side."""
    field = phase_field(cells)
    made = synthetic.create(task.name, seed=draw)
    seen, truth = Seen(field, made.image), Truth(field, made.truth)
    energy = ContourEnergy(field, seen, task.region(seen.grey), task.nu)
    dt = good_step(energy)
    start = field.start(made.start)
    plain = descend(energy, start, dt=dt)
    known = descend(energy, field.start(synthetic.SYNTHETIC[task.name][0]), dt=dt)
    flow = ContourFlow(
        energy,
        np.repeat(start, seeds, axis=1),
        dt=dt,
        noise=normal_noise(field.V, "matern", strength=task.strength, length=task.length, seed=1),
        schedule=Geometric(task.first, task.last, task.steps),
        samples=range(seeds),
        cooled=True,
    )
    flow.advance(task.steps)
    # From the last contour and from the lowest to a stationary point; the lower one counts.
    ends = descend(energy, np.concatenate([flow.U, flow.best.U], axis=1), dt=dt)
    first = ends.energies[:seeds] <= ends.energies[seeds:]
    U = np.where(first, ends.U[:, :seeds], ends.U[:, seeds:])
    energies = np.minimum(ends.energies[:seeds], ends.energies[seeds:])
    return Trial(
        task,
        made.image.grey,
        field,
        start[:, 0],
        (float(plain.energies[0]), float(truth.dice(plain.U)[0]), int(plain.evaluations[0])),
        float(known.energies[0]),
        float(truth.dice(known.U)[0]),
        energies,
        truth.dice(U),
        flow.evaluations + ends.evaluations[:seeds] + ends.evaluations[seeds:],
        U[:, int(np.argmin(energies))],
        plain.U[:, 0],
    )


def main(
    seeds: int = 100,
    cells: int = 48,
    circle_samples: int = 200,
    circle_cells: int = 40,
    out: Path | None = None,
) -> float:
    """The lowest share of seeds, of the three images, that found the objects."""
    laws = {
        (sigma, kind): circles(kind, sigma, circle_samples, circle_cells)
        for sigma in (1.0, 1.5)
        for kind in ("stratonovich", "ito")
    }
    print("sigma  calculus       d E R^2/dt   law    measured          without its martingale")
    for (sigma, kind), law in laws.items():
        exact = sigma**2 - 2.0
        if kind == "ito":
            exact = sigma**2 / (1.0 + 0.5 * sigma**2) - 2.0
        (rate, error), (less, small) = law.rate(), law.rate(controlled=True)
        print(
            f"{sigma:5.1f}  {kind:13s} {exact:+12.3f}        {rate:+.3f} +- {error:.3f}   "
            f"{less:+.3f} +- {small:.3f}"
        )
    trials = [segment(task, seeds, cells) for task in TASKS]
    print("image     energy: no noise  with (median)  of the truth | Dice: no noise  with | found")
    for trial in trials:
        energy, dice, evaluations = trial.alone
        found = int(trial.success.sum())
        low, high = (float(end) for end in wilson(found, seeds))
        print(
            f"{trial.task.name:9s} {energy:15.4f} {np.median(trial.energies):14.4f} {trial.known:13.4f} "
            f"| {dice:14.3f} {np.median(trial.dice):5.3f} | {found} of {seeds} [{low:.2f}, {high:.2f}], "
            f"{np.median(trial.evaluations):.0f} evaluations ({evaluations} without noise)"
        )
    if out is not None:
        from fem_deepest.figures import save

        print(save(law_figure(laws), out.with_name(out.stem + "_circle.png")))
        print(save(figure(trials), out))
    return float(min(trial.success.mean() for trial in trials))


def law_figure(laws: dict[tuple[float, str], CircleLaw]) -> Any:
    """Mean of the square of the radius against the mean time, with three standard errors."""
    from matplotlib.figure import Figure

    from fem_deepest.figures.style import LINES, RC, rc_context

    with rc_context(RC):
        made = Figure(figsize=(13, 5))
        panels = dict(zip((1.0, 1.5), made.subplots(1, 2), strict=True))
        looks = {"stratonovich": (LINES[0], "with the correction"), "ito": (LINES[1], "without")}
        for (sigma, kind), law in laws.items():
            axes, (colour, label) = panels[sigma], looks[kind]
            t = law.stopped.mean(axis=1)
            values = law.square - law.martingale
            error = 3.0 * values.std(axis=1, ddof=1) / math.sqrt(values.shape[1])
            mean = values.mean(axis=1)
            axes.fill_between(t, mean - error, mean + error, color=colour, alpha=0.3)
            axes.plot(t, mean, color=colour, linewidth=1.6, label=label)
            s = sigma**2 if kind == "stratonovich" else sigma**2 / (1.0 + 0.5 * sigma**2)
            name = "law" if kind == "stratonovich" else "its limit, fine meshes"
            style = "--" if kind == "stratonovich" else ":"
            axes.plot(t, mean[0] - (2.0 - s) * t, style, color="0.2", linewidth=1.4, label=name)
            axes.set_title(rf"$\sigma = {sigma:g}$")
            axes.set_xlabel(r"$E[t \wedge \tau]$")
            axes.set_ylabel(r"$E\,R^2$")
            axes.legend(loc="lower left")
        return made


def figure(trials: list[Trial]) -> Any:
    """The images with their contours, and the energies of all seeds."""
    from matplotlib.figure import Figure

    from fem_deepest.figures.contour import draw, edge
    from fem_deepest.figures.style import LINES, RC, rc_context
    from fem_deepest.io.frames import Frame

    with rc_context(RC):
        made = Figure(figsize=(5.0 * len(trials), 8.6))
        panels = made.subplots(2, len(trials), height_ratios=(5, 3), squeeze=False)
        for (axes, below), trial in zip(panels.T, trials, strict=True):
            cells = np.asarray(trial.field.V.dofmap.list, dtype=np.int64)
            frames = [
                Frame(0.0, trial.field.x, cells, u) for u in (trial.start, trial.plain, trial.U)
            ]
            draw(axes, trial.image, frames[0])
            looks = ((LINES[5], "--"), (LINES[1], "-"), (LINES[4], "-"))
            for frame, (colour, style) in zip(frames, looks, strict=True):
                edge(axes, frame, colour, style)
            share = f"{int(trial.success.sum())} of {trial.dice.size} seeds"
            axes.set_title(f"{trial.task.name}: found by {share}")
            ends = [*trial.energies, trial.alone[0], trial.known]
            bins = np.linspace(min(ends), max(ends), 24)
            below.hist(trial.energies, bins=bins, color=LINES[4], label="seeds, with noise")
            below.axvline(trial.alone[0], color=LINES[1], label="without noise")
            below.axvline(trial.known, color="0.2", linestyle="--", label="descent from the truth")
            below.set_xlabel("energy at the end")
            below.locator_params(axis="x", nbins=4)
        panels[1, 0].set_ylabel("seeds")
        made.get_layout_engine().set(h_pad=0.12)  # for the titles
        for colour, style, label in (
            (LINES[5], "--", "start"),
            (LINES[1], "-", "end without noise"),
            (LINES[4], "-", "lowest end with noise"),
        ):
            panels[0, 0].plot([], [], style, color=colour, label=label)
        made.legend(
            handles=[h for axes in panels[:, 0] for h in axes.get_legend_handles_labels()[0]],
            loc="outside lower center",
            ncols=3,
        )
        return made


if __name__ == "__main__":
    share = main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "contours.png"))
    print(f"lowest share of seeds that found the objects: {share:.2f}")
