"""Philox4x32-10 and the normals made from it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import special, stats

from fem_deepest.errors import InputError
from fem_deepest.noise import compiled, vectorised
from fem_deepest.noise.philox import normals, philox4x32

ONES = 0xFFFFFFFF


@pytest.fixture(params=["compiled", "vectorised"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to the same numbers."""
    if request.param == "vectorised":
        monkeypatch.setattr(compiled, "fill", lambda *_: False)
    elif compiled._library() is None:
        pytest.skip("there is no C compiler")


both_engines = pytest.mark.usefixtures("engine")


# Salmon et al., Random123 1.14, tests/kat_vectors.
@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ONES] * 4, [ONES] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
    ids=["zero", "ones", "pi"],
)
def test_known_answers(counter: list[int], key: list[int], words: list[int]) -> None:
    assert philox4x32(counter, key).tolist() == words
    # Among others, and with another shape.
    many = np.random.default_rng(0).integers(0, 2**32, (3, 5, 4), dtype=np.uint32)
    many[1, 2] = counter
    assert philox4x32(many, key)[1, 2].tolist() == words


def _one_by_one(
    seed: int, key: int, step: int, stream: int, sample: int, width: int
) -> list[float]:
    """Box and Muller with the library's functions, number by number."""
    found = []
    for block in range((width + 1) // 2):
        counter = [key >> 32, key & ONES, step, sample << 8 | block]
        w = [int(word) for word in philox4x32(counter, [stream, seed])]
        u = 1.0 - ((w[0] << 32 | w[1]) >> 12) * 2.0**-52
        angle = np.pi * (((w[2] << 32 | w[3]) >> 12) * 2.0**-52 - 0.5 + (w[3] & 1))
        r = np.sqrt(-2.0 * np.log(u))
        found += [r * np.cos(angle), r * np.sin(angle)]
    return found[:width]


@both_engines
def test_normals_are_box_and_mullers_of_the_counter() -> None:
    keys = np.random.default_rng(1).integers(0, 2**64, 40, dtype=np.uint64)
    samples = [0, 7, 2**24 - 1]
    z = normals(2**32 - 1, keys, 2**32 - 1, 5, samples, 3).reshape(40, 3, 3)
    exact = np.array(
        [[_one_by_one(2**32 - 1, int(k), 2**32 - 1, 5, s, 3) for s in samples] for k in keys]
    ).swapaxes(1, 2)
    # r <= 8.5; the angle is rounded to 2^-53 pi, and a few roundings come on top.
    np.testing.assert_allclose(z, exact, rtol=0, atol=1e-14)


@both_engines
def test_a_number_has_the_same_bits_alone_and_among_many() -> None:
    """Whatever the chunk, the place in it, and the length of the vector."""
    keys = np.random.default_rng(2).integers(0, 2**64, 20011, dtype=np.uint64)
    samples = list(range(3, 12))
    z = normals(3, keys, 4, 1, samples, 5).reshape(keys.size, 5, len(samples))
    for i in [0, 1, 5, 181, 182, 183, 1023, 8191, 8192, 20010]:
        alone = normals(3, keys[i : i + 1], 4, 1, samples[2:3], 5)
        assert alone[:, 0].tobytes() == np.ascontiguousarray(z[i, :, 2]).tobytes()
    for begin, length in [(1, 7), (3, 1000), (7, 9999)]:
        part = normals(3, keys[begin : begin + length], 4, 1, samples[1:4], 4)
        np.testing.assert_array_equal(
            part.reshape(length, 4, 3), z[begin : begin + length, :4, 1:4]
        )


def test_numbers_of_numpy_are_numbers() -> None:
    keys = np.arange(3, dtype=np.uint64)
    found = normals(np.int64(1), keys, np.uint32(2), np.int32(3), np.arange(2), np.int64(2))
    np.testing.assert_array_equal(found, normals(1, keys, 2, 3, [0, 1], 2))
    with pytest.raises(TypeError):
        normals(1, keys, 2.5)  # type: ignore[arg-type]


@both_engines
def test_more_samples_than_a_chunk_holds() -> None:
    keys = np.array([5, 9], dtype=np.uint64)
    z = normals(0, keys, 0, 0, range(30000), 3)
    for s in (0, 8191, 8192, 29999):
        np.testing.assert_array_equal(normals(0, keys, 0, 0, [s], 3)[:, 0], z[:, s])


@both_engines
def test_the_law_is_standard_normal() -> None:
    n = 1_000_000
    z = normals(11, np.arange(n // 4, dtype=np.uint64), 0, 0, (0,), 4).ravel()
    # Standard deviations of the first four moments of n standard normals; 4.5 of them: 7e-6.
    for power, deviation in ((1, 1.0), (2, 2.0), (3, 15.0), (4, 96.0)):
        mean = {2: 1.0, 4: 3.0}.get(power, 0.0)
        assert abs(np.mean(z**power) - mean) < 4.5 * np.sqrt(deviation / n)
    assert stats.kstest(z, special.ndtr).pvalue > 1e-5
    tail = np.count_nonzero(np.abs(z) > 4.0)
    expected = 2.0 * n * special.ndtr(-4.0)
    assert abs(tail - expected) < 4.5 * np.sqrt(expected)


def test_streams_steps_samples_seeds_keys_and_places_are_independent() -> None:
    """Every pair among draws that differ in one bit of one word is uncorrelated, also in its squares."""
    n, rng = 100_000, np.random.default_rng(4)
    keys = rng.integers(0, 2**63, n, dtype=np.uint64) * np.uint64(2)
    draws = [*normals(1, keys, 8, 2, [4, 5, 4 + 2**20], 4).reshape(n, -1).T]
    for seed, step, stream, shift in [
        (0, 8, 2, 0),
        (1, 9, 2, 0),
        (1, 8 + 2**31, 2, 0),
        (1, 8, 3, 0),
        (1, 8, 2, 1),
    ]:
        draws += [*normals(seed, keys + np.uint64(shift), step, stream, [4], 2).reshape(n, -1).T]
    z = np.array(draws)
    count = len(z) * (len(z) - 1) // 2
    bound = -special.ndtri(1e-6 / count) / np.sqrt(n)  # for all pairs together 2e-6
    for f in (z, (z**2 - 1.0) / np.sqrt(2.0)):
        c = np.abs(f @ f.T / n)[np.triu_indices(len(z), 1)]
        assert c.max() < bound if f is z else c.max() < 1.5 * bound


@pytest.mark.parametrize(
    ("rows", "samples", "width"),
    [(0, 2, 3), (1, 1, 1), (1000, 1, 3), (77, 13, 5), (5, 3000, 2), (3, 1, 512), (100_000, 1, 2)],
)
def test_the_compiled_numbers_have_the_bits_of_the_vectorised(
    rows: int, samples: int, width: int
) -> None:
    if compiled._library() is None:
        pytest.skip("there is no C compiler")
    rng = np.random.default_rng(rows)
    keys = rng.integers(0, 2**64, rows, dtype=np.uint64)
    which = rng.integers(0, 2**24, samples).astype(np.uint64)
    one, other = (np.full((rows * width, samples), np.nan) for _ in range(2))
    assert compiled.fill(ONES, 5, keys, ONES, which, width, one)
    vectorised.fill(ONES, 5, keys, ONES, which, width, other)
    assert one.tobytes() == other.tobytes()
    # Into what is not contiguous NumPy writes.
    wide = np.full((rows * width, 2 * samples), np.nan)
    normals(ONES, keys, ONES, 5, which.astype(int), width, wide[:, ::2])
    np.testing.assert_array_equal(wide[:, ::2], one)
    assert np.isnan(wide[:, 1::2]).all()


@pytest.mark.parametrize("compiler", ["no-such-compiler", "false"])
def test_without_a_compiler_numpy_does_it(
    compiler: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = np.arange(5, dtype=np.uint64)
    expected = normals(1, keys, 2, 3, [4], 3)
    monkeypatch.setenv("CC", compiler)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiled._library.cache_clear()
    try:
        assert compiled._library() is None
        assert normals(1, keys, 2, 3, [4], 3).tobytes() == expected.tobytes()
    finally:
        compiled._library.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": -1}, "step of a noise is -1"),
        ({"step": 2**32}, "below 4294967296"),
        ({"seed": -3}, "seed of a noise is -3"),
        ({"stream": 2**32}, "stream of a noise"),
        ({"samples": [0, 2**24]}, "below 16777216"),
        ({"samples": [-1]}, "samples of a noise"),
        ({"width": 513}, "width of a noise is 513"),
        ({"width": 0}, "width of a noise is 0"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        normals(**{"seed": 0, "keys": np.zeros(1, dtype=np.uint64), "step": 0} | arguments)
