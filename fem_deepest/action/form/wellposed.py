"""What makes an action in UFL unusable, found before it is solved, and the reason in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import ufl
from dolfinx import fem
from mpi4py import MPI
from ufl.algorithms import extract_arguments, extract_coefficients

from fem_deepest.errors import InputError

if TYPE_CHECKING:
    from fem_deepest.action.form.action import Ends, FormAction
    from fem_deepest.spaces.constrained import Clamped

_CANCELLED = 1e-10  # a sum this much smaller than its terms is zero: rounding is 1e-16 per term


def check_terms(
    L: Any, unknowns: Sequence[fem.Function], ends: Ends, terms: ufl.Form | None
) -> None:
    """Refuse terms that are not scalars, and unknowns that appear in none of them.

    Raises:
        InputError: See above.
    """
    if not unknowns:
        raise InputError("the action has no unknowns; give at least one function")
    if len(set(unknowns)) < len(unknowns):
        raise InputError("a function is given twice among the unknowns; give every unknown once")
    if any(u.function_space.mesh is not unknowns[0].function_space.mesh for u in unknowns):
        raise InputError("the unknowns live on several meshes; define them all on one mesh")
    names = ("the Lagrangian", "the term at the start", "the term at the end")
    for name, density in zip(names, (L, *ends), strict=True):
        if density is not None:
            _check_density(name, density)
    present = set[Any]()
    for part in (L, *ends, terms):
        if part is not None:
            present.update(extract_coefficients(part if part is terms else ufl.as_ufl(part)))
    if terms is not None and extract_arguments(terms):
        raise InputError(
            "the further terms contain a test or trial function, expected a form that is a number; "
            "write the energy, its derivatives are taken for you"
        )
    for number, unknown in enumerate(unknowns):
        if unknown not in present:
            raise InputError(
                f"unknown {number} ('{unknown.name}') does not appear in the action; leave it out of "
                "the unknowns or use it in the Lagrangian"
            )


def _check_density(name: str, density: Any) -> None:
    if isinstance(density, ufl.Form):
        raise InputError(
            f"{name} is a form, expected a scalar expression without a measure: the Gauss rule that "
            "belongs to the elements is added for you; pass forms with their own measures as terms"
        )
    try:
        density = ufl.as_ufl(density)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} is a {type(density).__name__}, expected UFL") from error
    if density.ufl_shape != () or density.ufl_free_indices != ():
        raise InputError(
            f"{name} has the shape {density.ufl_shape}, expected a scalar; contract it, for example "
            "with ufl.inner(v, v)"
        )
    if extract_arguments(density):
        raise InputError(
            f"{name} contains a test or trial function, expected unknowns only; write the energy, "
            "its derivatives are taken for you"
        )


def check_clamped(
    condition: Clamped, unknowns: Sequence[fem.Function], counts: Sequence[int]
) -> None:
    """Refuse a clamped condition on something that does not exist.

    Raises:
        InputError: See above.
    """
    numbers = [i for i, u in enumerate(unknowns) if u is condition.unknown]
    if not numbers:
        raise InputError(
            f"'{condition.unknown.name}' is clamped but is not among the unknowns; clamp an unknown"
        )
    if condition.where not in ("start", "end") and not callable(condition.where):
        raise InputError(
            f"clamped at {condition.where!r}, expected 'start', 'end' or a function of the coordinates"
        )
    count = counts[numbers[0]]
    if condition.component is not None and not 0 <= condition.component < count:
        raise InputError(
            f"component {condition.component} of '{condition.unknown.name}' is clamped, which has "
            f"{count} components; count from 0"
        )


def check_constant(
    constant: Sequence[fem.Function],
    unknowns: Sequence[fem.Function],
    clamped: Sequence[Clamped],
) -> None:
    """Refuse constants that are no unknowns, or clamped.

    Raises:
        InputError: See above.
    """
    for function in constant:
        if not any(u is function for u in unknowns):
            raise InputError(
                f"'{function.name}' is constant but is not among the unknowns; add it to them"
            )
        if any(condition.unknown is function for condition in clamped):
            raise InputError(
                f"'{function.name}' is constant and clamped, so nothing of it is unknown; put its "
                "value into the Lagrangian instead"
            )


def check_metric(seconds: Sequence[ufl.Form], field: fem.Function) -> None:
    """Refuse a metric whose second derivative, in parts, is zero or depends on the unknowns.

    Raises:
        InputError: See above.
    """
    if not seconds:
        raise InputError(
            "the metric has no quadratic part in the unknowns; give a positive quadratic energy"
        )
    if any(field in extract_coefficients(part) for part in seconds):
        raise InputError(
            "the metric is not quadratic in the unknowns: its second derivative depends on them; "
            "give a quadratic energy"
        )


def check_conditions(action: FormAction) -> None:
    """Refuse components that do not appear, and constants that nothing fixes.

    If a constant can be added to a component without any change of the Euler-Lagrange residual along
    it, the second variation is singular everywhere: there is no minimiser, or there are many. It is
    seen on the difference of the gradients at two points, with a tolerance relative to the terms of
    the sum. Points where the action is not a number tell nothing.

    Raises:
        InputError: See above.

    Collective.
    """
    space, u = action.space, action.pack()
    one, two = action.create(), action.create()
    finite = np.isfinite(action.gradient(u, one))
    first, last = u.getOwnershipRange()
    u.array[...] += (
        0.1 * (1.0 + np.abs(u.array_r)) * np.sin(1.0 + 7.0 * np.arange(first, last) ** 2)
    )
    finite = finite and np.isfinite(action.gradient(u, two))
    if finite:
        difference = one.copy()
        difference.axpy(-1.0, two)
        for number in range(len(space.parts)):
            constant, held = space.constant(number)
            chosen = constant.array_r > 0.0
            sizes = np.array(
                [
                    np.sum(np.abs(one.array_r[chosen]) + np.abs(two.array_r[chosen])),
                    np.sum(np.abs(difference.array_r[chosen])),
                    np.sum(difference.array_r[chosen]),
                ]
            )
            action.comm.Allreduce(MPI.IN_PLACE, sizes, op=MPI.SUM)
            constant.destroy()
            name = _name(action, number)
            if sizes[0] == 0.0:
                raise InputError(
                    f"{name} does not appear in the action; leave it out or use it in the Lagrangian"
                )
            if not held and abs(sizes[2]) <= _CANCELLED * sizes[1]:
                raise InputError(
                    f"no end condition fixes {name}: adding a constant to it does not change the "
                    "equations, so the second variation is singular; clamp it at an end, or add an "
                    "end-point term or a term in it to the Lagrangian"
                )
        difference.destroy()
    for vector in (u, one, two):
        vector.destroy()


def _name(action: FormAction, number: int) -> str:
    """Unknown and component in words."""
    paths, which = [part.path for part in action.space.parts], 0
    same = list(range(len(paths)))
    if len(action.unknowns) > 1:
        which = paths[number][0]
        same = [k for k, path in enumerate(paths) if path[0] == which]
    component = f"component {same.index(number)} of " if len(same) > 1 else ""
    return f"{component}unknown '{action.unknowns[which].name}'"
