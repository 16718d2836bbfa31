"""Spaces: depth mesh, neuron index, the unknown, and how they are dealt out to the ranks."""

from fem_deepest.spaces.control import ControlSpace, Parameters, Shapes
from fem_deepest.spaces.depth import DepthMesh
from fem_deepest.spaces.grid import ProcessGrid, SampleBlocks
from fem_deepest.spaces.neurons import NeuronSpace
from fem_deepest.spaces.prolongation import prolong
from fem_deepest.spaces.resolution import Resolution
from fem_deepest.spaces.slab_space import SlabSpace
from fem_deepest.spaces.slabs import Slabs

__all__ = [
    "ControlSpace",
    "DepthMesh",
    "NeuronSpace",
    "Parameters",
    "ProcessGrid",
    "Resolution",
    "SampleBlocks",
    "Shapes",
    "SlabSpace",
    "Slabs",
    "prolong",
]
