"""The gradient of a batch against its share of the whole gradient, and many small networks at once.

    python3 tests/benchmarks/minibatch.py [--quick]

The digits with 64 neurons and 16 cells (71370 weights, K = 1437). A batch costs its share ``B/K`` of the
whole gradient, and what belongs to the weights and not to the samples: the prior, the stage matrices
and their transposes. That is measured as the time of a batch of one, "fixed", and is more than half of
the time of a batch below some 60 samples. "draw" is the time to draw and to gather a batch.

The small network of demos/sgd_strong.toml (40 weights, B = 8): a step of a hundred runs side by side
against a hundred steps one after the other.
"""

from __future__ import annotations

import sys
from itertools import count

import numpy as np
from common import Targets, arguments, digits, interleaved, make_problem, start, table
from mpi4py import MPI

import fem_deepest
from fem_deepest.action.network.minibatch import Minibatches
from fem_deepest.action.network.minibatch_replicas import MinibatchReplicas
from fem_deepest.runs.problem import Problem
from fem_deepest.spaces import ProcessGrid, Resolution
from fem_deepest.studies.samples import draw

RUNS = 100


def batches_of_the_digits(seconds: float, targets: Targets) -> None:
    config = digits("network.cells=16")
    action = make_problem(config).action(Resolution(16), ProcessGrid.create(MPI.COMM_SELF))
    u, g = start(action, config), action.create()
    sizes = (1, 16, 32, 64, 128, 256, 768)
    batches, calls, steps = [Minibatches(action, B, 0) for B in sizes], [], count()
    for b in batches:
        calls.append(lambda b=b: b.gradient(u, g, next(steps)))
        calls.append(lambda b=b: b.at(next(steps)))
    whole, *times = interleaved([lambda: action.gradient(u, g), *calls], seconds)
    fixed, rows = times[0], []
    for B, full, drawn in zip(sizes, times[::2], times[1::2], strict=True):
        share = whole * B / action.samples
        ratio = full / (fixed + share)
        row = [f"{1e3 * full:.2f}", f"{1e3 * share:.2f}", f"{ratio:.2f}", f"{1e6 * drawn:.0f}"]
        rows.append([B, *row, f"{100 * drawn / full:.1f} %"])
        if B > 1:
            targets.at_most(f"batch / (fixed + share), B = {B}", ratio, 1.3)
        targets.at_most(f"draw / batch, B = {B}", drawn / full, 0.1)
    head = ["B", "batch ms", "share ms", "batch / (fixed + share)", "draw us", "draw / batch"]
    table(f"Digits, whole gradient {1e3 * whole:.1f} ms, fixed {1e3 * fixed:.2f} ms", head, rows)


def networks_side_by_side(seconds: float, targets: Targets) -> None:
    config = fem_deepest.load(
        {
            "network": {"neurons": 3, "cells": 2, "scheme": "rk2"},
            "action": {"lambda": 2.0, "loss": "least_squares"},
        }
    )
    problem = Problem.create(config, draw(64, 0.2, [0]), None)
    action = problem.action(Resolution(2), ProcessGrid.create(MPI.COMM_SELF))
    u, g, steps = start(action, config), action.create(), count()
    single, many = Minibatches(action, 8, 0), MinibatchReplicas(action, 8, 0, range(RUNS))
    w = np.tile(u.array, (RUNS, 1))
    one, side = interleaved(
        [
            lambda: single.gradient(u, g, next(steps)),
            lambda: many.gradient(w, next(steps)),
        ],
        seconds,
        least=200,
    )
    gain = RUNS * one / side
    table(
        f"{RUNS} networks of {w.shape[1]} weights",
        ["one after the other ms", "side by side ms", "gain"],
        [[f"{1e3 * RUNS * one:.1f}", f"{1e3 * side:.2f}", f"{gain:.1f}"]],
    )
    targets.at_least("gain of networks side by side", gain, 8.0)


def main() -> int:
    options = arguments(__doc__).parse_args()
    seconds, targets = 0.2 if options.quick else 2.0, Targets()
    batches_of_the_digits(seconds, targets)
    networks_side_by_side(seconds, targets)
    return targets.exit_code()


if __name__ == "__main__":
    sys.exit(main())
