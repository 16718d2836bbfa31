"""Bad input: exit code 2, one sentence that helps, and nothing written."""

from __future__ import annotations

import numpy as np
import pytest
from launch import TINY, contents, start


def refused(ended, *fragments):
    """Exit code 2 and one line on standard error that names what is wrong."""
    assert ended.code == 2, ended
    assert ended.out == ""
    assert ended.err.startswith("fem-deepest: ")
    assert ended.err.endswith("\n")
    assert ended.err.count("\n") == 1
    assert "Traceback" not in ended.err
    for fragment in fragments:
        assert fragment in ended.err, ended.err


SETTINGS = [
    # unknown keys, with the nearest known one
    ("sed=1", ("sed", "'seed'")),
    ("netwrk={}", ("netwrk", "'network'")),
    ("data.nam='donut'", ("data.nam", "'name'")),
    ("network.neuron=4", ("network.neuron", "'neurons'")),
    ("network.shceme='euler'", ("network.shceme", "'scheme'")),
    ("action.lamda=1", ("action.lamda", "'lambda'")),
    ("action.Rf=1", ("action.Rf", "'R_f'")),
    ("solve.tolerence=1", ("solve.tolerence", "'tolerance'")),
    ("output.figure=true", ("output.figure", "'figures'")),
    # wrong types
    ("data=3", ("data", "3")),
    ("data.path=3", ("data.path", "3")),
    ("seed='one'", ("seed", "'one'")),
    ("seed=1.5", ("seed", "1.5")),
    ("network.neurons='four'", ("network.neurons", "'four'", "integer")),
    ("network.neurons=4.5", ("network.neurons", "4.5", "integer")),
    ("network.neurons=true", ("network.neurons", "True")),
    ("network.depth='deep'", ("network.depth", "'deep'", "number")),
    ("network.scheme=3", ("network.scheme", "3", "'euler'")),
    ("network.scheme='eular'", ("network.scheme", "'eular'", "'euler'")),
    ("solve.polish='perhaps'", ("solve.polish", "'perhaps'")),
    ("solve.levels='all'", ("solve.levels", "'all'")),
    ("solve.levels=[2,'four']", ("solve.levels", "'four'")),
    # sizes and ranges
    ("seed=-1", ("seed", "-1")),
    ("data.samples=0", ("data.samples", "0")),
    ("data.samples=-5", ("data.samples", "-5")),
    ("data.samples=1", ("samples is 1",)),
    ("data.noise=-0.1", ("data.noise", "-0.1")),
    ("data.noise=inf", ("noise", "inf")),
    ("data.test_fraction=1.0", ("data.test_fraction", "1.0")),
    ("data.test_fraction=-0.1", ("data.test_fraction", "-0.1")),
    ("data.test_fraction=nan", ("data.test_fraction", "nan")),
    ("data.test_fraction=0.99", ("test_fraction 0.99",)),
    ("data.split_seed=4294967296", ("seed", "4294967296")),
    ("network.neurons=0", ("network.neurons", "0")),
    ("network.neurons=-4", ("network.neurons", "-4")),
    ("network.neurons=1", ("neurons",)),
    ("network.cells=0", ("network.cells", "0")),
    ("network.depth=0", ("network.depth", "0")),
    ("network.depth=-2.0", ("network.depth", "-2.0")),
    ("network.depth=inf", ("network.depth", "inf")),
    ("network.grading=0", ("network.grading", "0")),
    ("network.leak=-1", ("network.leak", "-1")),
    ("network.sharpness=0", ("network.sharpness", "0")),
    ("action.lambda=0", ("action.lambda", "0")),
    ("action.lambda=nan", ("action.lambda", "nan")),
    ("action.kappa=0", ("action.kappa", "0")),
    ("action.ell=-0.5", ("action.ell", "-0.5")),
    ("action.ell=inf", ("action.ell", "inf")),
    ("action.R_f=-1", ("action.R_f", "-1")),
    ("action.R_f=nan", ("action.R_f", "nan")),
    ("action.R_m=inf", ("action.R_m", "inf")),
    ("solve.tolerance=0", ("solve.tolerance", "0")),
    ("solve.iterations=0", ("solve.iterations", "0")),
    ("solve.memory=0", ("solve.memory", "0")),
    ("solve.loosening=0.5", ("solve.loosening", "0.5")),
    ("output.checkpoint_minutes=-1", ("output.checkpoint_minutes", "-1")),
    # what does not go together
    ("solve.levels=[2,3]", ("[2, 3]", "network.cells", "4")),
    ("action.ell=0.5", ("action.ell = 0.5", "'points'", "interval")),
    ("solve.levels=[4,2,4]", ("[4, 2, 4]", "increase")),
    ("solve.levels=[]", ("[]", "network.cells")),
    ("data.name='donuts'", ("data.name", "'donuts'", "'donut'")),
    ("data.name='file'", ("path",)),
    ("data.path='some.csv'", ("path", 'name = "file"')),
    # settings that are none
    ("network.neurons", ("--set", "'network.neurons'", "section.key=value")),
    ("=4", ("--set", "section.key=value")),
    ("network.neurons.x=4", ("--set", "section.key=value")),
    ("seed.x=4", ("seed",)),
]


