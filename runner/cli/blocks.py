"""What a person sees on stdout, built of three blocks: a line, a list of facts, a table.

Rendering functions make blocks from the Runner's dicts; printing knows the terminal: in a pipe there is no colour and no cell is cut or wrapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

import click

from runner.cli.session import plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_PIPE_WIDTH = 100_000


@dataclass(frozen=True)
class Line:
    """One line; ``style`` is rich's."""

    text: str = ""
    style: str = ""
    indent: int = 0


@dataclass(frozen=True)
class Facts:
    """Label and value, one pair per line; a pair with an empty value is left out."""

    pairs: Sequence[tuple[str, Any]]
    indent: int = 0


@dataclass(frozen=True)
class Table:
    """Rows under column names; ``right`` are the columns of numbers. Values are shown as text, None as nothing."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    right: frozenset[str] = field(default_factory=frozenset)
    indent: int = 0


Block = Line | Facts | Table


def numbers(*columns: str) -> frozenset[str]:
    """The columns of a ``Table`` that hold numbers."""
    return frozenset(columns)


def object_type_label(number: int) -> str:
    """``detection`` for 2: the word for a number of the contract's."""
    from contracts.image import ObjectType

    return ObjectType(number).label


def print_blocks(blocks: Iterable[Block], stream: TextIO) -> None:
    """Print the blocks, lines without trailing spaces."""
    console = make_console(stream)
    with console.capture() as capture:
        for block in blocks:
            console.print(_renderable(block), soft_wrap=isinstance(block, Line))
    for line in capture.get().splitlines():
        click.echo(line.rstrip(), file=stream, color=stream.isatty())


def make_console(stream: TextIO) -> Console:
    """A console that takes every text literally: nothing an image or a file name says is markup."""
    from rich.console import Console

    terminal = stream.isatty()
    return Console(
        file=stream,
        force_terminal=terminal,
        no_color=None if terminal else True,
        width=None if terminal else _PIPE_WIDTH,
        markup=False,
        emoji=False,
        highlight=False,
    )


def _renderable(block: Block) -> RenderableType:
    from rich.padding import Padding
    from rich.text import Text

    if isinstance(block, Line):
        return Text(" " * block.indent + plain(block.text), style=block.style)
    grid = _facts(block) if isinstance(block, Facts) else _table(block)
    return Padding(grid, (0, 0, 0, block.indent), expand=False)


def _facts(block: Facts) -> RenderableType:
    from rich.table import Table as Grid

    grid = Grid.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in block.pairs:
        if value not in (None, "", [], {}):
            grid.add_row(label, _cell(value))
    return grid


def _table(block: Table) -> RenderableType:
    from rich.table import Table as Grid

    grid = Grid(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in block.columns:
        grid.add_column(column, justify="right" if column in block.right else "left", overflow="fold")
    for row in block.rows:
        grid.add_row(*(_cell(value) for value in row))
    return grid


def _cell(value: Any) -> RenderableType:
    from rich.text import Text

    return Text("" if value is None else plain(str(value), keep="\n"))
