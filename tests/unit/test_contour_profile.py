"""The phase field across a contour, and the heat flow: against quadrature, SciPy and the definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from contours import phase_field
from scipy.integrate import quad, solve_ivp
from scipy.linalg import expm
from scipy.special import eval_chebyt

from fem_deepest.contours import profile
from fem_deepest.contours.heat import coefficients
from fem_deepest.contours.phasefield import PhaseField
from fem_deepest.errors import InputError

EPS = 0.07


def test_tension_is_the_integral_of_the_well() -> None:
    value = quad(lambda u: math.sqrt(2.0 * float(profile.well(np.array(u)))), -1.0, 1.0)[0]
    assert value == pytest.approx(profile.TENSION, rel=1e-12)


def test_indicator_moves_the_contour_with_the_speed_of_its_energy() -> None:
    """``gamma h'/eps = G``, ``h`` is the integral of ``h'`` from 0 to 1, ``W'`` the slope of ``W``."""
    u = np.linspace(-1.0, 1.0, 9)
    G = (1.0 - u * u) / (math.sqrt(2.0) * EPS)
    assert profile.TENSION * profile.indicator_slope(u) / EPS == pytest.approx(G, abs=1e-12)
    for end in u:
        area = quad(lambda s: float(profile.indicator_slope(np.array(s))), -1.0, end)[0]
        assert float(profile.indicator(end)) == pytest.approx(area, abs=1e-12)
    d = 1e-6
    slope = (profile.well(u + d) - profile.well(u - d)) / (2.0 * d)
    assert profile.well_slope(u) == pytest.approx(slope, abs=1e-9)


def test_shift_is_a_translation_of_the_profile() -> None:
    z, s = np.linspace(-0.4, 0.4, 17)[:, None], np.array([-0.3, 0.01, 0.2])
    moved = profile.shift(profile.profile(z, EPS), s, EPS)
    # tanh loses what is left of 1 - u^2 beside one: 2e-16 exp(2 z / (sqrt(2) eps)), here 4e-12.
    assert moved == pytest.approx(profile.profile(z + s, EPS), abs=1e-11)
    assert np.array_equal(profile.shift(np.array([-1.0, 1.0]), np.array([9.0, -9.0]), EPS), [-1, 1])


def test_relax_is_the_flow_of_the_well() -> None:
    u0 = np.linspace(-1.0, 1.0, 7)
    for t in (0.5 * EPS**2, -0.2 * EPS**2):
        end = solve_ivp(lambda _, u: (u - u**3) / EPS**2, (0.0, t), u0, rtol=1e-11, atol=1e-12).y[
            :, -1
        ]
        assert profile.relax(u0, t, EPS) == pytest.approx(end, abs=1e-9)


def test_chebyshev_numbers_are_those_of_the_exponential() -> None:
    x = np.linspace(-1.0, 1.0, 33)
    for a in (0.0, 0.3, 4.0, 40.0):
        series = sum(c * eval_chebyt(k, x) for k, c in enumerate(coefficients(a)))
        assert series == pytest.approx(np.exp(-a * (x + 1.0)), abs=1e-11)


def test_heat_flow_is_the_exponential_and_obeys_the_maximum_principle() -> None:
    field = phase_field(6)
    heat, n = field.heat, field.blocks.owned
    L = heat.stiffness(np.eye(n)) / field.masses
    generator = np.random.default_rng(1)
    U = generator.choice([-1.0, 1.0], (n, 3))
    for t in (1e-3, 0.03):
        flown = heat.flow(U, t)
        assert flown == pytest.approx(expm(-t * L) @ U, abs=1e-11)
        assert np.abs(flown).max() <= 1.0 + 1e-11
        assert (field.masses * (flown - U)).sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-12)
    assert heat.bound >= np.linalg.eigvals(L).real.max()
    assert np.array_equal(heat.flow(U, 0.0), U)


def test_length_and_area_of_a_circle() -> None:
    """Both within the square of the width of the profile; the length by quadrature of its energy."""
    radius, relative = 0.3, []
    for cells in (48, 96):
        field = phase_field(cells, 2.0)
        U = field.start(lambda x: radius - np.hypot(x[:, 0] - 0.5, x[:, 1] - 0.5))
        relative.append(abs(float(field.length(U)[0]) / (2.0 * math.pi * radius) - 1.0))
        # int h(u) = pi R^2 + O(eps^2): half of int z^2 h' dz = 0.43 eps^2 beside R^2.
        assert float(field.area(U)[0]) == pytest.approx(math.pi * radius**2, rel=field.eps**2 * 8)
    assert relative[1] < 0.02
    # h/eps is fixed: the rest is the error of lumping and of P1, the same on both meshes
    assert abs(relative[1] - relative[0]) < 0.005


def test_what_is_no_field_of_contours_is_refused() -> None:
    from dolfinx import fem, mesh
    from mpi4py import MPI

    line = fem.functionspace(mesh.create_unit_interval(MPI.COMM_SELF, 4), ("Lagrange", 1))
    square = mesh.create_unit_square(MPI.COMM_SELF, 2, 2)
    with pytest.raises(InputError, match="curves in the plane"):
        PhaseField(line, 0.1)
    with pytest.raises(InputError, match="degree 1"):
        PhaseField(fem.functionspace(square, ("Lagrange", 2)), 0.1)
    with pytest.raises(InputError, match="eps = 0"):
        PhaseField(fem.functionspace(square, ("Lagrange", 1)), 0.0)