@pytest.mark.parametrize(("setting", "fragments"), SETTINGS, ids=[s for s, _ in SETTINGS])
def test_refuses_a_setting(command, tiny, tmp_path, setting, fragments):
    out = tmp_path / "out"
    refused(command("train", tiny, "--out", out, "--set", setting), *fragments)
    assert not out.exists()


@pytest.mark.parametrize(
    "setting",
    ["network.depth=true", "network.depth='2'", "seed=true", "solve.polish='no'", "solve.polish=1"],
)
def test_refuses_a_setting_of_another_type(command, tiny, tmp_path, setting):
    out = tmp_path / "out"
    refused(
        command("train", tiny, "--out", out, "--set", "solve.iterations=1", "--set", setting),
        setting.partition("=")[0],
    )


def test_refuses_an_unknown_key_in_the_file(command, tiny, tmp_path):
    tiny.write_text(TINY.replace("neurons = 4", "neurones = 4"))
    refused(
        command("train", tiny, "--out", tmp_path / "out"),
        "network.neurones",
        "nearest known key is 'neurons'",
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("seed = ", "Invalid value"),
        ("seed = 1\nseed = 2\n[data]", "line 2"),
        ("[data\nname = 3", "line 1"),
        ("[data]\nname = donut", "line 2"),
        ('[data]\nname = "donut', "Unterminated string"),
    ],
)
def test_names_an_error_of_toml(command, tmp_path, text, fragment):
    path = tmp_path / "broken.toml"
    path.write_text(text)
    refused(command("train", path, "--out", tmp_path / "out"), "broken.toml", "TOML", fragment)


def test_refuses_configurations_that_cannot_be_read(command, tmp_path):
    refused(command("train", tmp_path / "no.toml"), "no.toml", "there is no configuration file")
    refused(command("train", tmp_path), str(tmp_path), "cannot read")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    refused(command("train", tmp_path / "binary.toml"), "binary.toml", "cannot read")


@pytest.mark.parametrize(
    ("words", "fragments"),
    [
        (("train",), ("CONFIG",)),
        (("trian", "a.toml"), ("trian",)),
        (("train", "a.toml", "--outt", "x"), ("--outt",)),
        (("predict", "run"), ("--data",)),
        (("plot",), ("DIR",)),
    ],
    ids=["no configuration", "no such verb", "no such option", "no data", "no directory"],
)
def test_refuses_words_it_does_not_know(command, words, fragments):
    refused(command(*words), *fragments)


# Data files ------------------------------------------------------------------------------------

