"""The prior of :mod:`.network.prior` of a control of which every rank has a part."""

from __future__ import annotations

from collections.abc import Sequence

from mpi4py import MPI

from fem_deepest.action.network.prior import is_kernel
from fem_deepest.action.network.product_prior import Product, ProductPrior
from fem_deepest.action.root import Numbered
from fem_deepest.network.network import Network
from fem_deepest.spaces import SlabSpace
from fem_deepest.spaces.chain import Chain
from fem_deepest.spaces.factor import Factor
from fem_deepest.spaces.slab_precision import SlabPrecision
from fem_deepest.spaces.slab_sparse import SlabSparsePrecision
from fem_deepest.spaces.transposition import Tally


class SlabPrior(ProductPrior[SlabPrecision, SlabSpace]):
    """The prior on sharded weights: the same operators, the same roots; see :class:`.ProductPrior`.

    Attributes:
        tally: Messages and bytes that this rank has sent for it so far.

    Collective on the grid: :meth:`apply`, :meth:`solve`, :meth:`inverse_root` and ``root``.
    """

    def _precisions(
        self, network: Network, field: Product, readout: Product, lift: Product
    ) -> tuple[SlabPrecision, SlabPrecision, SlabPrecision]:
        grid, slabs = self.space.grid, self.space.slabs
        self.tally = Tally()
        kind = SlabPrecision if is_kernel(network) else SlabSparsePrecision

        def precision(comm: MPI.Intracomm, edges: Sequence[int], product: Product) -> SlabPrecision:
            depth, along, rows, columns = product
            chain = Chain(comm, edges, self.tally)
            return kind(chain, grid.data, depth, along, rows, columns, self.tally)

        here = MPI.COMM_SELF, [0, 1]
        if not slabs.last:
            readout = (*readout[:2], Factor.plain(0), readout[3])
        if not slabs.first:
            lift = (*lift[:2], Factor.plain(0), lift[3])
        return (
            precision(grid.depth, slabs.node_edges, field),
            precision(*here, readout),
            precision(*here, lift),
        )

    @property
    def root(self) -> Numbered:
        """``R``, for draws of the prior; normals have the numbers of the common order. Collective."""
        root = super().root
        root.keys = self.space.numbers.astype(root.keys.dtype)
        return root
