"""What is printed keeps every word: in a pipe nothing is cut, coloured or taken for markup."""

from __future__ import annotations

import io
import os
import pty
import select

import pytest

from runner.cli.blocks import Block, Facts, Line, Table, numbers, print_blocks


def printed(*blocks: Block) -> str:
    stream = io.StringIO()
    print_blocks(blocks, stream)
    return stream.getvalue()


def printed_on_a_terminal(monkeypatch: pytest.MonkeyPatch, *blocks: Block) -> str:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    reader, terminal_end = pty.openpty()
    with os.fdopen(terminal_end, "w") as terminal:
        print_blocks(blocks, terminal)
        terminal.flush()
        text = os.read(reader, 4096)
        while not text.endswith(b"\n") or select.select([reader], [], [], 0)[0]:
            text += os.read(reader, 4096)
    os.close(reader)
    return text.decode().replace("\r", "")


def test_a_table_in_a_pipe_is_as_wide_as_its_words() -> None:
    long = "x" * 500
    assert printed(
        Table(("name", "n"), [(long, 1), ("b", 200)], numbers("n"))
    ) == f"name{' ' * 498}  n\n{long}    1\nb{' ' * 499}  200\n".replace(f"name{' ' * 498}  n", f"name{' ' * 496}    n")


def test_a_table_on_a_terminal_wraps_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed_on_a_terminal(monkeypatch, Table(("name",), [("abcdefghij" * 10,)]))
    assert "…" not in text
    assert "".join(text.split("\n")[1:]).strip() == "abcdefghij" * 10


def test_a_terminal_gets_colour_and_a_pipe_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" in printed_on_a_terminal(monkeypatch, Line("bad", "bold red"))
    assert printed(Line("bad", "bold red")) == "bad\n"


def test_a_pipe_stays_plain_even_where_colour_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert printed(Line("bad", "bold red"), Table(("a",), [("b",)])) == "bad\na\nb\n"


def test_markup_emoji_and_control_characters_are_shown_as_they_are() -> None:
    text = printed(Line("[red]x[/red] :smile:"), Facts([("[b]", "\x1b[31m\r")]), Table(("[i]",), [("[link=x]",)]))
    assert text == "[red]x[/red] :smile:\n[b]  \\x1b[31m\\r\n[i]\n[link=x]\n"


def test_facts_leave_out_what_is_empty_but_not_zero_or_false() -> None:
    assert printed(Facts([("a", None), ("b", ""), ("c", []), ("d", 0), ("e", False)])) == "d  0\ne  False\n"


def test_facts_show_a_value_of_several_lines_below_itself() -> None:
    assert printed(Facts([("parameters", "a=1\nb=2")], indent=2)) == "  parameters  a=1\n              b=2\n"


def test_no_line_ends_in_spaces() -> None:
    assert all(line == line.rstrip() for line in printed(Table(("a", "b"), [("long", ""), ("", "x")])).splitlines())
