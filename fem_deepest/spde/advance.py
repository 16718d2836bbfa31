"""Steps that fail are taken in two halves of the same path."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import NotConverged
from fem_deepest.spde.path import WienerPath
from fem_deepest.spde.schemes.scheme import Scheme

Array = NDArray[np.float64]


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
        rejections: How many there may be.

    Returns:
        The state, its time, and the number of rejected steps.

    Raises:
        NotConverged: There were too many rejections; ``U`` is the last state.

    Collective.
    """
    for rejected in range(rejections + 1):
        try:
            new = scheme.step(U, t, path.length(t, end), path.increment(t, end))
        except NotConverged as failure:
            if not scheme.rejects or rejected == rejections:
                raise NotConverged(
                    f"the step from {t:.6g} to {end:.6g} failed after {rejected} rejections: {failure}"
                ) from failure
            end = path.split(t, end)
        else:
            return new, end, rejected
    raise AssertionError("unreachable")
