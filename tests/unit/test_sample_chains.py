"""Chains against exact laws: quadrature, transfer operators, and the published acceptance rates."""

from collections.abc import Callable

import numpy as np
import pytest
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from path_measures import bridge, double_well, gibbs, marginals, numbers, sde
from problems import network_action

from fem_deepest.action.form.action import FormAction
from fem_deepest.errors import InputError
from fem_deepest.sample.chains import Chains
from fem_deepest.sample.columns import ActionTarget
from fem_deepest.sample.diagnostics import rhat, standard_error
from fem_deepest.sample.hamiltonian import HamiltonianMonteCarlo
from fem_deepest.sample.integral import IntegralTarget
from fem_deepest.sample.langevin import infinity_mala, spde_mala
from fem_deepest.sample.matrices import check_alone, precision
from fem_deepest.sample.measure import path_potential
from fem_deepest.sample.pcn import PreconditionedCrankNicolson, RandomWalk
from fem_deepest.sample.run import Plan, Sample, Setting, sample
from fem_deepest.spaces.constrained import Clamped

ALL = {
    "pcn": lambda t: PreconditionedCrankNicolson(t, 0.6),
    "random walk": lambda t: RandomWalk(t, 1.0),
    "infinity_mala": lambda t: infinity_mala(t, 0.4),
    "infinity_mala 1": lambda t: infinity_mala(t, 0.4, 1.0),
    "spde_mala": lambda t: spde_mala(t, 0.1),
    "spde_mala 0": lambda t: spde_mala(t, 0.03, 0.0),
    "hmc": lambda t: HamiltonianMonteCarlo(t, 0.5, 3),
}


