"""The estimate of the error of the action against finer meshes and closed forms."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from problems import SCHEMES, network_action

from fem_deepest.action.network.action import NetworkAction
from fem_deepest.data import load
from fem_deepest.solve.adaptivity import PLACEMENTS, adapted, estimate
from fem_deepest.solve.lmvm import minimise
from fem_deepest.solve.memory import LimitedMemory, dual_norm
from fem_deepest.solve.newton import polish
from fem_deepest.spaces import DepthMesh, Resolution, prolong


def _action(cells: int, scheme: str, grading: float = 1.0, **options) -> NetworkAction:
    options = {"loss": "least_squares", "count": 12, "strength": 0.05, "depth": 1.0} | options
    return network_action(cells=cells, scheme_name=scheme, grading=grading, **options)


def _smooth_control(action: NetworkAction):
    """Weights, readout and forcing that are smooth in depth, the same functions on every mesh."""
    u, random = action.create(), np.random.default_rng(5)
    parts = action.space.parameters(u.array_w)
    t = action.network.depth.nodes[:, None, None]
    a, b = random.standard_normal((2, *parts.theta.shape[1:]))
    parts.theta[...] = 0.5 * (a + b * np.cos(np.pi * t / t[-1]))
    parts.readout[...] = random.standard_normal(parts.readout.shape)
    return u


def _on(mesh: DepthMesh, action: NetworkAction, u) -> float:
    """The action of the same control on another mesh, which contains its own."""
    network = replace(action.network, depth=mesh)
    options = {"strength": 0.05, "count": 12, "loss": "least_squares"}
    fine = network_action(scheme_name=network.scheme.name, cells=mesh.cells, **options)
    # The problem's own constructor knows graded meshes only.
    fine = NetworkAction(
        fine.grid,
        network,
        fine.loss,
        np.concatenate([z.T for z in action.tiles.inputs]),
        np.concatenate([y.T for y in action.tiles.targets]),
        strength=0.05,
        kappa=0.7,
        model_precision=action.model_precision,
        input_precision=action.input_precision,
    )
    v = prolong(action.space, fine.space, action.network.depth, mesh, u)
    return fine.value(v)


def _split(nodes: np.ndarray, cell: int, into: int) -> DepthMesh:
    """The mesh with one cell in equal parts."""
    inner = np.linspace(nodes[cell], nodes[cell + 1], into + 1)[1:-1]
    return DepthMesh(np.sort(np.concatenate([nodes, inner])))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_scheme_part_is_the_difference_to_a_fine_mesh(scheme: str) -> None:
    """At fixed weights, of either kind of mesh: as a whole, of order ``p``."""
    order = {"euler": 1, "rk2": 2, "midpoint": 2, "rk4": 4}[scheme]
    sums, off = [], []
    for cells in (12, 24):
        action = _action(cells, scheme, 1.3)
        u, mesh = _smooth_control(action), action.network.depth
        found = estimate(action, u).scheme
        inner = np.interp(np.arange(16 * cells + 1) / 16, np.arange(cells + 1), mesh.nodes)
        # 16 parts leave 16^{-p} of the error.
        exact = (action.value(u) - _on(DepthMesh(inner), action, u)) / (1.0 - 16.0**-order)
        sums.append(np.abs(found).sum())
        off.append(abs(found.sum() - exact) / sums[-1])
    assert off[0] < 0.2, off
    assert off[1] < 0.7 * off[0] or off[1] < 1e-3, off
    # Signs may change between cells, so the sizes show the order.
    assert np.log2(sums[0] / sums[1]) == pytest.approx(order, abs=0.35)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_scheme_part_of_one_cell(scheme: str) -> None:
    """Splitting one cell alone changes the action by the indicator of that cell, sign and all."""
    order = {"euler": 1, "rk2": 2, "midpoint": 2, "rk4": 4}[scheme]
    action = _action(24, scheme)
    u = _smooth_control(action)
    found = estimate(action, u).scheme
    largest = np.abs(found).max()
    for cell in (0, 9, 17, 23):
        mesh = _split(action.network.depth.nodes, cell, 8)
        exact = (action.value(u) - _on(mesh, action, u)) / (1.0 - 8.0**-order)
        assert abs(found[cell] - exact) < 0.1 * largest, (cell, found[cell], exact)
        assert found[cell] == pytest.approx(exact, rel=0.2, abs=0.01 * largest)


@pytest.mark.parametrize("index", ["points", "interval"])
def test_weights_part_is_the_energy_of_the_interpolation_error(index: str) -> None:
    """For ``w = a + b cos(pi t/T)``: ``lambda/2 int |(w - I_h w)'|^2``, by a fine quadrature."""
    # Four cells of the unit interval have the mass 1/4 each, in rows and columns; the bias has one.
    mass = 1.0 if index == "points" else 0.25
    measure = np.array([mass**2] * 4 + [mass])
    ratios = []
    for cells in (8, 16, 32):
        action = _action(cells, "rk4", 1.4, index=index)
        u, mesh = _smooth_control(action), action.network.depth
        theta = action.space.parameters(u.array_r).theta
        b = (theta[0] - theta[-1]) / 2.0  # cos runs from 1 to -1
        t, T = mesh.nodes, mesh.nodes[-1]
        exact = []
        for left, right in itertools.pairwise(t):
            point, weight = np.polynomial.legendre.leggauss(12)
            s = left + (right - left) * (point + 1.0) / 2.0
            slope = (np.cos(np.pi * right / T) - np.cos(np.pi * left / T)) / (right - left)
            missing = -np.pi / T * np.sin(np.pi * s / T) - slope
            exact.append(
                0.05 / 2 * np.sum(measure * b**2) * np.dot(weight, missing**2) * (right - left) / 2
            )
        found = estimate(action, u).weights
        assert np.all(np.abs(found - exact) < 0.1 * max(exact))
        ratios.append(abs(found.sum() / np.sum(exact) - 1.0))
    assert ratios[-1] < 0.01
    assert ratios[0] / ratios[-1] > 6.0, ratios


