"""``sluice gpu``: the GPUs of this machine, what happened to them, and the pools they are in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from runner.cli.blocks import Block, Line, Table, numbers
from runner.cli.commands import Group
from runner.cli.session import Session, pass_session
from runner.cli.share import quota
from runner.cli.units import size_text, time_text

Card = Mapping[str, Any]
_DEFAULT = "default"


@click.group(cls=Group)
def gpu() -> None:
    """Show the GPUs and who holds them, take them out of use, and put them into pools.

    A GPU is named by its uuid, the beginning of it, or its index.
    """


@gpu.command("list")
@pass_session
def list_(session: Session) -> None:
    """List the GPUs of this machine and who holds each."""
    with session.open_runner() as runner:
        gpus = runner.list_gpus()
    session.answer(gpus, list_blocks)


@gpu.command("events")
@click.argument("gpu", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, metavar="N", help="How many at most, the newest.")
@pass_session
def events(session: Session, gpu: str | None, limit: int) -> None:
    """Show what happened to a GPU, or to any: Xid errors, changes of state, what operators did. The newest comes first."""
    with session.open_runner() as runner:
        found = runner.gpu_events(gpu, limit=limit)
    session.answer(found, event_blocks)


@gpu.command("drain")
@click.argument("gpu")
@pass_session
def drain(session: Session, gpu: str) -> None:
    """Give no new jobs to a GPU, or to those of a pool. Jobs that run go on."""
    _drain(session, gpu, on=True)


@gpu.command("undrain")
@click.argument("gpu")
@pass_session
def undrain(session: Session, gpu: str) -> None:
    """Give jobs to a drained GPU or pool again."""
    _drain(session, gpu, on=False)


def _drain(session: Session, target: str, *, on: bool) -> None:
    with session.open_runner() as runner:
        changed = runner.drain_gpu(target, on)
    session.answer(changed, changed_blocks)


@gpu.command("clear")
@click.argument("gpu")
@pass_session
def clear(session: Session, gpu: str) -> None:
    """Call a quarantined GPU healthy, after you looked at it; forget one that is missing for good."""
    with session.open_runner() as runner:
        cleared = runner.clear_gpu(gpu)
    session.answer(cleared, changed_blocks)


# ------------------------------------------------------------------------------------------------------------------- pools


@gpu.group("pool", cls=Group)
def pool() -> None:
    """Sets of GPUs with a purpose: for whom, how many each, and whether jobs share a card.

    A GPU that is in no pool is in the default one, which jobs use that name none.
    """


@pool.command("list")
@pass_session
def list_pools(session: Session) -> None:
    """List the pools and the GPUs in each."""
    with session.open_runner() as runner:
        pools = runner.list_gpu_pools()
    session.answer(pools, pool_blocks)
    if not pools:
        session.hint("sluice gpu pool set NAME --purpose TEXT", "sluice gpu pool assign GPU NAME")


@pool.command("set")
@click.argument("name")
@click.option("--purpose", metavar="TEXT", help="What it is for.")
@click.option("--slots", type=click.IntRange(1, 64), metavar="N", help="Jobs that may share a card; 1 for none.")
@click.option("--max-gpus-per-user", type=quota, metavar="N", help="GPUs of it a user may hold at once, or none for no limit.")
@click.option("--max-gpus-per-project", type=quota, metavar="N", help="GPUs of it a project may hold at once, or none for no limit.")
@click.option("--user", "users", multiple=True, metavar="NAME", help="Only for this user; may be repeated, '' for all.")
@click.option("--project", "projects", multiple=True, metavar="NAME", help="Only for this project; may be repeated, '' for all.")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only for jobs of this kind; may be repeated, '' for all.")
@pass_session
def set_(
    session: Session,
    name: str,
    purpose: str | None,
    slots: int | None,
    max_gpus_per_user: int | None,
    max_gpus_per_project: int | None,
    users: tuple[str, ...],
    projects: tuple[str, ...],
    kinds: tuple[str, ...],
) -> None:
    """Make a pool or change it. What is not given stays; jobs that run are left alone."""
    with session.open_runner() as runner:
        changed = runner.put_gpu_pool(
            name,
            purpose=purpose,
            slots=slots,
            max_gpus_per_user=max_gpus_per_user,
            max_gpus_per_project=max_gpus_per_project,
            users=_names(users),
            projects=_names(projects),
            kinds=_names(kinds),
        )
    session.answer(changed, lambda document: pool_blocks([document]))


def _names(given: tuple[str, ...]) -> list[str] | None:
    """None for what was not given; an empty name alone takes the list away."""
    return [name for name in given if name] if given else None


@pool.command("remove")
@click.argument("name")
@pass_session
def remove(session: Session, name: str) -> None:
    """Remove a pool that no GPU is in."""
    with session.open_runner() as runner:
        removed = runner.remove_gpu_pool(name)
    session.answer(removed, lambda document: [Line(f"Removed the pool {document['removed']}.")])


@pool.command("assign")
@click.argument("gpu")
@click.argument("name")
@pass_session
def assign(session: Session, gpu: str, name: str) -> None:
    """Put a GPU into a pool; '' is the default pool. The slices of a card go with it, and jobs that run are left alone."""
    with session.open_runner() as runner:
        changed = runner.assign_gpu(gpu, name)
    session.answer(changed, changed_blocks)


# ---------------------------------------------------------------------------------------------------------------- in words


def list_blocks(gpus: list[Card]) -> list[Block]:
    """One line per device; pools and health only where there is something to say."""
    if not gpus:
        return [Line("No GPUs on this machine; jobs run on the CPU.")]
    columns = ["index", "name", "memory", "used", "busy", "temperature", "state", "holder", "uuid"]
    pools, ill = any(card["pool"] for card in gpus), any(_health(card) for card in gpus)
    columns[-1:-1] = [*(["pool"] if pools else []), *(["health"] if ill else [])]
    rows = [[_cells(card)[column] for column in columns] for card in gpus]
    return [Table(columns, rows, numbers("index", "memory", "used", "busy", "temperature"))]


def _cells(card: Card) -> dict[str, Any]:
    busy, temperature = card["utilization_fraction"], card["temperature_c"]
    return {
        "index": card["index"] if card["index"] >= 0 else "",
        "name": f"{card['name']} {card['profile']}".strip(),
        "memory": size_text(card["total_bytes"]),
        "used": size_text(card["used_bytes"]),
        "busy": "" if busy is None else f"{busy * 100:.0f} %",
        "temperature": "" if temperature is None else f"{temperature} °C",
        "state": f"{card['state']}: {card['reason']}" if card["reason"] else card["state"],
        "holder": card["holder"],
        "pool": card["pool"] or _DEFAULT,
        "health": _health(card),
        "uuid": card["uuid"],
    }


def _health(card: Card) -> str:
    """What its state does not say already. That Xid errors cannot be seen is no illness."""
    if card["health"] in ("ok", "unmonitored"):
        return ""
    told = [reason for reason in card["health_reasons"] if reason != card["reason"]]
    return f"{card['health']}: {'; '.join(told)}" if told else str(card["health"])


def event_blocks(events: list[Mapping[str, Any]]) -> list[Block]:
    """One line per event."""
    if not events:
        return [Line("Nothing has happened to the GPUs of this machine.")]
    rows = [(time_text(event["time"]), event["uuid"], event["kind"], event["job"], event_text(event)) for event in events]
    return [Table(("time", "gpu", "event", "job", "what"), rows)]


def event_text(event: Mapping[str, Any]) -> str:
    """An event in words."""
    detail: Mapping[str, Any] = event["detail"]
    if event["kind"] == "state":
        change = f"{detail['from']} → {detail['to']}" if detail["from"] else detail["to"]
        return f"{change}: {detail['reason']}" if detail["reason"] else change
    if event["kind"] == "xid":
        return f"Xid {detail['xid']}{': ' if detail['meaning'] else ''}{detail['meaning']} (effect: {detail['effect']})"
    if event["kind"] == "assigned":
        return f"pool {detail['pool'] or _DEFAULT}"
    return str(detail.get("text") or detail.get("reason") or ", ".join(f"{name} {value}" for name, value in detail.items()))


def changed_blocks(changed: Mapping[str, Any]) -> list[Block]:
    """A GPU or a pool after a change."""
    if changed.get("forgotten"):
        return [Line(f"Forgot the missing GPU {changed['uuid']}.")]
    return list_blocks([changed]) if "uuid" in changed else pool_blocks([changed])


def pool_blocks(pools: list[Mapping[str, Any]]) -> list[Block]:
    """One line per pool."""
    if not pools:
        return [Line("No pools: every job may use every GPU.")]
    columns = ("pool", "purpose", "GPUs", "slots", "per user", "per project", "for", "state")
    return [Table(columns, [_pool_row(pool) for pool in pools], numbers("slots", "per user", "per project"))]


def _pool_row(pool: Mapping[str, Any]) -> tuple[Any, ...]:
    allowed = "; ".join(f"{word} {', '.join(pool[word])}" for word in ("users", "projects", "kinds") if pool[word])
    return (
        pool["name"],
        pool["purpose"],
        "\n".join(pool["gpus"]),
        pool["slots"],
        pool["max_gpus_per_user"],
        pool["max_gpus_per_project"],
        allowed or "everybody",
        "drained" if pool["drained"] else "",
    )
