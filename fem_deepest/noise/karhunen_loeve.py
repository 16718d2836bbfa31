"""Covariances given by their eigenvalues on the eigenfunctions of the Laplace operator.

    u = sum_j sqrt(q_j) c_j e_j,     -Laplace e_j = lambda_j e_j,     c_j independent N(0, 1).

On intervals, rectangles and boxes along the axes ``e_j`` are the products of sines (Dirichlet) or cosines
(Neumann), integrated against the basis functions to rounding: the law is exactly that of the process
tested with the basis functions, ``C = P_h Q P_h M^{-1}`` with the L2 projection ``P_h``, on every mesh.
The ``c_j`` are drawn mode by mode, so that all meshes see the same path. On other domains ``e_j`` are the
discrete eigenfunctions, by SLEPc; their signs and the bases of multiple eigenvalues are arbitrary, so
there the ``c_j`` are moments of white noise, which makes the field independent of the choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from dolfinx import fem
from numpy.typing import NDArray

from fem_deepest.errors import InputError
from fem_deepest.noise.covariance import White
from fem_deepest.noise.eigenfunctions import on_box, on_mesh
from fem_deepest.noise.lowrank import LowRank
from fem_deepest.noise.philox import normals

Array = NDArray[np.float64]
Spectrum = Callable[[Array], Array] | Array

EXACT = {"sine": 1, "cosine": 0}  # and the least index of a mode
DISCRETE = ("dirichlet", "neumann", "periodic")
_SAME = 1e-6  # relative distance of eigenvalues that are one


@dataclass(frozen=True)
class PowerLaw:
    """``q_j = scale (shift + lambda_j)^{-decay}``.

    On (0, 1) ``q_j = j^{-2a}`` is ``PowerLaw(a, scale=pi**(2 * a))``.

    Attributes:
        decay: Exponent; the regularity number is ``1 + decay - d/2``.
        scale: Factor, positive.
        shift: Needed with Neumann conditions, whose first eigenvalue is zero.
    """

    decay: float
    scale: float = 1.0
    shift: float = 0.0

    def __call__(self, eigenvalues: Array) -> Array:
        """``q`` of eigenvalues (m,)."""
        with np.errstate(divide="ignore"):
            return self.scale * (self.shift + eigenvalues) ** -self.decay


class KarhunenLoeve(LowRank):
    """Covariance with the eigenvalues ``q_j`` on the first eigenfunctions of ``-Laplace``.

    Args:
        V: Scalar space.
        spectrum: ``q``, (modes,), in the order of increasing ``lambda_j`` (then of the indices); or a
            function that gives ``q`` for ``lambda``, such as :class:`PowerLaw`.
        modes: Number of modes; that of ``q`` if None.
        basis: "sine" or "cosine", exact, on an interval, rectangle or box along the axes; or discrete
            eigenfunctions on any mesh with the boundary condition "dirichlet", "neumann" or "periodic"
            (in the first coordinate).
        decay: ``q_j ~ lambda_j^{-decay}`` in the sequence that was cut off, for :meth:`beta`. That of the
            spectrum if None; infinite where it has none: so many modes and no more.

    Attributes:
        laplace: ``lambda_j``, (modes,).
        q: ``q_j``, (modes,).

    Raises:
        InputError: ``q`` is negative, not finite or of the wrong length; the domain is no box; a multiple
            eigenvalue has several ``q`` or is cut.
        NotConverged: SLEPc did not find the eigenfunctions.

    Collective: see :class:`Covariance`.
    """

    def __init__(
        self,
        V: fem.FunctionSpace,
        spectrum: Spectrum,
        modes: int | None = None,
        *,
        basis: str = "sine",
        decay: float | None = None,
    ) -> None:
        if basis not in (*EXACT, *DISCRETE):
            raise InputError(
                f"basis '{basis}' was given, expected one of {', '.join((*EXACT, *DISCRETE))}"
            )
        if V.dofmap.bs != 1 or V.num_sub_spaces:
            raise InputError(f"the space {V.ufl_element()} was given, expected a scalar one")
        if modes is None and not callable(spectrum):
            modes = len(spectrum)
        if modes is None or modes < 1:
            raise InputError(f"{modes} modes were asked for, expected a positive number of them")
        self._independent = basis in EXACT
        if self._independent:
            self.laplace, functions = on_box(V, modes, EXACT[basis])
        else:
            self.laplace, functions = on_mesh(V, modes, basis)
        q = np.asarray(
            spectrum(self.laplace[:modes]) if callable(spectrum) else spectrum, dtype=float
        )
        if q.shape != (modes,) or not np.isfinite(q).all() or (q < 0.0).any():
            raise InputError(
                f"the eigenvalues {q} of a covariance were given, expected {modes} finite numbers "
                "that are not negative; a power law with Neumann conditions needs a shift"
            )
        if not self._independent:
            _check_multiple(self.laplace, q)
            self.laplace = self.laplace[:modes]
        self.q = q
        decay = getattr(spectrum, "decay", math.inf) if decay is None else decay
        super().__init__(V, functions * np.sqrt(q), 1.0 + decay - 0.5 * V.mesh.topology.dim)

    def driver(self, white: White, step: int, dt: float, samples: Any = (0,)) -> Array:
        """See :class:`Covariance`; on a box one number for each mode, the same on all meshes."""
        if not self._independent:
            return super().driver(white, step, dt, samples)
        if not 0.0 < dt < math.inf:
            raise InputError(f"a step of length {dt:g} was given, expected a positive length")
        keys = np.arange(self.q.size, dtype=np.uint64)
        return self.from_coefficients(
            math.sqrt(dt) * normals(white.seed, keys, step, white.stream, samples)
        )


def _check_multiple(laplace: Array, q: Array) -> None:
    following = np.append(q, 0.0)[: len(laplace)]
    same = np.diff(laplace) <= _SAME * np.abs(laplace[1:])
    wrong = np.flatnonzero(same & ~np.isclose(following[:-1], following[1:], rtol=1e-4, atol=0.0))
    if wrong.size:
        j = int(wrong[0])
        after = f"q = {following[j + 1]:g}" if j + 1 < len(q) else "is left out"
        raise InputError(
            f"modes {j + 1} and {j + 2} have one eigenvalue, {laplace[j]:.6g}, and so no basis of their "
            f"own, but one has q = {following[j]:g} and the other {after}; treat both alike"
        )
