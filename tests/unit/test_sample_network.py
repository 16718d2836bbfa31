"""Posterior of a network: the Gaussian of a linear readout, and the algebra that chains use."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI
from numpy.typing import NDArray
from problems import dense, network_action, random_control
from scipy import sparse

import fem_deepest
from fem_deepest.action.network.action import NetworkAction
from fem_deepest.configuration.sample import PosteriorConfig
from fem_deepest.network.activation import Activation
from fem_deepest.network.loss import LeastSquares
from fem_deepest.network.network import Network
from fem_deepest.network.scheme import scheme
from fem_deepest.runs.network import make_network
from fem_deepest.runs.problem import Problem
from fem_deepest.runs.sample_network import NetworkPosterior
from fem_deepest.runs.train import load_data
from fem_deepest.sample.columns import ActionTarget
from fem_deepest.sample.diagnostics import rhat, standard_error
from fem_deepest.sample.hamiltonian import HamiltonianMonteCarlo
from fem_deepest.sample.lowrank import LowRankUpdate
from fem_deepest.sample.network import NetworkTarget, informed, misfit_curvature, weight_precision
from fem_deepest.sample.predictive import log_density, quantile
from fem_deepest.sample.run import Plan, Setting, sample
from fem_deepest.spaces import DepthMesh, NeuronSpace, ProcessGrid, Resolution
from fem_deepest.spaces.cholesky import Cholesky

Array = NDArray[np.float64]

rng = np.random.default_rng(11)


def silent() -> Activation:
    """``sigma = 0``: the flow is the identity, and what is left is linear in the readout."""

    def zero(*arguments: Array) -> None:
        arguments[-1][...] = 0.0

    return Activation("silent", zero, zero, zero)


def test_linear_readout_has_its_gaussian_posterior() -> None:
    """Ridge regression: mean, covariance and predictive against the normal equations."""
    K, N, R_m, strength = 12, 2, 4.0, 0.05
    network = Network(
        DepthMesh.graded(1.0, 2, 1.0), NeuronSpace.points(N), scheme("euler"), silent(), N, 1
    )
    z = rng.standard_normal((K, N))
    y = z @ [0.7, -0.4] + 0.2 + 0.5 * rng.standard_normal(K)
    grid = ProcessGrid.create(MPI.COMM_SELF)
    action = NetworkAction(grid, network, LeastSquares(R_m), z, y[:, None], strength=strength)
    Z = np.column_stack([z, np.ones(K)])
    precision = R_m * Z.T @ Z + K * strength * np.eye(3)
    mean, covariance = np.linalg.solve(precision, R_m * Z.T @ y), np.linalg.inv(precision)
    # Start at a wrong mode, with the curvature that the data have everywhere.
    mode = 0.1 * rng.standard_normal(action.space.parameter_size)
    vectors, values = informed(misfit_curvature(action, mode), weight_precision(action), 3)
    assert values.size == 3
    target = NetworkTarget(action, mode, vectors, values)
    readout = slice(3 * N * (N + 1), 3 * N * (N + 1) + 3)

    def make() -> Setting:
        keep = {"c": lambda v: target.weights(v)[:, readout].T}
        return Setting(target, lambda: HamiltonianMonteCarlo(target, 0.3, 4), keep)

    plan = Plan(chains=32, batch=32, relax=50, warmup=50, draws=300)
    c = sample(make, plan, MPI.COMM_SELF).values["c"]
    for i in range(3):
        assert rhat(c[..., i]) < 1.02
        assert abs(c[..., i].mean() - mean[i]) < 4 * standard_error(c[..., i])
        for j in range(i + 1):
            product = (c[..., i] - mean[i]) * (c[..., j] - mean[j])
            assert abs(product.mean() - covariance[i, j]) < 4 * standard_error(product)
    # Predictive at a new input: N(a.mean, a.covariance a + 1/R_m).
    a = np.array([1.5, -2.0, 1.0])
    outputs, deviation = c @ a, np.sqrt(a @ covariance @ a + 1 / R_m)
    flat, sigma = outputs.ravel(), R_m**-0.5
    centre, wide = standard_error(outputs), standard_error((outputs - a @ mean) ** 2)
    tolerance = 4 * (centre + 1.645 * wide / (2 * deviation))
    for p, score in ((0.05, -1.6449), (0.5, 0.0), (0.95, 1.6449)):
        exact = a @ mean + score * deviation
        assert abs(quantile(flat, sigma, p) - exact) < tolerance
    density = -0.5 * (0.3 / deviation) ** 2 - np.log(deviation * np.sqrt(2 * np.pi))
    assert abs(log_density(flat, sigma, a @ mean + 0.3) - density) < tolerance / deviation


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_target_is_that_of_the_protocol(temperature: float) -> None:
    """All chains in one pass against one after the other; ``A`` whatever the Gaussian is."""
    action = network_action(lift="linear", loss="least_squares")
    beta = action.samples / temperature
    slow = ActionTarget(action, beta=beta)
    mode = 0.3 * rng.standard_normal(slow.prior.size)
    for curvature in (None, misfit_curvature(action, mode)):
        more = (None, None)
        if curvature is not None:
            more = informed(curvature, weight_precision(action), 20)
        fast = NetworkTarget(action, mode, *more, temperature)
        v = rng.standard_normal((slow.prior.size, 4))
        phi, g = fast.gradient(v)
        moved = v + fast.prior.mean
        phi_, g_ = slow.gradient(moved)
        # A = Phi + 1/2 <v, P v> for both splits.
        image, image_ = fast.prior.precision.apply(v), slow.prior.precision.apply(moved)
        one, other = phi + 0.5 * np.sum(v * image, 0), phi_ + 0.5 * np.sum(moved * image_, 0)
        np.testing.assert_allclose(one, other, rtol=1e-12)
        scale = np.abs(image).max() + np.abs(image_).max()
        np.testing.assert_allclose(g + image, g_ + image_, rtol=0, atol=1e-12 * scale)
        np.testing.assert_allclose(fast.potential(v), phi, rtol=0, atol=1e-12 * np.abs(one).max())


def test_low_rank_update_against_dense_algebra() -> None:
    n, r = 15, 4
    B = rng.standard_normal((n, n))
    P = B @ B.T + n * np.eye(n)
    J = rng.standard_normal((r, n))
    prior = Cholesky(sparse.csr_matrix(P))
    vectors, values = informed(lambda X: 50.0 * J.T @ (J @ X), prior, n)
    assert values.size == r
    np.testing.assert_allclose(vectors.T @ P @ vectors, np.eye(r), rtol=0, atol=1e-12)
    updated, full = LowRankUpdate(prior, vectors, values), P + 50.0 * J.T @ J
    unit = np.eye(n)
    np.testing.assert_allclose(updated.apply(unit), full, rtol=0, atol=1e-11 * np.abs(full).max())
    np.testing.assert_allclose(updated.solve(full), unit, rtol=0, atol=1e-10)
    root = updated.inverse_root(unit)
    np.testing.assert_allclose(root @ root.T, np.linalg.inv(full), rtol=0, atol=1e-12)


def test_randomised_directions_are_the_largest() -> None:
    """A curvature that falls fast: eigenvalues of the whitened matrix to the size of what is left out."""
    n = 60
    prior = Cholesky(sparse.diags(np.linspace(1.0, 3.0, n)).tocsr())
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    exact = 1e4 * 0.5 ** np.arange(n)
    root = np.sqrt(prior.matrix.diagonal())
    H = root[:, None] * (Q * exact) @ Q.T * root
    _, values = informed(lambda X: H @ X, prior, 8)
    np.testing.assert_allclose(values, exact[:8], rtol=1e-3)


def test_misfit_curvature_is_gauss_newton_without_the_prior() -> None:
    action = network_action(lift="linear")
    u, d = random_control(action), np.eye(action.space.parameter_size)
    H = dense(lambda d, r: action.gauss_newton(u, d, r), action) - dense(
        action.metric.apply, action
    )
    found = misfit_curvature(action, u.array_r.copy())(d)
    np.testing.assert_allclose(found, action.samples * H, rtol=0, atol=1e-11)


def test_posterior_of_an_unfinished_training_is_that_of_its_level() -> None:
    """Its network has fewer depth cells and neurons than its configuration."""
    training = fem_deepest.load(
        {
            "data": {"name": "donut", "samples": 20},
            "network": {"neurons": 4, "cells": 4, "index": "interval", "lift": "linear"},
            "solve": {"neurons": [2, 4], "levels": [2, 4]},
        }
    )
    network = make_network(training, 2, 2, Resolution(2, (2,)))
    flat = np.linspace(-1.0, 1.0, network.shapes.size)
    problem = Problem.create(training, *load_data(training))
    config = PosteriorConfig.model_validate({"posterior": {"run": "unfinished"}})
    found = NetworkPosterior(config, training, problem.model(network, flat), False)
    action = found.action
    assert action.network.shapes == network.shapes
    u = action.create()
    u.array[...] = flat
    own = problem.action(Resolution(2, (2,)), ProcessGrid.create(MPI.COMM_SELF))
    assert action.value(u) == own.value(u)
