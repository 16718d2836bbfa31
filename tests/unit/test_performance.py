"""The performance model against what can be said of it by hand, and in its limits; nothing is timed."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import ceil

import numpy as np
import pytest

from fem_deepest.errors import InputError
from fem_deepest.network.scheme import EULER, MIDPOINT, RK4
from fem_deepest.performance import calibration, cost, memory, traffic
from fem_deepest.performance.choose import Estimate, best_grid, estimates
from fem_deepest.performance.layout import Layout, factorisations
from fem_deepest.performance.machine import Machine, Placement, node
from fem_deepest.performance.presets import PRESETS
from fem_deepest.performance.scaling import CELLS, strong, weak_in_depth, weak_in_samples
from fem_deepest.performance.workload import Sweep, Workload

WORK = Workload(
    cells=16, neurons=64, rows=64, columns=65, inputs=8, outputs=4, samples=1000, scheme=EULER
)


def machine(**changes) -> Machine:
    """Nodes of four cores, numbers that are easy to reckon with."""
    values = {
        "name": "test",
        "source": "made up",
        "cores": 4,
        "memory": 1e12,
        "flops": 1e9,
        "stream": 1e10,
        "node_stream": 4e10,
        "packing": 1e-9,
        "call": 1e-6,
        "passing": 1e-9,
        "sigma": 1e-8,
        "latency": 1e-6,
        "link": 1e9,
        "inside": 4e9,
        "node_latency": 1e-5,
        "node_link": 1e9,
        "overlap": 0.0,
    }
    return Machine(**(values | changes))


# No messages, no memory, no calls: what is left are the products.
BARE = machine(
    packing=1e-30,
    call=1e-30,
    passing=1e-30,
    sigma=1e-30,
    stream=1e30,
    node_stream=1e30,
    latency=1e-30,
    link=1e30,
    inside=1e30,
    node_latency=1e-30,
    node_link=1e30,
    cores=64,
)


def gradient(layout: Layout, nodes: Machine) -> cost.Cost:
    return cost.gradient(layout, Placement(nodes, layout.ranks))


def test_products_alone_take_their_operations_times_the_filling_of_the_pipeline() -> None:
    work = replace(WORK, linear_readout=False, outputs=0)
    flops = 6.0 * 16 * 64 * 65 * 1000  # three products of each sample in each cell
    assert work.flops() == flops
    for slabs, data, chunks in ((1, 1, 4), (1, 8, 5), (4, 1, 10), (8, 2, 4)):
        found = gradient(Layout(work, slabs, data, chunks), BARE)
        wide = ceil(ceil(1000 / data) / chunks) * data * chunks / 1000  # unequal chunks
        ideal = wide * flops / (slabs * data) / 1e9
        assert found.compute == pytest.approx(ideal, rel=1e-9)
        assert found.seconds == pytest.approx(ideal * (chunks + slabs - 1) / chunks, rel=1e-9)
        assert found.transfer == pytest.approx(0.0, abs=1e-9 * ideal)


def test_stages_and_products_of_a_cell_by_hand() -> None:
    one = Sweep(WORK, BARE, 1e30)
    product = 2.0 * 64 * 65 * 10 / 1e9
    assert one.forward(10) == pytest.approx(product)
    assert one.backward(10) == pytest.approx(2 * product)
    assert one.tangent(10) == pytest.approx(2 * product)
    assert one.second_adjoint(10) == pytest.approx(4 * product)
    four = Sweep(replace(WORK, scheme=RK4), one.machine, 1e30)
    assert four.forward(10) == pytest.approx(4 * product)
    # Narrow products are slow: a matrix is packed for one sample as for many, or waited for.
    some = machine(flops=1e10, packing=3e-9)
    assert some.product(10, 20, 5, 1e10) == pytest.approx(1e-6 + 200 * (1e-9 + 3e-9))
    assert some.product(10, 20, 5, 1e9) == pytest.approx(1e-6 + 200 * (1e-9 + 8e-9))
    assert some.outer(10, 20, 5, 1e10) == pytest.approx(1e-6 + 200 * (1e-9 + 0.8e-9))


def test_one_rank_sends_nothing() -> None:
    for sharded in (True, False):
        layout = Layout(WORK, 1, 1, 3, sharded)
        assert traffic.total(layout) == traffic.Volume(0, 0)
        found = cost.iteration(layout, Placement(machine(), 1))
        assert found.transfer == found.waiting == 0.0


def test_whole_weights_send_what_the_tree_of_blocks_says() -> None:
    # 12 blocks on two ranks: six each, whose sum is one node of the tree; on four ranks three each.
    sums = 16 * 64 * 65 + 4 * 65 + 4
    two, four = (Layout(WORK, 1, data, 1, sharded=False) for data in (2, 4))
    assert traffic.trees(two) == traffic.Volume(1, 8 * sums)
    assert traffic.trees(four) == traffic.Volume(3, 3 * 8 * sums)
    assert traffic.copies(four) == traffic.Volume(3, 3 * 8 * WORK.parameters)


def test_overlap_hides_the_smaller_of_computation_and_transfer() -> None:
    layout = Layout(WORK, 1, 4, 8)
    none, all_of_it = (gradient(layout, machine(overlap=o)) for o in (0.0, 1.0))
    assert all_of_it.compute == none.compute
    assert all_of_it.seconds < none.seconds
    slow = machine(overlap=1.0, link=1e4)  # the messages are all that counts
    hidden, open_ = (
        gradient(layout, slow),
        gradient(layout, slow.model_copy(update={"overlap": 0.0})),
    )
    assert open_.seconds - hidden.seconds == pytest.approx(none.compute, rel=0.05)


def test_ranks_beyond_the_cores_share_them() -> None:
    one = BARE.model_copy(update={"cores": 2, "nodes": 1})
    two, four = (gradient(Layout(WORK, 1, data, 1), one) for data in (2, 4))
    assert four.compute == pytest.approx(two.compute, rel=1e-6)
    # Four slabs of two cores: steps of one, two, three, four at work, and back; ten chunks.
    t = gradient(Layout(WORK, 4, 1, 10), BARE).compute / 10
    busy = [1, 2, 3, *[4] * 7, 3, 2, 1]
    shared = gradient(Layout(WORK, 4, 1, 10), one)
    assert shared.seconds == pytest.approx(t * sum(ceil(b / 2) for b in busy), rel=1e-3)


def test_messages_between_nodes_share_the_way_into_a_node() -> None:
    here, there = Placement(machine(), 4), Placement(machine(), 16)
    assert (here.nodes, there.nodes, there.here) == (1, 4, 4)
    assert here.point(1e6, 1) == pytest.approx(1e-6 + 1e-3)
    assert there.point(1e6, 4) == pytest.approx(1e-5 + 4e-3)  # all four send to the next node
    # 16 ranks: each node gets three quarters from elsewhere, for each of its four ranks.
    inside = 3e-6 + 1e6 * 15 / 16 / 1e9
    assert there.collective(1e6, 16) == pytest.approx(inside + 12e-5 + 4 * 0.75e-3)
    aware = Placement(machine(node_aware=True), 16)
    assert aware.collective(1e6, 16) == pytest.approx(inside + 12e-5 + 0.75e-3)


def test_memory_of_sharded_weights_falls_with_the_ranks() -> None:
    large = replace(WORK, neurons=512, rows=512, columns=513, samples=4000)
    sizes = [memory.bytes_of_rank(Layout.of_width(large, 1, d, 32)) for d in (1, 2, 4, 8)]
    slabs = [memory.bytes_of_rank(Layout.of_width(large, s, 1, 32)) for s in (1, 2, 4, 8)]
    for column in (sizes, slabs):
        assert all(b < 0.7 * a for a, b in pairwise(column))
    copies = memory.bytes_of_rank(Layout(large, 1, 8, 1, sharded=False))
    assert copies > sizes[0] / 2
    # 3 x 20 + 28 vectors of the own part: 17 nodes on one rank.
    vectors = 8 * 88 * (17 * 512 * 513 + 4 * 513)
    assert sizes[0] == pytest.approx(vectors, rel=0.25)


def test_slabs_are_for_weights_that_are_dear_to_gather_and_data_ranks_for_all_else() -> None:
    nodes = machine(cores=8)
    # 1e5 samples of a small network: no pipeline to fill, and gathers are nothing beside the products.
    found = best_grid(replace(WORK, samples=100_000), nodes, 8).layout
    assert (found.slabs, found.data) == (1, 8)
    # Data ranks send a node of 8 MB three times for each chunk, slabs the 8 kB of a state twice for each
    # sample, 4096 of them: on slow links slabs win, if the chunks are many enough to fill the pipeline.
    wide = replace(WORK, neurons=1024, rows=1024, columns=1025, samples=4096)
    slow = machine(cores=8, flops=1e11, link=1e7, node_stream=8e10, inside=8e7)
    assert (
        gradient(Layout(wide, 8, 1, 64), slow).seconds
        < gradient(Layout(wide, 1, 8, 1), slow).seconds
    )
    assert best_grid(wide, slow, 8).layout.slabs > 1


def test_grids_are_all_factorisations_with_a_cell_in_each_slab() -> None:
    assert factorisations(12) == [(1, 12), (2, 6), (3, 4), (4, 3), (6, 2), (12, 1)]
    shapes = {e.layout.slabs for e in estimates(replace(WORK, cells=4), machine(), 12)}
    assert shapes == {1, 2, 3, 4}
    with pytest.raises(InputError, match="17 slabs were asked for of a depth of 16 cells"):
        Layout(WORK, 17, 1, 1)
    with pytest.raises(InputError, match="2 slabs were asked for with a copy"):
        Layout(WORK, 2, 1, 1, sharded=False)


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    small = machine(memory=4 * 0.4e9)
    large = replace(WORK, neurons=512, rows=512, columns=513)
    with pytest.raises(InputError) as error:
        best_grid(large, small, 1)
    words = str(error.value).split()
    enough = int(words[words.index("take") + 1])
    assert best_grid(large, small, enough).fits
    assert not any(e.fits for e in estimates(large, small, enough // 2))
    alone = machine(memory=4e8, nodes=1)
    with pytest.raises(InputError, match="take fewer neurons"):
        best_grid(large, alone, 4)
    with pytest.raises(InputError, match=r"weights = 'sharded'"):
        best_grid(large, alone, 4, weights="whole")
    with pytest.raises(InputError, match="at most 8 ranks"):
        best_grid(WORK, machine(nodes=2), 9)


def test_a_given_chunk_and_given_weights_are_kept() -> None:
    assert best_grid(WORK, machine(), 4, weights="sharded", width=50).layout.width == 50
    whole = best_grid(WORK, machine(), 4, weights="whole")
    assert not whole.layout.sharded
    assert len(estimates(WORK, machine(), 4, weights="whole")) == 1


def test_scaling_doubles_the_ranks_and_the_problem() -> None:
    found = strong(WORK, BARE, 12)
    assert found.ranks == [1, 2, 4, 8, 12]
    assert found.efficiency[0] == pytest.approx(1.0, rel=0.1)
    assert all(0.0 < e <= 1.0 for e in found.efficiency)
    samples, depth = weak_in_samples(WORK, BARE, 8), weak_in_depth(WORK, BARE, 8)
    assert [e.layout.workload.samples for e in samples.best] == [125, 250, 500, 1000]
    assert [e.layout.workload.cells for e in depth.best] == [CELLS * p for p in (1, 2, 4, 8)]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_physical(name: str) -> None:
    nodes = PRESETS[name]
    assert nodes.stream * nodes.cores > nodes.node_stream  # memory is shared
    assert nodes.node_latency > nodes.latency
    speeds = [Estimate.of(Layout.of_width(WORK, 1, 1, 64), nodes).efficiency]
    assert 0.05 < speeds[0] < 1.0


def test_a_node_file_is_read_as_it_was_written(tmp_path) -> None:
    path = calibration.save(machine(), tmp_path / "nodes" / "mine.toml")
    assert node(str(path), PRESETS) == machine()
    assert node("epyc", PRESETS) is PRESETS["epyc"]
    text = path.read_text()
    path.write_text(text.replace("flops = 1000000000.0\n", ""))
    with pytest.raises(InputError, match=r"mine.toml lacks flops; give all constants"):
        node(path, PRESETS)
    path.write_text(text.replace("latency", "latncy", 1))
    with pytest.raises(InputError, match="unknown key latncy; the nearest known key is 'latency'"):
        node(path, PRESETS)
    with pytest.raises(InputError, match="'epic', expected 'this', one of epyc, xeon"):
        node("epic", PRESETS)


def test_constants_are_fitted_to_times_of_products() -> None:
    call, flops, stream, packing = 2e-6, 3e10, 1e10, 2e-9
    n, k = 100, np.array([8, 64, 256])
    outer = call + 2.0 * n * n * k / flops + 8.0 * n * n / stream
    times = np.stack([call + 2.0 * n * n * k / flops + packing * n * n, outer], axis=1)
    found = calibration._fit(n, k, times, call, stream)
    assert found == pytest.approx((flops, packing), rel=1e-9)


def test_an_implicit_stage_takes_its_turns() -> None:
    one = replace(WORK, scheme=MIDPOINT)
    assert one.flops() > 5 * WORK.flops()
    assert traffic.ghosts(Layout(one, 4, 1, 1)).bytes == 2 * 3 * 8 * 64 * 65
    assert traffic.ghosts(Layout(WORK, 4, 1, 1)).bytes == 0
