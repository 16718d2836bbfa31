"""Action of a network on ``K`` samples, in the forcing form, with exact discrete derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from fem_deepest._petsc import PETSc
from fem_deepest.action.network.ends import COMMON, SCALARS, check_scalings
from fem_deepest.action.network.prior import Prior
from fem_deepest.action.network.tiles import Point, Sums, Tiles
from fem_deepest.data.rows import Rows
from fem_deepest.data.tiles import sample_tiles
from fem_deepest.errors import InputError
from fem_deepest.network.loss import Loss
from fem_deepest.network.network import Network
from fem_deepest.spaces import ControlSpace, ProcessGrid, SampleBlocks

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Parts:
    """The action and its parts at one control, the same on every rank.

    Attributes:
        action: ``A = misfit + model + prior``.
        misfit: ``(1/K) sum_k Phi_T`` plus, with a soft input, ``(1/K) sum_k R_0/2 |xi_0|^2``.
        model: ``(1/K) sum_k R_f/2 int |xi_k|^2 dt``.
        prior: ``1/2 <w, P w>`` with readout and lift.
        score: Fraction of samples classified rightly, or the root mean square error.
    """

    action: float
    misfit: float
    model: float
    prior: float
    score: float

    @classmethod
    def of(cls, sums: Array, samples: int, loss: Loss, outputs: int) -> Parts:
        """From sums over all samples.

        Args:
            sums: Loss, score, model error and input error, and the prior, which is no sum.
            samples: ``K``.
            loss: ``Phi_T``.
            outputs: Number of outputs.
        """
        total, score, model, initial, prior = (float(v) for v in sums)
        misfit, model = (total + initial) / samples, model / samples
        score = loss.score(score, samples, outputs)
        return cls(misfit + model + prior, misfit, model, prior, score)


class NetworkAction:
    """``A = (1/K) sum_k [ Phi_T(y_k) + R_0/2 |xi_0|^2 + R_f/2 int |xi_k|^2 dt ] + 1/2 <w, P w>``.

    The states follow from the control: ``x_k(0) = lift(z_k) + xi_0``, ``x' = F(x, w) + xi``,
    ``y = readout(x(T))``. Without ``xi`` (``R_f`` infinite) this is ordinary training, and without
    ``xi_0`` the input is clamped. Fulfils :class:`fem_deepest.action.protocol.Action`.

    Args:
        grid: Process grid; the samples are dealt out over its data axis, and the neurons of an index
            that is spread over ranks over its index axis.
        network: The network.
        loss: ``Phi_T`` of the output.
        inputs: All inputs, shape (K, d): the same array on every rank, or one of which each reads its
            part, see :func:`.sample_tiles`.
        targets: All targets: class numbers (K,) or values (K, outputs), likewise.
        strength: ``lambda > 0``, strength of the prior.
        kappa: ``kappa > 0``, inverse correlation length of the prior in depth.
        ell: ``ell >= 0``, length of the smoothing of the prior along the neuron index.
        model_precision: ``R_f``; ``inf`` is the strong constraint.
        input_precision: ``R_0`` of the soft input condition; ``inf`` clamps the input.
        blocks: Number of blocks of samples; see :class:`fem_deepest.spaces.SampleBlocks`.

    Attributes:
        samples: ``K``.
        model_precision: ``R_f``.
        input_precision: ``R_0``.
        rows: All inputs and targets, where every rank reads its part; else none.
        metric: The prior precision ``P``, forcings included.
        parts: The action and its parts at the last point evaluated.
        evaluations: Gradients so far.
        hessians: Hessian and Gauss-Newton products so far.

    Raises:
        InputError: A precision or strength is not positive, or there are no samples, or the index is
            spread over other ranks than those of the grid.

    Collective on the grid: construction and every method.
    """

    def __init__(
        self,
        grid: ProcessGrid,
        network: Network,
        loss: Loss,
        inputs: Array | Rows,
        targets: NDArray | Rows,
        *,
        strength: float,
        kappa: float = 1.0,
        ell: float = 0.0,
        model_precision: float = np.inf,
        input_precision: float = np.inf,
        blocks: int | None = None,
    ) -> None:
        check_scalings(strength, kappa, ell, model_precision, input_precision, len(inputs))
        parts = 1 if network.index.comm is None else network.index.comm.size
        if parts != grid.index.size:
            raise InputError(
                f"a neuron index on {parts} ranks was given to a process grid whose index axis has "
                f"{grid.index.size}; make the index on grid.index"
            )
        self.grid, self.network, self.loss = grid, network, loss
        self.samples = len(inputs)
        self.model_precision, self.input_precision = model_precision, input_precision
        self.blocks = SampleBlocks(self.samples, grid.data, blocks)
        # The tiles of block b are first[b], ..., first[b + 1] - 1.
        self._first = np.concatenate([[0], np.cumsum([len(block) for block in self.blocks.tiles])])
        flat = [tile for block in self.blocks.tiles for tile in block]
        self.rows: tuple[Rows, Rows] | None = None
        if isinstance(inputs, Rows) and isinstance(targets, Rows):
            self.rows = inputs, targets
        start = self.blocks.local.start
        places = [slice(start + tile.start, start + tile.stop) for tile in flat]
        self.tiles = Tiles(
            network,
            loss,
            *sample_tiles(inputs, targets, places),
            model_precision,
            input_precision,
        )
        self.space = ControlSpace(
            grid,
            network.shapes,
            [tile.stop - tile.start for tile in flat],
            initial=bool(np.isfinite(input_precision)),
            forced=bool(np.isfinite(model_precision)),
        )
        self.metric = Prior(
            self.space,
            network,
            strength=strength,
            kappa=kappa,
            ell=ell,
            model=model_precision,
            initial=input_precision,
            samples=self.samples,
        )
        self._riesz = self.create()
        self._sums = np.empty(Sums.size(network))
        self._views: dict[int, tuple[Array, Sums]] = {}
        self.parts = Parts(*[np.nan] * 5)
        self.evaluations = self.hessians = 0

    def require_whole_index(self, what: str) -> None:
        """Refuse what is not made for an index that is spread over ranks. Not collective.

        Args:
            what: Name of it.

        Raises:
            InputError: The index is spread.
        """
        if self.network.index.comm is not None:
            raise InputError(
                f"{what} was asked for on a neuron index that is spread over ranks, expected one that "
                "every rank has as a whole; take an index that is not spread"
            )

    def create(self) -> PETSc.Vec:
        """Zero control."""
        return self.space.create()

    def value(self, u: PETSc.Vec) -> float:
        """``A(u)``; the parts are left in :attr:`parts`."""
        point, array, totals = self.point(u), u.array_r, self._sums[-SCALARS:]

        def add(tile: int, scalars: Array, _: bool) -> None:
            self.tiles.value(tile, point, self.space.forcing(array, tile), scalars)

        self.blocks.sum(self.over_tiles(add), totals)
        return self._finish(u, totals)

    def gradient(self, u: PETSc.Vec, g: PETSc.Vec) -> float:
        """``g = dA/du`` by one forward and one adjoint sweep; returns ``A(u)``."""
        point, array, out = self.point(u), u.array_r, g.array_w
        self.evaluations += 1

        def add(tile: int, flat: Array, first: bool) -> None:
            forcing, target = self.space.forcing(array, tile), self.space.forcing(out, tile)
            self.tiles.gradient(tile, point, forcing, self._view(flat), target, first)

        self.blocks.sum(self.over_tiles(add, self._view(self._sums).stages.size), self._sums)
        value = self._finish(u, self._sums[-SCALARS:])
        self._collect(out)
        return value

    def hessian(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = A''(u) d``, exact."""
        self._second_variation(u, d, r, exact=True)

    def gauss_newton(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec) -> None:
        """``r = (J^T Phi_T'' J + P) d`` with ``J`` the derivative of the output: never indefinite."""
        self._second_variation(u, d, r, exact=False)

    def _second_variation(self, u: PETSc.Vec, d: PETSc.Vec, r: PETSc.Vec, exact: bool) -> None:
        point, direction = self.point(u), self.point(d)
        array, d_array, out = u.array_r, d.array_r, r.array_w
        self.hessians += 1

        def add(tile: int, flat: Array, _: bool) -> None:
            forcing, d_forcing, target = (
                self.space.forcing(a, tile) for a in (array, d_array, out)
            )
            sums = self._view(flat)
            self.tiles.second_variation(
                tile, point, direction, forcing, d_forcing, sums, target, exact
            )

        self.blocks.sum(self.over_tiles(add), self._sums)
        self.metric.apply(d, self._riesz)
        self._collect(out)

    def _view(self, flat: Array) -> Sums:
        """Views into one of the few arrays that the sums over blocks reuse."""
        if id(flat) not in self._views:
            self._views[id(flat)] = flat, Sums.view(flat, self.network)
        return self._views[id(flat)][1]

    def point(self, u: PETSc.Vec) -> Point:
        """A control or a direction as the sweeps need it. Collective."""
        parameters = self.space.parameters(self.space.share(u))
        return Point(parameters, self.network.stage_parameters(parameters.theta))

    def over_tiles(
        self, add: Callable[[int, Array, bool], None], written: int = 0
    ) -> Callable[[int, Array], None]:
        """Sum over the tiles of a block, for ``blocks.sum``. Not collective.

        Args:
            add: ``add(tile, sums, first)`` adds what a tile has to a flat array.
            written: So many entries the first tile writes instead of adding.
        """

        def block_sum(block: int, value: Array) -> None:
            tiles = self.tiles_of(block)
            value[written if tiles else 0 :] = 0.0
            for tile in tiles:
                add(tile, value, tile == tiles.start)

        return block_sum

    def tiles_of(self, block: int) -> range:
        """Numbers of the tiles of a block of this rank. Not collective."""
        return range(self._first[block], self._first[block + 1])

    def _finish(self, u: PETSc.Vec, totals: Array) -> float:
        """Share the sums and add the prior; leaves ``P u`` in ``_riesz``."""
        self.metric.apply(u, self._riesz)
        shared = np.empty(SCALARS + 1)
        if self.grid.owner:
            size = self.space.parameter_size
            shared[:SCALARS] = totals
            shared[SCALARS] = 0.5 * np.dot(u.array_r[:size], self._riesz.array_r[:size])
        self.grid.data.Bcast(shared, root=0)
        if self.grid.index.size > 1:
            # The output and what is made of it are the same on all parts of the index.
            shared[:COMMON] *= self.grid.index.rank == 0
            self.grid.index.Allreduce(MPI.IN_PLACE, shared, op=MPI.SUM)
        self.parts = Parts.of(shared, self.samples, self.loss, self.network.outputs)
        return self.parts.action

    def _collect(self, out: Array) -> None:
        """Turn sums over samples into a dual vector and add ``_riesz``."""
        if self.grid.owner:
            sums, target = self._view(self._sums), self.space.parameters(out)
            self.network.stage_parameters_transposed(sums.stages, target.theta)
            target.readout[...] = sums.readout
            target.lift[...] = sums.lift
        out /= self.samples
        out += self._riesz.array_r
