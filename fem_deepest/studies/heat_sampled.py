"""Discrete solutions of the stochastic heat equation against the next finer ones of the same paths.

Sampled by :class:`fem_deepest.spde.coupled.CoupledPaths`, and for comparison the same errors exactly, by
:class:`fem_deepest.spde.lyapunov.Coupled`. A discretisation is ``(cells, steps)`` with backward Euler.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest.spaces.tasks import blocks, dealt
from fem_deepest.spde import uniform
from fem_deepest.spde.lyapunov import Coupled, ThetaSteps
from fem_deepest.spde.modal import ModalHeat

if TYPE_CHECKING:
    from fem_deepest.spde.coupled import CoupledPaths

Array = NDArray[np.float64]
Size = tuple[int, int]

_BLOCK = 100  # samples stepped side by side


def exact_errors(heat: ModalHeat, sizes: Sequence[Size]) -> dict[str, Array]:
    """``strong`` and ``weak`` distance of each size from the next, (m - 1,) each. Not collective.

    Args:
        heat: The equation.
        sizes: The discretisations, (m), coarse to fine and paths.
    """
    pairs = [
        Coupled(_steps(heat, fine), _steps(heat, coarse), uniform.prolongation(coarse[0], fine[0]))
        for coarse, fine in pairwise(sizes)
    ]
    return {
        "strong": np.array([pair.strong_error for pair in pairs]),
        "weak": np.array([abs(pair.weak_error) for pair in pairs]),
    }


def sampled_errors(
    heat: ModalHeat, sizes: Sequence[Size], seed: int, samples: range, comm: MPI.Intracomm
) -> dict[str, Array]:
    """``strong``: ``|U_{i+1} - U_i|^2``; ``weak``: ``|U_{i+1}|^2 - |U_i|^2``; each (m - 1, S).

    Args:
        heat: The equation.
        sizes: The discretisations, (m), coarse to fine and paths.
        seed: Seed of the noise.
        samples: Numbers of the samples.
        comm: Samples are spread over its ranks; the result is the same on any number of them.

    Collective.
    """
    # All of noise and spde: imported only where something is drawn.
    from fem_deepest.studies import heat_paths

    paths = _coupled(heat, tuple(sizes), seed)
    problem = paths.fine.problem

    def compute(part: range) -> tuple[Array, Array]:
        finest, *others = paths.end(part)
        lifted = [c.lifted(U) for c, U in zip(paths.coarse, others, strict=True)] + [finest]
        norms = np.array([heat_paths.square(problem, U) for U in lifted])
        apart = [heat_paths.square(problem, fine - coarse) for coarse, fine in pairwise(lifted)]
        return np.array(apart), np.diff(norms, axis=0)

    found = dealt(blocks(samples, _BLOCK), compute, comm)
    strong, weak = (np.concatenate([pair[i] for pair in found], axis=1) for i in (0, 1))
    return {"strong": strong, "weak": weak}


@lru_cache(maxsize=8)
def _coupled(heat: ModalHeat, sizes: tuple[Size, ...], seed: int) -> CoupledPaths:
    from fem_deepest.studies import heat_paths

    return heat_paths.coupled(heat, sizes[-1], sizes[:-1], seed)


def _steps(heat: ModalHeat, size: Size) -> ThetaSteps:
    return ThetaSteps(uniform.equation(heat, size[0]), heat.T, size[1])
