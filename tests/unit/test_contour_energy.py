"""Energies of contours: against sums over pixels, SciPy's laws, Taylor remainders and a circle."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from contours import phase_field, problem, slopes
from scipy.stats import norm

from fem_deepest.contours import synthetic
from fem_deepest.contours.image import from_array
from fem_deepest.contours.profile import indicator, indicator_slope
from fem_deepest.contours.regions.chan_vese import ChanVese
from fem_deepest.contours.regions.gaussian import Gaussian
from fem_deepest.contours.regions.mixture import Mixture
from fem_deepest.contours.seen import Seen
from fem_deepest.contours.truth import Truth
from fem_deepest.errors import InputError

REGIONS = {
    "chan_vese": ("discs", ChanVese),
    "gaussian": ("variance", Gaussian),
    "mixture": ("mixture", partial(Mixture, iterations=2000)),
}


def contours(field, samples: int = 3) -> np.ndarray:
    """Circles of several sizes with rough edges."""
    generator = np.random.default_rng(5)
    radii = np.linspace(0.15, 0.35, samples)
    z = radii - np.hypot(*(field.x - 0.45).T)[:, None]
    return np.tanh(z / field.eps) * (1.0 - 0.2 * generator.random((len(field.x), samples)))


def test_histogram_sees_every_pixel() -> None:
    """Areas of the levels, and for linear functions the sums over the pixels where these meet the mesh."""
    field = phase_field(8)
    generator = np.random.default_rng(2)
    image = from_array(generator.integers(0, 4, (16, 16)) / 3.0)
    seen = Seen(field, image)
    assert np.asarray(seen.histogram.sum(axis=0))[0] == pytest.approx(field.masses[:, 0])
    levels, counts = np.unique(image.pixels, return_counts=True)
    assert seen.grey == pytest.approx(levels / 255.0)
    # Midpoints of 2 by 2 pixels a cell: columns are scaled, so the areas are right to the rule only.
    assert seen.whole[:, 0] == pytest.approx(counts / image.pixels.size, abs=0.02)


def test_an_image_lies_on_the_mesh_the_right_way_up() -> None:
    field = phase_field(8)
    pixels = np.zeros((16, 16))
    pixels[:8, :8] = 1.0  # above on the left
    seen = Seen(field, from_array(pixels))
    average = seen.average()[:, 0]
    x, y = field.x.T
    assert average[(x < 0.4) & (y > 0.6)] == pytest.approx(1.0)
    assert average[(x > 0.6) | (y < 0.4)] == pytest.approx(0.0)


def test_a_mesh_finer_than_the_image_sees_it_too() -> None:
    field = phase_field(24)
    seen = Seen(field, from_array(np.array([[0.0, 1.0], [1.0, 0.0]])))
    assert seen.whole[:, 0] == pytest.approx([0.5, 0.5], abs=1e-3)


def test_dice_counts_pixels() -> None:
    """Against a contour that is known at every pixel: linear functions are exact between the nodes."""
    field = phase_field(10)
    made = synthetic.create("variance", 30)
    truth = Truth(field, made.truth)
    at = (np.arange(30) + 0.5) / 30
    x, y = np.meshgrid(at, at[::-1])
    objects = made.truth.pixels > 0
    for a, b, c in ((1.0, 0.3, -0.62), (-0.2, 1.0, -0.51), (1.0, 0.0, 9.0)):
        inside = a * x + b * y + c > 0.0
        U = (a * field.x[:, :1] + b * field.x[:, 1:] + c) * np.ones((1, 2))
        counts = [2.0 * (p & objects).sum() / (p.sum() + objects.sum()) for p in (inside, ~inside)]
        assert truth.dice(U) == pytest.approx(np.full(2, max(counts)), rel=1e-14)
    with pytest.raises(InputError, match="expected objects in white"):
        Truth(field, made.image)


def test_value_is_that_of_the_sum_over_pixels() -> None:
    """Pixels at the nodes of the mesh's dual would be needed for equality; here within the rule."""
    field = phase_field(16)
    made = synthetic.create("discs", 64)
    energy = problem(field, made.image, nu=1e-9)
    U = contours(field)
    # An independent sum over the pixels, with the indicator interpolated bilinearly.
    n, grey = 16, made.image.grey[::-1]
    order = np.lexsort(field.x.T)
    h = indicator(U)[order].reshape(n + 1, n + 1, -1)
    at = (np.arange(64) + 0.5) / 64 * n
    i, f = np.floor(at).astype(int), at - np.floor(at)
    rows = h[i] * (1 - f)[:, None, None] + h[i + 1] * f[:, None, None]
    at_pixels = rows[:, i] * (1 - f)[:, None] + rows[:, i + 1] * f[:, None]
    p = 1e-3
    for s in range(U.shape[1]):
        weights = [at_pixels[..., s] + p, 1.0 - at_pixels[..., s] + p]
        total = 0.0
        for w in weights:
            mean = (w * grey).sum() / w.sum()
            total += (w * (grey - mean) ** 2).sum() / grey.size
        assert float(energy.value(U)[s]) == pytest.approx(total, rel=0.01)


