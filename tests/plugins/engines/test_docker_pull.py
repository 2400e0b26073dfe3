"""What a pull says of itself, from what engines of both kinds of store say: recordings in the folder ``pulls``.

``classic-20.10`` was taken from an engine; the other two follow the sources of engines with containerd's store, totals that shrink included.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from plugins.engines.docker_images import error_of
from plugins.engines.docker_pull import progress_of, split_reference

RECORDINGS = sorted((Path(__file__).parent / "pulls").glob("*.jsonl"))


def events_of(recording: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in recording.read_text().splitlines()]


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_bytes_and_total_never_fall_and_the_end_is_the_whole(recording: Path) -> None:
    told = list(progress_of(events_of(recording)))
    for before, after in pairwise(told):
        assert before.current_bytes <= after.current_bytes <= after.total_bytes >= before.total_bytes
    assert told[-1].current_bytes == told[-1].total_bytes > 1_000_000


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_each_word_is_one_line_for_people(recording: Path) -> None:
    lines = [progress.message for progress in progress_of(events_of(recording))]
    assert lines[0].startswith("Pulling from")
    assert "fetched 1 of" in " ".join(lines)
    assert " unpacked " in lines[-1]
    assert not [line for line in lines if not line or "\n" in line]


def test_seconds_of_unpacking_are_no_bytes_but_show_that_something_happens() -> None:
    told = list(progress_of(events_of(RECORDINGS[1])))
    assert "at 3 s" in told[-2].message
    assert told[-2].current_bytes == told[-1].current_bytes == 52428800 + 4194304


def test_a_layer_that_is_fetched_again_after_a_broken_connection_does_not_count_backwards() -> None:
    layer = {"id": "aaaaaaaaaaaa", "status": "Downloading"}
    begin, again = ({**layer, "progressDetail": {"current": current, "total": 100}} for current in (80, 10))
    events = [begin, {**layer, "status": "Retrying in 5 seconds"}, again]
    assert [progress.current_bytes for progress in progress_of(events)] == [80, 80, 80]


def test_what_nobody_has_heard_of_is_passed_over() -> None:
    strange = [{}, {"aux": {"ID": "x"}}, {"status": "Fnording", "id": "x", "progressDetail": {"current": 7}}, {"id": "x"}]
    assert all(progress.current_bytes == 0 for progress in progress_of(strange))


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"error": "denied", "errorDetail": {"message": "denied"}}, "denied"),
        ({"errorDetail": {"message": "no space left on device"}}, "no space left on device"),
        ({"status": "Pull complete", "errorDetail": None}, ""),
    ],
)
def test_a_failure_is_seen_in_old_and_new_engines(event: dict[str, Any], words: str) -> None:
    assert error_of(event) == words


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("busybox", ("busybox", "latest")),
        ("team/detector:1.4", ("team/detector", "1.4")),
        ("localhost:5000/detector", ("localhost:5000/detector", "latest")),
        ("localhost:5000/team/detector:1.4", ("localhost:5000/team/detector", "1.4")),
        ("team/detector@sha256:0a", ("team/detector", "sha256:0a")),
        ("team/detector:1.4@sha256:0a", ("team/detector:1.4", "sha256:0a")),
    ],
)
def test_one_image_is_asked_for_and_never_every_tag(reference: str, parts: tuple[str, str]) -> None:
    assert split_reference(reference) == parts
