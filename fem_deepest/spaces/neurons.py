"""Neuron index ``S``: a set of points, an interval, a rectangle or any mesh."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mpi4py import MPI

from fem_deepest.errors import InputError
from fem_deepest.spaces.domain import create_domain, read_domain
from fem_deepest.spaces.index_field import IndexField
from fem_deepest.spaces.index_space import ELEMENTS, IndexSpace, check_element


class NeuronSpace(IndexSpace):
    """Space ``V_S``. Made by :meth:`points`, :meth:`interval`, :meth:`rectangle` and :meth:`mesh`.

    On points (counting measure) the effective matrix is the kernel, ``W_h = w``. On ``N`` cells of
    the unit interval (P0) it is ``W_h = w/N``, the mean-field scaling. With lumped mass and one
    channel ``W_h = w diag(weights)``.

    Nothing here is collective: every rank has the whole index.
    """

    _resize: Callable[[Any], NeuronSpace] | None = None

    @classmethod
    def points(cls, neurons: int) -> NeuronSpace:
        """``N`` points with the counting measure."""
        return cls(neurons, measure=1.0)._resizable(cls.points)

    @classmethod
    def interval(
        cls,
        nodes: int,
        element: str = "P0",
        mass: str = "lumped",
        extent: float = 1.0,
        channels: int = 1,
    ) -> NeuronSpace:
        """An interval ``(0, extent)`` in equal cells, the nodes numbered from left to right.

        Args:
            nodes: Cells (P0), vertices (P1), or vertices and midpoints (P2).
            element: "P0", "P1" or "P2".
            mass: "lumped" or "consistent".
            extent: Length.
            channels: Fields side by side.

        Raises:
            InputError: Too few nodes, or an even number of them with P2.
        """
        check_element(element, mass)
        (cells,) = _cells((nodes,), element)

        def create(degree: int) -> IndexField:
            return IndexField(create_domain(MPI.COMM_SELF, [extent], [cells]), degree, "line")

        def resize(nodes: int) -> NeuronSpace:
            return cls.interval(nodes, element, mass, extent, channels)

        space = cls(
            nodes,
            channels,
            kind="interval",
            element=element,
            mass=mass,
            measure=extent / nodes if element == "P0" else None,
            create=create,
        )
        return space._resizable(resize)

    @classmethod
    def rectangle(
        cls,
        shape: Sequence[int],
        element: str = "P1",
        mass: str = "lumped",
        extent: Sequence[float] = (1.0, 1.0),
        channels: int = 1,
    ) -> NeuronSpace:
        """A rectangle of equal quadrilaterals, the nodes numbered row by row like pixels, from the top.

        Args:
            shape: Nodes down and across: cells (P0), vertices (P1), vertices and midpoints (P2).
            element: "P0", "P1" (bilinear) or "P2" (biquadratic).
            mass: "lumped" or "consistent".
            extent: Height and width.
            channels: Fields side by side.

        Raises:
            InputError: Too few nodes, or an even number of them with P2.
        """
        check_element(element, mass)
        down, across = (int(count) for count in shape)
        cells = _cells((down, across), element)
        size = [float(side) for side in extent]

        def create(degree: int) -> IndexField:
            domain = create_domain(MPI.COMM_SELF, size[::-1], cells[::-1], tensor=True)
            return IndexField(domain, degree, "rows")

        def resize(shape: Sequence[int]) -> NeuronSpace:
            return cls.rectangle(shape, element, mass, extent, channels)

        space = cls(
            down * across,
            channels,
            kind="rectangle",
            element=element,
            mass=mass,
            measure=size[0] * size[1] / (down * across) if element == "P0" else None,
            create=create,
        )
        return space._resizable(resize)

    @classmethod
    def mesh(
        cls, source: str | Path | Any, element: str = "P1", mass: str = "lumped", channels: int = 1
    ) -> NeuronSpace:
        """A mesh of a file or of DOLFINx, the vertices numbered as there.

        Args:
            source: ``.msh`` or ``.xdmf`` file, or a mesh on ``MPI.COMM_SELF``.
            element: "P0", "P1" or "P2".
            mass: "lumped" or "consistent".
            channels: Fields side by side.

        Raises:
            InputError: There is no such mesh.
        """
        check_element(element, mass)
        named = isinstance(source, str | Path)
        domain: Any = read_domain(MPI.COMM_SELF, source) if named else source
        dimension, flat = domain.geometry.dim, domain.geometry.dim == domain.topology.dim
        curved = domain.ufl_domain().ufl_coordinate_element().embedded_superdegree > 1
        if dimension > 2 or not flat or (curved and domain.basix_cell().name != "quadrilateral"):
            raise InputError(
                f"the mesh {source if named else 'of the neuron index'} has cells of dimension "
                f"{domain.topology.dim} in {dimension}D{', curved' if curved else ''}; expected "
                "intervals on the line, or straight triangles or quadrilaterals in the plane"
            )
        field = IndexField(domain, ELEMENTS[element], "file")

        def create(degree: int) -> IndexField:
            return field if degree == field.degree else IndexField(domain, degree, "file")

        nodes = field.dofs.size
        space = cls(nodes, channels, kind="mesh", element=element, mass=mass, create=create)
        if field.degree == 2:
            space.node_weights  # noqa: B018 -- refuses what cannot be lumped
        return space

    @property
    def all_neurons(self) -> int:
        """``N``, those of other ranks too."""
        return self.neurons

    def resized(self, nodes: int | Sequence[int]) -> NeuronSpace:
        """The same space with other nodes: a number of points or on an interval, a shape of a rectangle.

        Raises:
            InputError: A mesh of a file has the nodes it has.
        """
        if self._resize is None:
            raise InputError("a neuron index on a mesh file cannot be resized; give another mesh")
        return self._resize(nodes)

    def _resizable(self, resize: Callable[[Any], NeuronSpace]) -> NeuronSpace:
        self._resize = resize
        return self


def _cells(nodes: Sequence[int], element: str) -> list[int]:
    """Cells along each side with so many nodes."""
    if min(nodes) < 1:
        raise InputError(f"a network needs at least one neuron, got {' x '.join(map(str, nodes))}")
    least, step = {"P0": (1, 1), "P1": (2, 1), "P2": (3, 2)}[element]
    if any(n < least or (n - least) % step for n in nodes):
        raise InputError(
            f"{list(nodes)} nodes of {element} along the sides of the neuron index were asked for, "
            f"expected at least {least}{' and odd numbers' if step == 2 else ''}"
        )
    return [n if element == "P0" else (n - 1) // step for n in nodes]
