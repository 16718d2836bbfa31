"""Constants before the terms of the action of a path: ours, and those of two published programs.

    A = c_m sum_jl R_jl (H_j x_l - y_jl)^2 + R_f sum_i c_i sum_r omega_r |d_ir|^2 + prior

with the defects ``d_ir`` of cell ``i`` divided by its length ``h_i``.

Nothing here is collective.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fem_deepest.action.paths.observations import Observations
from fem_deepest.dynamics.defects import Defects
from fem_deepest.errors import InputError

Array = NDArray[np.float64]
Normalisation = Callable[[Observations, Defects], tuple[float, Array]]


def integral(observations: Observations, defects: Defects) -> tuple[float, Array]:
    """``A = 1/2 sum R_m |H x - y|^2 + R_f/2 int |x' - F|^2 dt``: the one that has a limit."""
    return 0.5, 0.5 * defects.steps


def minaone(observations: Observations, defects: Defects) -> tuple[float, Array]:
    """``A = (1/m) [ sum R_m |H x - y|^2 + R_f sum |h d|^2 ]`` with ``m`` the number of nodes.

    Ye, Rey, Kadakia, Eldridge, Morone, Rozdeba, Abarbanel, Quinn (2015),
    doi:10.1103/PhysRevE.92.052901, and the program minAone.
    """
    nodes = defects.nodes.size
    return 1.0 / nodes, defects.steps**2 / nodes


def varanneal(observations: Observations, defects: Defects) -> tuple[float, Array]:
    """``A = sum R_m |H x - y|^2 / (L M) + R_f sum |h d|^2 / (D (m - 1))``.

    The program varanneal (Rozdeba), with ``M`` times and ``L`` components observed.
    """
    states = defects.dynamics.states
    return 1.0 / observations.values.size, defects.steps**2 / (states * (defects.nodes.size - 1))


NORMALISATIONS: dict[str, Normalisation] = {
    "integral": integral,
    "minaone": minaone,
    "varanneal": varanneal,
}


def normalisation(name: str) -> Normalisation:
    """Normalisation of that name.

    Raises:
        InputError: No normalisation has that name.
    """
    if name not in NORMALISATIONS:
        raise InputError(f"unknown normalisation '{name}', expected one of {tuple(NORMALISATIONS)}")
    return NORMALISATIONS[name]
