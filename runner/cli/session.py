"""One command line's session: its shared options, the Runner it opens, and where it prints."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pathlib import Path

    from runner.cli.blocks import Block
    from runner.client import RemoteRunner
    from runner.service import Runner
    from runner.settings import Settings

    #: The same verbs, in this process or in the service's.
    AnyRunner = Runner | RemoteRunner


@dataclass
class Session:
    """Filled while the command line is parsed, then handed to the command."""

    home: str | None = None
    engine: str | None = None
    as_json: bool = False
    verbose: bool = False
    embed: bool = False
    server: str | None = None

    @contextmanager
    def open_runner(self) -> Iterator[AnyRunner]:
        """The Runner of the home and engine that the options, the environment and the settings file name: its service's where one runs.

        With ``server`` the service there, or an error: never another one instead.
        """
        configure_logging(self.verbose)
        with self._find_runner(self.load_settings()) as runner:
            yield runner

    def load_settings(self, **more: str | None) -> Settings:
        """As the options of every command say, and ``more`` of this one."""
        from runner.settings import load_settings

        if self.embed and self.server:
            raise click.UsageError("--embed (or SLUICE_EMBED) means here and --server elsewhere: leave one of them out.")
        given = {"home": self.home, "engine": self.engine, "server": self.server, **more}
        return load_settings({name: value for name, value in given.items() if value is not None})

    def elsewhere(self) -> str:
        """The address of the service on another machine that does the work; '' when it is done on this one."""
        return "" if self.embed else self.load_settings().server

    def _find_runner(self, settings: Settings) -> AnyRunner:
        if self.embed:
            return _embed(settings)
        if settings.server:
            os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what fails is told in our words, once
            from runner.client import open_server

            return open_server(settings, self.engine)
        return _find_server(settings) or _embed(settings)

    def answer(self, document: Any, render: Callable[[Any], list[Block]]) -> None:
        """Print the answer on stdout: the document as JSON, or what ``render`` makes of it."""
        if self.as_json:
            click.echo(json_text(document))
        else:
            from runner.cli.blocks import print_blocks

            print_blocks(render(document), sys.stdout)

    def say(self, text: str = "") -> None:
        """Talk to the person, on stderr."""
        click.echo(plain(text, keep="\n"), err=True)

    def say_place(self, path: Path, what_happens: str) -> None:
        """On which machine a path is meant, when that is not this one."""
        address = self.elsewhere()
        if address and path.is_absolute():  # another one is refused
            self.say(f"{path} is {what_happens} on the machine of the service at {address}, not on this one.")

    def hint(self, *lines: str) -> None:
        """Commands to try next, on stderr; nobody reads them beside a JSON document."""
        if not self.as_json:
            for position, line in enumerate(lines):
                self.say(f"{'Next:' if position == 0 else '     '} {line}")


def _find_server(settings: Settings) -> RemoteRunner | None:
    """Without a service gRPC is not imported, nor what a Runner needs with one."""
    from runner.socket_file import find_socket

    if find_socket(settings) is None:
        return None
    from runner.client import find_server

    return find_server(settings)


def _embed(settings: Settings) -> Runner:
    from runner.service import Runner

    return Runner.open(settings)


pass_session = click.make_pass_decorator(Session, ensure=True)


def json_text(document: Any, *, one_line: bool = False) -> str:
    """The document as every ``--json`` prints it."""
    import json

    return json.dumps(document, ensure_ascii=False, indent=None if one_line else 2)


def plain(text: str, keep: str = "") -> str:
    """The text with control characters made visible: what an image wrote must not steer the terminal."""
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def configure_logging(verbose: bool) -> None:
    """Log records to stderr: all of ours when verbose, otherwise only warnings."""
    import logging

    form = "%(asctime)s %(levelname)s %(name)s: %(message)s" if verbose else "%(levelname)s: %(message)s"
    logging.basicConfig(stream=sys.stderr, level=logging.INFO if verbose else logging.WARNING, format=form, force=True)
    for room in ("contracts", "registry", "plugins", "runner"):
        logging.getLogger(room).setLevel(logging.DEBUG if verbose else logging.WARNING)
