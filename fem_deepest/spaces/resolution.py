"""How finely a network is resolved, in depth and along the neuron index: one level of a hierarchy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fem_deepest.spaces.depth import DepthMesh


@dataclass(frozen=True)
class Resolution:
    """Resolution of the depth mesh and of the neuron index. Hashable, and kept in checkpoints.

    Attributes:
        depth: Number of cells of the mesh that a configuration grades, or the nodes of any other
            mesh, ``0 = t_0 < ... < t_n``.
        index: Neurons (N,) of an interval, rows and columns of a rectangle; none: the index that
            the configuration has.

    Nothing here is collective.
    """

    depth: int | tuple[float, ...]
    index: tuple[int, ...] = ()

    @classmethod
    def of_mesh(cls, mesh: DepthMesh, index: Sequence[int] = ()) -> Resolution:
        """The resolution that has this depth mesh, whatever its nodes."""
        return cls(tuple(float(t) for t in mesh.nodes), tuple(index))

    @property
    def cells(self) -> int:
        """Depth cells."""
        return self.depth if isinstance(self.depth, int) else len(self.depth) - 1

    def mesh(self, depth: float, grading: float) -> DepthMesh:
        """The depth mesh: graded on ``(0, depth)``, or the one of the nodes that are kept.

        Raises:
            InputError: The nodes do not increase from 0.
        """
        if isinstance(self.depth, int):
            return DepthMesh.graded(depth, self.depth, grading)
        return DepthMesh(np.array(self.depth))

    def to_dict(self) -> dict[str, Any]:
        """In plain types for a checkpoint; floats of JSON are exact."""
        depth = self.depth if isinstance(self.depth, int) else list(self.depth)
        return {"depth": depth, "index": list(self.index)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Resolution:
        """Inverse of :meth:`to_dict`."""
        depth = values["depth"]
        return cls(depth if isinstance(depth, int) else tuple(depth), tuple(values["index"]))
