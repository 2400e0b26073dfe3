"""Any course of events: jobs, kills of the runner, foreign processes and containers, lost cards, reboots, a silent engine.

``Courses`` keeps what is true in the world; the pool sees it only through the three books. Between any two events, and after each look, the
promises at the end hold.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select

from contracts.errors import EngineGoneError, NoGpuError
from registry import leases
from registry.database import Database
from registry.leases import LeaseRecord
from registry.tables import GpuSlotRow
from runner.gpus import GpuLost, LeaseHolder
from tests.runner.gpus.world import container_of

if TYPE_CHECKING:
    from tests.runner.gpus.world import Host

CARDS = 4
GIB = 1024**3
BY_CARD = st.integers(0, CARDS - 1)


@dataclass
class Job:
    """``phase``: leased, running, ended, killed (ended, and its runner died before it could say so), or rebooted, of which nobody knows yet.

    ``left`` is what stays on its first card though it has ended.
    """

    uuids: tuple[str, ...]
    pid: int
    phase: str = "leased"
    left: str = ""

    @property
    def is_alive(self) -> bool:
        return self.phase in ("leased", "running")


@dataclass
class World:
    """What is true."""

    foreign: set[str] = field(default_factory=set)
    claimed: set[str] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)
    ever_lost: set[str] = field(default_factory=set)
    drained: set[str] = field(default_factory=set)


class Courses(RuleBasedStateMachine):
    database: Database  # one for all courses: each has a host of its own
    host_class: type[Host]
    folder: Path
    numbers = itertools.count(1)

    @initialize()
    def begin(self) -> None:
        self.host = self.host_class(self.database, self.folder, CARDS)
        self.world, self.jobs = World(), dict[str, Job]()

    # ------------------------------------------------------------------------------------------------------------- jobs

    @rule(count=st.sampled_from([1, 1, 2, 3, CARDS]), at_once=st.booleans())
    def lease(self, count: int, at_once: bool) -> None:
        number = next(self.numbers)
        self.host.pool.settle()  # as leasing does, so that what is free is known before
        job_id, free = f"t{number:07d}", self._free()
        self.host.add_job(job_id)
        try:
            uuids = self.host.pool.lease(job_id, 1, count)
        except NoGpuError:
            assert len(free) < count
        except EngineGoneError:
            assert self.host.engine_away
        else:
            assert set(uuids) <= free
            assert len(uuids) == count
            self.jobs[job_id] = Job(uuids, 1000 + number)
            if at_once:
                self._start(job_id, self.jobs[job_id])

    @precondition(lambda self: self._any("leased"))
    @rule(data=st.data(), first=st.sampled_from(["", "", "foreign", "claimed", "lost"]))
    def start(self, data: Any, first: str) -> None:
        """At once, or after somebody came to the job's card."""
        job_id, job = self._pick(data, "leased")
        if first:
            self.disturb(int(job.uuids[0][-1]), first)
        self._start(job_id, job)

    def _start(self, job_id: str, job: Job) -> None:
        in_the_way = self._in_the_way(job)
        try:
            with self.host.pool.confirm_start(job_id, 1, container_of(job_id)):
                assert not in_the_way
                job.phase = "running"
                self._show()
        except NoGpuError:
            assert in_the_way
            job.phase = "ended"
        except EngineGoneError:
            assert self.host.engine_away

    @precondition(lambda self: self._any("leased", "running"))
    @rule(
        data=st.data(), how=st.sampled_from(["released", "ended", "killed"]), left=st.sampled_from(["", "process", "memory", "container"])
    )
    def end(self, data: Any, how: str, left: str) -> None:
        """A job ends, cleanly or with its runner; one that ran may leave something on its card."""
        job_id, job = self._pick(data, "leased", "running")
        job.left = left if job.phase == "running" else ""
        job.phase = "killed" if how == "killed" else "ended"
        self._show()
        if how == "released":
            self._release(job_id, job)

    @precondition(lambda self: self._any("ended"))
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        self._release(*self._pick(data, "ended"))

    def _release(self, job_id: str, job: Job) -> None:
        gone = self.host.pool.release(job_id, 1)
        assert gone == (not job.left) or self.host.engine_away or job.uuids[0] in self.world.lost | self.world.foreign

    @precondition(lambda self: self._any("running") and not self.host.engine_away)
    @rule(data=st.data())
    def restore(self, data: Any) -> None:
        """The database forgets the lease of a job that runs: its cards are nobody else's meanwhile, and it gets them again."""
        job_id, job = self._pick(data, "running")
        self.host.forget_lease(job_id)
        assert self._free().isdisjoint(job.uuids)
        assert set(self.host.pool.adopt(job_id, 1, container_of(job_id))) == set(job.uuids)
        job.uuids = self._open_leases()[job_id].uuids

    @precondition(lambda self: any(job.left for job in self.jobs.values()))
    @rule()
    def clean(self) -> None:
        """What jobs had left is gone, and somebody looks."""
        for job in self.jobs.values():
            job.left = ""
        self._show()
        self.look()

    # ------------------------------------------------------------------------------------------------- what happens around

    @rule(index=BY_CARD, what=st.sampled_from(["foreign", "claimed", "lost", "drained"]))
    def disturb(self, index: int, what: str) -> None:
        """Somebody comes to a card, or goes again."""
        uuid = f"GPU-{index}"
        if what == "drained":
            self.host.pool.undrain(uuid) if uuid in self.world.drained else self.host.pool.drain(uuid)
        getattr(self.world, what).symmetric_difference_update({uuid})
        self.world.ever_lost |= self.world.lost
        self._show()

    @rule(what=st.sampled_from(["silence", "answer", "answer", "wait", "restart", "reboot"]))
    def pass_by(self, what: str) -> None:
        """The engine goes or comes back, a minute goes by, the runner is another one, or the host is started anew."""
        if what in ("silence", "answer"):
            self.host.engine_away = what == "silence"
        elif what == "wait":
            self.host.later_s += 70
        elif what == "restart":
            self.host.pool = self.host.new_pool()
        else:
            self._reboot()

    def _reboot(self) -> None:
        self.host.boot = f"boot {next(self.numbers)}"
        for job in self.jobs.values():
            job.phase, job.left = ("rebooted" if job.is_alive else job.phase), ""
        self.world.foreign.clear()
        self.world.claimed.clear()
        self._show()
        self.look()

    # ------------------------------------------------------------------------------------------------------------- the look

    @rule()
    def look(self) -> None:
        """What the service does every few seconds. Where it sees everything, no lease is left without a cause."""
        pool = self.host.pool
        running = [LeaseHolder(job_id, 1) for job_id, job in self.jobs.items() if job.is_alive]
        found = pool.reconcile(running)
        assert {f.job_id for f in found if isinstance(f, GpuLost)} == self._on_lost_cards()
        try:
            pool.reclaim(lambda job_id, attempt: self.jobs[job_id].is_alive or self.jobs[job_id].phase == "rebooted")
        except EngineGoneError:
            assert self.host.engine_away
        pool.settle()
        if not self.host.engine_away:
            assert {job_id for job_id in self._open_leases() if not self._has_cause(self.jobs[job_id])} == set()

    # ---------------------------------------------------------------------------------------------------------- the promises

    @invariant()
    def the_promises_hold(self) -> None:
        held, free = self._open_leases(), self._free()
        self._each_slot_has_one_lease()
        self._who_lives_has_its_cards(held)
        self._what_is_left_is_leased(held)
        self._free_is_what_nobody_uses(held, free)

    def _each_slot_has_one_lease(self) -> None:
        with self.database.reading() as session:
            slots = session.execute(select(GpuSlotRow.uuid, GpuSlotRow.lease_id).where(GpuSlotRow.host == self.host.name)).all()
            held = leases.list_open(session, self.host.name)
        taken = sorted((uuid, lease_id) for uuid, lease_id in slots if lease_id)
        assert taken == sorted((uuid, lease.id) for lease in held for uuid in lease.uuids)

    def _who_lives_has_its_cards(self, held: dict[str, LeaseRecord]) -> None:
        assert {job_id for job_id, job in self.jobs.items() if job.is_alive} <= held.keys()
        assert all(held[job_id].uuids == job.uuids for job_id, job in self.jobs.items() if job_id in held)

    def _what_is_left_is_leased(self, held: dict[str, LeaseRecord]) -> None:
        """So that its card is not called somebody else's. Memory alone cannot be told from that of a stranger who is there too."""
        telling = {job_id: job for job_id, job in self.jobs.items() if job.left in ("process", "container")}
        assert {job_id for job_id, job in telling.items() if job.uuids[0] not in self.world.ever_lost} <= held.keys()

    def _free_is_what_nobody_uses(self, held: dict[str, LeaseRecord], free: set[str]) -> None:
        used = self._in_use()
        assert set() == free & used
        leased = {uuid for lease in held.values() for uuid in lease.uuids}
        idle = {f"GPU-{index}" for index in range(CARDS)} - leased - used - self.world.ever_lost
        assert self.host.engine_away or idle <= free

    # -------------------------------------------------------------------------------------------------------------- helpers

    def _any(self, *phases: str) -> bool:
        return any(job.phase in phases for job in self.jobs.values())

    def _pick(self, data: Any, *phases: str) -> tuple[str, Job]:
        job_id = data.draw(st.sampled_from(sorted(job_id for job_id, job in self.jobs.items() if job.phase in phases)))
        return job_id, self.jobs[job_id]

    def _free(self) -> set[str]:
        return {card["uuid"] for card in self.host.pool.list_gpus() if card["state"] == "free"}

    def _in_use(self) -> set[str]:
        """By the world, not by the books."""
        used = {uuid for job in self.jobs.values() if job.is_alive for uuid in job.uuids}
        left = {uuid for job in self.jobs.values() if job.left for uuid in (job.uuids if job.left == "container" else job.uuids[:1])}
        return used | left | self.world.foreign | self.world.claimed | self.world.lost | self.world.drained

    def _in_the_way(self, job: Job) -> bool:
        unfit = {card["uuid"] for card in self.host.pool.list_gpus() if card["health"] in ("lost", "quarantined")}
        return bool(set(job.uuids) & (self.world.foreign | self.world.claimed | self.world.lost | unfit))

    def _on_lost_cards(self) -> set[str]:
        return {job_id for job_id, job in self.jobs.items() if job.is_alive and set(job.uuids) & self.world.lost}

    def _has_cause(self, job: Job) -> bool:
        return job.is_alive or bool(job.left)

    def _open_leases(self) -> dict[str, LeaseRecord]:
        with self.database.reading() as session:
            return {lease.job_id: lease for lease in leases.list_open(session, self.host.name)}

    def _show(self) -> None:
        """Writes the world into the books."""
        host, world = self.host, self.world
        running = {job_id: job for job_id, job in self.jobs.items() if job.phase == "running" or job.left == "container"}
        host.claims = {}
        for job_id, job in running.items():
            host.give(f"sluice-{job_id}-1", *job.uuids)
        host.give("web", *(str(int(uuid[-1])) for uuid in world.claimed))  # by index, as --gpus device=0 gives it
        for index in range(CARDS):
            uuid = f"GPU-{index}"
            error = {"error": "GPU is lost", "error_code": "lost"} if uuid in world.lost else {}
            host.set_card(index, **(error or self._card(uuid)))

    def _card(self, uuid: str) -> dict[str, Any]:
        shown, used = [], 0
        for job_id, job in self.jobs.items():
            if uuid == job.uuids[0] and (job.phase == "running" or job.left):
                used += 2 * GIB
                if job.left != "memory":
                    shown.append(self.host.run(job.pid, container_of(job_id)))
        if uuid in self.world.foreign:
            shown.append(self.host.run(7))
        return {"processes": shown, "used_bytes": used + 2 * GIB * (uuid in self.world.foreign)}


def test_no_course_of_events_gives_a_card_two_holders_or_leaves_one_without_a_cause(host: Host, database: Database, tmp_path: Path) -> None:
    """L0 of the reference: with kills of the runner at every step."""
    names = {"database": database, "host_class": type(host), "folder": tmp_path}
    case = type("Course", (Courses,), names).TestCase
    case.settings = settings(max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    case("runTest").runTest()
