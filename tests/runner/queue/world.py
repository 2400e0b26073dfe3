"""A host for the queue's tests: cards by model, jobs that run on them, jobs that wait."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from runner.queue import Decision, Entry, Host, Offer, Queue, Running, Share, Waiting

NOON = 1_750_000_000.0
_numbers = itertools.count(1)


def entry(job_id: str = "", **given: Any) -> Entry:
    """A job without GPUs that asks for one processor, submitted just before noon and after those that were made before it."""
    number = next(_numbers)
    values: dict[str, Any] = {"job_id": job_id or f"t{number:06}", "user": "ana", "project": "default", "priority": 0}
    values |= {"submitted_at": NOON - 1 + number / 1e6}
    values |= {"gpu_count": 0, "cpu_count": 1.0, "memory_bytes": 0, "wish": "", "kind": "training"}
    return Entry(**(values | given))


def wish(**asked: Any) -> str:
    return json.dumps(asked, sort_keys=True, separators=(",", ":"))


@dataclass
class World:
    """``models`` is each card's model; ``one_model``: a job gets cards of one only. ``closed``: cards that nobody may use and why.
    ``members``: models that only some users may use.
    """

    models: Mapping[str, str] = field(default_factory=dict)
    running: list[Running] = field(default_factory=list)
    shares: dict[tuple[str, str], Share] = field(default_factory=dict)
    closed: dict[str, str] = field(default_factory=dict)
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    host: Host = Host(cpu_count=1000.0, memory_bytes=2**40, job_slots=1000)
    hold_after_s: float = 600.0
    now: float = NOON
    one_model: bool = False

    def __post_init__(self) -> None:
        self.queue = Queue(self.hold_after_s)
        self.asked = 0

    def add(self, *entries: Entry) -> World:
        for one in entries:
            self.queue.add(one)
        return self

    def run(self, job_id: str, *uuids: str, **given: Any) -> World:
        """A job runs on these cards."""
        self.running.append(replace(Running(job_id, "bob", "other", uuids, 1.0, 0), **given))
        return self

    def decide(self, limit: int | None = None) -> Decision:
        return self.queue.decide(self.host, self.running, self, self.shares, self.now, limit)

    def started(self) -> list[str]:
        return [start.job_id for start in self.decide().starts]

    def explain(self, job_id: str) -> Waiting:
        return self.queue.explain(job_id, self.host, self.running, self, self.shares, self.now)

    def order(self, job_ids: Iterable[str]) -> list[str]:
        positions = self.queue.explain_all(job_ids, self.host, self.running, self, self.shares, self.now)
        return sorted(positions, key=lambda job_id: positions[job_id].position)

    def offer(self, asking: Entry) -> Offer:
        self.asked += 1
        model = json.loads(asking.wish).get("model", "") if asking.wish else ""
        mine = [uuid for uuid, of in self.models.items() if model in ("", of) and asking.user in self.members.get(of, (asking.user,))]
        held = {uuid: f"{uuid} held by job {job.job_id}" for job in self.running for uuid in job.gpu_uuids}
        busy = {uuid: text for uuid, text in {**held, **self.closed}.items() if uuid in mine}
        groups = [[uuid for uuid in mine if self.models[uuid] == of] for of in sorted(set(self.models.values()))] if self.one_model else []
        return Offer(tuple(uuid for uuid in mine if uuid not in busy), tuple(mine), busy, groups)


class Pooled(World):
    """A world that says whom it treats alike."""

    def scope(self, user: str, project: str) -> object:
        return tuple(model for model, users in self.members.items() if user in users)


def cards(count: int, model: str = "H200", first: int = 0) -> dict[str, str]:
    return {f"gpu{number}": model for number in range(first, first + count)}
