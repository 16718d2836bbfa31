"""Networks whose neuron index is an interval, a rectangle or a mesh, from the command."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from fem_deepest.cli.plot import _history
from fem_deepest.runs.train import Run

MESHES = Path(__file__).parents[2] / "meshes"

DIGITS = """\
[data]
name = "digits"
test_fraction = 0.5
[network]
index = "rectangle"
cells = 2
depth = 1.0
{more}
[action]
lambda = 1e-3
[solve]
levels = [2]
iterations = {iterations}
tolerance = 0.02
[output]
figures = false
fields = false
"""


def digits(folder: Path, more: str = "", iterations: int = 3) -> Path:
    path = folder / "digits.toml"
    path.write_text(DIGITS.format(more=more, iterations=iterations))
    return path


def test_digits_as_images_are_learnt(command, tmp_path):
    out = tmp_path / "run"
    ended = command("train", digits(tmp_path, 'element = "P1"', 60), "--out", out)
    assert ended.code in (0, 3), ended
    run = Run.load(out)
    assert run.model.network.index.neurons == 64
    assert run.metrics["test_accuracy"] > 0.9


@pytest.mark.parametrize(
    ("more", "neurons"),
    [
        ('element = "P0"', 64),
        ('element = "P1"\nshape = [10, 12]', 120),
        ('element = "P2"\nshape = [5, 5]\nmass = "consistent"\nchannels = 2', 50),
    ],
)
def test_the_same_data_fit_every_rectangle(command, tmp_path, more, neurons):
    out = tmp_path / "run"
    assert command("train", digits(tmp_path, more), "--out", out).code == 3
    assert Run.load(out).model.network.index.neurons == neurons


def test_a_run_on_a_mesh_can_predict_without_its_file(command, tmp_path):
    mesh = Path(shutil.copy(MESHES / "pixels.msh", tmp_path))
    config, out = digits(tmp_path, 'mesh = "pixels.msh"'), tmp_path / "run"
    config.write_text(config.read_text().replace('"rectangle"', '"mesh"'))
    assert command("train", config, "--out", out).code == 3
    before = Run.load(out)
    z = np.random.default_rng(0).uniform(0.0, 1.0, (5, 64))
    expected = before.predict(z)
    mesh.unlink()
    after = Run.load(out)
    np.testing.assert_array_equal(after.predict(z), expected)
    assert after.model.network.index.nodes == 81


def test_the_depth_may_have_a_mesh_of_its_own(command, tmp_path):
    mesh = Path(shutil.copy(MESHES / "depth.msh", tmp_path))
    config, out = tmp_path / "spiral.toml", tmp_path / "run"
    config.write_text(
        """\
[data]
name = "spiral"
samples = 60
[network]
neurons = 3
depth_mesh = "depth.msh"
cells = 24
depth = 4.0
[solve]
iterations = 2
[output]
figures = false
fields = false
"""
    )
    assert command("train", config, "--out", out).code == 3
    assert [stage["cells"] for stage in Run.load(out).stages] == [6, 12, 24]
    mesh.unlink()
    steps = np.diff(Run.load(out).model.network.depth.nodes)
    np.testing.assert_allclose(steps[1:] / steps[:-1], 1.1, rtol=1e-6)
    shutil.copy(MESHES / "depth.msh", tmp_path)
    other = tmp_path / "other"
    for setting, fragment in (
        ("network.cells=12", "24 cells on (0, 4), but network.cells = 12"),
        ("network.depth_mesh=../disc.msh", "no mesh file"),
        (f"network.depth_mesh={MESHES / 'disc.msh'}", "dimension 2 in 2D"),
        ("solve.levels=[5,24]", "do not make a level of 5"),
    ):
        ended = command("train", config, "--out", other, "--set", setting)
        assert ended.code == 2, ended
        assert fragment in ended.err, ended.err
        assert not other.exists()


def test_functions_on_a_line_go_in_and_come_out(command, tmp_path):
    random = np.random.default_rng(0)
    x = random.standard_normal((40, 6))
    np.savez(tmp_path / "functions.npz", x=x, y=0.5 * x)
    config, out = tmp_path / "line.toml", tmp_path / "run"
    config.write_text(
        """\
