"""Exact laws of bridges, names of bridges and kernels, files for ArviZ, figures."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from path_measures import double_well, gibbs, sde

from fem_deepest.errors import InputError
from fem_deepest.figures.chains import marginal, trace
from fem_deepest.io.inference import write_inference_data
from fem_deepest.sample.bridge import POTENTIALS, bridge
from fem_deepest.sample.named import KERNELS, named_kernel
from fem_deepest.sample.transfer import middle_density


@pytest.mark.parametrize(
    ("phi", "T", "known"),
    [
        (double_well, 1.0, 0.25703917),
        (double_well, 4.0, 0.54601332),
        (gibbs, 2.0, 0.35322),
        (sde, 2.0, 0.55430),
    ],
)
def test_transfer_operator(phi, T: float, known: float) -> None:
    """Published second moments of the middle; the error of 512 steps is of the size of ``(T/512)^2``."""
    x, p = middle_density(phi, T)
    dx = x[1] - x[0]
    digits = 5e-6 if known in (0.35322, 0.55430) else 5e-9
    assert x**2 @ p * dx == pytest.approx(known, abs=digits + (T / 512) ** 2)
    assert p.sum() * dx == pytest.approx(1.0, rel=1e-12)


def test_transfer_operator_of_a_brownian_bridge() -> None:
    """``N((a + b)/2, T/4)``, without an error of the steps."""
    x, p = middle_density(lambda x: 0 * x, 0.8, (-0.5, 1.5))
    exact = np.exp(-((x - 0.5) ** 2) / 0.4) / np.sqrt(0.4 * np.pi)
    np.testing.assert_allclose(p, exact, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("name", "measure", "exact"),
    [
        ("double_well", "gibbs", double_well),
        ("diffusion", "gibbs", gibbs),
        ("diffusion", "sde", sde),
    ],
)
@pytest.mark.parametrize("everywhere", [False, True])
def test_named_bridges(name: str, measure: str, exact, everywhere: bool) -> None:
    """The density at numbers, and the potential of a straight line by NumPy's Gauss rule or the nodes."""
    N, T = 6, 1.5
    target = bridge(POTENTIALS[name](measure), N, T, (-1.0, 0.5), everywhere)
    x = np.linspace(-2, 2, 7).reshape(7, 1)
    np.testing.assert_allclose(target.density(x), exact(x), rtol=1e-13, atol=1e-13)
    line = np.linspace(-1.0, 0.5, N + 1)
    if everywhere:
        s, w = np.polynomial.legendre.leggauss(10)
        integral = T * 0.5 * w @ exact(-1.0 + 1.5 * 0.5 * (s + 1))
    else:
        integral = T / N * (exact(line).sum() - 0.5 * (exact(line[0]) + exact(line[-1])))
    value = target.potential(np.zeros((N - 1, 1)))
    np.testing.assert_allclose(value, integral, rtol=1e-13)
    np.testing.assert_allclose(target.path(np.zeros((N - 1, 1)))[:, 0], line, atol=1e-13)


def test_names_are_checked() -> None:
    target = bridge(POTENTIALS["double_well"]("gibbs"), 4, 1.0)
    for name in KERNELS:
        assert named_kernel(name, target, 0.01).step == 0.01
    assert named_kernel("hmc", target, 0.1, steps=7).gradients == 7
    with pytest.raises(InputError, match="no kernel 'nuts'"):
        named_kernel("nuts", target, 0.1)
    with pytest.raises(InputError, match="2 or more"):
        bridge(POTENTIALS["double_well"]("gibbs"), 1, 1.0)


def test_inference_data(tmp_path: Path) -> None:
    """Dimension scales as netCDF has them: names, and which axis is which."""
    gen, path = np.random.default_rng(0), tmp_path / "chains.nc"
    x, paths = gen.standard_normal((3, 5)), gen.standard_normal((3, 5, 4))
    t = np.linspace(0, 1, 4)
    groups = {"posterior": {"x": x, "path": paths}, "sample_stats": {"acceptance_rate": x}}
    write_inference_data(path, groups, {"t": t}, {"path": ["t"]}, {"kernel": "hmc"})
    with h5py.File(path) as file:
        group = file["posterior"]
        np.testing.assert_array_equal(group["path"][()], paths)
        names = [dim[0].name.split("/")[-1] for dim in group["path"].dims]
        assert names == ["chain", "draw", "t"]
        np.testing.assert_array_equal(group["t"][()], t)
        np.testing.assert_array_equal(group["chain"][()], range(3))
        assert group["t"].is_scale
        assert group.attrs["kernel"] == "hmc"
        assert set(file["sample_stats"]) == {"chain", "draw", "acceptance_rate"}
    with pytest.raises(InputError, match="'y' has shape"):
        write_inference_data(path, {"posterior": {"x": x, "y": paths}})
    with h5py.File(path) as file:
        assert "path" in file["posterior"]  # what was there has not been touched


def test_figures() -> None:
    x = np.random.default_rng(0).standard_normal((9, 40))
    figure = trace(x, np.arange(40), "$x$", "a title")
    assert len(figure.axes) == 6
    np.testing.assert_array_equal(figure.axes[2].lines[0].get_ydata(), x[2])
    grid = np.linspace(-5, 5, 201)
    density = np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi)
    axes = marginal(x, grid, density, "$x$").axes[0]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), density)
    bars = sum(bar.get_height() * bar.get_width() for bar in axes.patches)
    assert bars == pytest.approx(1.0)
