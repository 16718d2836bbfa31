"""Fields for ParaView: the numbers in the files, read with h5py, at their coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from fem_deepest.configuration.train import load
from fem_deepest.data import DataSet, Standardiser
from fem_deepest.io.fields import write_fields
from fem_deepest.runs.model import Model
from fem_deepest.runs.network import make_network
from fem_deepest.spaces import Resolution

Array = NDArray[np.float64]
MESH = Path(__file__).parents[2] / "meshes" / "pixels.msh"


def written(folder: Path, **network: Any) -> tuple[Model, DataSet, list[str]]:
    """Fields of an untrained network with random parameters, and the names of the files."""
    config = load({"network": {"depth": 1.5, **network}, "data": {"name": "digits"}})
    random = np.random.default_rng(0)
    net = make_network(config, 64, 2, Resolution(3))
    one = Standardiser.identity
    classes = ("a", "b")
    columns = tuple(f"x{i}" for i in range(64))
    model = Model(net, random.standard_normal(net.shapes.size), one(64), one(2), classes, columns)
    data = DataSet("data", random.standard_normal((4, 64)), np.array([0, 1, 1, 0]), classes)
    return model, data, [path.name for path in write_fields(folder, model, data)]


def read(path: Path, name: str, step: int = 0) -> tuple[Array, Array]:
    """Coordinates and values of a function, sorted by the coordinates."""
    with h5py.File(path.with_suffix(".h5")) as file:
        x = np.asarray(file["Mesh/mesh/geometry"])
        values = file[f"Function/{name}"]
        array = np.asarray(values[sorted(values, key=lambda t: float(t.replace("_", ".")))[step]])
    return x, array[:, 0]


def expected(t: Array, x: Array, values: Array) -> dict[tuple[float, ...], float]:
    """Values (n + 1, nodes) by their coordinates."""
    return {
        tuple(np.round([depth, *place], 9)): values[i, j]
        for i, depth in enumerate(t)
        for j, place in enumerate(x)
    }


def same(x: Array, values: Array, wanted: dict[tuple[float, ...], float]) -> None:
    assert len(values) == len(wanted)
    for place, value in zip(x, values, strict=True):
        assert value == pytest.approx(wanted[tuple(np.round(place, 9) + 0.0)], abs=1e-13)


def test_fields_of_a_rectangle_have_their_coordinates(tmp_path: Path) -> None:
    model, data, names = written(tmp_path, index="rectangle", shape=[3, 4], extent=[2.0, 0.5])
    assert names == ["kernel_rows.xdmf", "kernel_rows.csv", "bias.xdmf", "states.xdmf"]
    net, theta = model.network, model.parameters.theta
    t, s = net.depth.nodes, net.index.coordinates
    same(*read(tmp_path / "bias.xdmf", "b"), expected(t, s, theta[..., -1]))
    states = model.states(data.inputs[:2])
    same(*read(tmp_path / "states.xdmf", "x", 1), expected(t, s, states[:, :, 1]))
    table = np.loadtxt(tmp_path / "kernel_rows.csv", delimiter=",", skiprows=1)
    for step, node, *place in table:
        np.testing.assert_allclose(place, s[int(node)], atol=1e-9)
        row = theta[:, int(node), :-1]
        same(*read(tmp_path / "kernel_rows.xdmf", "w", int(step)), expected(t, s, row))


def test_channels_are_functions_side_by_side(tmp_path: Path) -> None:
    model, _, names = written(
        tmp_path, index="interval", element="P1", neurons=10, channels=2, lift="linear"
    )
    assert names[-2:] == ["bias.xdmf", "states.xdmf"]
    net, bias = model.network, model.parameters.theta[..., -1]
    t, s = net.depth.nodes, net.index.coordinates
    same(
        *(a[..., :2] if a.ndim > 1 else a for a in read(tmp_path / "bias.xdmf", "b2")),
        expected(t, s, bias[:, 5:]),
    )


def test_kernel_of_an_interval_is_a_field_on_a_box(tmp_path: Path) -> None:
    model, _, names = written(tmp_path, index="interval", element="P1", neurons=5, lift="linear")
    assert names[0] == "kernel.xdmf"
    net, kernel = model.network, model.parameters.theta[..., :-1]
    s = net.index.coordinates[:, 0]
    pairs = np.stack(np.meshgrid(s, s, indexing="ij"), axis=-1).reshape(-1, 2)
    wanted = expected(net.depth.nodes, pairs, kernel.reshape(4, 25))
    same(*read(tmp_path / "kernel.xdmf", "w"), wanted)


@pytest.mark.parametrize("element", ["P1", "P2"])
def test_fields_of_a_mesh_are_a_series_over_the_depth(tmp_path: Path, element: str) -> None:
    model, data, _ = written(
        tmp_path, index="mesh", mesh=str(MESH), element=element, mass="consistent"
    )
    net = model.network
    states = model.states(data.inputs[:2])
    for i, t in enumerate(net.depth.nodes):
        x, values = read(tmp_path / "states.xdmf", "x_1", i)
        wanted = expected(np.array([t]), net.index.coordinates[:81], states[i : i + 1, :81, 1])
        same(np.column_stack([np.full(len(x), t), x]), values, wanted)
