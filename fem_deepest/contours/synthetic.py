r"""Images made for trying: what is on them, and starts from which a contour without noise stalls.

All are squares. Grey values at the pixels are drawn independently, from normal laws inside and outside,
with NumPy's generator and the seed given.

* ``discs``: two discs and a ring, bright on dark; the contour starts as a circle in one of the discs.
* ``variance``: a disc and a square with the mean of the background and three times its deviation.
* ``mixture``: objects with dark and bright pixels on a grey background: the means agree, and a single
  normal law is a poor description of the foreground.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fem_deepest.contours.image import Image, from_array
from fem_deepest.errors import InputError

Array = NDArray[np.float64]
Distance = Callable[[Array], Array]


class Synthetic(NamedTuple):
    """An image with its truth.

    Attributes:
        image: The image. truth: White inside of the objects, black outside. start: Signed distance of
        the contour to start from, positive inside, in the unit square.
    """

    image: Image
    truth: Image
    start: Distance


def circle(centre: tuple[float, float], radius: float) -> Distance:
    """Signed distance of a circle, positive inside."""
    return lambda x: radius - np.hypot(x[:, 0] - centre[0], x[:, 1] - centre[1])


def ring(centre: tuple[float, float], inner: float, outer: float) -> Distance:
    """Signed distance of the space between two circles."""
    large, small = circle(centre, outer), circle(centre, inner)
    return lambda x: np.minimum(large(x), -small(x))


def square(centre: tuple[float, float], half: float) -> Distance:
    """Distance of a square in the maximum norm, positive inside."""
    return lambda x: half - np.abs(x - np.array(centre)).max(axis=1)


def union(*parts: Distance) -> Distance:
    """Signed distance (a lower bound inside) of a union."""
    return lambda x: np.max([part(x) for part in parts], axis=0)


def create(name: str, pixels: int = 64, seed: int = 0) -> Synthetic:
    """An image by name: "discs", "variance" or "mixture". Not collective.

    Args:
        name: Which.
        pixels: Along a side.
        seed: Of the grey values.

    Raises:
        InputError: There is no such image.
    """
    if name not in SYNTHETIC:
        raise InputError(f"there is no image '{name}'; known: {', '.join(SYNTHETIC)}")
    objects, start, draw = SYNTHETIC[name]
    centres = (np.arange(pixels) + 0.5) / pixels
    x, y = np.meshgrid(centres, centres[::-1])
    inside = (objects(np.column_stack([x.ravel(), y.ravel()])) > 0.0).reshape(pixels, pixels)
    grey = draw(np.random.default_rng(seed), inside)
    return Synthetic(from_array(grey), from_array(inside.astype(float)), start)


def _discs(generator: np.random.Generator, inside: NDArray[np.bool_]) -> Array:
    return np.where(inside, 0.7, 0.3) + 0.1 * generator.standard_normal(inside.shape)


def _variance(generator: np.random.Generator, inside: NDArray[np.bool_]) -> Array:
    return 0.5 + np.where(inside, 0.15, 0.05) * generator.standard_normal(inside.shape)


def _mixture(generator: np.random.Generator, inside: NDArray[np.bool_]) -> Array:
    z = 0.05 * generator.standard_normal(inside.shape)
    sign = np.where(generator.random(inside.shape) < 0.5, -1.0, 1.0)
    return np.where(inside, 0.5 + 0.2 * sign + z, 0.5 + 2.0 * z)


_DISCS = union(circle((0.27, 0.72), 0.15), circle((0.73, 0.73), 0.13), ring((0.5, 0.3), 0.1, 0.2))
_TWO = union(circle((0.32, 0.66), 0.17), square((0.7, 0.33), 0.14))

SYNTHETIC: dict[str, tuple[Distance, Distance, Callable[..., Array]]] = {
    "discs": (_DISCS, circle((0.27, 0.72), 0.08), _discs),
    "variance": (_TWO, circle((0.32, 0.66), 0.08), _variance),
    "mixture": (_TWO, circle((0.32, 0.66), 0.08), _mixture),
}
