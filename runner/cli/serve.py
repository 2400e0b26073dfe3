"""``sluice serve``: the service that a machine runs for months."""

from __future__ import annotations

import click

from runner.cli.commands import Command
from runner.cli.session import Session, json_text, pass_session


@click.command(cls=Command)
@click.option(
    "--tcp", "listen_tcp", metavar="HOST:PORT", help="Listen there, too; needs the settings tls_certificate, tls_key and token_file."
)
@click.option("--metrics", "metrics_listen", metavar="HOST:PORT", help="Answer Prometheus there, at /metrics.")
@pass_session
def serve(session: Session, listen_tcp: str | None, metrics_listen: str | None) -> int:
    """Run the service: it owns the queue and drives the jobs until it is stopped.

    Other commands find it by its unix socket in the home and talk to it. It may be stopped or killed at any moment: running jobs go on, and
    the next service adopts them. Ctrl-C or SIGTERM stops it.

    \b
      sluice serve
      sluice serve --metrics 127.0.0.1:9464
    """
    from runner.serve import serve as run_service

    if session.server:
        raise click.UsageError("A service runs on this machine: --server is for the commands that ask it. Did you mean --tcp?")
    settings = session.load_settings(listen_tcp=listen_tcp, metrics_listen=metrics_listen)

    def on_ready(addresses: list[str]) -> None:
        session.say("\n".join(["Ready. Listening on", *(f"  {address}" for address in addresses)]))
        if session.as_json:
            click.echo(json_text({"ready": True, "addresses": addresses}, one_line=True))

    return run_service(settings, on_ready)
