"""Checkpoints are there as a whole or not at all, and come back to the last bit or are refused."""

from __future__ import annotations

import itertools
import json
import os
import resource

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest._petsc import PETSc
from fem_deepest.errors import InputError
from fem_deepest.io import checkpoint, layout, succession
from fem_deepest.io.checksum import checksum
from fem_deepest.io.seal import read_table
from fem_deepest.io.search import find

COMM = MPI.COMM_WORLD


def vector(values):
    values = np.asarray(values, dtype=np.float64)
    v = PETSc.Vec().createMPI(values.size, comm=COMM)
    v.setArray(values)
    return v


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.h5"


SIGNATURE = {"network": {"neurons": 4, "extent": 0.1}, "seed": 1}


def write(path, step, size=5, signature=SIGNATURE):
    """A checkpoint whose vectors tell its step."""
    u, s = vector(step + np.arange(size)), vector(-step * np.ones(2))
    checkpoint.write(path, {"control": u, "s0": s}, {"signature": signature, "step": step}, COMM)


def found(path, signature=SIGNATURE):
    """Step of the checkpoint that a run goes on from, and what it has said about it."""
    notes = []
    meta = find(path, signature, COMM, notes.append)
    if meta is None:
        return None, notes
    u, step = vector(np.zeros(5)), meta["step"]
    checkpoint.read(path, {"control": u}, COMM)
    assert u.array.tolist() == [step + i for i in range(5)]
    return step, notes


def spoil_vector(path):
    place = read_table(path).vectors["control"].offset
    with path.open("rb+") as file:
        file.seek(place)
        file.write(b"\1")


def test_comes_back_to_the_last_bit(path):
    values = np.array([0.1, -0.0, 1e-310, np.pi * 1e200, 1 / 3])
    meta = {"number": 0.1, "list": [1, None], "text": "β", "long": "x" * 100_000}
    checkpoint.write(path, {"control": vector(values), "s0": vector(-values)}, meta, COMM)
    assert checkpoint.read_meta(path) == meta
    u, s = vector(np.zeros(5)), vector(np.zeros(5))
    u.setName("mine")
    checkpoint.read(path, {"control": u, "s0": s}, COMM)
    assert u.array.tobytes() == values.tobytes()
    assert s.array.tobytes() == (-values).tobytes()
    assert u.getName() == "mine"
    assert checkpoint.read_array(path, "control").tobytes() == values.tobytes()
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.h5"]


def test_is_an_hdf5_file_for_others(path):
    checkpoint.write(path, {"control": vector([1.5, 2.5]), "none": vector([])}, {"β": 1}, COMM)
    with h5py.File(path, "r", driver="sec2") as file:
        assert set(file) == {"control", "none", "meta"}
        assert file["control"][()].tolist() == [1.5, 2.5]
        assert file["none"].shape == (0,)
        assert json.loads(file["meta"][()]) == {"β": 1}


def test_rank_0_lays_out_a_file_larger_than_its_memory():
    made = layout.layout({f"s{i}": 10**13 for i in range(40)}, "{}")
    assert sum(len(piece) for _, piece in made.pieces) < 50_000
    assert made.length > 40 * 8 * 10**13
    places = sorted(made.vectors.values())
    assert all(a.offset + 8 * a.entries <= b.offset for a, b in itertools.pairwise(places))


