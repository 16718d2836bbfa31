"""Kernels by name, for configurations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fem_deepest.errors import InputError
from fem_deepest.sample.hamiltonian import HamiltonianMonteCarlo
from fem_deepest.sample.kernel import Kernel
from fem_deepest.sample.langevin import infinity_mala, spde_mala
from fem_deepest.sample.pcn import PreconditionedCrankNicolson, RandomWalk
from fem_deepest.sample.target import Target

KERNELS: dict[str, Callable[..., Kernel]] = {
    "pcn": PreconditionedCrankNicolson,
    "infinity_mala": infinity_mala,
    "spde_mala": spde_mala,
    "hmc": HamiltonianMonteCarlo,
    "random_walk": RandomWalk,
    "spde_mala_explicit": lambda target, step: spde_mala(target, step, 0.0),
    "spde_mala_implicit": lambda target, step: spde_mala(target, step, 1.0),
}


def named_kernel(name: str, target: Target, step: float, **more: Any) -> Kernel:
    """A kernel by name.

    Args:
        name: One of :data:`KERNELS`.
        target: The measure.
        step: First step size.
        more: ``theta`` of the Langevin kernels, ``steps`` of HMC.

    Raises:
        InputError: There is no such kernel, or a number is wrong.
    """
    if name not in KERNELS:
        raise InputError(f"there is no kernel '{name}', expected one of {', '.join(KERNELS)}")
    return KERNELS[name](target, step, **more)
