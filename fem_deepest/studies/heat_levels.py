"""Levels of multilevel Monte Carlo for the stochastic heat equation: sampled, and exactly.

Level ``l`` has ``N_0 2^l`` cells and ``n_0 4^l`` backward Euler steps, ``k ~ h^2``; its work is the number
of unknowns times that of the steps. The quantity is the square of the value in the middle of the
interval, or that of the norm:

    "point"   u(T, 1/2)^2    alpha = 2 beta, beta_V = 2 beta      (orders in h, at most 2 and 4)
    "norm"    |u(T)|^2       alpha = 2 beta, beta_V = 4 beta + 1

For a Lipschitz function of the solution theory bounds the variance by the square of the strong error,
``2 beta``, and the point value attains it; the norm averages over the domain and is cheaper.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fem_deepest.spde import uniform
from fem_deepest.spde.lyapunov import Coupled, Quadratic, ThetaSteps
from fem_deepest.spde.modal import ModalHeat
from fem_deepest.spde.multilevel import Rates

if TYPE_CHECKING:
    from fem_deepest.spde.coupled import CoupledPaths

Array = NDArray[np.float64]
Quantity = Literal["point", "norm"]

_LARGEST = 4096  # samples in a block on level 0, a quarter on each that follows
_SMALLEST = 64


@dataclass(frozen=True)
class Hierarchy:
    """The levels.

    Attributes:
        heat: The equation.
        quantity: What is sampled.
        cells: ``N_0``, even.
        steps: ``n_0``.
    """

    heat: ModalHeat
    quantity: Quantity
    cells: int
    steps: int

    def size(self, level: int) -> tuple[int, int]:
        """Cells and steps of a level."""
        return self.cells * 2**level, self.steps * 4**level

    def work(self, level: int) -> float:
        """Unknowns times steps of one sample."""
        cells, steps = self.size(level)
        return float((cells - 1) * steps)

    @property
    def rates(self) -> Rates:
        """Exponents that theory gives, per level."""
        beta = self.heat.beta
        variance = 2.0 * beta if self.quantity == "point" else 4.0 * beta + 1.0
        return Rates(min(2.0 * beta, 2.0), min(variance, 4.0), 3.0)

    @cached_property
    def limit(self) -> float:
        """The expectation that all levels approach."""
        if self.quantity == "point":
            return self.heat.variance_at(0.5)
        return self.heat.second_moment()

    def value(self, level: int) -> Quadratic:
        """Exact mean and variance of ``P_l``."""
        return self._steps(level).quadratic(self._form(level))

    def difference(self, level: int) -> Quadratic:
        """Exact mean and variance of ``P_l - P_{l-1}``; of ``P_0`` on level 0."""
        if level == 0:
            return self.value(0)
        coarse, fine = level - 1, level
        P = uniform.prolongation(self.size(coarse)[0], self.size(fine)[0])
        pair = Coupled(self._steps(fine), self._steps(coarse), P)
        return pair.difference(self._form(fine), self._form(coarse))

    def _steps(self, level: int) -> ThetaSteps:
        cells, steps = self.size(level)
        return ThetaSteps(uniform.equation(self.heat, cells), self.heat.T, steps)

    def _form(self, level: int) -> Array:
        cells = self.size(level)[0]
        if self.quantity == "norm":
            return uniform.equation(self.heat, cells).M
        middle = np.zeros((cells - 1, 1))
        middle[cells // 2 - 1] = 1.0
        return middle @ middle.T


class HeatSampler:
    """Samples of a hierarchy by :class:`CoupledPaths`, on meshes of one rank each.

    Args:
        hierarchy: The levels.
        seed: Seed of the noise.
        stream: Number of its first stream; every level has its own.
    """

    def __init__(self, hierarchy: Hierarchy, seed: int, stream: int) -> None:
        self.hierarchy, self.seed, self.stream = hierarchy, seed, stream

    def block(self, level: int) -> int:
        """Samples stepped side by side."""
        return max(_SMALLEST, _LARGEST >> (2 * level))

    def work(self, level: int) -> float:
        """See :meth:`Hierarchy.work`."""
        return self.hierarchy.work(level)

    def sample(self, level: int, samples: range) -> tuple[Array, Array]:
        """See :class:`fem_deepest.spde.levels.Sampler`."""
        # All of noise and spde: imported only where something is drawn.
        from fem_deepest.studies import heat_paths

        paths = _coupled(self.hierarchy, level, self.seed, self.stream + level)
        U = paths.end(samples)
        schemes = [paths.fine, *(other.scheme for other in paths.coarse)]
        values = []
        for scheme, u in zip(schemes, U, strict=True):
            if self.hierarchy.quantity == "norm":
                values.append(heat_paths.square(scheme.problem, u))
            else:
                values.append(heat_paths.point_value(scheme.problem.V, u) ** 2)
        return values[0], values[1] if level else np.zeros(len(samples))


@lru_cache(maxsize=32)
def _coupled(hierarchy: Hierarchy, level: int, seed: int, stream: int) -> CoupledPaths:
    """Fine and coarse solution of a level; matrices and factorisations are kept."""
    from fem_deepest.studies import heat_paths

    coarser = [hierarchy.size(level - 1)] if level else []
    return heat_paths.coupled(hierarchy.heat, hierarchy.size(level), coarser, seed, stream)