def test_checksum_is_that_of_the_formula():
    """SplitMix64 of the bits beside multiples of its increment, in Python's own numbers."""
    values, first = [1.0, -0.0, np.pi, float("nan")], 2**40
    total, mask = 0, 2**64 - 1
    for number, bits in enumerate(np.array(values).view(np.uint64).tolist(), first + 1):
        z = (bits + number * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        total += z ^ (z >> 31)
    assert checksum(np.array(values), first) == total & mask


def test_checksum_knows_bits_and_places_and_may_be_cut():
    values = np.random.default_rng(1).standard_normal(40_000)
    whole = checksum(values)
    parts = (checksum(part, at) for part, at in zip(np.split(values, [7, 20_000]), (0, 7, 20_000)))  # noqa: B905
    assert sum(parts) % 2**64 == whole
    for other in (values[::-1], np.roll(values, 1), values[:-1], np.append(values, 0.0)):
        assert checksum(other) != whole
    changed = values.copy()
    changed[12_345] = np.nextafter(changed[12_345], 1.0)
    assert checksum(changed) != whole


# Failures and kills while writing ----------------------------------------------------------------


def broken(*_, **__):
    raise OSError("no space left on device")


@pytest.mark.parametrize("place", ["json.dumps", "os.fsync", "os.replace"])
def test_failure_while_writing_leaves_the_old_one(path, monkeypatch, place):
    write(path, 1)
    before = path.read_bytes()
    module, name = place.split(".")
    monkeypatch.setattr(getattr(checkpoint, module), name, broken)
    with pytest.raises(InputError, match=r"cannot write .*no space left.*make room"):
        write(path, 2)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert not succession.partial(path).exists()
    # What is left of the failed one does not disturb the next.
    write(path, 3)
    assert found(path) == (3, [])


@pytest.mark.parametrize("limit", [1000, 200_000])
def test_a_full_disk_is_one_sentence(path, limit):
    """HDF5's structure does not fit, or the entries that MPI writes."""
    write(path, 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write .*checkpoint.h5 .*make room"):
            write(path, 2, 10**5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [p.name for p in path.parent.iterdir()] == ["checkpoint.h5"]
    assert found(path) == (1, [])


def test_is_on_disk_before_it_is_renamed(path, monkeypatch):
    calls = []
    for name in ("fsync", "link", "replace"):
        call = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *a, name=name, call=call: (calls.append(name), call(*a))[1]
        )
    write(path, 1)
    assert calls == ["fsync", "replace", "fsync"]
    calls.clear()
    write(path, 2)
    assert calls == ["fsync", "link", "replace", "replace", "fsync"]


class Killed(BaseException):
    """What a process does not survive."""


CALLS = ("fsync", "link", "replace", "unlink", "open")


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("old", [1, 2])
def test_killed_at_any_call_it_leaves_one_of_the_two(tmp_path, monkeypatch, links, old):
    """Before and after each call of the system; with one checkpoint that is there, or with two."""
    real = {name: getattr(os, name) for name in CALLS}
    if not links:

        def refuse(*_):
            raise PermissionError("a name for each file")

        real["link"] = refuse
    seen = set()
    for place, after in itertools.product(range(40), (False, True)):
        path = tmp_path / f"{place}{after}" / "checkpoint.h5"
        path.parent.mkdir()
        for step in range(1, old + 1):
            write(path, step)
        made = []

        def call(name, *arguments, place=place, after=after, made=made, **named):
            made.append(name)
            doomed = len(made) == place + 1
            if doomed and not after:
                raise Killed
            try:
                return real[name](*arguments, **named)
            finally:
                if doomed:
                    raise Killed

        for name in CALLS:
            monkeypatch.setattr(os, name, lambda *a, name=name, **k: call(name, *a, **k))
        try:
            write(path, old + 1)
        except Killed:
            killed = True
        else:
            killed = False
        monkeypatch.undo()
        step, notes = found(path)
        assert step in (old, old + 1)
        seen.add((step, bool(notes)))
        if not killed:
            assert (step, notes) == (old + 1, [])
            break
        # The next one is written as ever, and leaves nothing behind.
        write(path, old + 2)
        assert found(path) == (old + 2, [])
        assert checkpoint.read_meta(succession.previous(path))["step"] == step
        names = {p.name for p in path.parent.iterdir()}
        assert names == {"checkpoint.h5", "checkpoint.previous.h5"}
    assert place > 5
    assert {step for step, _ in seen} == {old, old + 1}
    # Without links there is a moment in which the newest has no name but that of the previous.
    assert any(note for _, note in seen) == (not links)


# Damage ------------------------------------------------------------------------------------------


@pytest.fixture
def pair(path):
    """Two checkpoints, steps 1 and 2; the bytes of the newest, and a function that puts others there."""
    write(path, 1)
    write(path, 2)
    whole = path.read_bytes()
    before = succession.previous(path).read_bytes()

    def spoil(content):
        path.unlink()  # a name of the same file may be that of the previous
        succession.damaged(path).unlink(missing_ok=True)
        path.write_bytes(content)
        step, notes = found(path)
        assert step == 1
        assert len(notes) == 1
        told = f"{path} is not a whole checkpoint of fem_deepest ("
        assert notes[0].startswith(told)
        assert f"going on from the one before it, {succession.previous(path)}" in notes[0]
        assert succession.damaged(path).read_bytes() == content
        assert path.read_bytes() == before
        return notes[0].removeprefix(told).split(");")[0]

    return whole, spoil


def test_cut_off_at_any_length(pair):
    whole, spoil = pair
    lengths = {0, 1, 63, 64, 65, len(whole) - 1, *range(0, len(whole), 61)}
    for length in sorted(lengths):
        assert spoil(whole[:length]) == "its end is missing"
    assert spoil(whole + b"\n") == "its end is missing"
    assert spoil(whole[100:]) == "it has %d bytes and had %d" % (  # noqa: UP031
        (whole.index(b'{"length"') - 100, whole.index(b'{"length"'))
    )
    assert spoil(whole[-100:]) == "its beginning is missing"


def test_any_bit_that_flips_is_noticed(pair):
    whole, spoil = pair
    random, reasons = np.random.default_rng(3), set()
    # The structure of HDF5, the data, the meta data and the table: all of the file.
    for place in range(int(random.integers(7)), len(whole), 7):
        content = bytearray(whole)
        content[place] ^= 1 << int(random.integers(8))
        reasons.add(spoil(bytes(content)))
    assert reasons == {
        "the vector control has changed",
        "the vector s0 has changed",
        "its meta data or its HDF5 structure have changed",
        "what its last line tells of has changed",
        "its end is missing",
    }


def test_damaged_ones_alone_are_refused(path):
    write(path, 1)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"checkpoint.h5 is not a whole .* again with --force"):
        found(path)
    write(path, 2)  # would make the damaged one the previous
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"checkpoint.h5 is .* one before.*previous.h5 is not"):
        found(path)
    assert path.read_bytes() == b"nothing"


