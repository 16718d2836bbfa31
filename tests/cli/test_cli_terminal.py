"""On a terminal: one live line, and Ctrl-C. Elsewhere: a plain line now and then."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from launch import environment, history

from fem_deepest.cli.progress import Printer, Progress


def progress(**changes):
    return replace(Progress("lmvm", 2, 64, 1, 0.5, 1.0, 1e-3, 0.75, "accuracy"), **changes)


class Terminal:
    """The command on a pseudo-terminal of its own."""

    def __init__(self, *words, columns=80):
        try:
            controller, terminal = pty.openpty()
        except OSError:
            pytest.skip("there is no pseudo-terminal here (is /dev/pts mounted?)")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fem_deepest", *map(str, words)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=environment(TERM="xterm", COLUMNS=str(columns)),
            # Ctrl-C goes to the foreground of a session's terminal: give it one.
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
        )
        os.close(terminal)
        self.controller, self.text = controller, ""

    def read(self, until="", seconds=60.0):
        """Collect what is printed until it holds a text, or until the end."""
        end = time.monotonic() + seconds
        while not (until and until in self.text):
            if not select.select([self.controller], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError(f"'{until}' did not come: {self.text}")
            try:
                block = os.read(self.controller, 65536)
            except OSError:  # the other end is closed
                break
            if not block:
                break
            self.text += block.decode()
        return self.text

    def press(self, key):
        os.write(self.controller, key)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.controller)


@pytest.fixture
def terminal():
    opened = []

    def make(*words, **options):
        opened.append(Terminal(*words, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def screen(text):
    """What a terminal shows in the end; of the control sequences it knows those used here."""
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", text):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif part == "\x1b[1A":
            row -= 1
        elif part == "\x1b[2K":
            lines[row] = ""
        elif not part.startswith("\x1b"):
            lines[row] = lines[row][:column].ljust(column) + part + lines[row][column + len(part) :]
            column += len(part)
        else:
            assert part in ("\x1b[?25l", "\x1b[?25h"), part  # the cursor goes and comes back
    return [line.rstrip() for line in lines]


@pytest.mark.parametrize("columns", [80, 160])
def test_live_line(terminal, tiny, tmp_path, columns):
    words = ("--set", "network.cells=2", "--set", "solve.iterations=30")
    one = terminal("train", tiny, "--out", tmp_path / "out", *words, columns=columns)
    text = one.read()
    assert one.process.wait(60) == 3
    # Steps are shown, ten a second at most, over the one before and in one line.
    shown = re.findall(r"2 cells  \d+ gradients  A [^\r\n\x1b]*", text)
    assert len(history(tmp_path / "out")) == 31
    assert len(shown) >= 1
    assert max(map(len, shown)) <= columns
    # In the end nothing of them is left: the data, the level, the result.
    kept = screen(text)
    assert [line.split(":")[0] for line in kept] == [
        "donut",
        "lmvm    2 cells",
        "not converged",
        "",
    ]
    assert text.rstrip().count("\x1b[?25l") == text.count("\x1b[?25h")


def test_ctrl_c(terminal, tiny, tmp_path):
    out = tmp_path / "out"
    # More than a minute of work.
    words = ("network.neurons=16", "network.cells=32", "data.samples=2000", "solve.tolerance=1e-9")
    words = [w for word in words for w in ("--set", word)]
    one = terminal("train", tiny, "--out", out, *words)
    one.read("gradients  A ")
    one.press(b"\x03")
    text = one.read()
    assert one.process.wait(60) == 130
    assert "Interrupted; the checkpoint is in" in text
    assert "Traceback" not in text
    assert json.loads((out / "run.json").read_text())["status"] == "interrupted"
    assert (out / "checkpoint.h5").exists()


def test_plain_lines_come_at_intervals(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    printer = Printer(stream, interval=5.0)
    for step in range(40):
        printer.step(progress(evaluations=step + 1, gradient=0.5**step))
        clock[0] += 1.0
    lines = stream.getvalue().splitlines()
    assert [int(re.search(r"(\d+) gradients", line)[1]) for line in lines] == list(range(1, 41, 5))
    assert "\x1b" not in stream.getvalue()
    printer.step(progress(cells=4, evaluations=41))  # a new level at once
    assert stream.getvalue().splitlines()[-1].startswith("lmvm    4 cells      41 gradients")


def test_time_left(monkeypatch):
    """The gradient falls tenfold in 10 s and has two tenfold to go: 20 s."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    printer = Printer(stream, interval=5.0)
    printer.step(progress(gradient=1.0))
    clock[0] += 10.0
    printer.step(progress(gradient=0.1))
    clock[0] += 10.0
    printer.step(progress(gradient=2.0))
    first, second, third = stream.getvalue().splitlines()
    assert second.endswith("accuracy 0.7500  20 s left")
    assert "left" not in first + third


def test_no_time_left_is_told_where_chance_decides(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    stream = io.StringIO()
    printer = Printer(stream, interval=5.0)
    for gradient in (1.0, 0.1):
        printer.step(progress(stage="sgd", gradient=gradient))
        clock[0] += 10.0
    assert stream.getvalue().count("sgd ") == 2
    assert "left" not in stream.getvalue()


def test_prints_where_standard_output_goes_now(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    Printer().note("here")
    assert stream.getvalue() == "here\n"
