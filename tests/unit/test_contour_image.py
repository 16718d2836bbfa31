"""Images: colours and transparency, depths, formats, and what is no image."""

from __future__ import annotations

import numpy as np
import pytest

from fem_deepest.contours import synthetic
from fem_deepest.contours.image import from_array, read_image
from fem_deepest.errors import InputError


def write(path, values, mode):
    PIL = pytest.importorskip("PIL.Image")
    PIL.fromarray(np.asarray(values), mode).save(path)
    return read_image(path)


def test_colours_become_their_luminance(tmp_path) -> None:
    pixels = np.zeros((2, 3, 3), dtype=np.uint8)
    pixels[0] = np.diag([255, 255, 255])
    pixels[1] = 100
    for name in ("rgb.png", "rgb.bmp"):
        image = write(tmp_path / name, pixels, "RGB")
        assert image.shape == (2, 3)
        assert image.grey[0] == pytest.approx([0.2126, 0.7152, 0.0722], abs=0.5 / 255)
        assert image.pixels[1].tolist() == [100, 100, 100]


def test_transparent_pixels_are_white(tmp_path) -> None:
    black = np.zeros((2, 2, 4), dtype=np.uint8)
    black[..., 3] = [[0, 255], [51, 204]]
    image = write(tmp_path / "clear.png", black, "RGBA")
    assert image.grey == pytest.approx(np.array([[1.0, 0.0], [0.8, 0.2]]), abs=0.5 / 255)
    assert write(tmp_path / "two.png", black[..., ::3].copy(), "LA").pixels.tolist() == (
        image.pixels.tolist()
    )


def test_grey_images_of_one_and_two_bytes(tmp_path) -> None:
    grey = np.array([[0, 51], [204, 255]], dtype=np.uint8)
    assert np.array_equal(write(tmp_path / "byte.png", grey, "L").pixels, grey)
    wide = grey.astype(np.uint16) * 257
    assert np.array_equal(write(tmp_path / "wide.png", wide, "I;16").pixels, grey)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros(4), "shape"),
        (np.zeros((1, 9)), "two or more"),
        (np.array([[0.0, np.nan], [1.0, 0.0]]), "1 pixels that are no numbers"),
    ],
)
def test_what_is_no_image_is_refused(values, words) -> None:
    with pytest.raises(InputError, match=words):
        from_array(values)


def test_synthetic_images_have_the_statistics_they_say() -> None:
    """Within four standard errors."""
    laws = {"discs": ((0.7, 0.1), (0.3, 0.1)), "variance": ((0.5, 0.15), (0.5, 0.05))}
    laws["mixture"] = ((0.5, np.hypot(0.2, 0.05)), (0.5, 0.1))
    for name, parts in laws.items():
        made = synthetic.create(name, 64, seed=3)
        again, other = synthetic.create(name, 64, seed=3), synthetic.create(name, 64, seed=4)
        assert np.array_equal(made.image.pixels, again.image.pixels)
        assert not np.array_equal(made.image.pixels, other.image.pixels)
        inside = made.truth.pixels > 0
        for where, (mean, deviation) in zip((inside, ~inside), parts, strict=True):
            grey = made.image.grey[where]
            assert abs(grey.mean() - mean) < 4.0 * deviation / np.sqrt(grey.size)
            # Grey values are cut off at 0 and 1: at three deviations or more.
            assert grey.std() == pytest.approx(deviation, rel=4.0 / np.sqrt(2.0 * grey.size) + 0.01)
