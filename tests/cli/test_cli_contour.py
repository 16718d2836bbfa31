"""``fem-deepest flow`` with a section ``[contour]``: what it leaves, how it goes on, how it ends."""

from __future__ import annotations

import numpy as np
import pytest
from launch import contents, record, start, terminated, timeless

import fem_deepest
from fem_deepest.contours.image import read_image
from fem_deepest.errors import InputError
from fem_deepest.io.frames import read_frames

SMALL = """\
seed = 2
[image]
name = "discs"
pixels = 24
[contour]
nu = 0.003
[mesh]
cells = 16
[noise]
strength = 0.2
length = 0.2
[temperature]
start = 1e-2
end = 1e-4
[time]
steps = 20
[output]
figures = false
frames = 4
"""

# Sends SIGTERM to itself in the step of this number.
STOPPED = terminated("fem_deepest.contours.flow", "ContourFlow", "advance", 7)


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SMALL)
    return path


def test_a_stopped_run_goes_on_to_the_same_end(small, tmp_path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    ended = start("flow", small, "--out", whole)
    assert ended.returncode == 0, ended.stderr
    assert "converged: energy" in ended.stdout
    stopped = start("flow", small, "--out", part, script=STOPPED)
    assert stopped.returncode == 130
    assert "go on with --resume" in stopped.stdout
    assert record(part)["status"] == "interrupted"
    assert record(part)["stages"][0]["steps"] == 7
    resumed = start("flow", small, "--out", part, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert timeless(part) == timeless(whole)
    assert record(part)["metrics"] == record(whole)["metrics"]
    rows = timeless(whole)
    assert float(rows[-1]["energy"]) <= min(float(row["best"]) for row in rows[:-1])
    first, *_, last = (set(np.sign(f.values)) for f in read_frames(whole / "fields"))
    assert first == last == {-1.0, 1.0}


def test_figures_of_an_image_of_the_user(small, tmp_path) -> None:
    from matplotlib.image import imsave

    y, x = np.mgrid[0:20, 0:30]
    pixels = np.zeros((20, 30, 3))
    pixels[(y - 10) ** 2 + (x - 15) ** 2 < 36] = (0.9, 0.8, 0.1)
    imsave(tmp_path / "mine.png", pixels)
    imsave(tmp_path / "truth.png", pixels[..., 0], cmap="gray")
    files = 'path = "mine.png"\ntruth = "truth.png"'
    text = SMALL.replace('name = "discs"\npixels = 24', files)
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("figures = false", "figures = true"))
    out = tmp_path / "out"
    ended = start("flow", path, "--out", out, "--set", "noise.covariance=none")
    assert ended.returncode == 0, ended.stderr
    for name in ("cooling.png", "segmentation.png", "animation.gif"):
        assert (out / "figures" / name).stat().st_size > 5_000
    # A disc of radius 6 pixels on an image 1 high; its edge is one pixel thick.
    assert record(out)["metrics"]["area"] == pytest.approx(np.pi * 0.3**2, rel=0.15)
    assert record(out)["metrics"]["dice"] > 0.9
    grey = read_image(out / "image.png").grey
    yellow = 0.2126 * 0.9 + 0.7152 * 0.8 + 0.0722 * 0.1
    assert np.unique(grey) == pytest.approx([0.0, yellow], abs=0.01)
    before = contents(out / "figures")
    assert start("plot", out).returncode == 0
    assert contents(out / "figures").keys() == before.keys()


def test_white_noise_ends_with_two_and_writes_nothing(small, tmp_path) -> None:
    out = tmp_path / "out"
    ended = start("flow", small, "--out", out, "--set", "noise.covariance=white")
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1
    assert "ill-posed" in ended.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("temperature.end=1", "schedule that decreases"),
        ("mesh.path=/none.msh", "no mesh file"),
        ("contour.region=means", "contour.region"),
        ("contour.nu=0", "contour.nu"),
        ("contour.centre=[3.0, 3.0]", "no node of the mesh inside"),
        ("contour.centre=[3.0]", "contour.centre"),
        ("image.truth=/none.png", "truth goes with path"),
        ("image.path=/none.png", "exactly one"),
    ],
)
def test_wrong_input_is_refused_and_writes_nothing(small, tmp_path, setting, words) -> None:
    with pytest.raises(InputError, match=words) as raised:
        fem_deepest.flow(small, out=tmp_path / "out", settings=[setting])
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_an_image_that_cannot_be_read_ends_with_two(small, tmp_path) -> None:
    text = SMALL.replace('name = "discs"\npixels = 24', 'path = "bad.png"')
    path = tmp_path / "bad.toml"
    path.write_text(text)
    for content, words in (
        (None, "there is no image"),
        (b"no picture", "no image that can be read"),
    ):
        if content is not None:
            (tmp_path / "bad.png").write_bytes(content)
        ended = start("flow", path, "--out", tmp_path / "out")
        assert ended.returncode == 2
        assert ended.stderr.count("\n") == 1
        assert words in ended.stderr
        assert not (tmp_path / "out").exists()
    png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(13)  # a file that breaks off
    (tmp_path / "bad.png").write_bytes(png)
    assert start("flow", path, "--out", tmp_path / "out").returncode == 2


def test_the_same_contour_under_mpirun(small, tmp_path) -> None:
    for ranks in (0, 2):
        ended = start("flow", small, "--out", tmp_path / str(ranks), ranks=ranks)
        assert ended.returncode == 0, ended.stderr
    one, two = (record(tmp_path / d)["metrics"] for d in ("0", "2"))
    assert np.allclose([one[k] for k in one], [two[k] for k in one], rtol=0.0, atol=1e-9)
