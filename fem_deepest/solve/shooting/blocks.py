"""Preconditioner of the saddle form, block by block in depth.

Eliminating states and costates from the KKT matrix leaves the second variation ``S`` of the reduced action
on the control. With the linearised state equation ``C du + L dx`` (``C = Phi_u``, ``L`` the chain of the
slabs) the preconditioner is

    [ B  0   C^T ]     B in place of S, and the loss's curvature left out:
    [ 0  0   L^T ]     the blocks of the states are nothing to a matrix that
    [ C  L   0   ]     eliminates them (Biros, Ghattas 2005, doi:10.1137/S106482750241565X)

solved from below: costates by ``L^T``, the control by ``B``, states by ``L``. With the exact ``L`` all
eigenvalues of the preconditioned matrix are real, those of ``B^{-1} S`` and ones: as many iterations as
conjugate gradients need for the reduced system, whatever the slabs. Here ``L`` has cheap propagators
(:mod:`.propagators`) for slabs, so that nothing expensive goes from slab to slab: ``C`` and ``C^T`` are
one sweep each, in all slabs at the same time. What ``L`` makes wrong, the Krylov method repairs; how much
that is, the number of iterations against that of slabs says.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.solve.shooting.propagators import PROPAGATORS, Decoupled, Propagator
from fem_deepest.solve.shooting.saddle import SlabSaddle

STEPS = 8  # of the frozen propagators, least number in the whole depth


class DepthBlocks:
    """PETSc preconditioner (type ``python``) of :meth:`.SlabSaddle.product`.

    Args:
        saddle: The saddle form.
        propagators: Name of what stands for the slabs in ``L``, see :mod:`.propagators`.
        control: ``control(r, d)``: ``d = B^{-1} r``; by default the inverse of the prior. The memory of a
            quasi-Newton method is another one, :meth:`.LimitedMemory.apply`.

    Attributes:
        chain: Products with the coupling that one application makes one after the other, from slab to
            slab.
        setup: Sweeps of a slab that an update takes.

    Raises:
        InputError: There are no such propagators.

    Collective on the grid: every method.
    """

    def __init__(
        self,
        saddle: SlabSaddle,
        propagators: str = "frozen",
        control: Callable[[PETSc.Vec, PETSc.Vec], None] | None = None,
    ) -> None:
        if propagators not in PROPAGATORS:
            raise InputError(
                f"unknown propagators '{propagators}', expected one of {', '.join(PROPAGATORS)}"
            )
        kind, steps = PROPAGATORS[propagators], -(-STEPS // saddle.count)
        self._saddle, self._control = saddle, control or saddle.prior.solve
        # The states at the input are no unknowns: nothing goes through the first slab.
        kinds = [kind if slab.cells.start else Decoupled for slab in saddle.slabs]
        self._propagators: list[Propagator] = [
            kind(slab, steps) for kind, slab in zip(kinds, saddle.slabs, strict=True)
        ]
        mine = sum(p.products for p in self._propagators)
        self.chain = 2 * saddle.grid.depth.allreduce(mine)
        self.setup = sum(p.setup for p in self._propagators)
        self._r, self._d = saddle.space.create(), saddle.space.create()

    def update(self) -> None:
        """Take over the point of the last residual."""
        for propagator in self._propagators:
            propagator.update()

    def apply(self, _: PETSc.PC, r: PETSc.Vec, z: PETSc.Vec) -> None:
        """``z = M^{-1} r``."""
        saddle, interfaces = self._saddle, self._saddle.interfaces
        r_u, r_x, r_costates = saddle.split(r.array_r)
        d_u, d_x, d_costates = saddle.split(z.array_w)
        load = saddle.samples * r_x
        d_costates[...] = interfaces.solve_transposed(self._propagators, load)
        rest = self._r.array_w
        saddle.constraint_transposed(d_costates, rest)
        np.subtract(r_u, rest, out=rest)
        self._control(self._r, self._d)
        d_u[...] = self._d.array_r
        load = saddle.samples * r_costates - saddle.constraint(d_u)
        d_x[...] = interfaces.solve(self._propagators, load)
