"""What stands after the end of a checkpoint: where its vectors are, and checksums of all that is in it.

HDF5 does not mind. The table is read, and what it covers compared, before anything of the file is trusted:
a file that was cut off or changed is recognised without HDF5, which a broken file may take down.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import h5py

from fem_deepest.errors import InputError
from fem_deepest.io.layout import Layout, Place
from fem_deepest.io.succession import previous

_MARK = "fem_deepest checkpoint"
_VERSION = 1
_END = 64  # bytes of the last line
_PIECE = 1 << 24


class Damaged(InputError):
    """A file is not, or not any more, what was written.

    Args:
        path: The file.
        why: What has been seen.
    """

    def __init__(self, path: Path, why: str) -> None:
        mend = "use another, or begin again with --force"
        if previous(path).exists():
            mend = f"go on with --resume, from the one before it ({previous(path)})"
        self.path, self.why = path, why
        self.what = f"{path} is not a whole checkpoint of fem_deepest ({why})"
        super().__init__(f"{self.what}; {mend}")

    def __reduce__(self) -> Any:  # ranks tell each other
        return Damaged, (self.path, self.why)


class Table(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        vectors: Places by name.
        sums: Checksums of the vectors by name, see :func:`.checksum`.
        signature: Hash of what the file and a configuration must agree in.
        meta: Everything else.
    """

    vectors: dict[str, Place]
    sums: dict[str, int]
    signature: str
    meta: dict[str, Any]


def fingerprint(signature: Any) -> str:
    """Hash of a value in plain types that does not depend on the order of keys. Not collective."""
    return hashlib.sha256(json.dumps(signature, sort_keys=True).encode()).hexdigest()


def seal(file: BinaryIO, made: Layout, sums: Mapping[str, int], signature: str) -> None:
    """Write the table after the end of the file, sealed. Not collective.

    Args:
        file: Open for reading and writing.
        made: Its layout; the pieces are written.
        sums: Checksums of the vectors by name.
        signature: Hash of what the file and a configuration must agree in.
    """
    table = {
        "length": made.length,
        "vectors": {name: [*place, sums[name]] for name, place in made.vectors.items()},
        "meta": made.meta,
        "rest": _rest(file, made.vectors.values(), made.length),
        "signature": signature,
    }
    text = json.dumps(table).encode() + b"\n"
    file.seek(made.length)
    file.write(sealed(text))


def read_table(path: Path) -> Table:
    """The table of a checkpoint whose bytes, but for those of the vectors, are as they were written.

    Raises:
        Damaged: There is no such file, it cannot be read, or it is another one.
        InputError: It was made by another version of this package.

    Not collective.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file)
    except FileNotFoundError:
        raise Damaged(path, "there is no such file") from None
    except OSError as error:
        raise Damaged(path, str(error)) from None


def sealed(content: bytes) -> bytes:
    """Content with a last line that tells whether it is whole. Not collective."""
    return content + _end(content)


def unsealed(path: Path) -> bytes:
    """The content of a file that was sealed as a whole. Not collective.

    Raises:
        Damaged: It is not what was sealed, or cannot be read.
    """
    try:
        with path.open("rb") as file:
            content, before = _sealed_part(path, file)
    except OSError as error:
        raise Damaged(path, str(error)) from None
    if before:
        raise Damaged(path, "something stands before it")
    return content


def _read(path: Path, file: BinaryIO) -> Table:
    text, length = _sealed_part(path, file)
    table = json.loads(text)
    if table["length"] != length:
        raise Damaged(path, f"it has {length} bytes and had {table['length']}")
    vectors = {name: Place(*place[:2]) for name, place in table["vectors"].items()}
    if _rest(file, vectors.values(), length) != table["rest"]:
        raise Damaged(path, "its meta data or its HDF5 structure have changed")
    file.seek(table["meta"][0])
    meta = json.loads(file.read(table["meta"][1]))
    sums = {name: place[2] for name, place in table["vectors"].items()}
    return Table(vectors, sums, table["signature"], meta)


def _sealed_part(path: Path, file: BinaryIO) -> tuple[bytes, int]:
    """What the last line is about, and how many bytes stand before it."""
    size = file.seek(0, 2)
    file.seek(max(size - _END, 0))
    end = file.read()
    told = re.fullmatch(rb"[0-9a-f]{20} *(\d+) " + _MARK.encode() + rb" (\d+)\n", end)
    if told is None:
        if _unsealed(path):
            raise InputError(
                f"{path} is a checkpoint without checksums, as earlier versions of fem_deepest wrote "
                "them; use the version that it was made with, or begin again with --force"
            )
        raise Damaged(path, "its end is missing")
    if int(told[2]) != _VERSION:
        raise InputError(
            f"{path} is a checkpoint of format {int(told[2])}, this version of fem_deepest reads "
            f"format {_VERSION}; use the version that it was made with, or begin again with --force"
        )
    start = size - _END - int(told[1])
    if start < 0:
        raise Damaged(path, "its beginning is missing")
    file.seek(start)
    text = file.read(int(told[1]))
    if _end(text) != end:
        raise Damaged(path, "what its last line tells of has changed")
    return text, start


def _unsealed(path: Path) -> bool:
    """Whether a file was written before there were checksums, when its text had no fixed length."""
    try:
        with h5py.File(path, "r", driver="sec2") as file:
            kind = h5py.check_string_dtype(file["meta"].dtype)
    except (OSError, RuntimeError, KeyError, AttributeError):
        return False
    return kind is not None and kind.length is None


def _end(text: bytes) -> bytes:
    """The last line: a hash of what it is about, its length, what this is."""
    line = f" {_MARK} {_VERSION}\n"
    digest = hashlib.sha256(text).hexdigest()[:20]
    return f"{digest}{len(text):{_END - len(digest) - len(line)}d}{line}".encode()


def _rest(file: BinaryIO, vectors: Any, length: int) -> str:
    """Hash of the first bytes of a file, those of the vectors left out."""
    found, at = hashlib.sha256(), 0
    for first, count in [*sorted(place for place in vectors if place.entries), (length, 0)]:
        file.seek(at)
        for left in range(first - at, 0, -_PIECE):
            found.update(file.read(min(left, _PIECE)))
        at = first + 8 * count
    return found.hexdigest()
