"""Couplings by differential operators: local ones, and those of the solution of an elliptic equation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from fem_deepest.errors import InputError
from fem_deepest.network.coupling.operators import OperatorCoupling
from fem_deepest.spaces.elliptic import Screened
from fem_deepest.spaces.neurons import NeuronSpace

Array = NDArray[np.float64]


def local(index: NeuronSpace, names: Sequence[str], *, uniform: bool = False) -> OperatorCoupling:
    """Local coupling by differential operators.

    Args:
        index: Neuron index.
        names: Of ``D_m``, see :meth:`.NeuronSpace.operator`.
        uniform: ``w_m(t)`` in place of ``w_m(t,s)``.

    Raises:
        InputError: An operator is named twice, or none, or the index does not have it. Not collective.
    """
    return OperatorCoupling(
        operators(index, names),
        index,
        uniform=uniform,
        names=symbols(index, names),
        text=f"coefficients w of {', '.join(names)} and bias b",
    )


def elliptic(
    index: NeuronSpace, names: Sequence[str], kappa: float, *, uniform: bool = False
) -> OperatorCoupling:
    """Non-local coupling by differential operators of ``v``, ``(kappa^2 - Laplace) v = x``.

    Args:
        index: Neuron index.
        names: Of ``D_m``, see :meth:`.NeuronSpace.operator`.
        kappa: ``kappa > 0``; the coupling reaches about ``1/kappa``.
        uniform: ``w_m(t)`` in place of ``w_m(t,s)``.

    Raises:
        InputError: As :func:`local`, or the index has no Laplace operator. Not collective.
    """
    check_screening(kappa)
    index.operator("laplace")  # refuses an index without
    mass = sparse.diags_array(index.node_weights) if index.lumped else index.field.mass
    return OperatorCoupling(
        operators(index, names),
        index,
        uniform=uniform,
        names=symbols(index, names),
        screened=Screened(mass, index.field.stiffness, kappa),
        text=f"coefficients w of {', '.join(names)} and bias b",
    )


def check_screening(kappa: float) -> None:
    """Refuse a ``kappa`` that is not positive."""
    if not kappa > 0.0:
        raise InputError(
            f"the screening kappa = {kappa} of the elliptic coupling must be positive: without it "
            "constants have no image; take for example 1"
        )


def operators(index: NeuronSpace, names: Sequence[str]) -> list[sparse.csr_array]:
    """The matrices of operators by name, component by component.

    Raises:
        InputError: An operator is named twice, or none, or the index does not have it.
    """
    if not names:
        raise InputError("network.operators is empty, expected at least one; take ['1', 'grad']")
    if len(set(names)) < len(names):
        raise InputError(f"network.operators = {list(names)} has one twice; name each once")
    if "hessian" in names and index.dimension == 1:
        raise InputError(
            "the operator 'hessian' on an interval is 'laplace', expected that name; 'hessian' is for "
            "an index of dimension 2"
        )
    return [sparse.csr_array(d) for name in names for d in index.operator(name)]


def symbols(index: NeuronSpace, names: Sequence[str]) -> list[str]:
    """The same as mathematics."""
    return [part for name in names for part in _symbols(name, index.dimension)]


def _symbols(name: str, dimension: int) -> list[str]:
    """The components of an operator as mathematics."""
    axes = "s" if dimension == 1 else "xyz"[:dimension]
    if name == "grad":
        return [rf"\partial_{a}" for a in axes]
    if name == "hessian":
        pairs = [a + b for i, a in enumerate(axes) for b in axes[i:]]
        return [rf"\partial_{{{pair}}}" for pair in pairs]
    return [{"laplace": r"\Delta"}.get(name, name)]
