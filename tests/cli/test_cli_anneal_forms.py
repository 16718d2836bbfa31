"""``fem-deepest anneal``: forms, ends, dynamics of the user's, observations anywhere, perfect fits."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from launch import DEMOS, contents, start
from test_cli_anneal import rows, small  # noqa: F401 (a fixture)

import fem_deepest
from fem_deepest.cli.anneal import anneal
from fem_deepest.configuration.anneal import load_annealing
from fem_deepest.io import batches
from fem_deepest.runs.path_search import PathSearch

PENDULUM = """\
[data]
components = [0]
times = 21
interval = 0.2
noise = 0.05
[dynamics]
name = "file"
path = "mine.py"
cells = 20
transcription = "gauss2"
[bounds]
states = [-4.0, 4.0]
parameters = [[1.0, 8.0], [0.0, 1.0]]
[anneal]
paths = 2
R_f0 = 1.0
alpha = 10.0
rungs = 4
[output]
figures = false
"""

IN_UFL = """\
import ufl
from fem_deepest.dynamics.named import Named
from fem_deepest.dynamics.symbolic import Symbolic

def field(t, x, w):
    return [x[1], -w[0] * ufl.sin(x[0]) - w[1] * x[1]]

system = Named(Symbolic(2, ("g", "c"), field), (4.0, 0.3), (2.0, 0.0))

def maker(states):
    return Named(Symbolic(states, ("g", "c"), field), (4.0, 0.3), (2.0, 0.0))
"""

IN_NUMPY = """\
import numpy as np
from fem_deepest.dynamics.named import Named

class System:
    name, states, parameters = "mine", 2, ("g", "c")

    def value(self, t, x, w):
        f = -w[..., 0] * np.sin(x[..., 0]) - w[..., 1] * x[..., 1]
        return np.stack([np.broadcast_to(x[..., 1], f.shape), f], axis=-1)

    def jacobian(self, t, x, w):
        q, g = np.broadcast_arrays(x[..., 0], w[..., 0])
        f_x, f_w = np.zeros((2, *q.shape, 2, 2))
        f_x[..., 0, 1] = 1.0
        f_x[..., 1, 0], f_x[..., 1, 1] = WRONG * g * np.cos(q), -w[..., 1]
        f_w[..., 1, 0], f_w[..., 1, 1] = -np.sin(q), -x[..., 1]
        return f_x, f_w

    def curvature(self, t, x, w, p):
        q, g, p = np.broadcast_arrays(x[..., 0], w[..., 0], p[..., 1])
        f_xx, f_xw, f_ww = np.zeros((3, *q.shape, 2, 2))
        f_xx[..., 0, 0] = p * g * np.sin(q)
        f_xw[..., 0, 0], f_xw[..., 1, 1] = -p * np.cos(q), -p
        return f_xx, f_xw, f_ww

system = Named(System(), (4.0, 0.3), (2.0, 0.0))
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(IN_UFL)
    (tmp_path / "mine.toml").write_text(PENDULUM)
    return tmp_path / "mine.toml"


def levels(directory: Path) -> np.ndarray:
    table = [[float(row[k]) for k in ("beta", "action", "count")] for row in rows(directory)]
    return np.array(table)


def test_three_forms_leave_the_same_levels(command, small, tmp_path):  # noqa: F811
    """The action to 1e-8, and the same number of paths on every level of every rung."""
    found = {}
    for form in ("state", "saddle", "forcing"):
        out = tmp_path / form
        ended = command("anneal", small, "--out", out, "--set", f"action.form={form}")
        assert ended.code == 0, ended.err
        found[form] = levels(out / "levels.csv")
    for form in ("saddle", "forcing"):
        np.testing.assert_allclose(found[form], found["state"], rtol=1e-8)


