"""Reads the books of a host: cards, then containers, then leases."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from contracts.errors import EngineError
from contracts.gpu import Snapshot
from contracts.job import container_name
from contracts.seams import GpuSource
from registry import gpus, leases
from registry.database import Database
from registry.leases import LeaseRecord
from runner.gpus.books import IDLE_BYTES, Books
from runner.gpus.claims import Claims, names_in
from runner.gpus.host import PROC, containers_of, is_container_id

#: Longer than the seam's default: without persistence mode the driver takes up to 3 s to open each card.
READ_TIMEOUT_S = 20.0
_OURS = re.compile(r"sluice-(?P<job>.+)-(?P<attempt>\d{1,9})")


@dataclass(frozen=True)
class Reader:
    """``claims`` is the engine's ``gpu_claims``."""

    source: GpuSource
    claims: Callable[[], Claims]
    database: Database
    host: str
    idle_bytes: int = IDLE_BYTES
    proc: Path = PROC

    def read(self, *, engine_needed: bool = True) -> Books:
        """Everything. Raises ``GpuSourceError``, and ``EngineError`` when the engine is needed and does not answer."""
        read_at = time.time()
        snapshot = self.source.snapshot(READ_TIMEOUT_S)
        if not snapshot.gpus and not self._leases():
            return self._composed(snapshot, {}, "", read_at)  # a host without GPUs needs no engine to say so
        try:
            claims, silent = self.claims(), ""
        except EngineError as error:
            if engine_needed:
                raise
            claims, silent = {}, error.message
        return self._composed(snapshot, claims, silent, read_at)

    def read_cards(self) -> Books:
        """Without asking the engine: what cards there are, not who has them. Raises ``GpuSourceError``."""
        read_at = time.time()
        return self._composed(self.source.snapshot(READ_TIMEOUT_S), {}, "", read_at)

    def again(self, books: Books) -> Books:
        """The same reading of the other books with what is on record now."""
        return self._composed(books.snapshot, books.claims, books.engine_error, books.read_at)

    def _composed(self, snapshot: Snapshot, claims: Claims, engine_error: str, read_at: float) -> Books:
        with self.database.reading() as session:
            return self.compose(session, snapshot, claims, engine_error, read_at)

    def compose(self, session: Session, snapshot: Snapshot, claims: Claims, engine_error: str = "", read_at: float | None = None) -> Books:
        """What is on record now, beside a reading of the other two books at ``read_at``."""
        held = leases.list_open(session, self.host)
        unleased, own = self._unleased(session, claims, held)
        return Books(
            host=self.host,
            snapshot=snapshot,
            claims=claims,
            leases=tuple(held),
            devices={device.uuid: device for device in gpus.list_devices(session, self.host)},
            pools={pool.name: pool for pool in gpus.list_pools(session)},
            owners=leases.owners(session, (lease.job_id for lease in held)),
            own=own | {lease.container_id: (lease.job_id, lease.attempt) for lease in held if lease.container_id},
            unleased=unleased,
            engine_error=engine_error,
            runner_containers=containers_of(os.getpid(), self.proc) or (),
            idle_bytes=self.idle_bytes,
            proc=self.proc,
            read_at=time.time() if read_at is None else read_at,
        )

    def _leases(self) -> list[LeaseRecord]:
        with self.database.reading() as session:
            return leases.list_open(session, self.host)

    def _unleased(
        self, session: Session, claims: Claims, held: Iterable[LeaseRecord]
    ) -> tuple[dict[str, tuple[str, int]], dict[str, tuple[str, int]]]:
        """Running containers of jobs on record that have cards and no lease: by name, and as far as it is known by id."""
        leased = {container_name(lease.job_id, lease.attempt) for lease in held}
        named = {name: found for name in names_in(claims) - leased if (found := _attempt_of(name))}
        known = leases.containers(session, (job_id for job_id, _ in named.values()))
        by_name = {name: found for name, found in named.items() if found[0] in known}
        by_id = {known[job_id][1]: (job_id, attempt) for job_id, attempt in by_name.values() if known[job_id][0] == attempt}
        return by_name, {container_id: found for container_id, found in by_id.items() if is_container_id(container_id)}


def _attempt_of(name: str) -> tuple[str, int] | None:
    """Job and attempt of a container with a name as ours have it; another installation's has it too."""
    match = _OURS.fullmatch(name)
    return (match["job"], int(match["attempt"])) if match else None
