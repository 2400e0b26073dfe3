"""GPUs, their events and pools in words."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest

from contracts.gpu import Gpu
from runner.cli.blocks import Block, print_blocks
from runner.cli.gpu import changed_blocks, event_blocks, event_text, list_blocks, pool_blocks
from runner.gpus import Card, CardState

GIB = 1024**3


def printed(blocks: list[Block]) -> str:
    stream = io.StringIO()
    print_blocks(blocks, stream)
    return stream.getvalue()


def a_card(number: int = 0, **values: Any) -> dict[str, Any]:
    """As a Runner shows it."""
    gpu = Gpu(f"GPU-{number}", number, "H200", 141 * GIB, utilization_fraction=0.5, temperature_c=41)
    return {**Card(gpu, CardState.FREE).view(), **values}


def a_pool(**values: Any) -> dict[str, Any]:
    plain = {"name": "labs", "purpose": "", "slots": 1, "max_gpus_per_user": None, "max_gpus_per_project": None}
    return {**plain, "users": [], "projects": [], "kinds": [], "drained": False, "gpus": [], **values}


def an_event(kind: str, **detail: Any) -> dict[str, Any]:
    return {"time": "2026-11-21T06:00:00+00:00", "uuid": "GPU-0", "kind": kind, "job": None, "detail": detail}


def test_the_list_names_who_holds_each_card_and_why_it_is_not_free() -> None:
    lines = printed(
        list_blocks(
            [
                a_card(state="leased", holder="t4k2m9xq", job="t4k2m9xq"),
                a_card(1, state="foreign", holder="pid 4711 python", reason="a process uses the card without a lease"),
                a_card(2, state="zombie", reason="2.0 GiB are used though no process is on the card"),
            ]
        )
    ).splitlines()
    lines = ["  ".join(re.split(r"\s{2,}", line)) for line in lines]
    assert lines[0].split() == ["index", "name", "memory", "used", "busy", "temperature", "state", "holder", "uuid"]
    assert "leased  t4k2m9xq" in lines[1]
    assert "foreign: a process uses the card without a lease  pid 4711 python" in lines[2]
    assert "zombie: 2.0 GiB are used though no process is on the card" in lines[3]


def test_pools_and_health_are_columns_only_where_they_say_something() -> None:
    plain = printed(list_blocks([a_card(health="unmonitored")]))
    told = printed(list_blocks([a_card(pool="labs"), a_card(1, health="quarantined", health_reasons=["Xid 119", "ECC"], reason="Xid 119")]))
    assert "pool" not in plain
    assert "health" not in plain
    assert "labs" in told
    assert "default" in told
    assert "quarantined: ECC" in told


def test_a_slice_shows_its_profile_and_a_missing_card_no_index() -> None:
    text = printed(list_blocks([a_card(kind="mig", profile="1g.18gb"), a_card(1, index=-1, state="missing", reason="gone")]))
    assert "H200 1g.18gb" in text
    assert text.splitlines()[2].startswith("       H200")


def test_a_host_without_gpus_says_so() -> None:
    assert printed(list_blocks([])) == "No GPUs on this machine; jobs run on the CPU.\n"
    assert printed(event_blocks([])) == "Nothing has happened to the GPUs of this machine.\n"
    assert printed(pool_blocks([])) == "No pools: every job may use every GPU.\n"


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (an_event("state", **{"from": "free", "to": "foreign", "reason": "a process"}), "free → foreign: a process"),
        (an_event("state", **{"from": "", "to": "free", "reason": ""}), "free"),
        (an_event("xid", xid=79, meaning="it fell", effect="lost"), "Xid 79: it fell (effect: lost)"),
        (an_event("xid", xid=25, meaning="", effect="none"), "Xid 25 (effect: none)"),
        (an_event("taint", reason="ecc", text="it grew"), "it grew"),
        (an_event("contended", state="claimed", holder="web", reason="the container web"), "the container web"),
        (an_event("assigned", pool=""), "pool default"),
        (an_event("found", model="H200", index=0), "model H200, index 0"),
        (an_event("drained"), ""),
    ],
)
def test_an_event_in_words(event: dict[str, Any], text: str) -> None:
    assert event_text(event) == text
    assert "GPU-0" in printed(event_blocks([event]))


def test_a_pool_says_for_whom_it_is_and_how_many_each_may_hold() -> None:
    text = printed(pool_blocks([a_pool(users=["ann", "bob"], kinds=["training"], max_gpus_per_user=2, gpus=["GPU-0"], drained=True)]))
    assert "users ann, bob; kinds training" in text
    assert text.splitlines()[1].split()[:4] == ["labs", "GPU-0", "1", "2"]
    assert text.rstrip().endswith("drained")
    assert "everybody" in printed(pool_blocks([a_pool()]))


def test_what_was_changed_is_shown_as_it_is_now() -> None:
    assert printed(changed_blocks(a_card())) == printed(list_blocks([a_card()]))
    assert printed(changed_blocks(a_pool())) == printed(pool_blocks([a_pool()]))
    assert printed(changed_blocks({"uuid": "GPU-0", "forgotten": True})) == "Forgot the missing GPU GPU-0.\n"
