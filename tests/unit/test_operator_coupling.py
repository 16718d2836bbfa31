"""Couplings by operators: against stencils and sums in plain NumPy, and their derivatives."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import correlate
from stencils import differences, plane

from fem_deepest.errors import InputError
from fem_deepest.network.coupling import convolution as convolutions
from fem_deepest.network.coupling.convolution import convolution
from fem_deepest.network.coupling.differential import elliptic, local
from fem_deepest.network.coupling.operators import OperatorCoupling
from fem_deepest.spaces import NeuronSpace, stencil
from fem_deepest.spaces import elliptic as inverse

Array = NDArray[np.float64]

WIDTH = 5


def line(n: int = 7, channels: int = 1, **options: Any) -> NeuronSpace:
    """P1 on an interval."""
    return NeuronSpace.interval(n, "P1", channels=channels, **options)


def square(shape: tuple[int, int] = (4, 3), channels: int = 1) -> NeuronSpace:
    """Q1 on a rectangle."""
    return NeuronSpace.rectangle(shape, "P1", extent=(1.0, 0.7), channels=channels)


COUPLINGS = {
    "local field": lambda: local(line(), ["1", "grad", "laplace"]),
    "local field, channels": lambda: local(line(channels=2), ["1", "grad", "laplace"]),
    "local uniform, channels": lambda: local(line(channels=2), ["1", "grad"], uniform=True),
    "local field, rectangle": lambda: local(square(channels=2), ["1", "grad", "hessian"]),
    "local uniform, rectangle": lambda: local(square(), ["1", "grad", "laplace"], uniform=True),
    "elliptic field": lambda: elliptic(line(channels=2), ["1", "grad"], 3.0),
    "elliptic uniform": lambda: elliptic(square(), ["1", "grad"], 2.0, uniform=True),
    "convolution": lambda: convolution(line(channels=2), 0.4),
    "convolution, rectangle": lambda: convolution(square((5, 4), channels=2), 0.5),
    "convolution, P0": lambda: convolution(NeuronSpace.interval(6), 0.2),
}


class Case:
    """Random arrays for a coupling."""

    def __init__(self, coupling: OperatorCoupling, lead: tuple[int, ...] = ()) -> None:
        self.coupling, self.lead = coupling, lead
        random = np.random.default_rng(5)
        n = coupling.neurons
        self.theta, self.d_theta = random.standard_normal((2, *lead, *coupling.shape))
        self.v, self.dx = random.standard_normal((2, *lead, n, WIDTH))
        self.full = np.ones((*lead, n + 1, WIDTH))
        self.full[..., :-1, :] = random.standard_normal((*lead, n, WIDTH))
        self.work = coupling.buffers(WIDTH, lead)

    def call(self, name: str, *arguments: Array) -> Array:
        """Result of a method in a fresh array."""
        shape = self.coupling.shape if name == "gradient" else self.v.shape[-2:]
        out = np.full((*self.lead, *shape), np.nan)
        getattr(self.coupling, name)(*arguments, out, self.work)
        return out

    def moved(self) -> Array:
        """``[x + dx; 1]``."""
        full = self.full.copy()
        full[..., :-1, :] += self.dx
        return full


@pytest.fixture(params=["whole", "gathered", "spectral"], autouse=True)
def products(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """So few neurons are done by whole matrices; otherwise only if they must."""
    if request.param == "spectral":
        if "convolution" not in request.node.name:
            pytest.skip("only convolutions have spectra")
        monkeypatch.setattr(convolutions, "_MANY", 0)
        monkeypatch.setattr(convolutions, "_WIDE", 0)
    if request.param == "gathered":
        monkeypatch.setattr(stencil, "_WHOLE", 0)
        monkeypatch.setattr(stencil, "_BLOCK", 200)
        monkeypatch.setattr(inverse, "_DENSE", 0)


@pytest.fixture(params=COUPLINGS, ids=lambda name: name.replace(", ", "-").replace(" ", "_"))
def coupling(request: pytest.FixtureRequest, products: None) -> OperatorCoupling:
    """One of the couplings."""
    return COUPLINGS[request.param]()


def test_derivatives_are_transposes_and_differences(coupling: OperatorCoupling) -> None:
    case = Case(coupling)
    theta, d_theta, v, dx, full = case.theta, case.d_theta, case.v, case.dx, case.full
    z = case.call("value", theta, full)
    tangent, variation = (
        case.call("tangent", theta, dx),
        case.call("variation", theta, d_theta, full),
    )
    # B is affine in x and linear in theta: differences are derivatives.
    np.testing.assert_allclose(case.call("value", theta, case.moved()) - z, tangent, atol=1e-11)
    np.testing.assert_allclose(case.call("value", theta + d_theta, full) - z, variation, atol=1e-11)
    adjoint, gradient = case.call("adjoint", theta, v), case.call("gradient", theta, v, full)
    size = np.linalg.norm(v) * np.linalg.norm(tangent)
    assert np.vdot(v, tangent) == pytest.approx(np.vdot(adjoint, dx), abs=1e-13 * size)
    size = np.linalg.norm(v) * np.linalg.norm(variation)
    assert np.vdot(v, variation) == pytest.approx(np.vdot(gradient, d_theta), abs=1e-13 * size)
    np.testing.assert_allclose(coupling.matrix(theta) @ dx, tangent, atol=1e-11)


def test_second_adjoint_is_the_change_of_adjoint_and_gradient(coupling: OperatorCoupling) -> None:
    case = Case(coupling)
    theta, d_theta, v, dx, full = case.theta, case.d_theta, case.v, case.dx, case.full
    out_x, out_theta = np.ones_like(v), np.ones_like(theta)
    coupling.second_adjoint(theta, d_theta, v, dx, full, out_x, out_theta, case.work)
    change = case.call("adjoint", theta + d_theta, v) - case.call("adjoint", theta, v)
    np.testing.assert_allclose(out_x - 1.0, change, atol=1e-10)
    change = case.call("gradient", theta, v, case.moved()) - case.call("gradient", theta, v, full)
    np.testing.assert_allclose(out_theta - 1.0, change, atol=1e-10)


def test_networks_side_by_side_are_those_one_by_one(coupling: OperatorCoupling) -> None:
    many = Case(coupling, (3,))
    one = Case(coupling)
    calls = {
        "value": ("theta", "full"),
        "tangent": ("theta", "dx"),
        "adjoint": ("theta", "v"),
        "gradient": ("theta", "v", "full"),
    }
    for name, arguments in calls.items():
        together = many.call(name, *(getattr(many, a) for a in arguments))
        for b in range(3):
            alone = one.call(name, *(getattr(many, a)[b] for a in arguments))
            np.testing.assert_allclose(together[b], alone, rtol=1e-13, atol=1e-13)
    out = np.zeros_like(many.v), np.zeros_like(many.theta)
    names = ("theta", "d_theta", "v", "dx", "full")
    coupling.second_adjoint(*(getattr(many, a) for a in names), *out, many.work)
    for b in range(3):
        alone = np.zeros_like(one.v), np.zeros_like(one.theta)
        coupling.second_adjoint(*(getattr(many, a)[b] for a in names), *alone, one.work)
        for mine, other in zip(out, alone, strict=True):
            np.testing.assert_allclose(mine[b], other, rtol=1e-12, atol=1e-12)


def test_products_write_over_what_was_there_and_leave_their_arguments(
    coupling: OperatorCoupling,
) -> None:
    case = Case(coupling)
    before = [a.copy() for a in (case.theta, case.full, case.v, case.dx)]
    first = case.call("value", case.theta, case.full)
    case.call("adjoint", case.theta, case.v)
    case.call("tangent", case.theta, case.dx)
    case.call("gradient", case.theta, case.v, case.full)
    np.testing.assert_array_equal(case.call("value", case.theta, case.full), first)
    for array, old in zip((case.theta, case.full, case.v, case.dx), before, strict=True):
        np.testing.assert_array_equal(array, old)


# Values in plain NumPy ----------------------------------------------------------------------------


def test_local_coupling_on_a_line_is_central_differences() -> None:
    n, channels = 7, 2
    grad, laplace, _ = differences(n, 2.0)
    index = line(n, channels, extent=2.0)
    coupling = local(index, ["1", "grad", "laplace"])
    case = Case(coupling)
    w = case.theta.reshape(n, channels, 3 * channels + 1)
    x = case.full[:-1].reshape(channels, n, WIDTH)
    expected = np.zeros_like(x)
    for c in range(channels):
        expected[c] += w[:, c, -1:]
        for other, (m, d) in itertools.product(
            range(channels), enumerate((np.eye(n), grad, laplace))
        ):
            expected[c] += w[:, c, 3 * other + m, None] * (d @ x[other])
    result = case.call("value", case.theta, case.full)
    np.testing.assert_allclose(result, expected.reshape(-1, WIDTH), rtol=1e-12, atol=1e-11)


def test_uniform_coupling_on_a_rectangle_is_products_of_differences() -> None:
    shape, lengths = (4, 3), (1.0, 0.7)
    operators = [d for ds in plane(shape, lengths).values() for d in ds]
    case = Case(local(square(shape), ["1", "grad", "laplace"], uniform=True))
    (weights,) = case.theta
    expected = weights[-1] + sum(
        w * (d @ case.full[:-1]) for w, d in zip(weights, operators, strict=False)
    )
    result = case.call("value", case.theta, case.full)
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-11)


def test_elliptic_coupling_solves_the_screened_equation() -> None:
    n, kappa = 9, 3.0
    index = line(n)
    _, laplace, _ = differences(n)
    h = 1.0 / (n - 1)
    lumped = h * np.where(np.isin(np.arange(n), (0, n - 1)), 0.5, 1.0)
    case = Case(elliptic(index, ["1"], kappa, uniform=True))
    (weights,) = case.theta
    inverse = np.linalg.inv(kappa**2 * np.diag(lumped) - lumped[:, None] * laplace)
    expected = weights[0] * (inverse @ (lumped[:, None] * case.full[:-1])) + weights[1]
    result = case.call("value", case.theta, case.full)
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("plane_index", [False, True])
def test_elliptic_inverse_of_cosines_converges_with_order_two(plane_index: bool) -> None:
    """``cos`` is an eigenfunction of Laplace with ``dv/dn = 0``: ``E cos = cos / (kappa^2 + mu)``."""
    kappa, errors = 2.0, []
    for n in (9, 17, 33):
        index = (
            NeuronSpace.rectangle((n, n), "P1", mass="consistent")
            if plane_index
            else line(n, mass="consistent")
        )
        x = index.interpolate(
            lambda s: np.prod([np.cos((k + 1) * np.pi * s[k]) for k in range(len(s))], axis=0)
        )
        mu = np.pi**2 * (5.0 if plane_index else 1.0)
        coupling = elliptic(index, ["1"], kappa, uniform=True)
        full = np.stack([np.append(x, 1.0)] * 2, axis=1)
        out = np.empty((n ** (1 + plane_index), 2))
        coupling.value(np.array([[1.0, 0.0]]), full, out, coupling.buffers(2))
        errors.append(np.abs(out[:, 0] - x / (kappa**2 + mu)).max())
    orders = np.log2(np.divide(errors[:-1], errors[1:]))
    assert np.all(np.abs(orders - 2.0) < 0.2), orders


def test_convolution_on_a_line_is_a_sum_over_offsets() -> None:
    n, channels = 9, 2
    coupling = convolution(line(n, channels), 0.25)
    reach = 2  # nodes at distances of 1/8
    case = Case(coupling)
    assert coupling.shape == (channels, channels * 5 + 1)
    mass = np.full(n, 1 / 8)
    mass[[0, -1]] /= 2
    w = case.theta[:, :-1].reshape(channels, channels, 5)
    x = case.full[:-1].reshape(channels, n, WIDTH)
    expected = np.zeros_like(x) + case.theta[:, -1, None, None]
    for c, other, i, j in itertools.product(range(channels), range(channels), range(n), range(n)):
        if abs(i - j) <= reach:
            expected[c, i] += w[c, other, i - j + reach] * mass[j] * x[other, j]
    result = case.call("value", case.theta, case.full)
    np.testing.assert_allclose(result, expected.reshape(-1, WIDTH), rtol=1e-12, atol=1e-12)


def test_convolution_of_pixels_is_that_of_image_processing() -> None:
    shape = (6, 5)
    index = NeuronSpace.rectangle(shape, "P0", extent=shape)  # pixels of area 1
    case = Case(convolution(index, 1.0))
    kernel = case.theta[0, :-1].reshape(3, 3)
    images = case.full[:-1].T.reshape(WIDTH, *shape)
    # correlate sums w(s' - s) x(s'), a convolution w(s - s') x(s'): the kernel is turned over.
    expected = np.stack([correlate(image, kernel[::-1, ::-1], mode="constant") for image in images])
    result = case.call("value", case.theta, case.full)
    np.testing.assert_allclose(
        result, expected.reshape(WIDTH, -1).T + case.theta[0, -1], rtol=1e-12, atol=1e-12
    )


def test_kernel_of_a_convolution_has_the_prior_of_a_function_of_the_offset() -> None:
    coupling = convolution(line(9, channels=2), 0.25)
    assert coupling.columns.size == 11
    # int |w|^2 and int |w'|^2 of w = offset on (-1/4, 1/4), twice, and a bias of 1.
    w = np.append(np.tile(np.linspace(-0.25, 0.25, 5), 2), 1.0)
    stiff = coupling.columns.apply_stiffness(w[None], 1)[0]
    assert w @ stiff == pytest.approx(2 * 0.5, rel=1e-12)
    mass = coupling.columns.apply_mass(np.ones((1, 11)), 1)[0]
    assert mass.sum() == pytest.approx(2 * 0.5 + 1.0, rel=1e-12)


def test_start_gives_values_of_the_deviation_asked_for() -> None:
    index = line(33, channels=4)
    for coupling in (
        local(index, ["1", "grad", "laplace"]),
        elliptic(index, ["1", "grad"], 5.0, uniform=True),
        convolution(index, 0.1),
    ):
        theta = np.empty((3, *coupling.shape))
        squares = []
        random = np.random.default_rng(0)
        full = np.ones((coupling.neurons + 1, 200))
        full[:-1] = random.standard_normal((coupling.neurons, 200))
        out, work = np.empty((coupling.neurons, 200)), coupling.buffers(200)
        for _ in range(60):
            coupling.start(random, 0.5, theta)
            np.testing.assert_array_equal(theta[0], theta[2])
            coupling.value(theta[0], full, out, work)
            squares.append(np.mean(out**2))
        # 60 starts of at least 32 weights each: the mean is known to 1/sqrt(60 * 16), three times over.
        assert np.mean(squares) == pytest.approx(0.25, rel=0.1)


# What cannot be -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: local(NeuronSpace.interval(8), ["1", "laplace"]), "P1"),
        (lambda: local(NeuronSpace.points(8), ["grad"]), "P1"),
        (lambda: local(line(), ["1", "hessian"]), "laplace"),
        (lambda: local(line(), []), "operators"),
        (lambda: local(line(), ["1", "1"]), "twice"),
        (lambda: elliptic(NeuronSpace.interval(8), ["1"], 1.0), "P1"),
        (lambda: elliptic(NeuronSpace.points(8), ["1"], 1.0), "P1"),
        (lambda: elliptic(line(), ["1"], 0.0), "kappa"),
        (lambda: convolution(NeuronSpace.points(8), 0.5), "interval"),
        (lambda: convolution(line(5), 0.1), "reach"),
    ],
)
def test_couplings_that_cannot_be_are_refused(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