@pytest.mark.parametrize("name", ALL)
def test_each_kernel_has_the_right_law(name: str) -> None:
    """Four cells: moments of the middle node and the probability of a wing, by products of kernels."""
    T, N, S = 2.0, 4, 400
    target = bridge(double_well, T, N)
    chains = Chains(target, PreconditionedCrankNicolson(target, 0.5), range(S), seed=3)
    chains.tune(60)
    chains.use(ALL[name](target))
    chains.draw(20, {})
    x = chains.draw(250, {"x": lambda v: target.path(v)[N // 2], "y": lambda v: target.path(v)[1]})
    grid, p = marginals(double_well, T, N, exact=False)
    for name_, node in (("x", N // 2 - 1), ("y", 0)):
        for f in (lambda x: x, lambda x: x**2, lambda x: (np.abs(x) > 1.0) * 1.0):
            exact = f(grid) @ p[node] * (grid[1] - grid[0])
            tail = 0.01 * p[node].max() if f(np.array([2.0])) == 1.0 else 0.0  # a jump on a grid
            draws = f(x[name_])
            assert abs(draws.mean() - exact) < 4 * standard_error(draws) + tail


def moments(target: IntegralTarget, N: int) -> dict[str, Callable]:
    def mean_square(v: np.ndarray) -> np.ndarray:
        x = target.path(v)
        return (np.sum(x**2, axis=0) - 1.0) / N  # the ends count half

    return {
        "quarter": lambda v: target.path(v)[N // 4],
        "middle": lambda v: target.path(v)[N // 2] ** 2,
        "mean": mean_square,
    }


def drawn(phi, T: float, N: int, rule: int | None, draws: int, seed: int = 1) -> Sample:
    def make() -> Setting:
        target = bridge(phi, T, N, rule)
        return Setting(target, lambda: HamiltonianMonteCarlo(target, 0.5, 3), moments(target, N))

    plan = Plan(chains=64, batch=64, relax=200, warmup=100, draws=draws, seed=seed)
    return sample(make, plan, MPI.COMM_SELF)


@pytest.mark.parametrize(
    ("T", "known", "most"),
    [
        (1.0, (-0.51076828, 0.25703917, 0.50674534), 0.004),
        (4.0, (-0.38383695, 0.54601332, 0.64257840), 0.01),
    ],
)
def test_feynman_kac(T: float, known: tuple, most: float) -> None:
    """Within three standard errors, which are small, and larger than the error of the mesh."""
    N = 64
    found = drawn(double_well, T, N, None, 400)
    meshed = numbers(double_well, T, N, exact=False)
    for name, value, finite in zip(moments(None, N), known, meshed, strict=True):
        x = found.values[name]
        error = standard_error(x)
        assert abs(x.mean() - value) < 3 * error
        assert abs(finite - value) < error < most
        assert rhat(x) < 1.02


def test_gibbs_and_the_law_of_the_equation_are_told_apart() -> None:
    """P1 with exact quadrature on 32 cells: .3595 and .5724; the limits are 0.35322 and 0.55430."""
    found = {}
    for measure, meshed in (("gibbs", 0.3595), ("sde", 0.5724)):
        phi = path_potential(lambda x: x - x**3, measure)
        x = drawn(phi, 2.0, 32, 6, 300).values["middle"]
        assert abs(x.mean() - meshed) < 3 * standard_error(x) + 5e-5
        found[measure] = x.mean(), standard_error(x)
    assert abs(found["gibbs"][0] - 0.35322) < 0.02
    assert abs(found["sde"][0] - 0.55430) < 0.03
    apart = found["sde"][0] - found["gibbs"][0]
    assert apart > 10 * (found["sde"][1] + found["gibbs"][1])


def test_path_potentials() -> None:
    x = fem.Constant(mesh.create_unit_interval(MPI.COMM_SELF, 2), 0.3)
    for measure, exact in (("gibbs", gibbs(0.3)), ("sde", sde(0.3))):
        value = path_potential(lambda x: x - x**3, measure)(x)
        assert float(ufl.algorithms.expand_derivatives(value)(())) == pytest.approx(
            exact, rel=1e-14
        )
    with pytest.raises(InputError, match="one of gibbs, sde"):
        path_potential(lambda x: x, "ito")


RATES = {
    "pcn": (lambda t: PreconditionedCrankNicolson(t, 0.2), 0.85),
    "infinity_mala": (lambda t: infinity_mala(t, 0.2), 0.67),
    "spde_mala": (lambda t: spde_mala(t, 0.1), 0.43),
}


def rates(N: int, kernels: dict) -> dict[str, float]:
    """Mean acceptance on the double-well bridge, T = 4, after the chains have found the mass."""
    target = bridge(double_well, 4.0, N)
    chains = Chains(target, PreconditionedCrankNicolson(target, 0.4), range(64), seed=2)
    chains.draw(150, {})
    start, found = chains.state.v, {}
    for name, make in kernels.items():
        chains = Chains(target, make(target), range(64), seed=2, v=start)
        chains.draw(60, {})
        found[name] = float(chains.accepted.mean())
    return found


@pytest.mark.parametrize("N", [32, 256, 1024])
def test_acceptance_does_not_depend_on_the_mesh(N: int) -> None:
    found = rates(N, {name: make for name, (make, _) in RATES.items()})
    for name, (_, known) in RATES.items():
        assert abs(found[name] - known) < 0.03, name


def test_what_collapses() -> None:
    bad = {
        "random walk": lambda t: RandomWalk(t, 0.2),
        "explicit": lambda t: spde_mala(t, 1e-4, 0.0),
        "implicit": lambda t: spde_mala(t, 0.1, 1.0),
    }
    coarse, fine = rates(32, bad), rates(512, bad)
    assert abs(coarse["random walk"] - 0.56) < 0.03
    assert coarse["explicit"] > 0.95
    for name in bad:
        assert fine[name] < 0.05


def test_restart_goes_on_bit_for_bit() -> None:
    target = bridge(double_well, 2.0, 16)
    observe = {"x": lambda v: v[3]}

    def begin(**more) -> Chains:
        return Chains(target, infinity_mala(target, 0.3), range(5, 13), seed=9, **more)

    whole = begin()
    whole.tune(20)
    whole.draw(20, observe)
    rest = begin(v=whole.state.v)
    rest.iteration, rest.kernel.step = whole.iteration, whole.kernel.step
    np.testing.assert_array_equal(rest.draw(30, observe)["x"], whole.draw(30, observe)["x"])
    assert rest.gradients == 30
    other = Chains(target, infinity_mala(target, 0.3), range(5, 13), seed=10)
    assert np.abs(other.state.v - begin().state.v).min() > 0.0


@pytest.mark.parametrize("name", ["pcn", "infinity_mala", "spde_mala", "hmc"])
def test_steps_are_tuned(name: str) -> None:
    """From a step ten times too small or too big; then the step is frozen."""
    target = bridge(double_well, 4.0, 32)
    goal = 0.9 if name == "hmc" else 0.7  # at its largest step pCN has .48, HMC .8
    for factor in (0.1, 10.0):
        kernel = ALL[name](target)
        kernel.step = min(factor * kernel.step, kernel.most)
        walk = Chains(target, PreconditionedCrankNicolson(target, 0.4), range(32))
        walk.draw(100, {})
        chains = Chains(target, kernel, range(32), v=walk.state.v)
        chains.tune(200, goal)
        step = kernel.step
        chains.draw(100, {})
        assert kernel.step == step
        # 3200 correlated probabilities, and the noise of the tuning itself.
        assert chains.accepted.mean() == pytest.approx(goal, abs=0.05)


def test_any_action_is_a_target() -> None:
    """The same measure through the protocol, column by column: the same chains."""
    N, T = 12, 2.0
    fast = bridge(double_well, T, N, 4)
    u = fem.Function(fast.V)
    u.interpolate(lambda x: 2 * x[0] / T - 1)
    L = 0.5 * u.dx(0) ** 2 + (u**2 - 1) ** 2
    ends = [Clamped(u, "start"), Clamped(u, "end")]
    action = FormAction(L, u, clamped=ends, metric=0.5 * u.dx(0) ** 2, points=3)
    slow = ActionTarget(action, action.pack(), fast.prior.mass.matrix)
    np.testing.assert_allclose(slow.prior.mean, fast.prior.mean, rtol=0, atol=1e-13)
    v = 0.3 * np.random.default_rng(1).standard_normal((N - 1, 4))
    (phi, g), (phi_, g_) = fast.gradient(v), slow.gradient(v)
    shift = phi_ - phi  # 1/2 int m'^2
    np.testing.assert_allclose(shift, 2.0 / T, rtol=0, atol=1e-11)
    np.testing.assert_allclose(g_, g, rtol=0, atol=1e-11)
    np.testing.assert_array_equal(slow.potential(v), phi_)
    values = [
        Chains(t, spde_mala(t, 0.1), range(4), v=v).draw(10, {"x": lambda v: v[2]})["x"]
        for t in (fast, slow)
    ]
    np.testing.assert_allclose(*values, rtol=0, atol=1e-9)


@pytest.mark.parametrize("beta", [1.0, 12.0])
def test_networks_obey_the_virial_theorem(beta: float) -> None:
    """``E <u, dA/du> = n / beta`` for the law ``exp(-beta A)`` of any action: integrate by parts."""
    action = network_action(
        loss="least_squares", count=12, neurons=2, inputs=2, outputs=1, cells=2, strength=0.5
    )
    target = ActionTarget(action, beta=beta)
    n = target.prior.size

    def virial(v: np.ndarray) -> np.ndarray:
        return np.sum(v * (target.prior.precision.apply(v) + target.gradient(v)[1]), axis=0)

    def make() -> Setting:
        return Setting(target, lambda: HamiltonianMonteCarlo(target), {"virial": virial})

    plan = Plan(chains=6, batch=6, relax=100, warmup=60, draws=200)
    x = sample(make, plan, MPI.COMM_SELF).values["virial"]
    assert rhat(x) < 1.05
    assert abs(x.mean() - n) < 4 * standard_error(x) < 0.1 * n
    P, d, r = target.prior.precision.matrix, action.create(), action.create()
    d.array[...] = np.random.default_rng(1).standard_normal(n)
    action.metric.apply(d, r)
    np.testing.assert_allclose(P @ d.array_r, beta * r.array_r, rtol=0, atol=1e-10 * beta)
    with pytest.raises(InputError, match="inverse temperature"):
        ActionTarget(action, beta=0.0)


def test_gradient_of_the_potential() -> None:
    """Taylor: the remainder of second order falls by four when the step is halved."""
    target, gen = bridge(double_well, 2.0, 16, 4), np.random.default_rng(2)
    v, d = (gen.standard_normal((15, 3)) for _ in range(2))
    value, g = target.gradient(v)
    errors = [
        np.abs(target.potential(v + h * d) - value - h * np.sum(g * d, axis=0))
        for h in (1e-2, 5e-3, 2.5e-3)
    ]
    np.testing.assert_allclose(np.log2(np.array(errors[:-1]) / errors[1:]), 2.0, atol=0.05)


def test_mean_of_the_prior_lifts_the_clamped_values() -> None:
    """``-u'' = f`` with P2: a parabola through the ends, exactly."""
    domain = mesh.create_interval(MPI.COMM_SELF, 5, (0.0, 1.0))
    u = fem.Function(fem.functionspace(domain, ("Lagrange", 2)))
    u.x.array[:] = 3.0
    ends = [Clamped(u, "start"), Clamped(u, "end")]
    target = IntegralTarget(u, lambda u: u**2, 0.5 * u.dx(0) ** 2 - 2.0 * u, clamped=ends)
    t = target.V.tabulate_dof_coordinates()[:, :1]
    whole = target.field(np.zeros((target.prior.size, 1)))
    np.testing.assert_allclose(whole, 3.0 + t * (1 - t), rtol=0, atol=1e-12)


def test_precision_from_products() -> None:
    """A metric without a matrix is read column by column."""
    target = bridge(double_well, 2.0, 12)
    u = fem.Function(target.V)
    ends = [Clamped(u, "start"), Clamped(u, "end")]
    action = FormAction(0.5 * u.dx(0) ** 2, u, clamped=ends, metric=0.5 * u.dx(0) ** 2)

    class Bare:
        apply = staticmethod(action.metric.apply)

    P = precision(Bare(), action.create())
    difference = P - target.prior.precision.matrix
    assert abs(difference).max() < 1e-12


def test_bad_input_is_refused() -> None:
    target = bridge(double_well, 2.0, 8)
    kernel = PreconditionedCrankNicolson(target, 0.3)
    with pytest.raises(InputError, match="expected \\(7, 3\\)"):
        Chains(target, kernel, range(3), v=np.zeros((7, 2)))
    with pytest.raises(InputError, match="positive multiple of thin"):
        Chains(target, kernel, range(3)).draw(5, {}, thin=2)
    with pytest.raises(InputError, match="expected a scalar"):
        bridge(lambda u: ufl.as_vector([u, u]), 1.0, 4, 2)
    with pytest.raises(InputError, match="holds a derivative"):
        bridge(lambda u: ufl.grad(u)[0] ** 2, 1.0, 4, 2)

    class Two:
        size = 2

    with pytest.raises(InputError, match="COMM_SELF"):
        check_alone(Two())
