"""Depth as the first coordinate of a DOLFINx mesh: its two ends, and Gauss rules along it.

The mesh is an interval (depth alone) or a rectangle or box (depth x index). The ``r``-point Gauss
rule with continuous P_r trial functions makes the Euler-Lagrange equations of the discrete action
the ``r``-stage Gauss-Legendre method, which is symplectic (Hairer, Lubich, Wanner, Geometric
Numerical Integration, 2006, doi:10.1007/3-540-30666-8, section VI.6). On quadrilaterals and
hexahedra the rule is a product, one point more in each index direction: there too few points would
let functions through that oscillate from node to node (hourglass modes).
"""

from __future__ import annotations

import itertools
import math
from functools import cached_property
from typing import Any

import numpy as np
import ufl
from dolfinx import fem, mesh
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest import _compat
from fem_deepest.errors import InputError

Array = NDArray[np.float64]

Rule = tuple[tuple[float, ...], tuple[float, ...]]  # points and weights on (0, 1)

NODAL: Rule = ((0.0, 1.0), (0.5, 0.5))  # the trapezoidal rule

START, END = "start", "end"  # t = 0 and t = T
_TAGS = {START: 1, END: 2}
_TOLERANCE = 1e-10  # of the depth: what counts as the same coordinate


def gauss(points: int) -> Rule:
    """Gauss rule with so many points."""
    places, weights = np.polynomial.legendre.leggauss(points)
    return tuple(float(0.5 + 0.5 * x) for x in places), tuple(float(0.5 * w) for w in weights)


class DepthAxis:
    """The first coordinate ``t`` of a mesh.

    Args:
        domain: Mesh of lines, quadrilaterals, hexahedra, triangles or tetrahedra.

    Attributes:
        span: Least and greatest ``t``.
        near: Distance below which two coordinates are the same.

    Collective on the mesh: construction and every method.
    """

    def __init__(self, domain: mesh.Mesh) -> None:
        self.domain = domain
        t = domain.geometry.x[:, 0]
        comm = domain.comm
        # A rank without cells has no coordinates.
        low = comm.allreduce(float(t.min(initial=np.inf)), op=MPI.MIN)
        high = comm.allreduce(float(t.max(initial=-np.inf)), op=MPI.MAX)
        self.span = low, high
        self.near = _TOLERANCE * max(high - low, abs(low), abs(high))

    def facets(self, end: str) -> NDArray[np.int32]:
        """Facets at ``t = 0`` ("start") or ``t = T`` ("end") that this rank knows, ascending."""
        at = self.span[0] if end == START else self.span[1]
        dimension = self.domain.topology.dim - 1
        self.domain.topology.create_connectivity(dimension, dimension + 1)
        found = mesh.locate_entities_boundary(
            self.domain, dimension, lambda x: np.abs(x[0] - at) <= self.near
        )
        return np.sort(found)

    @cached_property
    def _ends(self) -> ufl.Measure:
        facets = [self.facets(end) for end in _TAGS]
        values = [
            np.full(f.size, tag, np.int32) for f, tag in zip(facets, _TAGS.values(), strict=True)
        ]
        entities = np.concatenate(facets)
        order = np.argsort(entities)
        tags = mesh.meshtags(
            self.domain,
            self.domain.topology.dim - 1,
            entities[order],
            np.concatenate(values)[order],
        )
        return ufl.Measure("ds", domain=self.domain, subdomain_data=tags)

    def end(self, end: str, degree: int) -> ufl.Measure:
        """Measure over one end: a point, or the index domain there; rule of that degree."""
        return self._ends(_TAGS[end], metadata={"quadrature_degree": degree})

    def gauss(self, points: int) -> ufl.Measure:
        """Measure over the mesh with so many Gauss points in the depth of a cell."""
        if self.domain.topology.dim == 1:
            return ufl.Measure("dx", self.domain, metadata={"quadrature_degree": 2 * points - 1})
        if not self.is_product:
            return ufl.Measure("dx", self.domain, metadata={"quadrature_degree": 2 * points})
        return self.product(gauss(points), gauss(points + 1))

    def product(self, depth: Rule, index: Rule) -> ufl.Measure:
        """Measure over the mesh by one rule in depth times another in every index direction.

        With :data:`NODAL` along the index, Q1 functions meet only in their nodes there: masses are
        lumped, and a Lagrangian without derivatives in ``s`` falls into one for every node.

        Raises:
            InputError: The cells are no products of depth and index.
        """
        if not self.is_product:
            raise InputError(
                "a product rule needs cells that are rectangles along the depth, got other ones; take "
                "a mesh of quadrilaterals or hexahedra with edges along the first coordinate"
            )
        dimension = self.domain.topology.dim
        along = 0 if dimension == 1 else self._direction
        rules = [depth if k == along else index for k in range(dimension)]
        # Tuples of floats and not arrays: the compiled form is found again by their text.
        metadata: dict[str, Any] = {
            "quadrature_rule": "custom",
            "quadrature_degree": 2 * len(depth[0]) - 1,
            "quadrature_points": tuple(itertools.product(*(places for places, _ in rules))),
            "quadrature_weights": tuple(
                math.prod(w) for w in itertools.product(*(weights for _, weights in rules))
            ),
        }
        return ufl.Measure("dx", self.domain, metadata=metadata)

    @cached_property
    def is_product(self) -> bool:
        """Whether a Gauss rule in depth exists: every cell is a line, or a rectangle along ``t``."""
        return self.domain.topology.dim == 1 or self._direction >= 0

    @cached_property
    def _direction(self) -> int:
        """Reference axis that is the depth in every cell, or -1."""
        corners = self.domain.geometry.x[_compat.geometry_dofmap(self.domain)]
        dimension = self.domain.topology.dim
        along = [False] * dimension
        if corners.shape[1] == 2**dimension:
            for k in range(dimension):
                low = [v for v in range(2**dimension) if not v >> k & 1]
                edges = corners[:, [v | 1 << k for v in low]] - corners[:, low]
                flat = np.abs(edges[:, :, 1:]).max(initial=0.0) <= self.near
                # The others have no part along t, so that the rule is a product in t and s.
                others = np.abs(edges[:, :, 0]).max(initial=0.0) <= self.near
                along[k] = bool(flat)
                if not flat and not others:
                    along = [False] * dimension
                    break
        shared = np.array(along, dtype=np.int32)
        self.domain.comm.Allreduce(MPI.IN_PLACE, shared, op=MPI.MIN)
        return int(np.argmax(shared)) if shared.any() else -1


def points_of(space: fem.FunctionSpace) -> int:
    """Number of Gauss points in depth that belongs to a space: its polynomial degree, at least 1."""
    return max(int(space.ufl_element().embedded_superdegree), 1)
