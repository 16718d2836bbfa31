"""Neuron index ``S``: a set of points, an interval, a rectangle or any mesh, with the space ``V_S`` on it.

A state is a field over the index, or several side by side (*channels*): row ``c * nodes + i`` of a
state is the value of channel ``c`` at node ``i``. The mass matrix ``M_S`` of the integral
``int w(t,s,s') x(t,s') ds'`` and of the prior is lumped or consistent; the norm of a state is that of
the lumped masses always.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest.errors import InputError
from fem_deepest.spaces.factor import Factor

Array = NDArray[np.float64]

ELEMENTS = {"P0": 0, "P1": 1, "P2": 2}
_OF_POINTS = "points have no geometry; take an interval, a rectangle or a mesh as neuron index"


class NeuronSpace:
    """Space ``V_S``. Made by :meth:`points`, :meth:`interval`, :meth:`rectangle` and :meth:`mesh`.

    On points (counting measure) the effective matrix is the kernel, ``W_h = w``. On ``N`` cells of
    the unit interval (P0) it is ``W_h = w/N``, the mean-field scaling. With lumped mass and one
    channel ``W_h = w diag(weights)``.

    Args:
        nodes: Nodes of one channel.
        channels: Fields side by side.
        create: Makes the mesh with the space; None for points.
        element: "P0", "P1" or "P2".
        mass: "lumped" or "consistent".
        measure: The lumped mass of every node where it is known without the mesh.
        kind: Name of the constructor.
        resize: Makes the same space with other nodes.

    Attributes:
        nodes: Nodes of one channel.
        channels: Fields side by side.
        neurons: ``N = channels * nodes``.
        element: The element.
        lumped: Whether ``M_S`` is lumped.
        kind: "points", "interval", "rectangle" or "mesh".
        is_points: Whether there is no geometry.
        comm: Ranks that share the index, see :class:`.SpreadSpace`; None: every rank has all of it.

    Raises:
        InputError: No nodes or channels, an element or a mass that there is not.

    Nothing here is collective: every rank has the whole index.
    """

    comm: MPI.Intracomm | None = None

    def __init__(
        self,
        nodes: int,
        channels: int = 1,
        *,
        kind: str = "points",
        element: str = "P0",
        mass: str = "lumped",
        measure: float | None = None,
        create: Callable[[int], Any] | None = None,
        resize: Callable[[Any], NeuronSpace] | None = None,
    ) -> None:
        if nodes < 1 or channels < 1:
            raise InputError(
                f"a network needs at least one neuron, got {nodes} in each of {channels} channels"
            )
        check_element(element, mass)
        self.nodes, self.channels, self.neurons = nodes, channels, nodes * channels
        self.kind, self.element, self.lumped = kind, element, mass == "lumped"
        self.is_points = create is None
        self._create, self._measure, self._resize = create, measure, resize

    @classmethod
    def points(cls, neurons: int) -> NeuronSpace:
        """``N`` points with the counting measure."""
        return cls(neurons, measure=1.0, resize=cls.points)

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

        def create(degree: int) -> Any:
            from fem_deepest.spaces.domain import create_domain
            from fem_deepest.spaces.index_field import IndexField

            return IndexField(create_domain(MPI.COMM_SELF, [extent], [cells]), degree, "line")

        def resize(nodes: int) -> NeuronSpace:
            return cls.interval(nodes, element, mass, extent, channels)

        return cls(
            nodes,
            channels,
            kind="interval",
            element=element,
            mass=mass,
            measure=extent / nodes if element == "P0" else None,
            create=create,
            resize=resize,
        )

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

        def create(degree: int) -> Any:
            from fem_deepest.spaces.domain import create_domain
            from fem_deepest.spaces.index_field import IndexField

            domain = create_domain(MPI.COMM_SELF, size[::-1], cells[::-1], tensor=True)
            return IndexField(domain, degree, "rows")

        def resize(shape: Sequence[int]) -> NeuronSpace:
            return cls.rectangle(shape, element, mass, extent, channels)

        return cls(
            down * across,
            channels,
            kind="rectangle",
            element=element,
            mass=mass,
            measure=size[0] * size[1] / (down * across) if element == "P0" else None,
            create=create,
            resize=resize,
        )

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
        from fem_deepest.spaces.domain import read_domain
        from fem_deepest.spaces.index_field import IndexField

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

        def create(degree: int) -> Any:
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

    def to_dict(self) -> dict[str, Any] | None:
        """The mesh in plain types where nothing else describes it, for :func:`.domain_from_dict`."""
        from fem_deepest.spaces.domain import domain_to_dict

        return domain_to_dict(self.field.domain) if self.kind == "mesh" else None

    @cached_property
    def field(self) -> Any:
        """The scalar space of one channel, :class:`.IndexField`.

        Raises:
            InputError: The index is a set of points.
        """
        if self._create is None:
            raise InputError(_OF_POINTS)
        return self._create(ELEMENTS[self.element])

    @property
    def dimension(self) -> int:
        """Number of coordinates of a node; 0 for points."""
        return 0 if self.is_points else int(self.field.domain.geometry.dim)

    @cached_property
    def coordinates(self) -> Array:
        """Coordinates of the nodes, (nodes, geometric dimension); points have their numbers, (N, 1)."""
        if self.is_points:
            return np.arange(self.nodes, dtype=np.float64)[:, None]
        return np.asarray(self.field.coordinates)

    @cached_property
    def grid(self) -> tuple[int, ...] | None:
        """Nodes along the interval, or down and across the rectangle; None for others."""
        if self.kind == "interval":
            return (self.nodes,)
        if self.kind != "rectangle":
            return None
        across = int(np.sum(np.isclose(self.coordinates[:, 1], self.coordinates[0, 1])))
        return self.nodes // across, across

    @cached_property
    def node_weights(self) -> Array:
        """Lumped mass of the nodes of one channel, (nodes,), positive.

        The sums of the rows of the mass matrix, ``int phi_i``. Those of P2 on triangles vanish at the
        vertices: there its diagonal, scaled to keep the total mass of the mesh (Hinton, Rock,
        Zienkiewicz 1976, doi:10.1002/eqe.4290040305).

        Raises:
            InputError: A lumped ``M_S`` was asked for where the sums are not positive.
        """
        if self._measure is not None:
            return np.full(self.nodes, self._measure)
        mass = self.field.mass
        sums: Array = np.asarray(mass.sum(axis=1)).ravel()
        if sums.min() > 1e-12 * sums.max():
            return sums
        if self.lumped:
            raise InputError(
                f"the lumped mass of {self.element} on these cells is not positive; take "
                'mass = "consistent" or element = "P1"'
            )
        diagonal: Array = mass.diagonal()
        return np.multiply(diagonal, sums.sum() / diagonal.sum())

    @cached_property
    def weights(self) -> Array:
        """Lumped mass of every neuron, (N,), positive; 1 for points."""
        return np.tile(self.node_weights, self.channels)

    @cached_property
    def uniform(self) -> float | None:
        """The number ``m`` where ``M_S = m 1``, else None."""
        return self.factor.uniform

    @cached_property
    def factor(self) -> Factor:
        """``M_S`` and ``K_S``, the channels side by side; all of them one part."""
        if self.is_points:
            return Factor.plain(self.neurons)
        part = Factor(
            self.node_weights,
            lambda: self.field.stiffness,
            None if self.lumped else self.field.mass,
        )
        return Factor.sum([part] * self.channels)

    def interpolate(self, function: Callable[[Array], Array]) -> Array:
        """Values (nodes,) of a function of the coordinates (geometric dimension, nodes)."""
        values = np.asarray(function(self.coordinates.T), dtype=np.float64)
        return np.broadcast_to(values, (self.nodes,)).copy()

    def evaluate(self, points: Array) -> sparse.csr_matrix:
        """Values of a field at points (m, geometric dimension) from those at the nodes, (m, nodes)."""
        return self.field.evaluate(points)

    def prolongation(self, finer: NeuronSpace) -> sparse.csr_matrix:
        """FE interpolation of the states of this space to another of the same domain, (N_f, N_c).

        Exact for nested spaces; P0 takes the values at its midpoints.

        Raises:
            InputError: The channels differ, or points would have to change their number.
        """
        if self.channels != finer.channels or self.is_points != finer.is_points:
            raise InputError(
                f"a field of {self.channels} channels on '{self.kind}' cannot be interpolated to "
                f"{finer.channels} on '{finer.kind}'; take the same number and kind"
            )
        if self.is_points:
            if self.nodes != finer.nodes:
                raise InputError(
                    f"{self.nodes} neurons cannot be interpolated to {finer.nodes}: {_OF_POINTS}"
                )
            return sparse.identity(self.nodes, format="csr")
        one = self.evaluate(finer.coordinates)
        return sparse.block_diag([one] * self.channels, format="csr") if self.channels > 1 else one

    def operator(self, name: str) -> list[sparse.csr_matrix]:
        """Differential operators between node values, see :mod:`.differential`; each (nodes, nodes).

        Args:
            name: "1" (one), "grad" (as many as coordinates), "laplace" (one), "hessian".

        Raises:
            InputError: There is no such operator on this space.
        """
        from fem_deepest.spaces.differential import operator

        return operator(self, name)

    def enter(self, shape: Sequence[int]) -> Array:
        """``E``, (N, d): projection of the piecewise constant function with given cell means.

        Channel 0 is the projection in ``M_S``, the others start at zero; see :mod:`.pixels`.

        Args:
            shape: Pixels down and across, or cells along a line; ``d`` is their product.

        Raises:
            InputError: The dimension differs, or a pixel lies outside of the index.
        """
        from fem_deepest.spaces.pixels import enter

        return enter(self, shape)

    def leave(self, shape: Sequence[int]) -> Array:
        """``(d, N)``: cell means of channel 0 of a state, see :meth:`enter`."""
        from fem_deepest.spaces.pixels import leave

        return leave(self, shape)

    def to_function(self, values: Array, name: str = "x") -> Any:
        """DOLFINx function with node values (nodes,)."""
        return self.field.to_function(values, name)


def check_element(element: str, mass: str) -> None:
    """Refuse an element or a mass that there is not."""
    if element not in ELEMENTS or mass not in ("lumped", "consistent"):
        raise InputError(
            f"a neuron index with element '{element}' and mass '{mass}' was asked for, expected one "
            f"of {', '.join(ELEMENTS)} and lumped or consistent"
        )


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