def test_the_next_one_after_a_damaged_one_keeps_the_good(path):
    for step in (1, 2):
        write(path, step)
    path.write_bytes(path.read_bytes()[:-1])
    assert found(path)[0] == 1
    write(path, 3)
    assert checkpoint.read_meta(succession.previous(path))["step"] == 1
    assert found(path) == (3, [])


def test_previous_one_alone_is_used(path):
    for step in (1, 2):
        write(path, step)
    path.unlink()
    step, notes = found(path)
    assert step == 1
    assert notes == [
        f"there is no {path}; going on from the one before it, {succession.previous(path)}"
    ]
    assert found(path) == (1, [])


def test_foreign_one_is_refused_and_not_replaced_by_an_older_one(path):
    other = {**SIGNATURE, "network": {"neurons": 5, "extent": 0.1}}
    write(path, 1)
    write(path, 2, signature=other)
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"another run: it has network.neurons = 5, .* 4;"):
        found(path)
    assert path.read_bytes() == before
    assert found(path, other) == (2, [])
    # At once: its vectors are not even looked at.
    spoil_vector(path)
    with pytest.raises(InputError, match=r"another run: it has network.neurons = 5"):
        found(path)
    # Nor is a foreign previous one taken in the place of a damaged one.
    with pytest.raises(InputError, match=r"vector control has changed.*another run.*neurons = 4"):
        found(path, other)
    assert not succession.damaged(path).exists()


@pytest.mark.parametrize(
    "signature, words",
    [
        ({**SIGNATURE, "more": 1}, "it has more = 1, the configuration None"),
        ({"seed": 1}, "it has network = None, the configuration {"),
        ({**SIGNATURE, "network": {"neurons": 4}}, "network.extent = None, the configuration 0.1"),
    ],
)
def test_says_the_first_key_that_differs(path, signature, words):
    write(path, 1, signature=signature)
    with pytest.raises(InputError, match="another run") as told:
        found(path)
    assert words in str(told.value)


def test_refuses_what_is_no_checkpoint(path):
    with pytest.raises(InputError, match="there is no checkpoint"):
        checkpoint.read_meta(path)
    assert found(path) == (None, [])
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="is not a whole checkpoint"):
        checkpoint.read_meta(path)
    checkpoint.write(path, {"control": vector([1.0, 2.0])}, {}, COMM)
    with pytest.raises(InputError, match="holds no vector other"):
        checkpoint.read_array(path, "other")


def test_refuses_another_format(path):
    write(path, 1)
    path.write_bytes(path.read_bytes()[:-2] + b"7\n")
    with pytest.raises(InputError, match=r"checkpoint of format 7, this version .* format 1"):
        found(path)


def test_refuses_vectors_of_another_size_or_that_have_changed(path):
    checkpoint.write(path, {"control": vector([1.0, 2.0])}, {}, COMM)
    with pytest.raises(
        InputError, match="holds 2 numbers of the vector control and this network needs 3"
    ):
        checkpoint.read(path, {"control": vector([0.0, 0.0, 0.0])}, COMM)
    spoil_vector(path)
    with pytest.raises(InputError, match="the vector control has changed"):
        checkpoint.read(path, {"control": vector([0.0, 0.0])}, COMM)
    with pytest.raises(InputError, match="the vector control has changed"):
        checkpoint.read_array(path, "control")


def test_checkpoints_of_before_there_were_checksums_are_named_as_such(path):
    with h5py.File(path, "w", driver="sec2") as file:
        file["control"] = np.arange(3.0)
        file["meta"] = json.dumps({"signature": SIGNATURE})
    for read in (read_table, checkpoint.read_meta, found):
        with pytest.raises(InputError, match="without checksums, as earlier versions"):
            read(path)


def test_checkpoint_that_has_lost_its_end_alone_is_no_older_one(path):
    write(path, 1)
    write(path, 2)
    with path.open("rb+") as file:  # all that HDF5 knows of is there
        file.truncate(h5py.h5f.open(bytes(path)).get_filesize() - 64)
    step, notes = found(path)
    assert step == 1 and "its end is missing" in notes[0]
