"""Grey images: levels from 0 to 1, read from a file or made from an array."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]

LEVELS = 256
_LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue, ITU-R BT.709
_MOST = 2**24  # pixels


@dataclass(frozen=True)
class Image:
    """Pixels, the first row on top.

    Attributes:
        pixels: Numbers of the grey levels, 0 (black) to 255 (white), (rows, columns).
    """

    pixels: NDArray[np.uint8]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self.pixels.shape
        return rows, columns

    @property
    def grey(self) -> Array:
        """Grey values from 0 to 1, (rows, columns)."""
        return self.pixels / (LEVELS - 1.0)


def from_array(values: NDArray) -> Image:
    """An image of grey values from 0 to 1, rounded to 256 levels.

    Args:
        values: (rows, columns); what is outside of the interval is cut off.

    Raises:
        InputError: The array is no image, or holds what is no number.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or min(values.shape) < 2 or values.size > _MOST:
        raise InputError(
            f"an array of shape {values.shape} was given as an image; expected grey values (rows, "
            f"columns), two or more of each and at most {_MOST} in all"
        )
    if not np.isfinite(values).all():
        raise InputError(
            f"the image has {np.count_nonzero(~np.isfinite(values))} pixels that are no numbers; "
            "expected grey values from 0 to 1"
        )
    return Image(np.rint(np.clip(values, 0.0, 1.0) * (LEVELS - 1)).astype(np.uint8))


def read_image(path: str | Path) -> Image:
    """Read PNG, or any format that Pillow knows; colours become their luminance, on white if transparent.

    Raises:
        InputError: There is no such file, or it holds no image that can be read.

    Not collective.
    """
    from matplotlib.image import imread

    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no image {path}; give the path of a PNG file")
    try:
        values = np.asarray(imread(path))
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{path} is no image that can be read ({reason}); give a PNG file"
        ) from None
    if values.dtype.kind in "ui":
        values = values / float(np.iinfo(values.dtype).max)
    values = np.atleast_3d(values.astype(np.float64))
    opaque = values[..., -1:] if values.shape[2] in (2, 4) else 1.0
    colours = values[..., :-1] if values.shape[2] in (2, 4) else values
    grey = colours @ np.array(_LUMINANCE) if colours.shape[2] == 3 else colours[..., 0]
    return from_array(grey * np.squeeze(opaque) + (1.0 - np.squeeze(opaque)))
