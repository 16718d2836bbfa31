"""Stochastic active contours: the law of the circle, the correction, acceptance, restart, descent."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from contours import phase_field, problem, uniform
from dolfinx import fem
from mpi4py import MPI

from fem_deepest.annealed.schedule import Constant, Geometric
from fem_deepest.contours import synthetic
from fem_deepest.contours.circle import CircleLaw, circle_law
from fem_deepest.contours.descent import descend
from fem_deepest.contours.flow import ContourFlow, good_step
from fem_deepest.contours.noise import check_noise, normal_noise
from fem_deepest.contours.phasefield import PhaseField
from fem_deepest.contours.profile import shift
from fem_deepest.errors import InputError
from fem_deepest.noise.white import WhiteNoise
from fem_deepest.noise.white_covariance import WhiteCovariance
from fem_deepest.noise.wiener import QWiener
from fem_deepest.spaces.domain import read_domain
from fem_deepest.spde.diffusion import Multiplication

MESHES = Path(__file__).parents[2] / "meshes"


def circles(
    interpretation: Literal["stratonovich", "ito"], samples: int, sigma: float
) -> CircleLaw:
    """A quarter of a circle about the corner of a square, ``nu = 1``, stopped at 3.6 ``eps``."""
    field = phase_field(32, 1.5, side=1.5)
    energy = problem(field, uniform(), nu=1.0)
    noise = normal_noise(field.V, "constant", strength=sigma, seed=3)
    flow = ContourFlow(
        energy,
        field.start(synthetic.circle((0.0, 0.0), 0.6), samples),
        dt=good_step(energy),
        noise=noise,
        samples=range(samples),
        interpretation=interpretation,
    )
    return circle_law(flow, 20, sigma=sigma, least=0.25, part=0.25)


def test_circle_law_and_what_it_is_without_the_correction() -> None:
    """``E R^2 = R_0^2 - (2 - s) t``, ``s = sigma^2``; without the correction ``s / (1 + s/2)`` for ``s``.

    The bias of this mesh and step is below one hundredth for ``sigma = 1``, half a standard error.
    """
    sigma = 1.0
    right, wrong = (circles(i, 128, sigma) for i in ("stratonovich", "ito"))
    rate, error = right.rate()
    assert abs(rate + 2.0 - sigma**2) < 3.0 * error
    rate, error = right.rate(controlled=True)
    assert error < 0.05
    assert abs(rate + 2.0 - sigma**2) < 3.0 * error
    lost, error = wrong.rate(controlled=True)
    assert abs(lost + 2.0 - sigma**2) > 3.0 * error
    assert abs(lost + 2.0 - sigma**2 / (1.0 + 0.5 * sigma**2)) < 3.0 * error


def test_circle_without_noise_shrinks_by_curvature() -> None:
    """``R^2 = R_0^2 - 2 nu t``, to half of ``(eps/R)^2``, the order of the phase field."""
    field = phase_field(32, 2.0, side=1.5)
    energy = problem(field, uniform(), nu=0.5)
    flow = ContourFlow(energy, field.start(synthetic.circle((0.0, 0.0), 0.6)), dt=good_step(energy))
    before = 4.0 / math.pi * field.area(flow.U)
    flow.advance(12)
    rate = (4.0 / math.pi * field.area(flow.U) - before) / (12 * flow.dt)
    assert float(rate[0]) == pytest.approx(-1.0, rel=0.5 * (field.eps / 0.5) ** 2)


def test_circle_on_an_unstructured_mesh_from_a_file() -> None:
    """The same law on the disc of meshes/, in its middle, to the order of ``(eps/R)^2``."""
    pytest.importorskip("gmsh")
    domain = read_domain(MPI.COMM_SELF, MESHES / "disc.msh")
    field = PhaseField(fem.functionspace(domain, ("Lagrange", 1)), 0.06)
    energy = problem(field, uniform(), nu=1.0)
    U = field.start(synthetic.circle((0.5, 0.5), 0.3))
    flow = ContourFlow(energy, U, dt=good_step(energy))
    before = field.area(flow.U) / math.pi
    flow.advance(10)
    rate = (field.area(flow.U) / math.pi - before) / (10 * flow.dt)
    assert float(rate[0]) == pytest.approx(-2.0, rel=(field.eps / 0.25) ** 2)


def test_correction_is_the_one_that_ufl_derives() -> None:
    """``1/2 G'G q`` of the form, and Euler and Maruyama with it come to the exact shift, not without."""
    field, sigma = phase_field(4), 0.3
    eps = field.eps
    noise = normal_noise(field.V, "constant", strength=sigma, seed=0)
    G = Multiplication(lambda u: (1.0 - u**2) / (math.sqrt(2.0) * eps), noise, discrete=False)
    U = np.linspace(-0.9, 0.9, 6) * np.ones((field.blocks.owned, 1))
    u = noise.quadrature.evaluate(U)
    correction = G.stratonovich(U)
    assert correction == pytest.approx(-(sigma**2) / (2.0 * eps**2) * (u - u**3), abs=1e-12)
    # A path of many small steps, the same for all columns.
    n, T = 4000, 1.0
    beta = sigma * math.sqrt(T / n) * np.random.default_rng(7).standard_normal(n)
    with_it, without = (np.linspace(-0.9, 0.9, 6) for _ in range(2))
    for step in beta:
        slope = -(sigma**2) / (2.0 * eps**2) * (with_it - with_it**3)
        with_it = with_it + (1.0 - with_it**2) / (math.sqrt(2.0) * eps) * step + slope * T / n
        without = without + (1.0 - without**2) / (math.sqrt(2.0) * eps) * step
    exact = shift(np.linspace(-0.9, 0.9, 6), beta.sum(), eps)
    # Strong order one half: sigma^2 T / eps^2 = 0.64, over sqrt(n) = 63.
    assert np.abs(with_it - exact).max() < 0.02
    assert np.abs(without - exact).max() > 0.05


