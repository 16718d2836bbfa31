# # Phases that separate by chance
#
# The Allen-Cahn equation with noise,
#
# $$ du = (D \Delta u + u - u^3)\,dt + dW , $$
#
# is the gradient flow of the free energy $F(u) = \int \frac D2 |\nabla u|^2 + \frac14 (u^2 - 1)^2$, shaken
# by a $Q$-Wiener process. In two dimensions white noise is too rough: $E\|u\|^2$ would grow like
# $\log 1/h$ as the mesh is refined (the toolkit refuses it). Here $W$ is a Whittle-Matérn field in space,
# white in time, with standard deviation $\sigma = 0.05$ at time 1 and correlation length $0.05$.
#
#     docker/run python demos/allen_cahn.py
#
# It starts at $u = 0$. That state is unstable, and noise alone decides which of the two phases
# $u = \pm 1$ grows where. After $t \approx 6$ both are there, with interfaces between them that are about
# $\sqrt{2D}$ wide and move by their curvature: small islands vanish.

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

import fem_deepest
from fem_deepest.io.frames import Frame, read_frames

HERE = Path(__file__).parent


# ## What the energy must be
#
# Two closed forms tell what is left of the energy when the phases have separated.
#
# *Interfaces.* A flat interface is $u = \tanh(x / \sqrt{2D})$, in which both parts of the energy are
# equal. So its energy per length, the surface tension, is
#
# $$ \gamma = \int_{-1}^1 \sqrt{2 D \cdot \tfrac14 (1 - u^2)^2}\,du = \frac43 \sqrt{D/2} . $$
#
# *Bulk.* Near $u = \pm 1$ the deviation $v$ solves $dv = (D \Delta v - 2 v)\,dt + dW$. A mode with the
# eigenvalue $\lambda$ of $-\Delta$ has the stationary variance $q / (2 (D\lambda + 2))$ and the energy
# $(\frac D2 \lambda + 1) v^2$: in the mean $q/4$, whatever $\lambda$ is. All modes together give
# $\frac14 \mathrm{tr}\,Q = \frac14 \sigma^2 |\Omega|$.
#
# Hence $F \approx \gamma\,\ell + \frac14 \sigma^2 |\Omega|$ with the length $\ell$ of the interfaces.
# That is the length of the zero level of $u$: a P1 function is linear on a triangle, so the level crosses
# it in a segment.


def length(frame: Frame) -> float:
    """Length of the zero level of a P1 function on triangles."""
    x, u = frame.points[frame.cells], frame.values[frame.cells]
    total = 0.0
    for i in range(3):  # the corner i is on one side, the other two are on the other
        j, k = (i + 1) % 3, (i + 2) % 3
        alone = (u[:, i] > 0.0) != (u[:, j] > 0.0)
        alone &= (u[:, i] > 0.0) != (u[:, k] > 0.0)
        a, b = (
            x[alone, i]
            + (u[alone, i] / (u[alone, i] - u[alone, m]))[:, None] * (x[alone, m] - x[alone, i])
            for m in (j, k)
        )
        total += float(np.linalg.norm(a - b, axis=1).sum())
    return total


def main(settings: tuple[str, ...] = (), out: Path | None = None) -> float:
    """Energy of the last state over what the two closed forms say it is."""
    with tempfile.TemporaryDirectory() as folder:
        run = fem_deepest.flow(
            HERE / "allen_cahn.toml", out=Path(folder) / "run", settings=settings, force=True
        )
        frames = read_frames(run.directory / "fields")
        if out is not None:
            from fem_deepest.figures import flow as figures
            from fem_deepest.figures import save

            print(save(figures.snapshots(frames), out))
            print(figures.animate(frames, out.with_suffix(".gif")))
    D, sigma = run.config.equation.diffusion, run.config.noise.strength
    tension = 4.0 / 3.0 * np.sqrt(D / 2.0)
    edge = length(frames[-1])
    expected = tension * edge + 0.25 * sigma**2
    print(f"{run.status} at t = {run.time:g}, {run.config.time.steps} steps")
    print(f"interfaces {edge:.4f} long, surface tension {tension:.6f}: energy {tension * edge:.6f}")
    print(f"noise in the bulk, sigma^2/4:                   energy {0.25 * sigma**2:.6f}")
    print(f"free energy of the last state:                         {run.metrics['energy']:.6f}")
    return run.metrics["energy"] / expected


if __name__ == "__main__":
    ratio = main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "allen_cahn.png"))
    print(f"energy / closed forms: {ratio:.3f}")