@pytest.mark.parametrize("name", REGIONS)
def test_gradient_by_taylor_remainders(name: str) -> None:
    image, region = REGIONS[name]
    field = phase_field(12)
    energy = problem(field, synthetic.create(image, 32).image, region)
    U = contours(field)
    direction = np.random.default_rng(3).standard_normal(U.shape) * (1.0 - U * U)
    value, g = energy.gradient(U)
    slope = (g * direction).sum(axis=0)
    assert value == pytest.approx(energy.value(U), rel=1e-14)
    for s in range(U.shape[1]):
        errors = []
        for t in (1e-2, 5e-3, 2.5e-3):
            rest = energy.value(U + t * direction)[s] - value[s] - t * slope[s]
            errors.append(abs(float(rest)))
        assert min(slopes(errors)) > 1.85, errors


def test_force_is_the_gradient_of_the_data() -> None:
    field = phase_field(12)
    energy = problem(field, synthetic.create("discs", 32).image, nu=0.02)
    U = contours(field)
    g = energy.gradient(U)[1] - 0.02 * field.length_gradient(U)
    force = energy.evaluate(U).force
    assert g == pytest.approx(-indicator_slope(U) * force * field.masses, abs=1e-15)


def test_derivative_of_the_shape_of_a_circle() -> None:
    """Moved outwards by ``v``: ``dE = int (nu/R - F) v ds`` on a circle, ``F`` of two known means."""
    radius, nu, cells = 0.3, 0.05, 64
    field = phase_field(cells, 2.0)
    pixels = np.linspace(0.0, 1.0, 256)
    grey = np.tile(0.25 + 0.5 * pixels, (256, 1))  # a ramp: means 0.5, of a circle in the middle
    energy = problem(field, from_array(grey), nu=nu)
    # Its centre at x = 0.6, so that the means differ.
    U = field.start(synthetic.circle((0.6, 0.5), radius))
    direction = (1.0 - U * U) / (math.sqrt(2.0) * field.eps)
    measured = float((energy.gradient(U)[1] * direction).sum())
    area, p = math.pi * radius**2, 1e-3
    c_in = (0.55 * area + p * 0.5) / (area + p)
    c_out = (0.5 - 0.55 * area + p * 0.5) / (1.0 - area + p)
    angle = np.linspace(0.0, 2.0 * math.pi, 400, endpoint=False)
    on = 0.25 + 0.5 * (0.6 + radius * np.cos(angle))
    F = (on - c_out) ** 2 - (on - c_in) ** 2
    exact = 2.0 * math.pi * radius * float((nu / radius - F).mean())
    assert measured == pytest.approx(exact, rel=0.02)


def test_gaussian_density_is_minus_the_log_likelihood() -> None:
    generator = np.random.default_rng(4)
    grey = np.arange(256) / 255.0
    drawn = np.clip(generator.normal(0.4, 0.1, 500), 0.0, 1.0)
    number = np.rint(drawn * 255).astype(int)
    n = np.bincount(number, minlength=256)[:, None] / 500.0
    e = Gaussian(grey).densities(n, n)[0][:, 0]
    law = norm(grey[number].mean(), grey[number].std())
    assert float(e @ n[:, 0]) == pytest.approx(-law.logpdf(grey[number]).mean(), rel=1e-12)


def test_mixture_finds_the_laws_it_was_made_of() -> None:
    grey = np.arange(256) / 255.0
    parts = 0.3 * norm(0.3, 0.05).pdf(grey) + 0.7 * norm(0.65, 0.08).pdf(grey)
    n = (parts / parts.sum())[:, None]
    e_in, e_out = Mixture(grey, iterations=300).densities(n, n)
    seen = parts > 1e-3
    assert e_in[seen, 0] == pytest.approx(-np.log(parts[seen]), abs=2e-3)
    assert float(n[:, 0] @ e_in[:, 0]) < float(n[:, 0] @ e_out[:, 0]) - 0.1


def test_expectation_and_maximisation_lower_the_energy() -> None:
    grey = np.arange(256) / 255.0
    n = np.random.default_rng(0).random((256, 2))
    values = [
        (n * Mixture(grey, 3, iterations).densities(n, n)[0]).sum(axis=0)
        for iterations in range(1, 30)
    ]
    assert (np.diff(values, axis=0) <= 1e-12 * np.abs(values[0])).all()
    one = Mixture(grey, 1, 1).densities(n, n)[0]
    assert one == pytest.approx(Gaussian(grey).densities(n, n)[0], rel=1e-12)


def test_a_region_that_has_vanished_pushes_nothing() -> None:
    field = phase_field(12)
    made = synthetic.create("variance", 32)
    for region in (ChanVese, Gaussian, Mixture):
        energy = problem(field, made.image, region)
        nothing = energy.evaluate(np.full((field.blocks.owned, 1), -1.0))
        assert np.isfinite(nothing.value).all()
        # Noise of single pixels and the laws of 1 and 1000 images: of order one, not 1e5.
        assert np.abs(nothing.force).max() < 5.0


def test_bad_numbers_are_refused() -> None:
    field = phase_field(4)
    with pytest.raises(InputError, match="nu = 0"):
        problem(field, synthetic.create("discs", 8).image, nu=0.0)
    with pytest.raises(InputError, match="mixture of 0"):
        Mixture(np.arange(4) / 3.0, 0)
    with pytest.raises(InputError, match="no image 'disks'"):
        synthetic.create("disks")
