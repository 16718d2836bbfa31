# # Are the error bars of a network right? Many truths, counted
#
# Training minimises an action that is a mean over the $K$ samples,
#
# $$ A(w) = \frac1K \sum_k \frac{|y_k - \hat y(z_k; w)|^2}{2\sigma^2} + \frac12 \langle w, P w \rangle , $$
#
# and $\exp(-K A)$ is the posterior of the weights for noise of deviation $\sigma$ and the Gaussian prior
# $N(0, (K P)^{-1})$. The trained network is its mode: one set of weights out of many that explain the
# data. Its prediction has an error that $\sigma$ does not cover, and which is large where there are few.
#
# Averaged over the posterior the prediction is *calibrated*: if truths are drawn from the prior, an
# interval of probability $p$ holds a fresh observation with probability $p$ exactly. That is counted here,
# over many truths; the sampler and the predictive are tested together.
#
#     docker/run python demos/calibration.py

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mpi4py import MPI
from scipy.optimize import minimize

from fem_deepest._petsc import PETSc  # noqa: F401  PETSc is started first
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.network.activation import activation
from fem_deepest.network.loss import LeastSquares
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.sample.diagnostics import rhat
from fem_deepest.sample.hamiltonian import HamiltonianMonteCarlo
from fem_deepest.sample.network import NetworkTarget
from fem_deepest.sample.predictive import cdf, coverage, coverage_error
from fem_deepest.sample.run import Plan, Setting, sample
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid

SIGMA, SAMPLES, FRESH = 0.3, 8, 40

# ## Network and posterior
#
# Few neurons, and inputs that leave a gap in the middle. The prior of all truths is the one that the
# posterior uses.


def target(z: np.ndarray, y: np.ndarray) -> NetworkTarget:
    network = Network(
        DepthMesh.graded(1.0, 2, 1.0),
        NeuronSpace.points(3),
        scheme("rk2"),
        activation("tanh"),
        inputs=1,
        outputs=1,
        linear_lift=True,
    )
    grid, loss = ProcessGrid.create(MPI.COMM_SELF), LeastSquares(SIGMA**-2)
    return NetworkTarget(
        NetworkAction(grid, network, loss, z[:, None], y[:, None], strength=1.0 / SAMPLES)
    )


def mode(posterior: NetworkTarget, starts: np.ndarray) -> np.ndarray:
    """The lowest minimiser of the action that some draws lead to."""
    P = posterior.prior.precision

    def action(v: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = posterior.gradient(v[:, None])
        image = P.apply(v[:, None])
        return float(value[0] + 0.5 * v @ image[:, 0]), (slope + image)[:, 0]

    found = [minimize(action, v, jac=True, method="L-BFGS-B") for v in starts]
    return min(found, key=lambda one: one.fun).x


# ## One truth
#
# Its weights are a draw of the prior, its data have noise, and so have the fresh observations.


class Experiment(NamedTuple):
    """Where fresh observations fall in both predictive distributions, and how the chains mixed."""

    posterior: np.ndarray
    point: np.ndarray
    mixing: float


def experiment(number: int, draws: int) -> Experiment:
    rng = np.random.default_rng([7, number])
    side = rng.choice([-1.0, 1.0], SAMPLES)
    z, fresh = side * rng.uniform(0.4, 2.0, SAMPLES), rng.uniform(-2.0, 2.0, FRESH)
    silent = target(z, np.zeros(SAMPLES))
    truth = silent.prior.precision.inverse_root(rng.standard_normal((silent.prior.size, 1))).T

    def predict(w: np.ndarray, x: np.ndarray) -> np.ndarray:
        return silent.replicas.output(np.ascontiguousarray(w), x[None])[:, 0]

    y = predict(truth, z)[0] + SIGMA * rng.standard_normal(SAMPLES)
    seen = predict(truth, fresh)[0] + SIGMA * rng.standard_normal(FRESH)
    posterior = target(z, y)

    def make() -> Setting:
        keep = {"w": lambda v: posterior.weights(v).T}
        return Setting(posterior, lambda: HamiltonianMonteCarlo(posterior, 0.1, 8), keep)

    plan = Plan(chains=8, batch=8, relax=150, warmup=100, draws=draws, seed=number)
    w = sample(make, plan, MPI.COMM_SELF).values["w"]
    flat = w.reshape(-1, w.shape[-1])
    point = mode(posterior, w[:4, -1])[None]
    return Experiment(
        cdf(predict(flat, fresh), SIGMA, seen),
        cdf(predict(point, fresh), SIGMA, seen),
        rhat(predict(flat, np.zeros(1)).reshape(w.shape[:2])),
    )


# ## All truths
#
# The expected calibration error is the mean distance of the coverage from the probability, over intervals
# from 5 to 95 per cent.


def main(truths: int = 60, draws: int = 300, out: Path | None = None) -> tuple[float, float]:
    """Calibration errors of the posterior and of the point estimate."""
    runs = [experiment(number, draws) for number in range(truths)]
    both = {
        "point": np.concatenate([run.point for run in runs]),
        "posterior": np.concatenate([run.posterior for run in runs]),
    }
    mixing = np.array([run.mixing for run in runs])
    print(f"R-hat of the prediction at 0: median {np.median(mixing):.3f}, worst {mixing.max():.3f}")
    for name, below in both.items():
        held = ", ".join(f"{100 * p:.0f} %: {coverage(below, p):.3f}" for p in (0.5, 0.9))
        print(f"{name}: in the intervals of {held}; calibration error {coverage_error(below):.4f}")
    if out is not None:
        from fem_deepest.figures import save
        from fem_deepest.figures.posterior import coverage as draw

        print(save(draw(both), out))
    return coverage_error(both["posterior"]), coverage_error(both["point"])


if __name__ == "__main__":
    main(out=Path(sys.argv[1] if len(sys.argv) > 1 else "calibration.png"))
