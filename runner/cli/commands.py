"""What every command has in common: the shared options, help in full lines, groups that import a command when it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click

from runner.cli.session import Session

#: Section title to command name to (``module:attribute``, one-line help).
Listing = Mapping[str, Mapping[str, tuple[str, str]]]

SHARED_NAMES = ("home", "engine", "as_json", "embed", "server", "verbose")


def shared_options() -> list[click.Parameter]:
    """The options that every command takes, before and after the sub-command; each sets its field of the Session."""

    def option(name: str, *declarations: str, **settings: Any) -> click.Option:
        # Eager: where the work is done is known before a path is looked for.
        return click.Option([*declarations, name], expose_value=False, is_eager=True, callback=_remember, **settings)

    return [
        option("as_json", "--json", is_flag=True, help="Answer with one JSON document on stdout, errors too."),
        option("home", "--home", metavar="FOLDER", help="Where everything is kept (SLUICE_HOME; ~/.sluice)."),
        option("engine", "--engine", metavar="NAME", help="Where containers run: docker or process (SLUICE_ENGINE)."),
        option(
            "embed",
            "--embed",
            is_flag=True,
            envvar="SLUICE_EMBED",
            help="Work here, also where a service of the home runs (SLUICE_EMBED=1).",
        ),
        option(
            "server",
            "--server",
            metavar="HOST:PORT",
            help="Ask the service there, on another machine, and do nothing here (SLUICE_SERVER, with SLUICE_SERVER_TOKEN).",
        ),
        option("verbose", "--verbose", is_flag=True, help="Log records and tracebacks on stderr."),
    ]


def _remember(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value not in (None, False):  # left out here: it may have been given before the sub-command
        setattr(context.ensure_object(Session), str(parameter.name), value)


class Command(click.Command):
    """A command with the shared options."""

    def __init__(self, name: str | None = None, *, params: Sequence[click.Parameter] | None = None, **settings: Any) -> None:
        super().__init__(name, params=[*(params or ()), *shared_options()], **settings)

    def get_short_help_str(self, limit: int = 0) -> str:  # noqa: ARG002 - click's signature; a line is never cut
        return first_line(self)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        write_options(self, context, formatter)


class Group(click.Group):
    """A noun: its commands are ``Command`` unless they say otherwise."""

    command_class = Command

    def __init__(self, name: str | None = None, *, params: Sequence[click.Parameter] | None = None, **settings: Any) -> None:
        super().__init__(name, params=[*(params or ()), *shared_options()], **settings)

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002 - in the order in which they are written
        return list(self.commands)

    def get_short_help_str(self, limit: int = 0) -> str:  # noqa: ARG002
        return first_line(self)

    def resolve_command(self, context: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(context)
        if args[0] not in known and not args[0].startswith("-") and not context.resilient_parsing:
            context.fail(f"There is no command {args[0]!r}. Known: {', '.join(known)}.")
        return super().resolve_command(context, args)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(context, formatter)
        write_options(self, context, formatter)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, first_line(command)) for name, command in self.commands.items()])


class LazyGroup(Group):
    """A group whose commands are named in a listing and imported only when used."""

    def __init__(self, *args: Any, listing: Listing, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.listing = listing

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002
        return [name for commands in self.listing.values() for name in commands]

    def get_command(self, context: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        for commands in self.listing.values():
            if cmd_name in commands:
                return load_command(commands[cmd_name][0])
        return None

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        for title, commands in self.listing.items():
            with formatter.section(title):
                formatter.write_dl([(name, line) for name, (_, line) in commands.items()])


def load_command(target: str) -> click.Command:
    """The command at ``module:attribute``."""
    module, _, attribute = target.partition(":")
    command = getattr(import_module(module), attribute)
    if not isinstance(command, click.Command):
        raise TypeError(f"{target} is not a command")
    return command


def first_line(command: click.Command) -> str:
    """The first paragraph of the help, on one line, whole."""
    return " ".join((command.help or "").strip().split("\n\n")[0].split())


def write_options(command: click.Command, context: click.Context, formatter: click.HelpFormatter) -> None:
    """The command's own options, then the shared ones: all of them for the root, in one line for the others."""
    own: list[tuple[str, str]] = []
    shared: list[tuple[str, str]] = []
    for parameter in command.get_params(context):
        record = None if isinstance(parameter, click.Argument) else parameter.get_help_record(context)
        if record is not None:
            (shared if parameter.name in SHARED_NAMES else own).append(record)
    with formatter.section("Options"):
        formatter.write_dl(own)
    with formatter.section("Options of every command"):
        formatter.write_dl(shared)
