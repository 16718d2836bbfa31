"""Synthetic sets by sample numbers: prefixes, any division, the laws of the toy sets, a known teacher."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from mpi4py import MPI

from fem_deepest.data import load, toy
from fem_deepest.data.counters import gaussians, uniforms
from fem_deepest.data.generated import SYNTHETIC, Taught, generated
from fem_deepest.data.opening import open_data, open_file
from fem_deepest.data.store import write_hdf5
from fem_deepest.data.toy import LAWS
from fem_deepest.errors import InputError
from fem_deepest.noise.philox import philox4x32

FAR = 3_000_000_000  # more than 2^31


@pytest.mark.parametrize("name", SYNTHETIC)
@pytest.mark.parametrize("kind", ["classification", "regression"])
def test_samples_depend_on_their_numbers_alone(name: str, kind: str) -> None:
    options = {"features": 5, "outputs": 3, "kind": kind}
    few, many = generated(name, 3000, 7, **options), generated(name, 2 * FAR, 7, **options)
    x, y = few.read(0, 3000)
    for first, last in [(0, 1), (1023, 1025), (100, 2900)]:
        for source in (few, many):
            some = source.read(first, last)
            np.testing.assert_array_equal(some[0], x[first:last])
            np.testing.assert_array_equal(some[1], y[first:last])
    assert not np.array_equal(many.read(FAR, FAR + 3000)[0], x)
    assert not np.array_equal(generated(name, 3000, 8, **options).read(0, 3000)[0], x)
    data = open_data(name, samples=3000, seed=7, **options)
    np.testing.assert_array_equal(data.read(0, 3000)[0], x)


def test_numbers_are_philox_of_seed_and_sample() -> None:
    words = [int(w) for w in philox4x32([1, 5, 2, 0], [0xDA7A0000 + 16, 9])]
    wanted = [((words[i] << 32 | words[i + 1]) >> 11) * 2.0**-53 for i in (0, 2)]
    assert uniforms(9, 16, np.array([2**32 + 5]), 2).tolist() == [wanted]
    wide = gaussians(3, 1, np.arange(4), 1100)
    np.testing.assert_array_equal(gaussians(3, 1, np.array([2]), 1100)[0], wide[2])
    assert np.unique(wide).size == wide.size
    assert abs(wide.mean()) < 4 / np.sqrt(wide.size)


@pytest.mark.parametrize("name", [*LAWS, "peaks"])
def test_toy_sets_have_the_law_of_those_in_memory(name: str) -> None:
    """Means and second moments of both classes; the deviation of a mean of 4000 is that of one / 63."""
    ours, theirs = generated(name, 20000, 1, 0.0).read(0, 20000), toy(name, 20000, 1, 0.0)
    np.testing.assert_array_equal(ours[1], theirs.targets)
    for label in range(theirs.outputs):
        a, b = ours[0][ours[1] == label], theirs.inputs[theirs.targets == label]
        for power in (1, 2):
            error = (a**power).mean(axis=0) - (b**power).mean(axis=0)
            bound = 4.5 * (b**power).std(axis=0) * np.sqrt(2.0 / len(a))
            assert np.all(np.abs(error) < bound)
    noisy = generated(name, 20000, 1, 0.3).read(0, 20000)[0] - ours[0]
    assert abs(noisy.std() / 0.3 - 1.0) < 4 / np.sqrt(80000)


def test_teacher_is_the_network_that_it_says() -> None:
    source = generated("teacher", 5000, 4, 0.25, features=6, outputs=2, kind="regression")
    assert isinstance(source, Taught)
    z, y = source.read(0, 5000)
    teacher = source.teacher
    x = z[0] @ teacher.lift
    for i in range(8):  # x' = tanh(W x + b) - x/4, the midpoint rule with steps of 1/2

        def slope(x, t):
            place = min(int(t), 3)
            part = t - place
            W = (1 - part) * teacher._matrix[place] + part * teacher._matrix[place + 1]
            b = (1 - part) * teacher._bias[place] + part * teacher._bias[place + 1]
            return np.tanh(W @ x + b) - x / 4

        x = x + 0.5 * slope(x + 0.25 * slope(x, 0.5 * i), 0.5 * i + 0.25)
    np.testing.assert_allclose(teacher(z[:1])[0], x @ teacher.readout, rtol=1e-12, atol=1e-14)
    assert np.all(teacher._matrix == -np.swapaxes(teacher._matrix, 1, 2))
    error = y - teacher(z)
    assert abs(error.std() / 0.25 - 1.0) < 4 / np.sqrt(20000)
    labels = generated("teacher", 5000, 4, 0.25, features=6, outputs=2).read(0, 5000)[1]
    np.testing.assert_array_equal(labels, y.argmax(axis=1))
    whole = load("teacher", samples=50, seed=4, noise=0.25, features=6, outputs=2)
    np.testing.assert_array_equal(whole.targets, labels[:50])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "spirale"}, "did you mean 'spiral'"),
        ({"noise": -1.0}, "noise is -1.0; expected a standard deviation"),
        ({"seed": -1}, "the seed is -1; expected"),
        ({"samples": 1}, "samples is 1; expected at least 2"),
        ({"name": "teacher", "outputs": 1}, "2 features and 1 outputs; expected at least 1 and 2"),
    ],
)
def test_wrong_numbers_are_refused(options, words: str) -> None:
    with pytest.raises(InputError, match=words):
        generated(**{"name": "spiral", "samples": 10, **options})


def test_a_written_set_is_read_again(tmp_path: Path) -> None:
    source, path = generated("peaks", 2500, 3), tmp_path / "peaks.h5"
    write_hdf5(source, path, MPI.COMM_SELF)
    again = open_file(path)
    assert again.classes == source.classes
    for mine, known in zip(again.read(0, 2500), source.read(0, 2500), strict=True):
        np.testing.assert_array_equal(mine, known)
    with h5py.File(path, "r", driver="sec2") as file:
        assert file["inputs"].chunks is None
        assert file["targets"].dtype == np.int64
    with pytest.raises(InputError, match="exists; give --force"):
        write_hdf5(source, path, MPI.COMM_SELF)
    # Nothing is left of a file that cannot be finished, and the one before stays.
    before = path.read_bytes()
    source.read = lambda first, last: (_ for _ in ()).throw(InputError("no more"))  # type: ignore
    with pytest.raises(InputError, match="no more"):
        write_hdf5(source, path, MPI.COMM_SELF, force=True)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["peaks.h5"]
