"""Smallest box along the axes around a mesh."""

from __future__ import annotations

import numpy as np
from dolfinx import mesh
from numpy.typing import NDArray

Array = NDArray[np.float64]


def bounding_box(domain: mesh.Mesh) -> tuple[Array, Array]:
    """Lowest corner and widths, both (geometric dimension,), of the nodes of all ranks. Collective."""
    x = domain.geometry.x[:, : domain.geometry.dim]
    # A rank without cells has no nodes.
    ends = domain.comm.allgather((x.min(axis=0, initial=np.inf), x.max(axis=0, initial=-np.inf)))
    low = np.min([e[0] for e in ends], axis=0)
    return low, np.max([e[1] for e in ends], axis=0) - low
