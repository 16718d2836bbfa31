"""The prior ``1/2 <u, P u>`` of a control, which is also the metric of the space.

On the weight field, whose rows and columns are finite-element factors (of the dense coupling, ``V_S`` and
``V_S`` with one point for the bias), it is the H1 precision in all directions,

    P = lambda [ (kappa^2 M_t + K_t) (x) M_r (x) M_c + ell^2 M_t (x) (K_r (x) M_c + M_r (x) K_c) ].

A readout ``[C | c]`` has rows that are plain outputs and columns in ``V_S`` with one point, a lift
``[E | e]`` rows in ``V_S`` and plain columns: both have ``lambda (M_r (x) M_c + ell^2 (...))``. The
forcings have the model-error precisions ``R_f h_i M_S / K`` and ``R_0 M_S / K``, ``M_S`` lumped.

A field of amplitude one that varies over a length ``d`` of the index costs ``lambda (kappa^2 + ell^2 /
d^2)`` in place of ``lambda kappa^2``: the correlation length along the index is ``ell/kappa``, as it is
``1/kappa`` in depth. With ``ell = 0`` neurons have nothing to do with each other; with ``ell > 0``
roughness that only the mesh can show is dear, and minimisers are smooth functions of the index. Points
have no neighbours, and there ``ell`` does nothing.

Draws are white along the index for ``ell = 0``. For ``ell > 0`` they are smoother, but no functions in
the limit: in two dimensions or more, depth and index together, the inverse of an H1 precision has no
finite trace, and what has a limit are integrals of a draw against smooth functions.

All of it is inverted exactly, see :class:`.SeparablePrecision` for kernels and :class:`.SparsePrecision`
for parameters that are functions of one point of the index.
"""

from __future__ import annotations

from operator import attrgetter

from fem_deepest.action.network.product_prior import Product, ProductPrior
from fem_deepest.network.network import Network
from fem_deepest.spaces import ControlSpace, Parameters
from fem_deepest.spaces.separable import SeparablePrecision
from fem_deepest.spaces.sparse_precision import SparsePrecision
from fem_deepest.spaces.spread_elliptic import SpreadPrecision


class Prior(ProductPrior[SeparablePrecision, ControlSpace]):
    """The prior where the first data rank has all parameters of the slab; see :class:`.ProductPrior`."""

    def on_parameters(self, a: Parameters, b: Parameters) -> None:
        """``b = P a`` on parameters alone, of one network or of several side by side. Not collective."""
        self._each(attrgetter("apply"), a, b)

    def solve_parameters(self, a: Parameters, b: Parameters) -> None:
        """``b = P^{-1} a``, the inverse of :meth:`on_parameters`. Not collective."""
        self._each(attrgetter("solve"), a, b)

    def root_parameters(self, a: Parameters, b: Parameters) -> None:
        """``b = R a``, as :meth:`inverse_root`. Not collective."""
        self._each(attrgetter("inverse_root"), a, b)

    def _precisions(
        self, network: Network, field: Product, readout: Product, lift: Product
    ) -> tuple[SeparablePrecision, SeparablePrecision, SeparablePrecision]:
        # A kernel has N^2 numbers, and modes of the index no more; else all of it has to be O(N).
        kind: type[SeparablePrecision] = (
            SeparablePrecision if is_kernel(network) else SparsePrecision
        )
        if network.index.comm is not None:
            kind = SpreadPrecision
        return kind(*field), kind(*readout), kind(*lift)


def is_kernel(network: Network) -> bool:
    """Whether rows and columns of the parameters are functions of the index, both of them."""
    return network.coupling.rows.has_stiffness and network.coupling.columns.has_stiffness
