"""Sweeps through ranges of cells: the same bits as in one go; and the order of chunks in slabs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from problems import SCHEMES, network

from fem_deepest.action.slab.schedule import in_flight, there_and_back
from fem_deepest.network.flow import Flow
from fem_deepest.network.variation import Variation

WIDTH, CELLS = 3, 4
Array = NDArray[np.float64]


def _sweep(ranges: list[range], forced: bool, options: dict[str, Any]) -> list[Array]:
    """All sweeps through the depth, range by range, and all that comes out."""
    net = network(cells=CELLS, leak=0.2 if forced else 0.0, **options)
    random = np.random.default_rng(0)
    slots, shape = len(net.scheme.abscissae), net.coupling.shape
    theta, d_theta = random.standard_normal((2, CELLS, slots, *shape)) * 0.5
    n = net.index.neurons
    xi, d_xi = random.standard_normal((2, CELLS, n, WIDTH))
    x, dx, q, dq = random.standard_normal((4, n, WIDTH))
    p = q.copy()
    gradient, hessian = np.zeros((2, CELLS, slots, *shape))
    xi_gradient, xi_hessian = np.empty((2, CELLS, n, WIDTH))
    arguments = net.depth.steps, net.coupling, WIDTH, net.scheme, net.activation, net.leak
    flow = Flow(*arguments, kept=False)
    stages = [np.empty((CELLS, net.scheme.stages, n + k, WIDTH)) for k in (1, 0)]
    flow.keep_in(*stages)
    variation = Variation(flow)
    costates = variation.costates

    def own(array: Array, cells: range) -> Any:
        part = array[cells.start : cells.stop]
        # A slab has the stage parameters one by one.
        return [list(one) for one in part] if array.ndim == 4 else part if forced else None

    for cells in ranges:
        flow.forward(own(theta, cells), x, own(xi, cells), cells=cells)
        variation.tangent(own(theta, cells), own(d_theta, cells), dx, own(d_xi, cells), cells=cells)
    for cells in reversed(ranges):
        part = gradient[cells.start : cells.stop]
        flow.adjoint(own(theta, cells), q, part, own(xi_gradient, cells), cells=cells, fresh=True)
        variation.costates = costates[cells.start : cells.stop]
        flow.adjoint(own(theta, cells), p, costates=variation.costates, cells=cells)
        part = hessian[cells.start : cells.stop]
        variation.second_adjoint(
            own(theta, cells), own(d_theta, cells), dq, part, own(xi_hessian, cells), cells=cells
        )
    results = [x, dx, q, p, dq, gradient, hessian, *stages]
    return [*results, xi_gradient, xi_hessian] if forced else results


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("scheme_name", SCHEMES)
def test_ranges_give_the_bits_of_the_whole(scheme_name: str, forced: bool) -> None:
    options = {"scheme_name": scheme_name}
    whole = _sweep([range(CELLS)], forced, options)
    for ranges in ([range(i, i + 1) for i in range(CELLS)], [range(1), range(1, CELLS)]):
        for a, b in zip(_sweep(ranges, forced, options), whole, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("chunks, slabs", [(1, 1), (1, 3), (2, 4), (7, 3), (5, 1)])
def test_chunks_find_their_states_and_never_wait_in_a_circle(chunks: int, slabs: int) -> None:
    todo = [there_and_back(chunks, slabs, slab) for slab in range(slabs)]
    done: set[tuple[int, int, bool]] = set()
    steps = 0
    while any(todo):
        ready = []
        for slab, sweeps in enumerate(todo):
            if not sweeps:
                continue
            chunk, back = sweeps[0]
            before = slab + 1 if back else slab - 1
            last = back and slab == slabs - 1  # turns round where it is
            needs = (slab, chunk, False) if last else (before, chunk, back)
            if needs in done or not (0 <= before < slabs or last):
                ready.append(slab)
        assert ready
        steps += 1
        for slab in ready:
            sweep = todo[slab].pop(0)
            done.add((slab, *sweep))
    assert len(done) == 2 * chunks * slabs
    # All at work but for the ends: as many steps as in the best case.
    assert steps == 2 * (chunks + slabs - 1)
    for slab in range(slabs):
        kept, most = 0, 0
        for sweep in there_and_back(chunks, slabs, slab):
            kept += -1 if sweep.back else 1
            most = max(most, kept)
        assert most == in_flight(chunks, slabs, slab) <= slabs - slab
