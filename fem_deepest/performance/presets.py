"""Nodes of clusters that many have access to.

What the vendors and centres publish is the number of cores, their peak, the memory and its bandwidth, and
the links. The rest is assumed, in the same way for all: three quarters of the peak in products of
matrices, 85 % of the bandwidths, the times of NumPy's calls and activations as measured on one machine
and scaled with the clock, and half of the gathers and reductions behind the computation. A calibration
on the machine itself is better than any of these.
"""

from __future__ import annotations

from fem_deepest.performance.machine import Machine

_SHARE, _DERATED = 0.75, 0.85

PRESETS = {
    "epyc": Machine(
        name="epyc",
        source="two AMD EPYC 7742 (2.25 GHz, 16 flops a cycle; 8 channels DDR4-3200 each), 256 GB, two "
        "links of 100 Gbit/s, as in ARCHER2 (docs.archer2.ac.uk, hardware); MPI latencies assumed",
        cores=128,
        memory=256e9,
        flops=_SHARE * 16 * 2.25e9,
        stream=15e9,
        node_stream=_DERATED * 2 * 8 * 25.6e9,
        packing=1.5e-9,
        call=1.5e-6,
        passing=0.6e-9,
        sigma=2.5e-9,
        latency=0.6e-6,
        link=6e9,
        node_latency=2.0e-6,
        node_link=_DERATED * 25e9,
        overlap=0.5,
    ),
    "xeon": Machine(
        name="xeon",
        source="two Intel Xeon Platinum 8280 (1.8 GHz with AVX-512 on all cores, 32 flops a cycle; 6 "
        "channels DDR4-2933 each), 192 GB, InfiniBand HDR100, as in Frontera (Stanzione et al. 2020, "
        "doi:10.1145/3311790.3396656); MPI latencies assumed",
        cores=56,
        memory=192e9,
        flops=_SHARE * 32 * 1.8e9,
        stream=12e9,
        node_stream=_DERATED * 2 * 6 * 23.5e9,
        packing=1.5e-9,
        call=1.5e-6,
        passing=0.6e-9,
        sigma=1.6e-9,
        latency=0.5e-6,
        link=6e9,
        node_latency=1.5e-6,
        node_link=_DERATED * 12.5e9,
        overlap=0.5,
    ),
}
