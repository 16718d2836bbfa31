"""Chains in the layout of ArviZ: netCDF, that is HDF5 with dimension scales.

The groups are ``posterior`` and ``sample_stats``, in them variables (chain, draw, ...);
``arviz.from_netcdf`` and ``xarray.open_datatree`` read it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fem_deepest.errors import InputError

Array = NDArray[np.float64]


def write_inference_data(
    path: Path,
    groups: Mapping[str, Mapping[str, Array]],
    coordinates: Mapping[str, Any] = {},
    dims: Mapping[str, Sequence[str]] = {},
    attributes: Mapping[str, Any] = {},
) -> None:
    """Write the file as a whole. Not collective.

    Args:
        path: File, ``.nc``.
        groups: By name, variables (chains, draws, ...).
        coordinates: Values of further dimensions.
        dims: By name of a variable, the dimensions after chain and draw.
        attributes: Attributes of every group.

    Raises:
        InputError: A variable has not the shape of the others, or its dimensions are not given.
    """
    part = path.with_name(path.name + ".part")
    with h5py.File(part, "w", driver="sec2") as file:
        for name, variables in groups.items():
            _group(file.create_group(name), variables, coordinates, dims, attributes)
    os.replace(part, path)


def _group(
    group: Any,
    variables: Mapping[str, Array],
    coordinates: Mapping[str, Any],
    dims: Mapping[str, Sequence[str]],
    attributes: Mapping[str, Any],
) -> None:
    group.attrs.update(attributes)
    chains, draws = next(iter(variables.values())).shape[:2]
    axes: dict[str, NDArray[Any]] = {"chain": np.arange(chains), "draw": np.arange(draws)}
    used = {d for name in variables for d in dims.get(name, ())}
    axes |= {name: np.asarray(values) for name, values in coordinates.items() if name in used}
    for name, values in axes.items():
        group[name] = values
        group[name].make_scale(name)
    for name, values in variables.items():
        own = ("chain", "draw", *dims.get(name, ()))
        expected = tuple(axes[d].size for d in own if d in axes)
        if values.shape != expected:
            raise InputError(
                f"the variable '{name}' has shape {values.shape}, expected {expected} for the dimensions "
                f"{own}"
            )
        group[name] = values
        for axis, dimension in enumerate(own):
            group[name].dims[axis].attach_scale(group[dimension])
