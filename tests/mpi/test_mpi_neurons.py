"""Every rank has the same neuron index, with the numbers it has on one rank."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest.spaces import NeuronSpace

MESH = Path(__file__).parents[2] / "meshes" / "pixels.msh"
MAKERS = {
    "interval": lambda: NeuronSpace.interval(7, "P2"),
    "rectangle": lambda: NeuronSpace.rectangle((4, 5)),
    "mesh": lambda: NeuronSpace.mesh(MESH),
    "cells": lambda: NeuronSpace.mesh(MESH, "P0"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_the_index_does_not_depend_on_the_ranks(name: str) -> None:
    comm, space = MPI.COMM_WORLD, MAKERS[name]()
    own = [space.coordinates, space.weights, space.factor.stiffness.toarray()]
    own.append(space.enter((4,) if space.dimension == 1 else (8, 8)))
    for array in own:
        root = comm.bcast(array, root=0)
        np.testing.assert_array_equal(array, root)
    x = space.coordinates
    if name == "interval":
        np.testing.assert_allclose(x[:, 0], np.arange(7) / 6.0, atol=1e-15)
    elif name == "rectangle":
        np.testing.assert_allclose(x[:, 1], np.repeat([3, 2, 1, 0], 5) / 3.0, atol=1e-15)
        np.testing.assert_allclose(x[:, 0], np.tile(np.arange(5), 4) / 4.0, atol=1e-15)
    elif name == "mesh":  # the corners come first in the file
        np.testing.assert_allclose(x[:4], [[0, 0], [1, 0], [1, 1], [0, 1]], atol=1e-15)