ROWS = [f"{i % 7},{(i * 3) % 5},{'red' if i % 2 else 'blue'}" for i in range(20)]
FILES = {
    "missing": (None, ("own.csv", "no such file")),
    "empty": ("", ("own.csv", "empty")),
    "blank": ("\n\n", ("own.csv", "empty")),
    "header alone": ("a,b,colour\n", ("own.csv", "no row of data")),
    "one class": ("\n".join(["a,b,colour", "1,2,red", "2,3,red"]), ("own.csv", "'red'", "two")),
    "one sample of a class": (
        "\n".join(["a,b,colour", *ROWS, "1,2,green"]),
        ("'green'", "one sample"),
    ),
    "NaN": ("\n".join(["a,b,colour", *ROWS, "1,nan,red"]), ("row 22", "'b'", "nan")),
    "infinity": ("\n".join(["a,b,colour", *ROWS, "inf,1,red"]), ("row 22", "'a'", "inf")),
    "missing value": ("\n".join(["a,b,colour", *ROWS, "1,,red"]), ("row 22", "'b'", "missing")),
    "missing label": ("\n".join(["a,b,colour", *ROWS, "1,2,"]), ("row 22", "label", "missing")),
    "text": ("\n".join(["a,b,colour", *ROWS, "1,two,red"]), ("row 22", "'b'", "'two'")),
    "ragged row": ("\n".join(["a,b,colour", *ROWS, "1,red"]), ("row 22", "2 fields", "3")),
}


@pytest.mark.parametrize("case", FILES)
def test_refuses_a_data_file(command, tiny, tmp_path, case):
    text, fragments = FILES[case]
    if text is not None:
        (tmp_path / "own.csv").write_text(text)
    out = tmp_path / "out"
    refused(command("train", tiny, "--out", out, *own("own.csv")), *fragments)
    assert not out.exists()


def own(name, kind="classification"):
    """Settings for a data file."""
    settings = ("name='file'", f"path='{name}'", f"kind='{kind}'")
    return [word for setting in settings for word in ("--set", f"data.{setting}")]


def test_refuses_a_target_that_is_not_there(command, tiny, tmp_path):
    (tmp_path / "own.csv").write_text("\n".join(["a,b,colour", *ROWS]))
    refused(
        command("train", tiny, *own("own.csv"), "--set", "data.target='color'"),
        "'color'",
        "did you mean 'colour'",
    )
    refused(command("train", tiny, *own("own.csv"), "--set", "data.target=4"), "4", "1 to 3")


def test_refuses_text_as_a_number_to_learn(command, tiny, tmp_path):
    (tmp_path / "own.csv").write_text("\n".join(["a,b,colour", *ROWS]))
    refused(command("train", tiny, *own("own.csv", "regression")), "row 2", "'colour'", "number")


def test_refuses_a_loss_for_classes_on_numbers(command, tiny, tmp_path):
    (tmp_path / "own.csv").write_text("\n".join(f"{i},{i * i}" for i in range(20)))
    out = tmp_path / "out"
    words = ("train", tiny, "--out", out, *own("own.csv", "regression"))
    refused(command(*words, "--set", "action.loss='cross_entropy'"), "action.loss", "least_squares")
    assert not out.exists()


def test_refuses_more_outputs_than_neurons_to_observe(command, tiny, tmp_path):
    np.savez(tmp_path / "own.npz", x=np.eye(30)[:, :2], y=np.arange(30) % 5)
    out = tmp_path / "out"
    words = ("train", tiny, "--out", out, *own("own.npz"), "--set", "network.readout='observed'")
    refused(command(*words), "neurons", "5")
    assert not out.exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_npz_data_that_is_not_finite(command, tiny, tmp_path, bad):
    x = np.arange(40.0).reshape(20, 2)
    x[7, 1] = bad
    np.savez(tmp_path / "own.npz", x=x, y=np.arange(20) % 2)
    refused(command("train", tiny, "--out", tmp_path / "out", *own("own.npz")), str(bad))
    assert not (tmp_path / "out").exists()


# Run directories -------------------------------------------------------------------------------


