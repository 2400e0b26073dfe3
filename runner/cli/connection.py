"""``sluice connection``: the ways to stores that data comes from and goes to."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from runner.cli.blocks import Block, Facts, Line, Table
from runner.cli.commands import Group
from runner.cli.session import Session, pass_session

_SECRET_VARIABLE = "SLUICE_CONNECTION_SECRET"  # noqa: S105 - the name of one


@click.group(cls=Group)
def connection() -> None:
    """Add, show and check the ways to stores (S3) that data comes from."""


@connection.command()
@click.argument("name")
@click.option("--endpoint", default="", metavar="URL", help="Where the store answers (default: AWS, or what AWS_ENDPOINT_URL says).")
@click.option("--region", default="", metavar="REGION", help="The store's region (default: that of the profile, else us-east-1).")
@click.option("--bucket", default="", metavar="BUCKET", help="The bucket it is for, when nothing names one.")
@click.option("--prefix", default="", metavar="PREFIX", help="Where in that bucket.")
@click.option("--access-key", default="", metavar="KEY", help="Who asks. Its secret is read, never an argument.")
@click.option("--profile", default="", metavar="PROFILE", help="Who asks: a profile of the AWS files, instead of an access key.")
@click.option(
    "--authority", default="", metavar="FILE", help="The authorities (PEM) that vouch for the endpoint (default: the public ones)."
)
@click.option(
    "--addressing",
    type=click.Choice(["auto", "path", "virtual"]),
    default="auto",
    show_default=True,
    help="How the bucket stands in the URL.",
)
@click.option("--overwrite", is_flag=True, help="Replace the connection of this name.")
@pass_session
def add(session: Session, /, name: str, access_key: str, **given: Any) -> None:
    """Keep a way to a store.

    The secret of the access key is asked for, or read from the variable SLUICE_CONNECTION_SECRET, or from stdin when that is no terminal:
    never from an argument, which every user of the machine can see. Without an access key or profile the store is asked as boto3's environment
    says. The secret lies in a file of the home that only its owner may read.

    \b
      sluice connection add team --endpoint https://s3.example.org --access-key KEY
      sluice connection check team
      sluice dataset import scenes s3://bucket/prefix --connection team
    """
    secret = _read_secret() if access_key else ""
    with session.open_runner() as runner:
        added = runner.add_connection(name, access_key=access_key, secret=secret, **given)
    session.answer(added, show_blocks)
    session.hint(f"sluice connection check {name}")


@connection.command("list")
@pass_session
def list_(session: Session) -> None:
    """List the connections; secrets are masked."""
    with session.open_runner() as runner:
        connections = runner.list_connections()
    session.answer(connections, list_blocks)
    if not connections:
        session.hint("sluice connection add NAME --endpoint URL --access-key KEY")


@connection.command()
@click.argument("name")
@pass_session
def show(session: Session, name: str) -> None:
    """Show a connection; its secret is masked."""
    with session.open_runner() as runner:
        found = runner.get_connection(name)
    session.answer(found, show_blocks)


@connection.command()
@click.argument("name")
@click.argument("address", default="")
@pass_session
def check(session: Session, name: str, address: str) -> None:
    """Ask the store once: at ADDRESS (s3://bucket/prefix), the connection's bucket, or for its buckets.

    `environment` is what boto3 finds in its environment.
    """
    with session.open_runner() as runner:
        answer = runner.check_connection(name, address)
    session.answer(answer, checked_blocks)


@connection.command()
@click.argument("name")
@pass_session
def remove(session: Session, name: str) -> None:
    """Forget a connection and its secret; what is stored stays."""
    with session.open_runner() as runner:
        removed = runner.remove_connection(name)
    session.answer(removed, removed_blocks)


def _read_secret() -> str:
    if given := os.environ.get(_SECRET_VARIABLE):
        return given
    secret = click.prompt("Secret", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.readline()
    if not str(secret).strip():
        raise click.UsageError(f"The access key needs its secret: type it, write it to stdin, or set {_SECRET_VARIABLE}.")
    return str(secret).strip()


def checked_blocks(answer: Mapping[str, Any]) -> list[Block]:
    return [Line(f"{answer['name']}: {answer['answer']}")]


def removed_blocks(removed: Mapping[str, Any]) -> list[Block]:
    return [Line(f"{removed['name']} is forgotten.")]


def list_blocks(connections: list[Mapping[str, Any]]) -> list[Block]:
    """One line per connection."""
    if not connections:
        return [Line("No connections: s3:// is reached as boto3's environment says.")]
    columns = ("name", "endpoint", "bucket", "prefix", "who asks")
    return [Table(columns, [_row(found) for found in connections])]


def show_blocks(found: Mapping[str, Any]) -> list[Block]:
    """One connection, field by field."""
    shown = ("endpoint", "region", "bucket", "prefix", "access_key", "secret", "profile", "authority", "addressing")
    return [Line(str(found["name"])), Facts([(field.replace("_", " "), found[field]) for field in shown], indent=2)]


def _row(found: Mapping[str, Any]) -> tuple[str, ...]:
    return found["name"], found["endpoint"], found["bucket"], found["prefix"], _who(found)


def _who(found: Mapping[str, Any]) -> str:
    if found["access_key"]:
        return str(found["access_key"])
    return f"profile {found['profile']}" if found["profile"] else "environment"
