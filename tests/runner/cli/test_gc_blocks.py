"""gc in words: what goes, how much that is, and what was kept."""

from __future__ import annotations

import io
from typing import Any

from runner.cli.blocks import print_blocks
from runner.cli.gc import freed_blocks

RUN = {
    "what": "runs",
    "path": "/home/runs/t1",
    "bytes": 2 * 1024**3,
    "why": "the job ended on 2026-01-02: in/, out/ go, its log and job.json stay",
}
IMAGE = {"what": "images", "reference": "det:1", "bytes": 1024**3, "why": "no registered image needs it"}
KEPT = {"what": "assets", "path": "/home/assets", "why": "an import adds assets at this moment"}


def printed(dry_run: bool, items: list[dict[str, Any]], kept: list[dict[str, Any]]) -> list[str]:
    stream = io.StringIO()
    freed = {"dry_run": dry_run, "items": items, "freed_bytes": sum(item["bytes"] for item in items), "kept": kept}
    print_blocks(freed_blocks(freed), stream)
    return stream.getvalue().splitlines()


def test_every_thing_is_named_with_size_place_and_reason_and_then_the_sum() -> None:
    lines = printed(True, [RUN, IMAGE], [])
    assert lines[1].split(maxsplit=4) == ["runs", "2.0", "GiB", "/home/runs/t1", RUN["why"]]
    assert lines[2].split(maxsplit=4) == ["images", "1.0", "GiB", "det:1", IMAGE["why"]]
    assert lines[-1] == "3.0 GiB would be freed; nothing was changed."


def test_after_the_deed_it_says_that_it_was_done() -> None:
    assert printed(False, [IMAGE], [])[-1] == "1.0 GiB freed."


def test_what_was_kept_stands_apart_with_its_reason() -> None:
    assert printed(False, [], [KEPT]) == [
        "kept, though nothing seems to need it",
        "  what    where         why",
        "  assets  /home/assets  an import adds assets at this moment",
        "",
        "Nothing to free.",
    ]
