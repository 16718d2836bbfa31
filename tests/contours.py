"""Small contour problems that several tests share."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from dolfinx import fem
from mpi4py import MPI

from fem_deepest.contours.energy import ContourEnergy
from fem_deepest.contours.image import Image, from_array
from fem_deepest.contours.phasefield import PhaseField
from fem_deepest.contours.regions.chan_vese import ChanVese
from fem_deepest.contours.seen import Seen
from fem_deepest.spaces.domain import create_domain


def phase_field(
    cells: int = 12, width: float = 1.5, side: float = 1.0, comm: MPI.Intracomm = MPI.COMM_SELF
) -> PhaseField:
    """Contours on a square, ``eps`` some cells wide."""
    domain = create_domain(comm, [side, side], [cells, cells])
    return PhaseField(fem.functionspace(domain, ("Lagrange", 1)), width * side / cells)


def problem(
    field: PhaseField, image: Image, region: Any = ChanVese, nu: float = 0.01
) -> ContourEnergy:
    """Contours in an image."""
    seen = Seen(field, image)
    return ContourEnergy(field, seen, region(seen.grey), nu)


def uniform() -> Image:
    """An image of one grey value, which pushes no contour."""
    return from_array(np.full((2, 2), 0.5))


def slopes(errors: list[float]) -> list[float]:
    """Orders of errors at steps that halve."""
    return [float(np.log2(a / b)) for a, b in pairwise(errors)]