def _minima(scheme: str, **options):
    """Action, minimiser and its value on 4, 8, 16, 32 cells, each started from the one before."""
    whole = load("spiral", samples=40)
    data = whole.inputs, whole.targets
    solved, coarse, u, reference = [], None, None, 0.0
    for cells in (4, 8, 16, 32):
        action = _action(
            cells,
            scheme,
            **{"loss": "cross_entropy", "data": data, "strength": 0.01, "depth": 2.0},
            **{"inputs": 2, "outputs": 2, "neurons": 4, "kappa": 1.0, **options},
        )
        if coarse is None:
            u = action.create()
            size, random = action.space.parameter_size, np.random.default_rng(2)
            u.array[:size] = 0.3 * random.standard_normal(size)
            g = action.create()
            action.gradient(u, g)
            reference = dual_norm(action.metric, g)
            memory = LimitedMemory(action.metric, 40)
            minimise(action, u, memory, tolerance=1e-3 * reference, iterations=500)
        else:
            u = prolong(coarse.space, action.space, coarse.network.depth, action.network.depth, u)
        assert polish(action, u, tolerance=1e-8 * reference, iterations=40).converged
        solved.append((action, u, action.value(u)))
        coarse = action
    return solved


@pytest.mark.parametrize(
    ("scheme", "options"), [*((s, {}) for s in SCHEMES), ("midpoint", {"R_f": 0.5})]
)
def test_effectivity(scheme: str, options: dict) -> None:
    """The estimate over ``A_h(u_h) - A(u)`` tends to one, and the error falls as declared."""
    order = 1 if scheme == "euler" else 2
    solved = _minima(scheme, **options)
    values = np.array([value for *_, value in solved])
    # The errors are a series in powers of h (of h^2 for the others): two of its terms away.
    once = values[1:] + np.diff(values) / (2.0**order - 1.0)
    twice = once[1:] + np.diff(once) / (2.0 ** (2 * order) - 1.0)
    errors = values[:3] - twice[-1]
    doubt = abs(twice[-1] - twice[-2]) / abs(errors[-1])
    found = [estimate(action, u) for action, u, _ in solved[:3]]
    assert all(one.order == order for one in found)
    off = np.array([abs(one.error / e - 1.0) for one, e in zip(found, errors, strict=True)])
    assert doubt < 0.1, (doubt, off)
    assert off[-1] < (0.2 if order == 1 else 0.05) + doubt, (doubt, off)
    assert off[-1] < 0.6 * off[0] + doubt, (doubt, off)
    assert np.log2(errors[-2] / errors[-1]) == pytest.approx(order, abs=0.3)
    if options:
        assert found[-1].forcings.sum() > 1e-2 * abs(found[-1].error)


@pytest.mark.parametrize("how", sorted(PLACEMENTS))
def test_next_level_follows_the_error(how: str) -> None:
    """The planned number of cells and neurons, the same depth, and cells of more equal errors."""
    action = _action(6, "rk2", 0.5)
    found = estimate(action, _smooth_control(action))
    level = adapted(PLACEMENTS[how], found, Resolution(13, (4,)))
    assert (level.cells, level.index) == (13, (4,))
    nodes = level.mesh(1.0, 1.0).nodes
    assert nodes[0] == 0.0
    assert nodes[-1] == action.network.depth.nodes[-1]
