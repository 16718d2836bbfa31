"""Mass matrices for white noise: of actions in UFL, and of paths."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import ufl
from numpy.typing import NDArray

from fem_deepest.action.form.action import FormAction
from fem_deepest.action.form.cells import FormLoads
from fem_deepest.action.form.factorisation import Factorisation
from fem_deepest.action.form.functional import Functional
from fem_deepest.action.paths.single import PathMetric
from fem_deepest.annealed.landscape import Numbers
from fem_deepest.noise.philox import normals
from fem_deepest.spaces.columns import Columns

Array = NDArray[np.float64]

NO_MASS = (
    "white noise was asked for on a landscape without a mass matrix, where it has no meaning; take the "
    "noise of the prior"
)


class FormMass:
    """``M`` of the free unknowns of an action in UFL; see :class:`.Mass`.

    Args:
        action: The action.

    Attributes:
        dimension: Dimension of the mesh.
        matrix: ``M``.

    Collective: construction and every method.
    """

    def __init__(self, action: FormAction) -> None:
        field, space = action.field, action.space
        form = 0.5 * ufl.inner(field, field) * ufl.dx
        self.dimension = int(field.function_space.mesh.topology.dim)
        self.matrix = Functional(form, field).hessian().ptap(space.injection)
        self._precision = action.metric.matrix
        self._loads = FormLoads(form, field, space)
        self._columns = Columns(space.create)
        self._factors = Factorisation(self.matrix)

    def draw(self, seed: int, step: int, numbers: Numbers, stream: int = 0) -> Array:
        """See :class:`.Mass`."""
        loads = self._loads
        return loads(normals(seed, loads.keys, step, stream, numbers, loads.width))

    def solve(self, R: Array) -> Array:
        """See :class:`.Mass`."""
        return self._columns(self._factors.solve, R)

    def shifted(self, a: float) -> Callable[[Array], Array]:
        """See :class:`.Mass`."""
        matrix = self.matrix.copy()
        matrix.axpy(a, self._precision)
        factors = Factorisation(matrix)
        return lambda R: self._columns(factors.solve, R)


class PathMass:
    """``M`` of a path, see :meth:`.PathMetric.with_mass`.

    Args:
        metric: Metric of the paths.
        keys: Numbers of the unknowns.

    Nothing here is collective.
    """

    dimension = 1

    def __init__(self, metric: PathMetric, keys: NDArray[np.uint64]) -> None:
        self._metric, self._mass, self._keys = metric, metric.with_mass(0.0), keys

    def draw(self, seed: int, step: int, numbers: Numbers, stream: int = 0) -> Array:
        """See :class:`.Mass`."""
        return self._mass.load(normals(seed, self._keys, step, stream, numbers))

    def solve(self, R: Array) -> Array:
        """See :class:`.Mass`."""
        return self._mass.solution(R)

    def shifted(self, a: float) -> Callable[[Array], Array]:
        """See :class:`.Mass`."""
        return self._metric.with_mass(a).solution