def test_white_noise_is_refused_with_the_reason() -> None:
    field = phase_field(4)
    with pytest.raises(InputError, match="ill-posed"):
        normal_noise(field.V, "white", strength=1.0, seed=0)
    with pytest.raises(InputError, match="beta = 0 in the plane"):
        check_noise(QWiener(WhiteCovariance(field.V), WhiteNoise(field.V, 0)))
    with pytest.raises(InputError, match="strength"):
        normal_noise(field.V, "constant", strength=0.0, seed=0)


def shaken(samples: range, schedule=None, cells: int = 10, **more) -> ContourFlow:
    """Contours in an image of two discs and a ring."""
    field = phase_field(cells)
    made = synthetic.create("discs", 20)
    energy = problem(field, made.image, nu=0.01)
    noise = normal_noise(field.V, "matern", strength=0.3, seed=5, length=0.3)
    start = more.pop("start", None)
    return ContourFlow(
        energy,
        field.start(made.start, len(samples)) if start is None else start,
        dt=good_step(energy),
        noise=noise,
        samples=samples,
        schedule=schedule,
        seed=5,
        **more,
    )


def test_acceptance_is_the_rule_of_stochastic_active_contours() -> None:
    """Over many samples at one temperature: as many are taken as the energies say."""
    theta, samples = 0.01, range(600)
    flow = shaken(samples, Constant(theta))
    before = flow.energies.copy()
    free = shaken(samples)
    free.advance()  # the same proposals, all taken
    flow.advance()
    rise = free.energies - before
    p = np.minimum(1.0, np.exp(-rise / theta))
    assert flow.accepted[rise <= 0.0].all()
    expected, spread = p.sum(), math.sqrt(float((p * (1.0 - p)).sum()))
    assert spread > 2.0
    assert abs(flow.accepted.sum() - expected) < 4.0 * spread
    kept = np.where(flow.accepted, free.energies, before)
    assert np.array_equal(flow.energies, kept)


