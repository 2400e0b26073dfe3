"""A host whose three books a test can write: a real registry, the fake source's file, and the containers' claims."""

from __future__ import annotations

import itertools
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import delete

from contracts.errors import EngineGoneError
from contracts.image import Kind
from plugins.gpus.fake import FakeSource
from registry import jobs, leases
from registry.database import Database
from registry.leases import LeaseRecord
from registry.tables import GpuLeaseRow
from runner.gpus import Finding, GpuPool, LeaseHolder

_numbers = itertools.count()
GIB = 1024**3


class Host:
    """The world of one pool. ``cards`` are the fake source's; ``claims`` what containers were given; ``engine_away`` silences the engine.

    ``before_reading`` holds what happens just before a reading of the claims, first in first out: the way to be between two looks. ``later_s``
    is how far the pool's clock is ahead, ``boot`` the boot it sees. Processes are those of a /proc of the host's own.
    """

    def __init__(self, database: Database, folder: Path, count: int = 4) -> None:
        self.name = f"host-{next(_numbers)}"
        self.database = database
        self.folder = folder
        self.cards: list[dict[str, Any]] = [{"uuid": f"GPU-{index}", "pci": f"{index:02}"} for index in range(count)]
        self.world: dict[str, Any] = {}
        self.claims: dict[str, tuple[str, ...]] = {}
        self.engine_away = False
        self.before_reading: list[Callable[[], object]] = []
        self.later_s = 0.0
        self.boot = "boot 1"
        self.source = FakeSource()
        self.write()
        self.pool = self.new_pool()

    def new_pool(self, **values: Any) -> GpuPool:
        """As another process has one."""
        given: dict[str, Any] = {
            "source": self.source,
            "claims": self._read_claims,
            "database": self.database,
            "host": self.name,
            "lock_file": self.folder / "gpu.lock",
            "boot": lambda: self.boot,
            "proc": self.folder / "proc",
            "clock": lambda: time.time() + self.later_s,
        }
        return GpuPool(**(given | values))

    # ---------------------------------------------------------------------------------------------------- what a test writes

    def write(self) -> None:
        file = self.folder / "cards.json"
        aside = file.with_suffix(".aside")
        aside.write_text(json.dumps({"cards": self.cards, "boot_id": self.boot, **self.world}))
        aside.replace(file)
        os.environ["SLUICE_FAKE_GPUS"] = str(file)

    def set_card(self, index: int, **values: Any) -> None:
        """An idle card but for these values."""
        self.cards[index] = {"uuid": f"GPU-{index}", "pci": f"{index:02}", **values}
        self.write()

    def cut(self, index: int, count: int = 7, **values: Any) -> list[str]:
        """Cuts a card into slices; their uuids."""
        uuids = [f"MIG-{index}-{number}" for number in range(count)]
        self.set_card(index, slices=[{"uuid": uuid, "gpu_instance": number, **values} for number, uuid in enumerate(uuids)])
        return uuids

    def happen(self, xid: int, uuid: str = "GPU-0", **values: Any) -> None:
        """The driver reports an Xid."""
        self.source.events()
        self.world["events"] = [*self.world.get("events", []), {"uuid": uuid, "xid": xid, **values}]
        self.write()

    def run(self, pid: int, container: str | None = None, *, started: int = 1) -> dict[str, Any]:
        """A process, in a container or not, as a card lists it. ``started`` in clock ticks since the boot."""
        folder = self.folder / "proc" / str(pid)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "cgroup").write_text(f"0::/docker/{container}\n" if container else "0::/user.slice\n")
        (folder / "stat").write_text(f"{pid} (a (b) c) S {'0 ' * 18}{started} 0\n")
        return {"pid": pid, "used_bytes": GIB, "command": f"python {pid}"}

    def end(self, pid: int) -> None:
        for file in (self.folder / "proc" / str(pid)).iterdir():
            file.unlink()
        (self.folder / "proc" / str(pid)).rmdir()

    def add_job(self, job_id: str, *, container_id: str | None = None, user: str = "ann", project: str = "default") -> None:
        """A job on record, with a container where an id is given."""
        columns = dict.fromkeys(("image_name", "image_reference", "image_digest", "run_dir"), "")
        with self.database.writing() as session:
            jobs.add_job(session, id=job_id, kind=Kind.TRAINING, spec={}, plan={}, engine="docker", user=user, project=project, **columns)
            if container_id:
                jobs.update_job(session, job_id, container_id=container_id)

    def start(self, job_id: str, count: int = 1, *, pid: int | None = None, **wish: Any) -> tuple[str, ...]:
        """A job that runs in a container of its own, with a process on its first card."""
        container = container_of(job_id)
        uuids = self.pool.lease(job_id, 1, count, **wish)
        with self.pool.confirm_start(job_id, 1, container):
            self.give(f"sluice-{job_id}-1", *uuids)
        if pid is not None:
            self.put(uuids[0], self.run(pid, container))
        return uuids

    def forget_lease(self, job_id: str) -> None:
        """As a database has it that was restored from a backup which is older than the lease."""
        with self.database.writing() as session:
            leases.release(session, job_id, 1)
            session.execute(delete(GpuLeaseRow).where(GpuLeaseRow.job_id == job_id))

    def put(self, uuid: str, *processes: dict[str, Any], **values: Any) -> None:
        """Processes on a card, which use memory as they do."""
        index = next(index for index, card in enumerate(self.cards) if card["uuid"] == uuid)
        used = {"used_bytes": sum(process["used_bytes"] or 0 for process in processes)}
        self.set_card(index, processes=list(processes), **{**used, **values})

    def give(self, container: str, *devices: str) -> None:
        """A running container was given these, beside whoever else was; a device by uuid, by index as ``--gpus device=0`` does, or ``*``."""
        self.claims |= {device: (*self.claims.get(device, ()), container) for device in devices}

    def take_back(self, container: str) -> set[str]:
        """The container has ended; what it had been given."""
        given = {device for device, names in self.claims.items() if container in names}
        left = {device: tuple(name for name in names if name != container) for device, names in self.claims.items()}
        self.claims = {device: names for device, names in left.items() if names}
        return given

    def exit(self, job_id: str, pid: int | None = None) -> None:
        """The job's container has ended; its process too, and the memory is free."""
        given = self.take_back(f"sluice-{job_id}-1")
        if pid is not None:
            self.end(pid)
        for uuid in given & {card["uuid"] for card in self.cards}:
            self.put(uuid)

    # ---------------------------------------------------------------------------------------------------- what a test sees

    def states(self) -> list[str]:
        return [card["state"] for card in self.pool.list_gpus()]

    def card(self, uuid: str) -> dict[str, Any]:
        return next(card for card in self.pool.list_gpus() if card["uuid"] == uuid)

    def look(self, *job_ids: str) -> list[Finding]:
        """A round, with these jobs running."""
        return self.pool.reconcile([LeaseHolder(job_id, 1) for job_id in job_ids])

    def lease_of(self, job_id: str) -> LeaseRecord:
        with self.database.reading() as session:
            lease = leases.find_lease(session, job_id, 1)
        assert lease is not None
        return lease

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Oldest first, of these kinds or all."""
        found = reversed(self.pool.list_events(limit=1000))
        return [event for event in found if not kinds or event["kind"] in kinds]

    def _read_claims(self) -> dict[str, tuple[str, ...]]:
        if self.before_reading:
            self.before_reading.pop(0)()
        if self.engine_away:
            raise EngineGoneError("the engine does not answer", hint="Start it.")
        return dict(self.claims)


def container_of(job_id: str) -> str:
    """The id of a job's container: as long as engines make them, another for each job."""
    return job_id.encode().hex().ljust(64, "0")
