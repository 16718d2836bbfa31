"""``fem-deepest flow`` on an action: what it finds, how it goes on, what it refuses."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from launch import TINY, contents, record, start, timeless

WELL = """\
seed = 3
[action]
name = "double_well"
tilt = 0.1
cells = 8
[flow]
step = 0.5
steps = 200
[temperature]
start = 0.3
end = 0.003
[replicas]
number = 3
[output]
figures = false
fields = false
"""

TRAINING = """\
[action]
train = "tiny.toml"
cells = 2
[flow]
step = 1e-3
steps = 20
[temperature]
start = 1e-4
end = 1e-6
[descent]
tolerance = 1e-2
[output]
figures = false
fields = false
"""

LORENZ = """\
[data]
times = 17
[dynamics]
name = "lorenz63"
transcription = "midpoint"
[bounds]
states = [-20.0, 20.0]
parameters = [5.0, 30.0]
[anneal]
rungs = 12
"""

PATHS = """\
[action]
anneal = "lorenz.toml"
R_f = 0.1
[flow]
step = 0.02
steps = 30
[temperature]
start = 1e-2
end = 1e-4
[replicas]
number = 3
[output]
figures = false
"""

# Sends SIGTERM to itself in the gradient of this number.
STOPPED = """\
import os, signal
import fem_deepest.cli.main as command
from fem_deepest.annealed import columns, paths
calls = [0]
for kind in (columns.ActionLandscape, paths.PathsLandscape):
    def counted(self, U, step=None, gradient=kind.gradient):
        calls[0] += 1
        if calls[0] == 15:
            os.kill(os.getpid(), signal.SIGTERM)
        return gradient(self, U, step)
    kind.gradient = counted