def test_a_sample_does_not_depend_on_the_others_and_goes_on_bit_for_bit() -> None:
    schedule = Geometric(0.02, 0.001, 10)
    whole = shaken(range(4), schedule, cooled=True)
    whole.advance(6)
    alone = shaken(range(2, 3), schedule, cooled=True)
    alone.advance(3)
    rest = shaken(range(2, 3), schedule, cooled=True, start=alone.state)
    rest.advance(3)
    assert rest.step == 6
    # Products of blocks of other widths are rounded in another order.
    assert rest.U[:, 0] == pytest.approx(whole.U[:, 2], abs=1e-12)
    straight = shaken(range(2, 3), schedule, cooled=True)
    straight.advance(6)
    assert np.array_equal(rest.U, straight.U)
    assert np.array_equal(rest.best.values, straight.best.values)
    assert np.array_equal(rest.best.U, straight.best.U)
    assert rest.evaluations == straight.evaluations == 7


def test_noise_cools_with_the_temperature() -> None:
    """A quarter of the temperature, half of the noise."""
    warm, cold = shaken(range(1)), shaken(range(1), Geometric(1.0, 0.25, 1), cooled=True)
    cold.step = warm.step = 1
    field, force = cold.energy.field, cold.energy.evaluate(cold.U).force
    flat = field.straighten(cold.U, cold.energy.nu * cold.dt)
    dW = warm.noise.increment(1, warm.dt, (0,)).field
    cold.schedule = Geometric(1e9, 0.25e9, 1)  # so hot that everything is taken
    cold.advance()
    expected = field.shift(flat, cold.dt * force + 0.5 * dW)
    assert np.abs(cold.U - expected).max() < 1e-13


def test_descent_ends_at_a_stationary_point_below_all_steps() -> None:
    field = phase_field(16)
    energy = problem(field, synthetic.create("discs", 32).image, nu=0.01)
    U = field.start(synthetic.SYNTHETIC["discs"][0], 2)
    U[:, 1] = -0.3
    found = descend(energy, U, dt=good_step(energy), tolerance=1e-7, most=2000)
    assert found.converged.all()
    assert (found.energies <= energy.value(U)).all()
    # The rate of descent of the gradient flow, over the gain of a step of the energy.
    g = energy.gradient(found.U)[1]
    start = energy.gradient(U)[1]
    rates = [((d * d) / field.masses).sum(axis=0) for d in (start, g)]
    assert (rates[1] < 1e-2 * rates[0]).all()
    short = descend(energy, U, dt=good_step(energy), most=3)
    assert not short.converged.any()
    assert short.evaluations.tolist() == [3, 3]
    seen: list[tuple[list[int], list[float]]] = []
    alone = descend(
        energy,
        U[:, :1],
        dt=good_step(energy),
        tolerance=1e-7,
        most=2000,
        watch=lambda columns, values: seen.append((columns.tolist(), values.tolist())),
    )
    assert alone.evaluations[0] == found.evaluations[0] == len(seen)
    assert alone.energies[0] == pytest.approx(found.energies[0], rel=1e-12)
    assert min(values[0] for _, values in seen) == alone.energies[0]


def test_bad_flows_are_refused() -> None:
    flow = shaken(range(2))
    U = flow.U
    with pytest.raises(InputError, match="dt = 0"):
        ContourFlow(flow.energy, U, dt=0.0, samples=range(2))
    with pytest.raises(InputError, match="one column for each"):
        ContourFlow(flow.energy, U, dt=1.0, samples=range(3))
    with pytest.raises(InputError, match="wrong equation"):
        ContourFlow(
            flow.energy, U, dt=1.0, samples=range(2), schedule=Constant(1.0), interpretation="ito"
        )
