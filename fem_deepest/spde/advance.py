"""Steps that fail are taken in two halves of the same path."""

from __future__ import annotations

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.errors import InputError, NotConverged, NumericalFailure
from fem_deepest.spde.path import WienerPath
from fem_deepest.spde.schemes.scheme import Scheme

Array = NDArray[np.float64]

_SHORTEST = 1e-5  # of a step of the grid


def attempt(
    scheme: Scheme, path: WienerPath, U: Array, t: float, end: float, rejections: int
) -> tuple[Array, float, int]:
    """One step from ``t``, to ``end`` or less far.

    A step that does not converge is rejected and its noise kept: the path is made known in the middle
    (:class:`WienerPath`), and the first half is tried. The second half follows as the next step.

    Args:
        scheme: Time scheme.
        path: Path of the noise.
        U: State at ``t``, (owned, S); all samples are stepped alike.
        t: Time.
        end: The next time at which the path is known, or one between.
        rejections: How many there may be; any number if negative.

    Returns:
        The state, its time, and the number of rejected steps.

    Raises:
        NotConverged: There were too many rejections, or the path must not be refined; ``U`` is the last
            state.
        NumericalFailure: The new state is not finite.

    Collective.
    """
    rejected = 0
    while True:
        dt = path.length(t, end)
        try:
            new = scheme.step(U, t, dt, path.increment(t, end))
        except NotConverged as failure:
            told = (
                f"the step from {t:.6g} to {end:.6g} failed after {rejected} rejections: {failure}"
            )
            if not path.refine or rejected == rejections or dt < _SHORTEST * path.dt:
                raise NotConverged(told) from failure
            try:
                rejected, end = rejected + 1, path.split(t, end)
            except InputError as refusal:  # the path has been refined as often as it can be
                raise NotConverged(f"{told}; {refusal}") from failure
            continue
        if scheme.problem.V.mesh.comm.allreduce(bool(np.isfinite(new).all()), MPI.LAND):
            return new, end, rejected
        raise NumericalFailure(
            f"the state is not finite after the step from {t:.6g} to {end:.6g}; take a shorter step, or a "
            "scheme that is stable for it ('tamed-euler', 'drift-implicit-euler')"
        )
