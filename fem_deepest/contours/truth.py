"""How well contours meet objects that are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.contours.image import Image
from fem_deepest.contours.phasefield import PhaseField
from fem_deepest.contours.seen import Seen
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
        self._field = field
        # Area of the objects under each basis function.
        self._objects: Array = Seen(field, image).load(np.array([[0.0], [1.0]]))

    def dice(self, U: Array) -> Array:
        """``2 |A n B| / (|A| + |B|)`` of the nodes inside and the objects, (S,).

        A segmentation does not say which of its two parts is the inside: the better one counts.

        Args:
            U: (owned, S).
        """
        inside = U > 0.0
        objects = float(self._field.sum(self._objects.sum())[()])
        both = self._field.sum((self._objects * inside).sum(axis=0))
        size = self._field.sum((self._field.masses * inside).sum(axis=0))
        total = float(self._field.sum(self._field.masses.sum())[()])
        other = 2.0 * (objects - both) / (total - size + objects)
        return np.asarray(np.maximum(2.0 * both / (size + objects), other))
