"""How well contours meet objects that are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.contours.image import Image
from fem_deepest.contours.phasefield import PhaseField
from fem_deepest.contours.pixels import Pixels
from fem_deepest.errors import InputError

Array = NDArray[np.float64]


class Truth:
    """Objects on an image, white on black.

    Args:
        field: Contours on a mesh.
        image: The objects.

    Raises:
        InputError: The image has other grey values than black and white, or one of them only.

    Collective on the mesh: construction and every method.
    """

    def __init__(self, field: PhaseField, image: Image) -> None:
        levels = np.unique(image.pixels)
        if levels.tolist() != [0, 255]:
            raise InputError(
                f"the truth has {levels.size} grey values, expected objects in white (255) on black (0)"
            )
        self._field, self._pixels = field, Pixels(field, image.shape)
        self._objects = image.pixels[self._pixels.row, self._pixels.column][:, None] > 0

    def dice(self, U: Array) -> Array:
        """``2 |A n B| / (|A| + |B|)`` of the pixels inside and those of the objects, (S,).

        A segmentation does not say which of its two parts is the inside: the better one counts.

        Args:
            U: (owned, S).
        """
        inside = self._pixels.matrix @ self._field.blocks.ghosted(U) > 0.0
        counts = np.empty((4, U.shape[1]))
        counts[0] = (inside & self._objects).sum(axis=0)
        counts[1], counts[2], counts[3] = inside.sum(axis=0), self._objects.sum(), len(inside)
        both, size, objects, every = self._field.sum(counts)
        one, other = (
            2.0 * both / (size + objects),
            2.0 * (objects - both) / (every - size + objects),
        )
        return np.asarray(np.maximum(one, other))
