"""CSV and NPZ files: what is read, and what every refusal says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fem_deepest.data import read_file, read_inputs
from fem_deepest.errors import InputError


def _write(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def _refusal(call, words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        call()
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_numbers_survive_a_round_trip(tmp_path, delimiter, header, newline) -> None:
    values = np.random.default_rng(0).standard_normal((7, 4))
    lines = [delimiter.join(repr(float(v)) for v in row) for row in values]
    if header:
        lines.insert(0, delimiter.join(["a", '"b b"', "c", "d"]))
    path = _write(tmp_path, newline.join(lines) + newline)
    data = read_file(path, kind="regression")
    assert np.array_equal(data.inputs, values[:, :3])
    assert np.array_equal(data.targets, values[:, 3:])
    expected = ("a", "b b", "c") if header else ("column 1", "column 2", "column 3")
    assert data.columns == expected
    assert data.classes is None
    assert data.name == "table.csv"


def test_text_labels_are_sorted(tmp_path) -> None:
    path = _write(tmp_path, '1,2,pear\n3,4, apple \n5,6,"fig, dried"\n7,8,pear\n')
    data = read_file(path)
    assert data.classes == ("apple", "fig, dried", "pear")
    assert data.targets.tolist() == [2, 0, 1, 2]
    assert data.inputs.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]


def test_number_labels_are_sorted_by_value(tmp_path) -> None:
    path = _write(tmp_path, "0.5,10\n1.5,9\n2.5,-1\n3.5,10.0\n")
    data = read_file(path)
    assert data.classes == ("-1", "9", "10")
    assert data.targets.tolist() == [2, 1, 0, 2]


def test_columns_by_name_and_by_number(tmp_path) -> None:
    path = _write(tmp_path, "id,u,v,w\nr1,1,2,3\nr2,4,5,6\n")
    data = read_file(path, target=["w", 2], kind="regression", inputs=["v"])
    assert data.inputs.tolist() == [[2], [5]]
    assert data.targets.tolist() == [[3, 1], [6, 4]]
    assert data.columns == ("v",)
    assert read_file(path, target="id", inputs=[4, "2"]).inputs.tolist() == [[3, 1], [6, 4]]


def test_header_of_counted_columns(tmp_path) -> None:
    """A table saved with numbers as column names has a header all the same."""
    path = _write(tmp_path, "0,1,2,label\n9,8,7,a\n6,5,4,b\n")
    data = read_file(path)
    assert data.columns == ("0", "1", "2")
    assert data.inputs.tolist() == [[9, 8, 7], [6, 5, 4]]


def test_byte_order_mark_and_blank_lines(tmp_path) -> None:
    path = _write(tmp_path, "\ufeff\nx,y\n\n1,2\n\n3,4\n\n")
    data = read_file(path, kind="regression")
    assert data.columns == ("x",)
    assert data.inputs.tolist() == [[1], [3]]
    bare = _write(tmp_path, "\ufeff1,2\n3,4\n")
    assert read_file(bare, kind="regression").inputs.tolist() == [[1], [3]]


def test_a_quoted_sign_is_no_delimiter(tmp_path) -> None:
    path = _write(tmp_path, '"a;b","c\td",e\n1,2,3\n')
    data = read_file(path, kind="regression")
    assert data.columns == ("a;b", "c\td")
    assert data.inputs.tolist() == [[1, 2]]


def test_a_good_table_never_takes_the_slow_path(tmp_path, monkeypatch) -> None:
    """The rows are looked at one by one only to find the header, or a fault."""
    from fem_deepest.data import delimited, fields

    seen = []
    rows = delimited.table_rows

    def counted(*arguments):
        for row in rows(*arguments):
            seen.append(row)
            yield row

    monkeypatch.setattr(delimited, "table_rows", counted)
    monkeypatch.setattr(fields, "table_rows", counted)
    line = ",".join(["0.12345678"] * 64)
    path = _write(tmp_path, "".join(f"{line},{'ab'[i % 2]}\n" for i in range(2000)))
    data = read_file(path)
    assert data.inputs.shape == (2000, 64)
    assert np.all(data.inputs == 0.12345678)
    assert np.bincount(data.targets).tolist() == [1000, 1000]
    assert len(seen) <= 3


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("", {}, ["empty", "one row per sample"]),
        ("\n \n", {}, ["empty"]),
        ("a,b\n", {}, ["header but no row", "add samples"]),
        ("1,2,a\n1,2\n3,4,b\n", {}, ["row 2 has 2 fields", "expected 3", "complete"]),
        ("x,y,z\n1,2,a\n1,2,3,b\n", {}, ["row 3 has 4 fields", "expected 3"]),
        ("x,y,z\n1,2\n3,4\n", {"kind": "regression"}, ["row 2 has 2 fields", "expected 3"]),
        ("x,y\n1,2,3\n4,5,6\n", {"kind": "regression"}, ["row 2 has 3 fields", "expected 2"]),
        ("x,y,z\n1,2,a\n\n1,,b\n", {}, ["row 4, column 'y'", "missing", "remove the row"]),
        ("1,2,a\n1,two,b\n", {}, ["row 2, column 2", "'two' is text", "finite number"]),
        ("1;2,5;a\n1;2;b\n", {}, ["row 1, column 2", "'2,5' is text", "decimal comma"]),
        ("1,2,a\n1,nan,b\n", {}, ["row 2, column 2", "the value is nan", "finite"]),
        ("1,2,a\n-inf,2,b\n", {}, ["row 2, column 1", "the value is -inf"]),
        ("1,2,a\n1,1_0,b\n", {}, ["row 2, column 2", "'1_0' is text"]),
        ("1,2,a\n1,2,\n", {}, ["row 2, column 3", "class label is missing", "write one"]),
        ("x,y\n1,2\n3,q\n", {"kind": "regression"}, ["row 3, column 'y'", "'q' is text"]),
        ("width,kind\n1,a\n2,b\n", {"target": "knd"}, ["'knd'", "did you mean 'kind'?"]),
        ("width,kind\n1,a\n2,b\n", {"inputs": ["with"]}, ["'with'", "did you mean 'width'?"]),
        ("1,a\n2,b\n", {"target": "kind"}, ["'kind'", "no header", "numbers, 1 to 2"]),
        ("1,a\n2,b\n", {"target": 3}, ["no column 3", "numbered 1 to 2"]),
        ("1,a\n2,b\n", {"target": 0}, ["no column 0", "numbered 1 to 2"]),
        ("x,x,z\n1,2,a\n1,2,b\n", {}, ["two columns are called 'x'", "own name"]),
        (",x,y\n0,1,a\n1,2,b\n", {}, ["column 1 has no name", "row index", "inputs"]),
        ("1,a\n2,a\n", {}, ["all samples have the class 'a'", "at least two", "regression"]),
        ("1,0.5\n2,1\n", {}, ["label 0.5 is not a whole number", "kind = 'regression'"]),
        ("1\n2\n", {}, ["no input column", "comma, semicolon or tab"]),
        ("1,2,a\n1,2,b\n", {"target": [2, 3]}, ["2 target columns for classification"]),
        ("1,2\n1,2\n", {"target": [], "kind": "regression"}, ["0 target columns", "at least one"]),
        ("1,2,a\n1,2,b\n", {"inputs": [3]}, ["'column 3' is both", "one of them only"]),
        ("1,2,a\n1,2,b\n", {"inputs": [1, 1]}, ["chosen twice", "once"]),
        ("1,a\n2,b\n", {"kind": "clasification"}, ["'clasification'", "'classification'"]),
    ],
)
def test_csv_refusals(tmp_path, text, options, words) -> None:
    path = _write(tmp_path, text)
    _refusal(lambda: read_file(path, **options), words)


def test_files_that_are_none(tmp_path) -> None:
    _refusal(lambda: read_file(tmp_path / "no.csv"), ["no.csv", "no such file", "check the path"])
    _refusal(lambda: read_file(tmp_path), [tmp_path.name, "directory", "give a file"])
    path = _write(tmp_path, "1,a", "table.xlsx")
    _refusal(lambda: read_file(path), ["table.xlsx", "'.xlsx' is not known", ".csv", ".npz"])
    path = tmp_path / "latin.csv"
    path.write_bytes("größe,y\n1,2\n".encode("latin-1"))
    _refusal(lambda: read_file(path), ["latin.csv", "byte 2 is not UTF-8", "in UTF-8"])


@pytest.mark.parametrize(("x", "y"), [("inputs", "targets"), ("x", "y"), ("X", "y")])
def test_npz_round_trip(tmp_path, x, y) -> None:
    path = tmp_path / "data.npz"
    values = np.random.default_rng(0).standard_normal((4, 3))
    np.savez(path, **{x: values, y: np.array([[1.0, 2], [3, 4], [5, 6], [7, 8]])})
    data = read_file(path, kind="regression")
    assert np.array_equal(data.inputs, values)
    assert data.targets.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]
    assert np.array_equal(read_inputs(path, data.columns, 3), values)


@pytest.mark.parametrize(
    ("labels", "classes", "indices"),
    [
        (np.array([10, 9, 10]), ("9", "10"), [1, 0, 1]),
        (np.array([[10.0], [9.0], [10.0]]), ("9", "10"), [1, 0, 1]),
        (np.array(["b", "a", "b"]), ("a", "b"), [1, 0, 1]),
        (np.array([b"b", b"a", b"b"]), ("a", "b"), [1, 0, 1]),
        (np.array([True, False, True]), ("0", "1"), [1, 0, 1]),
    ],
)
def test_npz_labels(tmp_path, labels, classes, indices) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.eye(3), y=labels)
    data = read_file(path)
    assert data.classes == classes
    assert data.targets.tolist() == indices


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"a": np.eye(2)}, ["holds a", "'inputs' and 'targets'"]),
        ({"x": np.eye(2)}, ["holds x", "'x' and 'y'"]),
        ({"x": np.zeros(3), "y": np.arange(3)}, ["'x' has shape (3,)", "reshape"]),
        ({"x": np.zeros((2, 2, 2)), "y": np.arange(2)}, ["shape (2, 2, 2)", "reshape"]),
        ({"x": np.array([["a"]]), "y": np.arange(1)}, ["'x' has type", "astype(float)"]),
        ({"x": [[1, 2], [3, np.nan]], "y": [0, 1]}, ["nan in row 2, column 2", "finite"]),
        ({"x": np.eye(2), "y": np.eye(2)}, ["shape (2, 2)", "argmax", "regression"]),
        ({"x": np.eye(2), "y": np.array(["a", ""])}, ["row 2 is missing", "remove"]),
        ({"x": np.eye(2), "y": np.array([1.0, np.nan])}, ["row 2 is missing"]),
        ({"x": np.eye(2), "y": np.array([0.5, 1.0])}, ["0.5 is not a whole number"]),
        ({"x": np.eye(2), "y": [3, 3]}, ["all samples have the class '3'", "at least two"]),
        ({"x": np.eye(2), "y": [0, 1, 1]}, ["2 rows", "3 targets"]),
        ({"x": np.eye(2), "y": np.array([0, None])}, ["Python objects", "astype"]),
        ({"x": np.array([[0, None]]), "y": [0]}, ["Python objects", "astype"]),
    ],
)
def test_npz_refusals(tmp_path, arrays, words) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    _refusal(lambda: read_file(path), ["data.npz", *words])


def test_damaged_npz(tmp_path) -> None:
    path = tmp_path / "data.npz"
    path.write_bytes(b"not a zip file")
    _refusal(lambda: read_file(path), ["data.npz", "not an NPZ file", "numpy.savez"])
    np.savez(path, x=np.eye(20), y=np.arange(20))
    content = bytearray(path.read_bytes())
    content[500:600] = b"\xff" * 100
    path.write_bytes(content)
    _refusal(lambda: read_file(path), ["data.npz", "damaged", "numpy.savez"])
    np.savez(path, x=np.eye(20), y=np.arange(20))
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")  # in the directory of the archive: y is encrypted
    content[entry + 8] |= 1
    path.write_bytes(content)
    _refusal(lambda: read_file(path), ["data.npz", "damaged", "encrypted"])
    _refusal(lambda: read_file(path, target="y"), ["data.npz", "leave out target"])


def test_inputs_by_name_in_any_order(tmp_path) -> None:
    path = _write(tmp_path, "label,b,note,a\nx,2,hi,1\ny,4,ho,3\n")
    assert read_inputs(path, ("a", "b"), 2).tolist() == [[1, 2], [3, 4]]


def test_inputs_without_header(tmp_path) -> None:
    path = _write(tmp_path, "1,2\n3,4\n")
    assert read_inputs(path, ("a", "b"), 2).tolist() == [[1, 2], [3, 4]]
    one = _write(tmp_path, "u,v\n1,2\n3,4\n")
    assert read_inputs(one, ("column 1", "column 2"), 2).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2,0\n3,4,1\n", ["3 columns", "with 2 inputs", "cut -d',' -f1-2", "header"]),
        ("1;2;0\n3;4;1\n", ["3 columns", "drop the target"]),
        ("1\n3\n", ["1 columns", "with 2 inputs", "add the missing"]),
        ("height,with\n1,2\n", ["no column 'width'", "did you mean 'with'?", "remove the header"]),
        ("height,width\n1,2\n3,\n", ["row 3, column 'width'", "missing"]),
        ("1,2\n3,x\n", ["row 2, column 2", "'x' is text"]),
    ],
)
def test_inputs_refused(tmp_path, text, words) -> None:
    path = _write(tmp_path, text)
    _refusal(lambda: read_inputs(path, ("height", "width"), 2), ["table.csv", *words])


def test_npz_inputs_refused(tmp_path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x=np.eye(3))
    _refusal(lambda: read_inputs(path, ("x1", "x2"), 2), ["3 columns", "with 2", "without"])
    np.savez(path, z=np.eye(3))
    _refusal(lambda: read_inputs(path, ("x1",), 3), ["holds z", "'inputs' or 'x'"])