command.main()
"""


@pytest.fixture
def folder(tmp_path):
    for name, text in (
        ("well.toml", WELL),
        ("training.toml", TRAINING),
        ("tiny.toml", TINY),
        ("paths.toml", PATHS),
        ("lorenz.toml", LORENZ),
    ):
        (tmp_path / name).write_text(text)
    return tmp_path


def replicas(place) -> list[dict[str, float]]:
    with (place / "replicas.csv").open() as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def well(u):
    """Action of a constant on the unit interval."""
    return 0.25 * (u**2 - 1.0) ** 2 - 0.1 * u


def test_noise_leads_out_of_the_wrong_well(folder, command) -> None:
    """Descent alone ends at the left well; the lower one is on the right."""
    roots = np.sort(np.roots([1.0, 0.0, -1.0, -0.1]).real)
    out = folder / "out"
    ended = command("flow", folder / "well.toml", "--out", out)
    assert ended.code == 0, ended.err
    assert record(out)["metrics"]["action"] == pytest.approx(well(roots[2]), rel=1e-9)
    assert record(out)["metrics"]["mean"] == pytest.approx(roots[2], rel=1e-6)
    cold = folder / "cold"
    settings = ("--set", "temperature.start=1e-9", "--set", "temperature.end=1e-10")
    assert command("flow", folder / "well.toml", "--out", cold, *settings).code == 0
    assert record(cold)["metrics"]["action"] == pytest.approx(well(roots[0]), rel=1e-9)


def test_what_a_run_leaves_behind(folder, command) -> None:
    out = folder / "out"
    settings = ("--set", "output.figures=true", "--set", "output.fields=true")
    ended = command("flow", folder / "well.toml", "--out", out, *settings)
    assert ended.code == 0, ended.err
    values, rows = record(out), timeless(out)
    noise, descent = values["stages"]
    assert (noise["stage"], descent["stage"]) == ("noise", "descent")
    assert noise["evaluations"] == 3 * 201  # the start, and one a step
    assert len(rows) == 201
    assert float(rows[0]["action"]) == pytest.approx(well(-1.0))
    assert min(float(row["action"]) for row in rows) == noise["best"]
    assert float(rows[100]["temperature"]) == pytest.approx(0.03)  # the geometric mean
    assert values["metrics"]["evaluations"] == noise["evaluations"] + descent["evaluations"]
    found = replicas(out)
    assert min(row["action"] for row in found) == values["metrics"]["action"]
    assert values["metrics"]["gradient"] < 1e-6
    drawn = out / "figures" / "action.png"
    drawn.unlink()
    assert str(drawn) in command("plot", out).out
    assert drawn.stat().st_size > 10_000
    assert (out / "fields" / "u_000000.xdmf").exists()


EXCHANGE = ("--set", "replicas.exchange=2")
# Columns whose rows are spread over the ranks (nodes, parameters), and columns that are dealt out.
CASES = [("well", ()), ("training", ()), ("paths", ()), ("paths", EXCHANGE)]


@pytest.mark.parametrize("name, more", CASES)
def test_a_stopped_run_goes_on_to_the_same_end(folder, name: str, more: tuple[str, ...]) -> None:
    whole, part = folder / "whole", folder / "part"
    ended = start("flow", folder / f"{name}.toml", "--out", whole, *more)
    assert ended.returncode == 0, ended.stderr
    stopped = start("flow", folder / f"{name}.toml", "--out", part, *more, script=STOPPED)
    assert stopped.returncode == 130, stopped.stderr
    assert "go on with --resume" in stopped.stdout
    assert record(part)["status"] == "interrupted"
    assert 0 < record(part)["stages"][0]["steps"] < 200
    resumed = start("flow", folder / f"{name}.toml", "--out", part, "--resume", *more)
    assert resumed.returncode == 0, resumed.stderr
    assert timeless(part) == timeless(whole)
    assert (part / "replicas.csv").read_bytes() == (whole / "replicas.csv").read_bytes()
    assert record(part)["metrics"] == record(whole)["metrics"]


@pytest.mark.parametrize("name, more", CASES)
def test_the_same_replicas_under_mpirun(folder, name: str, more: tuple[str, ...]) -> None:
    short = ("--set", "flow.steps=8", *more)
    for ranks in (0, 2):
        out = folder / str(ranks)
        ended = start("flow", folder / f"{name}.toml", "--out", out, *short, ranks=ranks)
        assert ended.returncode == 0, ended.stderr
    for one, two in zip(replicas(folder / "0"), replicas(folder / "2"), strict=True):
        assert [two[k] for k in one] == pytest.approx([one[k] for k in one], rel=1e-6, abs=1e-9)


def test_a_run_goes_on_with_other_ranks(folder) -> None:
    """The rows of a mesh are found again by the names of its nodes."""
    whole, part = folder / "whole", folder / "part"
    assert start("flow", folder / "well.toml", "--out", whole).returncode == 0
    assert start("flow", folder / "well.toml", "--out", part, script=STOPPED).returncode == 130
    resumed = start("flow", folder / "well.toml", "--out", part, "--resume", ranks=2)
    assert resumed.returncode == 0, resumed.stderr
    for one, two in zip(replicas(whole), replicas(part), strict=True):
        assert two["best"] == pytest.approx(one["best"], rel=1e-6)


@pytest.mark.parametrize("step", ["step=1", "step=2.5"])
def test_a_flow_that_explodes_is_named(folder, command, step: str) -> None:
    """Explicit steps that are too long: the descents of the starts alone are no success."""
    out = folder / "exploded"
    long = (f"flow.{step}", "flow.implicitness=0", "temperature.start=1", "flow.steps=40")
    settings = [word for one in (*long, "output.figures=true") for word in ("--set", one)]
    ended = command("flow", folder / "well.toml", "--out", out, *settings)
    assert ended.code == 3, ended.err
    assert "the noise has exploded in 3 of 3 replicas" in ended.out
    assert record(out)["status"] == "not_converged"
    assert (out / "figures" / "action.png").exists()
    # The same length is none too long where bad moves are refused.
    settings += ["--force", "--set", "flow.accept=metropolis"]
    ended = command("flow", folder / "well.toml", "--out", out, *settings)
    assert ended.code == 0 and "noise has exploded" not in ended.out


def test_a_rectangle_has_smoother_noise(folder, command) -> None:
    """The wells are those of a constant; white noise is ill-posed in the plane."""
    out = folder / "out"
    plane = ("--set", "action.size=[1.0, 0.5]", "--set", "action.cells=4")
    ended = command("flow", folder / "well.toml", "--out", out, *plane)
    assert ended.code == 0, ended.err
    right = np.roots([1.0, 0.0, -1.0, -0.1]).real.max()
    assert record(out)["metrics"]["action"] == pytest.approx(0.5 * well(right), rel=1e-9)
    assert record(out)["metrics"]["mean"] == pytest.approx(right, rel=1e-6)
    assert (out / "u.csv").read_text().startswith("x,y,u\n")
    white = ("--set", "flow.noise=white")
    ended = command("flow", folder / "well.toml", "--out", folder / "white", *plane, *white)
    assert ended.code == 2
    assert "ill-posed at any positive temperature" in ended.err
    assert not (folder / "white").exists()


REFUSED = {
    "temperature.end=0.5": "decreases",
    "temperature.start=-1": "temperature.start",
    "flow.noise=white action.name=none": "double_well",
    "flow.minibatch=4": "action.train",
    "action.train=nothing.toml": "exactly one",
    "action.R_f=1.0": "does not go with name",
    "equation.name=heat": "leave out the other",
    "flow.step=0": "flow.step",
    "replicas.number=0": "replicas.number",
    "temperature.first=1.0": "nearest known key",
    "replicas.exchange=3": "divides flow.steps",
    "replicas.exchange=2 temperature.end=0.5": "decreases",
    "replicas.exchange=2 flow.noise=white": "leave out",
}


@pytest.mark.parametrize("settings", REFUSED)
def test_wrong_input_ends_with_two_and_writes_nothing(folder, command, settings: str) -> None:
    words = [word for setting in settings.split() for word in ("--set", setting)]
    ended = command("flow", folder / "well.toml", "--out", folder / "out", *words)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert REFUSED[settings] in ended.err
    assert not (folder / "out").exists()


@pytest.mark.parametrize(
    "text, told",
    [
        ('[action]\ntrain = "nothing.toml"\n', "there is no configuration file"),
        ("[action]\ncells = 4\n", "none of train, anneal, name"),
        ('[action]\ntrain = "tiny.toml"\n[flow]\nnoise = "white"\n', "white noise"),
    ],
)
def test_an_action_that_cannot_be_made_is_refused(folder, command, text: str, told: str) -> None:
    (folder / "wrong.toml").write_text(text)
    ended = command("flow", folder / "wrong.toml", "--out", folder / "out")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert told in ended.err
    assert not (folder / "out").exists()


def test_a_checkpoint_belongs_to_its_configuration(folder, command) -> None:
    """Also to that of the file that it names, wherever this lies."""
    out = folder / "out"
    assert command("flow", folder / "training.toml", "--out", out).code == 0
    before = contents(out)
    again = command("flow", folder / "training.toml", "--out", out)
    assert again.code == 2
    assert "not empty" in again.err
    other = ("--out", out, "--resume", "--set", "flow.step=2e-3")
    ended = command("flow", folder / "training.toml", *other)
    assert ended.code == 2
    assert "flow.step = 0.001" in ended.err
    (folder / "tiny.toml").write_text(TINY.replace("lambda = 1e-3", "lambda = 2e-3"))
    ended = command("flow", folder / "training.toml", "--out", out, "--resume")
    assert ended.code == 2
    assert "the file of the action" in ended.err
    assert contents(out) == before


def test_hot_replicas_hand_the_lower_well_to_the_cold_one(folder, command) -> None:
    """What crosses the barrier when it is hot ends in the lower well; rows have the mean temperature."""
    out = folder / "out"
    settings = ("replicas.exchange=5", "flow.accept=metropolis", "flow.steps=1000")
    more = [word for setting in settings for word in ("--set", setting)]
    ended = command("flow", folder / "well.toml", "--out", out, *more)
    assert ended.code == 0, ended.err
    rows = timeless(out)
    mean = np.geomspace(0.003, 0.3, 3).mean()
    assert [float(row["temperature"]) for row in rows] == pytest.approx([mean] * len(rows))
    assert [int(row["step"]) for row in rows] == list(range(0, 1001, 5))
    right = np.roots([1.0, 0.0, -1.0, -0.1]).real.max()
    assert [row["action"] for row in replicas(out)] == pytest.approx([well(right)] * 3, rel=1e-9)


def test_petsc_options_reach_the_time_stepper(folder) -> None:
    out = folder / "out"
    options = ("--", "-ts_dt", "0.25", "-ts_max_steps", "4", "-ts_monitor")
    ended = start("flow", folder / "well.toml", "--out", out, *options)
    assert ended.returncode == 0, ended.stderr
    assert "4 TS dt 0.25 time 1." in ended.stdout
    assert [row["time"] for row in timeless(out)] == ["0", "0.25", "0.5", "0.75", "1"]
    assert float(timeless(out)[4]["temperature"]) == pytest.approx(0.003)


def test_white_noise_on_an_interval_flows(folder, command) -> None:
    """In one dimension it is well posed."""
    settings = ("--set", "flow.noise=white", "--set", "flow.step=0.01")
    ended = command("flow", folder / "well.toml", "--out", folder / "out", *settings)
    assert ended.code == 0, ended.err


def test_python_gives_the_lowest_end(folder) -> None:
    import fem_deepest

    run = fem_deepest.flow(folder / "paths.toml", out=folder / "out")
    assert run.actions.min() == run.metrics["action"]
    assert run.lowest.x.shape == (17, 3)
    assert set(contents(folder / "out")) >= {"path.csv", "parameters.csv", "replicas.csv"}