def test_exact_model_is_a_rung(command, small, tmp_path):  # noqa: F811
    exact = ["anneal.exact=true", "anneal.rungs=5", "anneal.paths=2", "output.figures=true"]
    settings = [word for s in exact for word in ("--set", s)]
    ended = command("anneal", small, "--out", tmp_path / "a", *settings)
    assert ended.code == 2
    assert "needs a finite R_f" in ended.err
    settings += ["--set", "action.form=saddle"]
    ended = command("anneal", small, "--out", tmp_path / "a", *settings)
    assert ended.code == 0, ended.out
    run = json.loads((tmp_path / "a" / "run.json").read_text())
    assert [s["R_f"] for s in run["stages"]][-2:] == [pytest.approx(1000.0), None]
    assert rows(tmp_path / "a" / "levels.csv")[-1]["R_f"] == "inf"
    assert run["metrics"]["action"] == pytest.approx(run["metrics"]["measurement"], rel=1e-12)
    picture = tmp_path / "a" / "figures" / "levels.png"
    before = picture.read_bytes()
    picture.unlink()
    assert command("plot", tmp_path / "a").code == 0
    assert picture.read_bytes() == before


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        (["action.form=forcing", "ends.periodic=true"], "cannot prescribe"),
        (["action.form=saddle", "anneal.adaptive=true"], "adaptive"),
        (["ends.start=soft", "ends.start_value=[0, 0, 0, 0, 0]"], "needs precision"),
        (["ends.start=soft", "ends.start_value=[0]", "ends.start_precision=1.0"], "expected 5"),
        (["ends.end=clamped"], "needs value"),
        (["ends.end_precision=1.0"], "has no precision"),
        (
            ["ends.end=background", f"ends.end_value={[0] * 5}", "ends.end_precision=[1, 1]"],
            "(D, D)",
        ),
        (
            ["ends.start=clamped", f"ends.start_value={[0] * 5}", "ends.periodic=true"],
            "one end only",
        ),
        (["dynamics.cells=7", "dynamics.refine=2"], "one of cells"),
        (["dynamics.name=file"], "path goes with"),
        (["dynamics.name=coupling", "data.parameters=[1.0]"], "got 1 true parameters"),
    ],
)
def test_bad_input(command, small, tmp_path, settings, match):  # noqa: F811
    words = [word for s in settings for word in ("--set", s)]
    ended = command("anneal", small, "--out", tmp_path / "out", *words)
    assert ended.code == 2, ended.out
    assert match in ended.err
    assert not (tmp_path / "out").exists()


def test_ends_hold(small, tmp_path):  # noqa: F811
    """Clamped values are kept, a free component is not; a periodic path is closed."""
    settings = ["ends.start=clamped", "ends.start_value=[1.0, nan, 2.0, nan, nan]"]
    run = anneal(small, out=tmp_path / "a", settings=settings)
    np.testing.assert_array_equal(run.lowest.x[0, [0, 2]], [1.0, 2.0])
    assert np.abs(run.lowest.x[0, 1]) > 0.0
    # Its configuration is read back with what stood for a free component.
    assert fem_deepest.plot(tmp_path / "a")
    run = anneal(small, out=tmp_path / "b", settings=["ends.periodic=true"])
    np.testing.assert_array_equal(run.lowest.x[0], run.lowest.x[-1])
    assert run.lowest.x.shape == (21, 5)


def test_system_in_ufl_and_in_numpy_are_the_named_one(mine, tmp_path):
    """The pendulum of this package, of the user's in UFL and in NumPy, and out of a function."""
    text = mine.read_text().replace('name = "file"\npath = "mine.py"', 'name = "pendulum"')
    (tmp_path / "named.toml").write_text(text)
    expected = anneal(tmp_path / "named.toml", out=tmp_path / "named")
    maker = ["dynamics.object=maker", "dynamics.states=2"]
    runs = [anneal(mine, out=tmp_path / f"u{len(s)}", settings=s) for s in ([], maker)]
    mine.with_name("mine.py").write_text(IN_NUMPY.replace("WRONG", "-1.0"))
    runs.append(anneal(mine, out=tmp_path / "n"))
    for run in runs:
        np.testing.assert_allclose(run.record, expected.record, rtol=1e-9)
        assert run.metrics["g"] == pytest.approx(expected.metrics["g"], rel=1e-7)


