"""The figure of coefficient fields: which are shown, with what data, and the fields of a coupling."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from fem_deepest.errors import InputError
from fem_deepest.figures import coefficients
from fem_deepest.network.coupling.convolution import convolution
from fem_deepest.network.coupling.differential import local
from fem_deepest.spaces import NeuronSpace

T = np.linspace(0.0, 2.0, 9)


def _shown(figure) -> list:
    figure.draw_without_rendering()
    return [axes for axes in figure.axes if axes.axison]


def test_images_of_a_grid_are_its_rows_and_columns_at_five_depths() -> None:
    index = NeuronSpace.rectangle((3, 4), "P1")
    fields = np.random.default_rng(0).standard_normal((2, T.size, 12))
    figure = coefficients(T, fields, ["a", "b"], index.coordinates, index.grid)
    images = [axes for axes in _shown(figure) if axes.images]
    assert len(images) == 10
    np.testing.assert_array_equal(images[6].images[0].get_array(), fields[1, 2].reshape(3, 4))
    assert [axes.get_title() for axes in images[:5]] == [f"$t = {t:g}$" for t in T[::2]]
    assert images[0].get_ylabel() == "a" and images[5].get_ylabel() == "b"
    low, high = images[0].images[0].get_clim()
    assert -low == high == np.abs(fields[0]).max()


def test_the_six_largest_fields_on_a_line_are_shown_over_depth_and_index() -> None:
    fields = np.arange(8.0)[:, None, None] * np.ones((8, T.size, 5))
    names = [f"w{i}" for i in range(8)]
    figure = coefficients(T, fields, names, np.linspace(0.0, 1.0, 5)[:, None], along="offset")
    bands = [axes for axes in _shown(figure) if axes.get_xlabel() == "depth $t$"]
    assert [axes.get_title() for axes in bands] == names[2:]
    assert bands[0].get_ylabel() == "offset"
    np.testing.assert_allclose(bands[0].collections[0].get_array(), 2.0)


def test_constants_along_the_index_are_lines_and_meshes_are_drawn() -> None:
    fields = np.random.default_rng(0).standard_normal((3, T.size, 1))
    (axes,) = _shown(coefficients(T, fields, ["a", "b", "c"], np.zeros((1, 2))))
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), fields[1, :, 0])
    places = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    figure = coefficients(T, np.ones((1, T.size, 4)), ["a"], places)
    assert sum(bool(axes.collections) for axes in _shown(figure)) >= 5


def test_of_many_constants_the_largest_are_lines_over_shades_of_all() -> None:
    """Rising lines c t for c = -50 .. 50: between +-25 t is half of them, between +-45 t nine tenths."""
    c = np.random.default_rng(0).permutation(np.arange(-50.0, 51.0))
    names = [f"{value:g}" for value in c]
    (axes,) = _shown(coefficients(T, (c[:, None] * T)[:, :, None], names, np.zeros((1, 2))))
    drawn = {line.get_label(): line.get_ydata() for line in axes.lines[:6]}
    assert set(drawn) == {"-50", "50", "-49", "49", "-48", "48"}
    for name, values in drawn.items():
        np.testing.assert_array_equal(values, float(name) * T)
    for shade, half in zip(axes.collections, (50.0, 45.0, 25.0), strict=True):
        edge = shade.get_paths()[0].vertices[:, 1]
        np.testing.assert_allclose(
            [edge.min(), edge.max()], [-half * T[-1], half * T[-1]], rtol=1e-14
        )
    words = [text.get_text() for text in axes.get_legend().get_texts()]
    assert words[:3] == ["all", "90 %", "50 %"] and set(words[3:]) == set(drawn)
    assert "6 of 101" in axes.get_title()


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"fields has shape \(2, 9\)"):
        coefficients(T, np.zeros((2, 9)), ["a", "b"], np.zeros((1, 1)))
    with pytest.raises(InputError, match=r"expected \(3, 9, 4\)"):
        coefficients(T, np.zeros((2, 9, 4)), ["a", "b", "c"], np.zeros((4, 1)))


def test_fields_of_a_coupling_are_its_parameters_by_name() -> None:
    index = NeuronSpace.rectangle((3, 2), "P1", channels=2)
    coupling = local(index, ["1", "grad"])
    theta = np.random.default_rng(0).standard_normal((4, *coupling.shape))
    fields, names = coupling.fields(theta)
    w = theta.reshape(4, 6, 2, 7)
    assert names[4] == r"$w_{\partial_x}$, 2 to 1" and names[-1] == "$b$, 2"
    np.testing.assert_array_equal(fields[4], w[:, :, 0, 4])
    np.testing.assert_array_equal(fields[-1], w[:, :, 1, 6])
    coupling = local(index, ["1", "laplace"], uniform=True)
    theta = np.random.default_rng(0).standard_normal((4, *coupling.shape))
    fields, names = coupling.fields(theta)
    assert names[1] == r"$w_{\Delta}$, 1 to 1" and fields.shape == (4 * 2 + 2, 4, 1)
    np.testing.assert_array_equal(fields[1, :, 0], theta[:, 0, 1])
    coupling = convolution(NeuronSpace.interval(5, "P1", channels=2), 0.25)
    theta = np.random.default_rng(0).standard_normal((4, *coupling.shape))
    fields, names = coupling.fields(theta)
    assert names == ["$w$, 1 to 1", "$w$, 2 to 1", "$w$, 1 to 2", "$w$, 2 to 2"]
    np.testing.assert_array_equal(fields[1], theta[:, 0, 3:6])
