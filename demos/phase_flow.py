# # The pendulum inside one neuron
#
# A model $x' = F(x)$ that is not trusted completely has the Lagrangian
# $L = \frac{R_f}{2}\,|x' - F(x)|^2$. Its momentum is the costate that back-propagation computes,
#
# $$ p = \frac{\partial L}{\partial x'} = R_f\,(x' - F(x)), \qquad
#    H(x, p) = \frac{|p|^2}{2 R_f} + p \cdot F(x), \qquad x' = H_p, \quad p' = -H_x , $$
#
# and training is a Hamiltonian flow. Take the simplest "neuron", $F(x) = \sin x$. Eliminating $p$ gives
# $x'' = \sin x \cos x$, or $\theta'' = \sin\theta$ for $\theta = 2x$: a pendulum. Paths that follow
# the model have $p = 0$, the separatrix of the pendulum. The others swing or turn, and how far they are
# from the model is their momentum.
#
# The discrete path minimises a discrete action, so its flow $(x_i, p_i) \to (x_{i+1}, p_{i+1})$ is
# symplectic: areas of the phase plane are kept to rounding. The energy is not, but its error stays
# bounded, of the order of the scheme: two for the implicit midpoint rule, four for two Gauss points.
#
#     docker/run python demos/phase_flow.py

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import ufl
from numpy.typing import NDArray

from fem_deepest.action.weak.hamiltonian import PhaseFlow, two_form
from fem_deepest.dynamics.symbolic import Symbolic
from fem_deepest.dynamics.transcription import transcription

Array = NDArray[np.float64]

# ## The flow
#
# The right-hand side is written in UFL; its two derivatives are derived from it.

SINE = Symbolic(1, (), lambda t, x, w: ufl.as_vector([ufl.sin(x[0])]), name="sine")
R_F = 2.0

# Four starts: two that swing about $x = \pi/2$, where the model is at rest, and two that turn over.

X = np.array([[np.pi / 2 + 0.3], [np.pi / 2 + 0.8], [0.2], [2.9]])
SLOPE = np.array([[0.2], [0.3], [1.2], [-0.9]])
P = R_F * (SLOPE - np.sin(X))


def flow(name: str, steps: int, depth: float) -> tuple[Array, Array, Array, Array, float]:
    """Depths, positions, momenta, energies, and how much the area of the phase plane changes."""
    discrete = PhaseFlow(SINE, transcription(name), R_F, np.linspace(0.0, depth, steps + 1))
    x, p, maps = discrete.trajectories(X, P)
    energy = discrete.energy(discrete.mesh[:, None], x, p)
    size = np.abs(maps).max(axis=(2, 3)) ** 2
    area = float(np.max(np.abs(two_form(maps) - two_form(np.eye(2))).max(axis=(2, 3)) / size))
    return discrete.mesh, x[..., 0], p[..., 0], energy, area


# ## What is conserved, and how well


def main(steps: int = 120, depth: float = 12.0, out: Path | None = None) -> float:
    """Order at which the energy of two Gauss points drifts."""
    order = np.nan
    print("scheme      steps   drift of H   order   change of area")
    for name in ("euler", "midpoint", "gauss2"):
        before = np.nan
        for n in (steps, 2 * steps, 4 * steps):
            _, _, _, energy, area = flow(name, n, depth)
            drift = float(np.abs(energy - energy[0]).max())
            order = np.log2(before / drift)
            print(f"{name:10s} {n:6d}   {drift:10.2e}   {order:5.2f}   {area:.0e}")
            before = drift
    if out is not None:
        from fem_deepest.figures import phase_flow, save

        t, x, p, energy, _ = flow("midpoint", steps, depth)
        # The flow is periodic in x with the period of the model, 2 pi.
        x = np.mod(x, 2 * np.pi)
        across, up = np.linspace(0.0, 2 * np.pi, 241), np.linspace(-6.0, 6.0, 241)
        level = up[:, None] ** 2 / (2 * R_F) + up[:, None] * np.sin(across)
        print(save(phase_flow(t, x, p, energy, (across, up, level)), out))
    return float(order)


if __name__ == "__main__":
    main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "phase_flow.png"))