@pytest.mark.parametrize(
    ("text", "settings", "match"),
    [
        (IN_NUMPY.replace("WRONG", "1.0"), [], "derivative F_x is wrong"),
        (IN_UFL, ["dynamics.object=sistem"], "nothing called sistem"),
        (IN_UFL, ["dynamics.object=maker"], "takes the number of states"),
        (IN_UFL, ["dynamics.object=maker", "dynamics.states=3"], "expected (3,)"),
        (IN_UFL, ["dynamics.states=3"], "has 2 states"),
        ("system = 1.0", [], "without name, states"),
        ("import nowhere_to_be_found", [], "ModuleNotFoundError"),
        (IN_UFL + "system = system.dynamics", [], "true parameters and a start"),
    ],
)
def test_bad_system(command, mine, tmp_path, text, settings, match):
    mine.with_name("mine.py").write_text(text)
    words = [word for s in settings for word in ("--set", s)]
    ended = command("anneal", mine, "--out", tmp_path / "out", *words)
    assert ended.code == 2
    assert match in ended.err, ended.err
    assert ended.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_changed_system_is_not_resumed(command, mine, tmp_path):
    assert command("anneal", mine, "--out", tmp_path / "out").code == 0
    assert command("anneal", mine, "--out", tmp_path / "out", "--resume").code == 0
    mine.with_name("mine.py").write_text(IN_UFL.replace("-w[0]", "-1.0 * w[0]"))
    ended = command("anneal", mine, "--out", tmp_path / "out", "--resume")
    assert ended.code == 2
    assert "checksum" in ended.err


def test_parameters_of_a_system_may_vary_in_depth(mine, tmp_path):
    settings = ["dynamics.varying=true", "action.lambda=10.0", "action.reference=1.0"]
    run = anneal(mine, out=tmp_path / "out", settings=settings)
    assert run.status == "converged"
    assert run.lowest.w.shape == (21, 2)
    assert len(rows(tmp_path / "out" / "parameters.csv")) == 21


def test_layer_of_neurons(tmp_path):
    """Two neurons with six weights; the twin's own explain its data, the noise apart."""
    config = {
        "data": {"times": 41, "interval": 0.1, "noise": 0.02, "seed": 1},
        "dynamics": {"name": "coupling", "states": 2, "activation": "tanh", "leak": 0.1},
        "action": {"lambda": 0.01},
        "bounds": {"states": [-3.0, 3.0], "parameters": [-2.0, 2.0]},
        "anneal": {"paths": 3, "R_f0": 1.0, "alpha": 10.0, "rungs": 6},
        "output": {"figures": False},
    }
    run = anneal(config, out=tmp_path / "out")
    assert run.status == "converged"
    assert abs(run.metrics["measurement"] - 41.0) < 4.0 * np.sqrt(41.0)
    assert run.metrics["rmse"] < 0.02
    assert set(run.metrics) >= {"w0_0", "w0_1", "b0", "w1_0", "w1_1", "b1"}


