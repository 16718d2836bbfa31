"""Observations of a path: some components, at any depths, each with its precision.

At the depth ``t_j`` in cell ``i`` the path is the polynomial through the nodes of the cell, so that
an observation is linear in them, ``H_j x = sum_a l_a(s_j) x_a`` with ``s_j = (t_j - t_i)/h_i``, and
the measurement term is the quadratic ``sum_jl R_jl (H_j x_l - y_jl)^2`` times a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from fem_deepest.dynamics.defects import Defects
from fem_deepest.errors import InputError

Array = NDArray[np.float64]

_ON_NODE = 1e-9  # distance, in cells, within which a depth is that of a node


class Observations:
    """``M`` observations of ``L`` components.

    Args:
        times: Depths, (M,), in any order; anywhere on the path, nodes or not.
        values: ``y``, (M, L); NaN where there is none.
        components: Numbers of the components observed, (L,); default: all.
        precision: ``R_m``: a number, (L,) by component, or (M, L).

    Attributes:
        times: Depths, (M,).
        values: ``y``, (M, L), zero where there is none.
        components: Numbers of the components, (L,).
        precision: ``R_jl``, (M, L), zero where there is none.
        count: Number of observations, those missing not counted.

    Raises:
        InputError: Shapes disagree, a precision is negative, or nothing is observed.

    Nothing here is collective.
    """

    def __init__(
        self,
        times: ArrayLike,
        values: ArrayLike,
        components: Sequence[int] | None = None,
        precision: ArrayLike = 1.0,
    ) -> None:
        self.times = np.asarray(times, dtype=np.float64)
        y = np.asarray(values, dtype=np.float64)
        if self.times.ndim != 1 or y.ndim != 2 or y.shape[0] != self.times.size:
            raise InputError(
                f"observations got times of shape {self.times.shape} and values of shape {y.shape}, "
                "expected (M,) and (M, L): one row for each time"
            )
        self.components = np.arange(y.shape[1]) if components is None else np.asarray(components)
        if (
            self.components.shape != (y.shape[1],)
            or len(set(self.components.tolist())) < y.shape[1]
        ):
            raise InputError(
                f"observations got components {self.components.tolist()} for {y.shape[1]} columns of "
                "values; name one component, each once, for every column"
            )
        seen = np.isfinite(y)
        try:
            weight = np.broadcast_to(np.asarray(precision, dtype=np.float64), y.shape)
        except ValueError:
            raise InputError(
                f"the precision R_m has shape {np.shape(precision)}, expected a number, "
                f"({y.shape[1]},) or {y.shape}"
            ) from None
        if not (np.isfinite(weight).all() and (weight >= 0.0).all()):
            raise InputError("the precision R_m must be finite and not negative, and is not")
        if not (seen & (weight > 0.0)).any():
            raise InputError(
                "there are no observations; give one finite value or more of positive precision"
            )
        self.precision = np.where(seen, weight, 0.0)
        self.values = np.where(seen, y, 0.0)
        self.count = int(seen.sum())

    def on(self, defects: Defects) -> Observed:
        """The observations as functions of the nodes of a path.

        Raises:
            InputError: A time lies outside the path, or there is no such component.
        """
        return Observed(self, defects)


def expected_measurement(observations: Observations, weight: float) -> tuple[float, float]:
    """Mean and standard deviation of the measurement term at the truth.

    With Gaussian noise of the precisions ``R_m`` the sum of the squares is chi-square with as many
    degrees of freedom as there are observations with a positive precision.

    Args:
        observations: What is observed.
        weight: ``c_m`` of the normalisation.
    """
    freedom = int((observations.precision > 0.0).sum())
    return weight * freedom, weight * float(np.sqrt(2.0 * freedom))


class Observed:
    """Observations on the nodes of a path.

    Attributes:
        observations: What is observed.
        matrix: Interpolation in depth, (M, m), sparse.
        local: ``sum_j l_a l_b R_j`` by cell, (n, A, A, D): half the second derivative.
    """

    def __init__(self, observations: Observations, defects: Defects) -> None:
        self.observations = observations
        times, ends = observations.times, defects.ends
        states = defects.dynamics.states
        slack = _ON_NODE * defects.steps
        if times.min() < ends[0] - slack[0] or times.max() > ends[-1] + slack[-1]:
            raise InputError(
                f"observations lie between {times.min():g} and {times.max():g}, but the path between "
                f"{ends[0]:g} and {ends[-1]:g}; observe inside of the path, or make it longer"
            )
        if observations.components.min() < 0 or observations.components.max() >= states:
            raise InputError(
                f"observed components {observations.components.tolist()} of a system with {states} "
                f"states, expected numbers from 0 to {states - 1}"
            )
        cell = np.clip(np.searchsorted(ends, times, side="right") - 1, 0, defects.cells - 1)
        place = (times - ends[cell]) / defects.steps[cell]
        nodes = defects.transcription.nodes
        nearest = nodes[np.argmin(np.abs(place[:, None] - nodes), axis=1)]
        place = np.where(np.abs(place - nearest) < _ON_NODE, nearest, place)
        powers = np.arange(nodes.size)
        weights = place[:, None] ** powers @ np.linalg.inv(nodes[:, None] ** powers)
        weights[np.abs(weights) < 1e-14] = 0.0
        span, rows = nodes.size - 1, np.arange(times.size)
        columns = span * cell[:, None] + np.arange(nodes.size)
        self.matrix = csr_array(
            (weights.ravel(), (np.repeat(rows, nodes.size), columns.ravel())),
            shape=(times.size, defects.nodes.size),
        )
        self.matrix.eliminate_zeros()
        self._transposed = csr_array(self.matrix.T)
        self.local = np.zeros((defects.cells, nodes.size, nodes.size, states))
        index: Any = (cell[:, None], slice(None), slice(None), observations.components)
        product = weights[:, None, :, None] * weights[:, None, None, :]
        np.add.at(self.local, index, product * observations.precision[:, :, None, None])

    def residual(self, x: Array) -> Array:
        """``H x - y``, (B, M, L), of paths ``x`` (B, m, D)."""
        part = x[..., self.observations.components]
        return _in_depth(self.matrix, part) - self.observations.values

    def value(self, residual: Array) -> Array:
        """``sum R (H x - y)^2``, (B,)."""
        return np.einsum("bjl,jl,bjl->b", residual, self.observations.precision, residual)

    def gradient(self, residual: Array, states: int) -> Array:
        """``H^T R (H x - y)``, (B, m, D): half the derivative of :meth:`value`."""
        part = _in_depth(self._transposed, residual * self.observations.precision)
        out = np.zeros((*part.shape[:-1], states))
        out[..., self.observations.components] = part
        return out


def _in_depth(matrix: csr_array, x: Array) -> Array:
    """Apply a matrix to the depth axis of (B, m, L)."""
    many, nodes, components = x.shape
    flat = x.transpose(1, 0, 2).reshape(nodes, -1)
    return (matrix @ flat).reshape(-1, many, components).transpose(1, 0, 2)
