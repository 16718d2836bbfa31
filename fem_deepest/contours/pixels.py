"""Where the pixels of an image lie on a mesh.

The image is stretched over the box around the mesh, its first row on top.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest._compat import point_owners
from fem_deepest.contours.phasefield import PhaseField
from fem_deepest.spaces.box import bounding_box
from fem_deepest.spaces.interpolation import pull_back

Array = NDArray[np.float64]

_PADDING = 1e-10  # of the boxes around cells, relative to the size of the mesh


class Pixels:
    """Midpoints of pixels, or of equal parts of them, and functions of the mesh there.

    A point belongs to the rank that has a cell for it; points outside of the mesh belong to nobody.

    Args:
        field: Contours on the mesh.
        shape: Rows and columns of the image.
        parts: Parts of a pixel along each side.

    Attributes:
        row: Row of the pixel of each point of this rank, (n,).
        column: Its column, (n,).
        matrix: Basis functions at the points, (n, local nodes).

    Collective on the mesh: construction.
    """

    def __init__(self, field: PhaseField, shape: tuple[int, int], parts: int = 1) -> None:
        domain, comm = field.V.mesh, field.V.mesh.comm
        low, widths = bounding_box(domain)
        rows, columns = shape[0] * parts, shape[1] * parts
        asked = np.array_split(np.arange(rows * columns), comm.size)[comm.rank]
        places = np.zeros((asked.size, 3))
        places[:, 0] = low[0] + widths[0] * (asked % columns + 0.5) / columns
        places[:, 1] = low[1] + widths[1] * (1.0 - (asked // columns + 0.5) / rows)
        _, _, x, cells = point_owners(domain, places, _PADDING * float(widths.max()))
        # Where a point is tells its pixel: what it carries need not be sent with it.
        part = (x[:, :2] - low) / widths
        self.column = np.clip((part[:, 0] * shape[1]).astype(np.int64), 0, shape[1] - 1)
        self.row = np.clip(((1.0 - part[:, 1]) * shape[0]).astype(np.int64), 0, shape[0] - 1)
        X, _ = pull_back(domain, x[:, :2], cells)
        values = np.asarray(field.V.ufl_element().basix_element.tabulate(0, X))[0, :, :, 0]
        dofs = np.asarray(field.V.dofmap.list)[cells]
        pointer = np.arange(len(cells) + 1) * dofs.shape[1]
        # Points on edges may lie outside of their cell by rounding.
        self.matrix = sparse.csr_matrix(
            (np.maximum(values, 0.0).ravel(), dofs.ravel(), pointer),
            (len(cells), field.blocks.local),
        )