def test_observations_anywhere(mine, tmp_path):
    """A file with uneven times and missing values; cells that know nothing of them."""
    series = PathSearch.create(load_annealing(mine)).series
    rng = np.random.default_rng(0)
    t = np.sort(np.concatenate([[0.0, 4.0], rng.uniform(0.0, 4.0, 30)]))
    from scipy.integrate import solve_ivp

    def field(s, x):
        return [x[1], -4.0 * np.sin(x[0]) - 0.3 * x[1]]

    x = solve_ivp(field, (0.0, 4.0), [2.0, 0.0], t_eval=t, rtol=1e-10, atol=1e-10).y.T
    y = x + [0.01, 0.1] * rng.standard_normal(x.shape)
    with (tmp_path / "own.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["t", "q", "v"])
        for i, row in enumerate(np.column_stack([t, y])):
            writer.writerow([row[0], "" if i % 3 == 1 else row[1], row[2]])
    text = mine.read_text()
    text = text[text.index("[dynamics]") :].replace("cells = 20", "interval = 0.1")
    head = '[data]\nname = "file"\npath = "own.csv"\n[action]\nR_m = [1e4, 1e2]\n'
    (tmp_path / "own.toml").write_text(head + text.replace("rungs = 4", "rungs = 8"))
    run = anneal(tmp_path / "own.toml", out=tmp_path / "out")
    assert run.status == "converged"
    assert run.lowest.t.size == 81  # 40 cells of three nodes
    assert run.metrics["g"] == pytest.approx(4.0, abs=0.05)
    seen = 32 + 32 - len(range(1, 32, 3))
    assert run.metrics["expected_measurement"] == 0.5 * seen
    assert abs(run.metrics["measurement"] - 0.5 * seen) < 4.0 * 0.5 * np.sqrt(2.0 * seen)
    assert series.times.size == 21  # the twin is as it was


def test_perfect_fit_is_converged(mine, tmp_path):
    """Two observations of one component: a path through both that solves the equations, A = 0."""
    settings = ["data.noise=0.0", "data.times=3", "dynamics.cells=8", "action.R_m=100.0"]
    run = anneal(mine, out=tmp_path / "out", settings=settings)
    assert run.status == "converged"
    assert all(stage["converged"] == 2 for stage in run.stages)
    floor = PathSearch.create(load_annealing(mine, settings)).floor
    assert 0.0 <= run.metrics["action"] <= floor
    # Two zeros are one level, though one may be 1e-25 and the other 1e-30.
    assert run.metrics["levels"] == 1.0


def test_noise_free_twin_is_converged(mine, tmp_path):
    """All states seen without noise: what is left is the error of the cells."""
    settings = ["data.noise=0.0", "data.components=[0, 1]", "action.R_m=1e4", "anneal.rungs=6"]
    run = anneal(mine, out=tmp_path / "out", settings=settings)
    assert run.status == "converged"
    assert run.metrics["action"] < 1e-2
    assert run.metrics["g"] == pytest.approx(4.0, rel=1e-3)


def test_unidentifiable_parameters_are_refused(command, tmp_path):
    text = (DEMOS / "fitzhugh_nagumo.py").read_text()
    text = text.replace('("a", "b")', '("a", "b", "I")').replace("+ CURRENT, EPS", "+ w[2], EPS")
    text = text[: text.index("# ## In NumPy")] + (
        "system = Named(in_ufl, typical=(0.7, 0.8, 0.5), start=(-1.0, 1.0), spin_up=50.0)\n"
    )
    (tmp_path / "fitzhugh_nagumo.py").write_text(text)
    (tmp_path / "u.toml").write_text((DEMOS / "user_dynamics.toml").read_text())
    ended = command("anneal", tmp_path / "u.toml", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "1 directions" in ended.err
    assert not (tmp_path / "out").exists()


def test_demo_of_user_dynamics(tmp_path):
    """a and b of the nerve within what the noise leaves, in UFL; by hand they are the same."""
    quiet = ["output.figures=false", "anneal.paths=1"]
    run = anneal(DEMOS / "user_dynamics.toml", out=tmp_path / "u", settings=quiet)
    assert run.status == "converged"
    assert run.stages[-1]["R_f"] == np.inf
    assert run.metrics["a"] == pytest.approx(0.7, abs=0.02)
    assert run.metrics["b"] == pytest.approx(0.8, abs=0.05)
    assert abs(run.metrics["measurement"] - 30.0) < 4.0 * 0.5 * np.sqrt(120.0)
    by_hand = [
        *("dynamics.object=by_hand", "data.parameters=[0.7, 0.8]", "data.start=[-1.0, 1.0]"),
        *("data.spin_up=50.0", "anneal.rungs=3", "anneal.exact=false"),
    ]
    other = anneal(DEMOS / "user_dynamics.toml", out=tmp_path / "n", settings=[*quiet, *by_hand])
    np.testing.assert_allclose(other.record[0], run.record[0, :3], rtol=1e-8)


# Leaving early.


def test_interrupted_on_different_rungs_is_consistent(small, tmp_path, monkeypatch):  # noqa: F811
    """Two batches are done, the third on its second rung: the tables are those of the second rung."""
    small.write_text(small.read_text().replace("seed = 3", "seed = 6"))
    whole = anneal(small, out=tmp_path / "whole")
    # The lowest path of that rung is in a batch that has left it.
    assert whole.record[:4, 1, 0].min() < 0.9 * whole.record[4:, 1, 0].min()
    count = [0]
    write = batches.write_batch

    def counted(folder, batch):
        write(folder, batch)
        count[0] += 1
        if count[0] == 10:  # the third batch has finished two rungs
            os.kill(os.getpid(), signal.SIGTERM)

    from fem_deepest.cli import anneal_session as module

    monkeypatch.setattr(module, "write_batch", counted)
    run = anneal(small, out=tmp_path / "out")
    assert run.status == "interrupted"
    table = rows(tmp_path / "out" / "levels.csv")
    assert {row["beta"] for row in table} == {"0", "1"}
    np.testing.assert_array_equal(run.record, whole.record[:, :2])
    # The path in the file has the action in the table.
    search = PathSearch.create(load_annealing(small))
    path = np.loadtxt(tmp_path / "out" / "path.csv", delimiter=",", skiprows=1)[:, 1:]
    f = float(rows(tmp_path / "out" / "parameters.csv")[0]["f"])
    action = search.paths.value(search.paths.join(path, np.array([f]))[None], 1.0).action[0]
    last = [row for row in table if row["beta"] == "1"]
    assert action == pytest.approx(float(last[0]["action"]), rel=1e-12)


SIGNALLED = """\
import os, signal, sys
import fem_deepest.cli.main as command
from fem_deepest.action.paths.action import Paths
curvature, calls = Paths.curvature, [0]
def counted(self, u, R_f):
    calls[0] += 1
    if calls[0] == 30:
        os.kill(os.getpid(), signal.SIGTERM)
    assert calls[0] < 40, "it goes on"
    return curvature(self, u, R_f)
Paths.curvature = counted
command.main()
"""


def test_signal_within_a_rung(small, tmp_path):  # noqa: F811
    """One long rung: it does not wait for its end, and what is there can be resumed."""
    out = tmp_path / "out"
    ended = start("anneal", small, "--out", out, script=SIGNALLED)
    assert ended.returncode == 130, ended.stderr
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    whole = anneal(small, out=tmp_path / "whole")
    again = anneal(small, out=out, resume=True)
    np.testing.assert_array_equal(again.record, whole.record)


@pytest.mark.parametrize("part", ["batch", "tables"])
def test_full_disk_is_one_sentence(command, small, tmp_path, monkeypatch, part):  # noqa: F811
    """No traceback; with room again the run goes on to the same bits."""
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert command("anneal", small, "--out", whole).code == 0

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if part == "batch":
        monkeypatch.setattr("fem_deepest.io.whole.sealed", full)
    else:
        monkeypatch.setattr("fem_deepest.cli.anneal_session.write_tables", full)
    ended = command("anneal", small, "--out", out)
    assert ended.code == 2
    assert "No space left" in ended.err
    assert "--resume" in ended.err
    assert ended.err.count("\n") == 1
    assert not list(out.rglob("*.part"))
    monkeypatch.undo()
    assert command("anneal", small, "--out", out, "--resume").code == 0
    for name in ("levels.csv", "path.csv", "parameters.csv"):
        assert contents(out)[name] == contents(whole)[name]


def test_full_disk_on_one_rank_ends_all(small, tmp_path):  # noqa: F811
    script = """\
import errno, os, sys
from mpi4py import MPI
import fem_deepest.cli.main as command
import fem_deepest.io.whole as whole
def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
if MPI.COMM_WORLD.rank == 1:
    whole.sealed = full
command.main()
"""
    ended = start("anneal", small, "--out", tmp_path / "out", ranks=2, script=script)
    assert ended.returncode == 2, ended.stderr
    said = [line for line in ended.stderr.splitlines() if line.startswith("fem-deepest:")]
    assert len(said) == 1
    assert "No space left" in said[0]


def test_saddle_form_ends_at_the_same_bits_on_two_ranks(small, tmp_path):  # noqa: F811
    """Every path is solved on one process; which one does not matter."""
    settings = ["action.form=saddle", "anneal.rungs=3", "anneal.paths=4"]
    anneal(small, out=tmp_path / "one", settings=settings)
    words = [word for s in settings for word in ("--set", s)]
    ended = start("anneal", small, "--out", tmp_path / "two", *words, ranks=2)
    assert ended.returncode == 0, ended.stderr
    one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
    for name in ("levels.csv", "path.csv", "parameters.csv"):
        assert one[name] == two[name]