def test_refuses_a_directory_in_use(command, tiny, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("do not touch")
    refused(command("train", tiny, "--out", out), str(out), "--resume", "--force")
    assert contents(out) == {"thesis.txt": b"do not touch"}


def test_refuses_a_file_as_directory(command, tiny, tmp_path):
    (tmp_path / "out").write_text("do not touch")
    refused(command("train", tiny, "--out", tmp_path / "out"), "--out")
    refused(command("train", tiny, "--out", tmp_path / "out" / "below"), "--out")
    refused(command("train", tiny, "--force", "--out", tmp_path / "out"), "--out")
    assert (tmp_path / "out").read_text() == "do not touch"


@pytest.fixture
def trained(command, tiny, tmp_path):
    """A run of three iterations a level."""
    out = tmp_path / "trained"
    assert command("train", tiny, "--out", out, "--set", "solve.iterations=3").code == 3
    return out


def test_bad_input_leaves_an_old_run_alone(command, tiny, trained):
    before = contents(trained)
    for words in (
        [],
        ["--force", "--set", "network.neurons=0"],
        ["--force", "--set", "network.neurons=1"],
        ["--force", "--set", "data.samples=1"],
        ["--resume", "--set", "network.neurns=4"],
        ["--resume", "--set", "network.neurons=5"],
        ["--resume", "--force", "--set", "network.neurons=5"],
    ):
        refused(command("train", tiny, "--out", trained, *words))
        assert contents(trained) == before, words


FOREIGN = [
    ("network.neurons=5", ("network.neurons = 4", "5")),
    ("network.cells=8", ("network.cells = 4", "8")),
    ("network.activation='sigmoid'", ("network.activation = tanh", "sigmoid")),
    ("solve.levels=[4]", ("levels = [2, 4]", "[4]")),
    ("solve.memory=7", ("memory = 20", "7")),
    ("action.lambda=0.5", ("action.lambda = 0.001", "0.5")),
    ("action.R_f=10.0", ("action.R_f", "10.0")),
    ("data.name='spiral'", ("data.name = donut", "spiral")),
    ("data.samples=50", ("data.samples = 40", "50")),
    ("data.split_seed=1", ("data.split_seed = 0", "1")),
    ("seed=2", ("seed = 1", "2")),
]


def test_refuses_the_checkpoint_of_another_network(command, tiny, trained):
    before = contents(trained)
    for setting, fragments in FOREIGN:
        ended = command("train", tiny, "--out", trained, "--resume", "--set", setting)
        refused(ended, "checkpoint", "another run", *fragments)
        assert contents(trained) == before, setting


def test_refuses_a_broken_checkpoint(command, tiny, trained):
    checkpoint = trained / "checkpoint.h5"
    whole = checkpoint.read_bytes()
    for broken in (b"", whole[: len(whole) // 2], b"no HDF5 at all", whole[:-200]):
        checkpoint.write_bytes(broken)
        before = contents(trained)
        refused(command("train", tiny, "--out", trained, "--resume"), "checkpoint.h5")
        assert contents(trained) == before
        refused(command("predict", trained, "--data", tiny), "checkpoint.h5")


def test_refuses_hdf5_that_is_no_checkpoint(command, tiny, trained):
    import h5py

    with h5py.File(trained / "checkpoint.h5", "w") as file:
        file["meta"] = "[1, 2]"
    refused(command("train", tiny, "--out", trained, "--resume"), "checkpoint.h5")
    with h5py.File(trained / "checkpoint.h5", "w") as file:
        file["other"] = 1.0
    refused(command("train", tiny, "--out", trained, "--resume"), "checkpoint.h5")


@pytest.fixture
def emptied(trained):
    """A run whose checkpoint has lost its vectors."""
    import h5py

    with h5py.File(trained / "checkpoint.h5", "r+") as file:
        del file["control"]
    return trained


def test_refuses_to_draw_a_checkpoint_without_its_vectors(command, emptied):
    refused(command("plot", emptied), "checkpoint.h5 is not a whole checkpoint")


def test_refuses_to_resume_a_checkpoint_without_its_vectors(command, tiny, emptied):
    refused(command("train", tiny, "--out", emptied, "--resume"), "checkpoint.h5")


@pytest.mark.parametrize("verb", ["plot", "predict"])
def test_refuses_what_is_no_run(command, tmp_path, tiny, verb):
    words = ["--data", tiny] if verb == "predict" else []
    refused(command(verb, tmp_path, *words), "no run.json")
    refused(command(verb, tmp_path / "absent", *words), "no run.json")
    (tmp_path / "run.json").write_text("{")
    refused(command(verb, tmp_path, *words), "run.json", "cannot read")


def test_exit_code_and_sentence_of_the_real_command(tiny, tmp_path):
    ended = start("train", tiny, "--out", tmp_path / "out", "--set", "network.neuron=4")
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("fem-deepest: unknown key network.neuron; the nearest")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
