"""Figures: the right axes, the exact data in them, labels, and files of 150 dots per inch."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("PIL")

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from fem_deepest.errors import InputError
from fem_deepest.figures import confusion, decision, features, history, prediction, save, weights
from fem_deepest.figures.features import principal_plane
from fem_deepest.figures.style import class_look, subsample


@pytest.fixture
def columns() -> dict[str, np.ndarray]:
    n = np.arange(1.0, 31.0)
    return {
        "iteration": n,
        "evaluations": 2 * n,
        "action": np.exp(-n / 10) + 0.3,
        "misfit": np.exp(-n / 10),
        "model": np.zeros(30),
        "prior": np.r_[0.0, np.full(29, 0.3)],
        "gradient": np.exp(-n / 5),
    }


def _named_axes(figure: Figure) -> list[Axes]:
    """All axes with something to read; each must say what it shows."""
    figure.draw_without_rendering()
    shown = [axes for axes in figure.axes if axes.axison]
    for axes in shown:
        assert axes.get_ylabel() or axes.get_xlabel()
    return shown


def test_history_draws_the_columns(columns) -> None:
    figure = history(columns, [(2, "2 cells"), (30, "4 cells")])
    upper, lower = _named_axes(figure)
    lines = {line.get_label(): line for line in upper.lines}
    assert {name for name in lines if not name.startswith("_")} == {"action", "misfit", "prior"}
    assert np.array_equal(lines["action"].get_xdata(), columns["evaluations"])
    assert np.array_equal(lines["action"].get_ydata(), columns["action"])
    assert np.isnan(lines["prior"].get_ydata()[0])  # 0 has no logarithm
    assert np.array_equal(lines["prior"].get_ydata()[1:], columns["prior"][1:])
    assert np.array_equal(lower.lines[0].get_ydata(), columns["gradient"])
    assert (upper.get_yscale(), lower.get_yscale()) == ("log", "log")
    assert lower.get_xlabel() == "gradient evaluations"
    assert [text.get_text() for text in upper.texts] == ["2 cells", "4 cells"]
    for axes in (upper, lower):
        marks = [line.get_xdata()[0] for line in axes.lines if line.get_label().startswith("_")]
        assert marks == [2, 30]
    legend = upper.get_legend()
    assert legend is not None
    assert [t.get_text() for t in legend.get_texts()] == ["action", "misfit", "prior"]


def test_history_shows_a_model_error_that_is_there(columns) -> None:
    columns["model"] = np.linspace(0, 1, 30)
    upper = history(columns).axes[0]
    assert "model error" in [line.get_label() for line in upper.lines]


def test_history_without_a_positive_gradient_can_be_drawn(columns, tmp_path) -> None:
    columns["gradient"] = np.zeros(30)
    upper, lower = history(columns).axes
    assert (upper.get_yscale(), lower.get_yscale()) == ("log", "linear")
    assert save(history(columns), tmp_path / "history.png").stat().st_size > 0


def test_history_labels_of_close_levels_stand_steeper(columns) -> None:
    far, near = (history(columns, [(0, "a"), (x, "b")]).axes[0].texts for x in (30, 1))
    assert far[0].get_rotation() < near[0].get_rotation()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"gradient": None}, ["no column 'gradient'", "evaluations"]),
        ({"prior": np.zeros(3)}, ["sizes", "one size"]),
        ({"evaluations": -np.arange(30.0)}, ["decrease", "add those of earlier"]),
    ],
)
def test_history_refuses(columns, change, words) -> None:
    columns = {k: v for k, v in {**columns, **change}.items() if v is not None}
    with pytest.raises(InputError) as error:
        history(columns)
    for word in words:
        assert word in str(error.value)


def test_weights_show_norms_singular_values_and_kernels() -> None:
    t = np.array([0.0, 0.5, 1.0])
    W = np.zeros((3, 3, 3))
    W[0] = np.diag([3.0, -4.0, 0.0])  # norm 5, singular values 4, 3, 0
    W[2, 0, 1] = -7.0
    b = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, 2.0]])
    figure = weights(t, W, b)
    axes = _named_axes(figure)
    assert len(axes) == 2 + 3 + 1
    size, bias = axes[0].lines
    np.testing.assert_allclose(size.get_ydata(), [5, 0, 7], rtol=1e-15)
    np.testing.assert_allclose(bias.get_ydata(), [5, 0, 3], rtol=1e-15)
    singular = np.array([line.get_ydata() for line in axes[1].lines])
    np.testing.assert_allclose(singular, [[4, 0, 7], [3, 0, 0], [0, 0, 0]], atol=1e-14)
    for node, panel in enumerate(axes[2:5]):
        image = panel.images[0]
        assert np.array_equal(image.get_array(), W[node])
        assert image.get_clim() == (-7.0, 7.0)
        assert panel.get_title() == f"$t = {t[node]:.3g}$"


def test_weights_show_eight_singular_values_and_five_depths() -> None:
    rng = np.random.default_rng(0)
    t = np.linspace(0, 2, 33)
    figure = weights(t, rng.standard_normal((33, 12, 12)), rng.standard_normal((33, 12)))
    assert len(figure.axes) == 2 + 5 + 1
    assert len(figure.axes[1].lines) == 8
    titles = [axes.get_title() for axes in figure.axes[2:7]]
    assert titles == ["$t = 0$", "$t = 0.5$", "$t = 1$", "$t = 1.5$", "$t = 2$"]
    with pytest.raises(InputError, match=r"W has shape \(3, 12, 12\); expected \(33, 12, 12\)"):
        weights(t, np.zeros((3, 12, 12)), np.zeros((33, 12)))


def test_the_plane_is_that_of_largest_variance() -> None:
    # A rotated ellipsoid with known axes: variances 9, 4 and 1 of 14.
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    corner = np.array([[1, 1, 1, 1, -1, -1, -1, -1], [1, 1, -1, -1] * 2, [1, -1] * 4])
    states = np.stack([basis @ (np.array([3, 2, 1])[:, np.newaxis] * corner)] * 2)
    points, names, share = principal_plane(states)
    assert points.shape == (2, 2, 8)
    assert all(names)
    assert share == pytest.approx(13 / 14, rel=1e-12)
    np.testing.assert_allclose(np.abs(points[0, 0]), 3, rtol=1e-12)
    np.testing.assert_allclose(np.abs(points[1, 1]), 2, rtol=1e-12)


def test_features_of_two_neurons_are_the_states() -> None:
    rng = np.random.default_rng(0)
    states = [s * rng.standard_normal((2, 40)) for s in (1, 2, 3)]
    labels = np.arange(40) % 2
    figure = features([0, 0.5, 1], states, labels, ("cat", "dog"))
    panels = _named_axes(figure)
    assert len(panels) == 3
    for axes, state in zip(panels, states, strict=True):
        for c in (0, 1):
            drawn = axes.collections[c].get_offsets()
            assert np.array_equal(drawn, state[:, labels == c].T)
        assert axes.get_xlim() == panels[0].get_xlim()
        assert axes.get_ylim() == panels[0].get_ylim()
        assert axes.get_aspect() == 1.0
    legend = figure.axes[3].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["cat", "dog"]
    assert "variance" not in figure.get_suptitle()


def test_features_of_many_neurons_depths_and_samples() -> None:
    rng = np.random.default_rng(0)
    states = [rng.standard_normal((6, 2500)) for _ in range(11)]
    target = np.linspace(-1, 1, 2500)
    figure = features(np.linspace(0, 1, 11), states, target)
    panels = [axes for axes in figure.axes if axes.get_title()]
    titles = ["$t = 0$", "$t = 0.2$", "$t = 0.5$", "$t = 0.8$", "$t = 1$"]
    assert [axes.get_title() for axes in panels] == titles
    drawn = panels[0].collections[0]
    assert drawn.get_offsets().shape == (2000, 2)
    assert np.array_equal(drawn.get_array(), target[subsample(2500)])
    assert figure.axes[-1].get_ylabel() == "target"
    # Six equal variances: two of them are a third.
    assert figure.get_suptitle().endswith(("33 % of the variance", "34 % of the variance"))


@pytest.mark.parametrize("depths", [1, 2, 3, 5])
@pytest.mark.parametrize("classes", [None, ("cat", "dog")])
def test_features_cut_no_label(depths: int, classes) -> None:
    states = [np.random.default_rng(d).standard_normal((3, 30)) for d in range(depths)]
    figure = features(range(depths), states, np.arange(30) % 2, classes)
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    title = figure.texts[0].get_window_extent()
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert box is not None
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
        if axes.get_title():
            assert not box.overlaps(title)


@pytest.mark.parametrize(("depths", "grid"), [(1, (1, 2)), (2, (1, 3)), (3, (2, 2)), (5, (2, 3))])
def test_the_legend_of_features_is_beside_a_panel(depths: int, grid: tuple[int, int]) -> None:
    states = [np.random.default_rng(d).standard_normal((3, 30)) for d in range(depths)]
    figure = features(range(depths), states, np.arange(30) % 2, ("cat", "dog"))
    (place,) = [axes.get_subplotspec() for axes in figure.axes if axes.get_legend()]
    assert place.get_geometry() == (*grid, depths, depths)
    assert len(features(range(depths), states).axes) == depths


def test_features_refuse_what_does_not_fit() -> None:
    with pytest.raises(InputError, match="2 depths for 1 states"):
        features([0, 1], [np.zeros((2, 3))])
    with pytest.raises(InputError, match=r"a state has shape \(2, 4\); expected \(2, 3\)"):
        features([0, 1], [np.zeros((2, 3)), np.zeros((2, 4))])
    with pytest.raises(InputError, match=r"labels has shape \(4,\); expected \(3,\)"):
        features([0], [np.zeros((2, 3))], np.zeros(4))


def test_confusion_has_the_counts_and_the_accuracy() -> None:
    counts = np.array([[9, 1, 0], [0, 5, 5], [0, 0, 0]])
    figure = confusion(counts, ("a", "b", "c"), "Test data")
    axes, bar = _named_axes(figure)
    written = {tuple(map(int, text.get_position()[::-1])): text.get_text() for text in axes.texts}
    assert written == {(i, j): str(counts[i, j]) for i in range(3) for j in range(3)}
    shares = [[0.9, 0.1, 0], [0, 0.5, 0.5], [0, 0, 0]]
    np.testing.assert_allclose(axes.images[0].get_array(), shares, rtol=1e-15)
    assert axes.get_title() == "Test data: accuracy 70.00 %"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert bar.get_ylabel() == "share of the true class"


def test_confusion_refuses() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 2\); expected \(3, 3\)"):
        confusion(np.eye(2), ("a", "b", "c"))
    with pytest.raises(InputError, match="no samples"):
        confusion(np.zeros((2, 2)), ("a", "b"))


def test_prediction_has_the_error_and_the_diagonal() -> None:
    observed = np.array([0.0, 1.0, 2.0, 3.0])
    predicted = observed + np.array([3.0, -1.0, 1.0, -3.0])  # RMSE sqrt(20 / 4)
    figure = prediction(observed, predicted, ["yield"])
    (axes,) = _named_axes(figure)
    assert axes.get_title() == "RMSE 2.24"
    assert np.array_equal(axes.collections[0].get_offsets(), np.stack([observed, predicted], 1))
    diagonal = axes.lines[0]
    assert np.array_equal(diagonal.get_xdata(), diagonal.get_ydata())
    assert axes.get_xlim() == axes.get_ylim()
    assert axes.get_xlabel() == "observed yield"


def test_prediction_of_several_targets() -> None:
    observed = np.random.default_rng(0).standard_normal((20, 8))
    figure = prediction(observed, observed + np.arange(8.0))
    titles = [axes.get_title() for axes in _named_axes(figure)]
    assert titles == ["RMSE 0", "RMSE 1", "RMSE 2", "RMSE 3", "RMSE 4", "RMSE 5"]
    with pytest.raises(InputError, match=r"\(20, 7\); expected \(20, 8\)"):
        prediction(observed, observed[:, :7])
    with pytest.raises(InputError, match="1 names for 8 targets"):
        prediction(observed, observed, ["y"])


def test_decision_draws_regions_boundary_and_samples() -> None:
    # Class 1 with probability rising along the first input: the boundary is x_1 = 0.3.
    x = np.linspace(-1, 1, 81)
    p1 = 1 / (1 + np.exp(-4 * (x - 0.3)))
    grid = np.stack([np.tile(1 - p1, (41, 1)), np.tile(p1, (41, 1))], axis=-1)
    inputs = np.array([[-0.5, 0.2], [0.5, -0.2], [0.9, 0.4]])
    figure = decision((-1, 1), (-0.5, 0.5), grid, inputs, [0, 1, 1], ("left", "right"))
    (axes,) = _named_axes(figure)
    colours = axes.images[0].get_array()
    assert colours.shape == (41, 81, 3)
    # Class 0 is blue on the left, class 1 is red-brown on the right, pale on the boundary.
    assert colours[0, 0, 2] > colours[0, 0, 0]
    assert colours[0, -1, 0] > colours[0, -1, 2]
    assert colours[0, 52].min() > colours[0, 0].min()
    boundary, *samples = axes.collections
    vertices = np.concatenate([path.vertices for path in boundary.get_paths()])
    np.testing.assert_allclose(vertices[:, 0], 0.3, atol=1e-3)
    assert np.array_equal(samples[0].get_offsets(), inputs[:1])
    assert np.array_equal(samples[1].get_offsets(), inputs[1:])
    assert axes.get_xlim() == (-1, 1)
    assert axes.get_ylim() == (-0.5, 0.5)
    assert axes.images[0].origin == "lower"
    left, right, bottom, top = axes.images[0].get_extent()
    assert (left, right) == pytest.approx((-1.0125, 1.0125))
    assert (bottom, top) == pytest.approx((-0.5125, 0.5125))
    with pytest.raises(InputError, match=r"\(41, 81, 2\); expected \(41, 81, 3\)"):
        decision((-1, 1), (-1, 1), grid, inputs, [0, 1, 1], ("a", "b", "c"))


def test_classes_look_different() -> None:
    for classes in (2, 6, 10, 100):
        look = class_look(classes)
        assert len(set(look)) == classes
    assert len({colour for colour, _ in class_look(10)}) == 10
    assert to_hex(class_look(2)[0][0]) == "#0072b2"


@pytest.mark.parametrize(("samples", "size"), [(1, 1), (1999, 1999), (2000, 2000), (5001, 2000)])
def test_subsample(samples: int, size: int) -> None:
    chosen = subsample(samples)
    assert len(chosen) == size
    assert (chosen[0], chosen[-1]) == (0, samples - 1)
    assert (np.diff(chosen) > 0).all()


def test_save_writes_150_dots_per_inch_and_nothing_else(tmp_path) -> None:
    before = dict(rcParams)
    figure = prediction([0.0, 1.0], [0.0, 1.0])
    path = save(figure, tmp_path / "figures" / "fit.png")
    assert dict(rcParams) == before
    assert [file.name for file in path.parent.iterdir()] == ["fit.png"]
    with Image.open(path) as image:
        assert image.size == tuple(round(150 * inches) for inches in figure.get_size_inches())
        assert image.info["dpi"] == pytest.approx((150, 150), abs=0.013)
    first = path.read_bytes()
    assert save(prediction([0.0, 1.0], [0.0, 1.0]), path).read_bytes() == first


def test_save_refuses(tmp_path) -> None:
    figure = prediction([0.0, 1.0], [0.0, 1.0])
    with pytest.raises(InputError, match=r"fit\.pdf.*end in \.png"):
        save(figure, tmp_path / "fit.pdf")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written.*another folder"):
        save(figure, tmp_path / "file" / "fit.png")


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "fit.png"
    path.write_text("old")
    figure = prediction([0.0, 1.0], [0.0, 1.0])

    def fail(part, **options):
        part.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(InputError, match="No space left"):
        save(figure, path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["fit.png"]