[data]
name = "file"
path = "functions.npz"
kind = "regression"
shape = [6]
standardise = false
[network]
index = "interval"
element = "P1"
neurons = 13
lift = "project"
readout = "project"
cells = 2
depth = 1.0
[solve]
levels = [2]
tolerance = 0.05
[output]
figures = false
fields = false
"""
    )
    assert command("train", config, "--out", out).code == 0
    run = Run.load(out)
    assert run.model.network.leave.shape == (6, 13)
    # Without any layer the error would be half of the inputs.
    assert run.metrics["train_rmse"] < 0.25 * np.sqrt(np.mean(x**2))


def test_levels_of_the_index_are_told_and_marked(command, tmp_path):
    out = tmp_path / "run"
    more = 'element = "P0"\nshape = [8, 8]'
    config = digits(tmp_path, more)
    ended = command("train", config, "--out", out, "--set", "solve.neurons=[[4,4],[8,8]]")
    assert ended.code == 3, ended
    assert "2 cells, 4 x 4 neurons: action" in ended.out
    assert "2 cells, 8 x 8 neurons: action" in ended.out
    _, levels = _history(Run.load(out))
    assert [label for _, label in levels] == ["2 cells, 16 neurons", "2 cells, 64 neurons"]


BAD = [
    # an index that does not match the data
    ("network.index=interval", "network.lift=project", "8 x 8", "neuron index in 1D", "expected"),
    ("data.shape=[8,9]", "64 inputs", "[8, 9] has 72"),
    ("data.shape=[64]", "network.shape=[8,8]", "shape 64", "neuron index in 2D", "1D"),
    ("network.lift=pad", "network.lift = 'pad'", "'linear' or 'project'"),
    ("network.readout=observed", "network.readout = 'observed'"),
    ("network.readout=project", "10 outputs", "64"),
    ("data.name=spiral", "no shape"),
    ("data.name=spiral", "network.shape=[4,4]", "2 inputs", "no shape", "[2]"),
    # a mesh that cannot be, or of the wrong dimension
    ("network.index=mesh", "network.mesh", "mesh file"),
    ("network.mesh=none.msh", "index = 'mesh'"),
    ("network.index=mesh", "network.mesh=none.msh", "no mesh file", "none.msh"),
    ("network.index=mesh", "network.mesh={meshes}/depth.msh", "8 x 8", "1D", "2D"),
    (
        "network.index=mesh",
        "network.mesh={meshes}/disc.msh",
        "4 of the 8 x 8 pixels",
        "row 1, column 1",
    ),
    ("network.index=mesh", "network.mesh={box}", "dimension 3 in 3D"),
    # spaces that cannot be
    ("network.element=P2", "network.shape=[4,4]", "odd numbers"),
    ("network.extent=[1.0]", "1 sides"),
    ("network.index=points", "network.element=P1", "network.element", "no meaning"),
    ("network.index=points", "network.channels=2", "channels"),
    (
        "network.index=interval",
        "network.neurons=9",
        "network.channels=2",
        "9 neurons",
        "2 channels",
    ),
    # a kernel too large for memory
    ("network.shape=[120,120]", "network.cells=1000", "solve.levels=auto", "14400 x 14401", "GiB"),
    ("network.shape=[3000,3000]", "9,000,000 nodes", "3 x 9000000 x 9000001 weights", "GiB"),
    (
        "network.shape=[30000,30000]",
        "network.coupling=local",
        "900,000,000 nodes needs at least",
        "GiB",
    ),
    # found before the levels that come first are trained
    ("network.element=P2", "network.shape=[6,6]", "solve.neurons=[[5,5],[6,6]]", "odd numbers"),
    (
        "network.shape=[5000,5000]",
        "solve.neurons=[[9,9],[5000,5000]]",
        "3 x 25000000 x 25000001 weights",
    ),
    ("network.start_readout=regression", "action.loss = 'least_squares'"),
]


@pytest.mark.parametrize("case", BAD, ids=lambda case: ", ".join(case[:2]))
def test_bad_input(command, tmp_path, case):
    box = tmp_path / "box.msh"
    box.write_text(BOX)
    paths = {"meshes": MESHES, "box": box}
    keys = ("network.", "data.", "solve.")
    settings = [
        word.format(**paths)
        for word in case
        if word.startswith(keys) and "=" in word and " =" not in word
    ]
    fragments = [word for word in case if word.format(**paths) not in settings]
    words = [word for setting in settings for word in ("--set", setting)]
    out = tmp_path / "run"
    ended = command("train", digits(tmp_path), "--out", out, *words)
    assert ended.code == 2, ended
    assert ended.err.startswith("fem-deepest: ")
    assert ended.err.count("\n") == 1
    assert not out.exists()
    for fragment in fragments:
        assert fragment in ended.err, ended.err


BOX = """\
$MeshFormat
2.2 0 8
$EndMeshFormat
$Nodes
4
1 0 0 0
2 1 0 0
3 0 1 0
4 0 0 1
$EndNodes
$Elements
1
1 4 2 1 1 1 2 3 4
$EndElements
"""
