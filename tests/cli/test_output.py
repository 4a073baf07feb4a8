"""How things are printed: safe, plain where nobody looks, whole in a pipe."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caxton_nats.cli.output import cell, facts, json_text, report, show, table, visible
from caxton_nats.core.errors import CaxtonError
from tests.cli.conftest import ROOT


@given(st.text())
def test_visible_text_has_nothing_that_steers_a_terminal(text: str) -> None:
    """Whatever comes in, what goes out can be printed, and printable text stays as it is."""
    shown = visible(text)
    assert shown.isprintable() or not text.isprintable()
    assert not any(
        ord(one) < 32 or 0x7F <= ord(one) < 0xA0 or one in "\u202e\u2028" for one in shown
    )
    if text.isprintable():
        assert shown == text


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none()))
def test_json_stays_the_same_value_and_has_nothing_hidden(document: dict[str, object]) -> None:
    """Escapes are JSON's own: a program reads what was meant, a terminal sees no control."""
    text = json_text(document)
    assert json.loads(text) == document
    assert not any(ord(one) < 32 or 0x7F <= ord(one) < 0xA0 for one in text.replace("\n", ""))


def test_markup_of_a_stranger_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    """Square brackets are neither colours nor swallowed, in cells, lines and errors."""
    evil = "[red]x[/red][link=http://a]y[/]\x1b[31m"
    show({}, table("who", rows=[(evil,)]), facts({"name": evil}), visible(evil), as_json=False)
    report(CaxtonError(evil, field=evil, value=evil, hint=evil), as_json=False)
    out, err = capsys.readouterr()
    expected = evil.replace("\x1b", "\\x1b")
    assert out.count(expected) == 3
    assert err.count(expected) == 4
    assert "\x1b" not in out + err


def test_a_pipe_gets_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """A table is not cut to 80 columns where nobody has columns, nor padded at the end."""
    show({}, table("first", "second", rows=[("x" * 300, "y" * 300)]), as_json=False)
    _, row = capsys.readouterr().out.splitlines()
    assert row == f"{'x' * 300}  {'y' * 300}"


def test_values_are_written_for_people() -> None:
    """Yes and no, lists with commas."""
    assert [cell(True).plain, cell(("a", "b")).plain, cell(3).plain] == ["yes", "a, b", "3"]


@pytest.mark.parametrize(("variables", "colours"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_has_colours_unless_no_color(
    tmp_path: Path, variables: dict[str, str], *, colours: bool
) -> None:
    """An error on a terminal is red; with NO_COLOR it is not."""
    out = on_terminal(["agents", "--nats-url", "nats://127.0.0.1:1"], variables, tmp_path)
    assert b"error: " in out
    assert (b"\x1b[1;31m" in out) is colours


def test_raw_bytes_never_go_to_a_terminal(tmp_path: Path) -> None:
    """`dlq show --raw` refuses a terminal before it asks a server for anything."""
    out = on_terminal(["dlq", "show", "x", "--raw"], {}, tmp_path)
    assert b"redirect it" in out


def on_terminal(arguments: list[str], variables: dict[str, str], folder: Path) -> bytes:
    """Return what `caxton` writes when it has a terminal."""
    hidden = {"NO_COLOR", "FORCE_COLOR", "CAXTON_NATS_URL"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"PYTHONPATH": str(ROOT), "TERM": "xterm", **variables}
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "caxton_nats", *arguments]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment
    ):
        os.close(theirs)
        written = bytearray()
        # Linux says the end of a terminal as an input/output error.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 4096):
                written += piece
    os.close(ours)
    return bytes(written)
