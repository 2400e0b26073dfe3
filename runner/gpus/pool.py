"""The GPUs of one host: who may have which, and the leases that say so."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Hashable, Iterable
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

from contracts.image import Kind
from contracts.job import GpuWish
from contracts.seams import GpuSource
from registry.database import Database
from runner.gpus import wishes
from runner.gpus.books import IDLE_BYTES, Books
from runner.gpus.claims import Claims
from runner.gpus.findings import Finding, GpuLost, LeaseHolder, Orphan, Violated
from runner.gpus.host import PROC, boot_id
from runner.gpus.leasing import Leasing, Request
from runner.gpus.lock import DEFAULT_FILE
from runner.gpus.offers import offer_of
from runner.gpus.operators import Operators
from runner.gpus.reading import Reader
from runner.gpus.rounds import Rounds
from runner.gpus.wishes import ANY, Asker
from runner.gpus.xid import XidPolicy
from runner.queue.terms import Offer

__all__ = ["GpuLost", "GpuPool", "LeaseHolder", "Orphan", "Violated"]


class GpuPool:
    """Safe to share between threads; several processes may each have one over the same database.

    ``claims`` is what the engines' ``gpu_claims`` tell. ``lock_file`` is one for all installations on the host. ``xid_policy`` is a file of the
    site's that overrides what single Xid errors do. ``boot``, ``proc`` and ``clock`` (Unix seconds) are the system's.
    """

    def __init__(
        self,
        *,
        source: GpuSource,
        claims: Callable[[], Claims],
        database: Database,
        host: str,
        idle_bytes: int = IDLE_BYTES,
        lock_file: Path = DEFAULT_FILE,
        xid_policy: Path | None = None,
        boot: Callable[[], str] = boot_id,
        proc: Path = PROC,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._reader = Reader(source, claims, database, host, idle_bytes, proc)
        self._leasing = Leasing(self._reader, boot, lock_file, clock)
        self._rounds = Rounds(self._reader, lambda: self._xid_policy, clock)
        self._operators = Operators(self._reader)
        self._policy_file = xid_policy
        self._looking = threading.Lock()

    @cached_property
    def _xid_policy(self) -> XidPolicy:
        return XidPolicy.load(self._policy_file)

    # ---------------------------------------------------------------------------------------------------------------- look

    def list_gpus(self) -> list[dict[str, Any]]:
        """Every device and who holds it, also when the engine is away. Raises ``GpuSourceError``."""
        return [card.view() for card in self._reader.read(engine_needed=False).cards]

    def read(self) -> Books:
        """The books of this moment, for several offers. What ended jobs left is given back on the way, where it is gone.

        Raises ``GpuSourceError``, and ``EngineError`` when there are GPUs and the engine does not answer.
        """
        return self._leasing.read()

    def total(self, wish: GpuWish = ANY) -> int:
        """How many devices of the host could ever meet the wish, whoever holds them. Raises ``GpuSourceError``."""
        return len(wishes.suitable(self._reader.read_cards(), wish))

    def refuse_impossible(
        self, wish: GpuWish, count: int, *, user: str | None = None, project: str | None = None, kind: Kind | None = None
    ) -> None:
        """Raises ``NoGpuError`` naming the limit when this host can never give ``count`` such devices, ``GpuSourceError``."""
        if count:
            wishes.refuse_impossible(self._reader.read_cards(), wish, count, Asker(user, project, kind))

    def offer(self, wish: GpuWish, user: str, project: str, kind: Kind, books: Books | None = None) -> Offer:
        """What the wish is offered: free now, eligible when others have gone, and why the rest is busy. As ``read`` without books."""
        return offer_of(books or self.read(), wish, Asker(user, project, kind))

    def offer_scope(self, user: str, project: str, books: Books) -> Hashable:
        """The same for users and projects that are offered the same by every pool."""
        by_user = any(pool.users or pool.max_gpus_per_user is not None for pool in books.pools.values())
        by_project = any(pool.projects or pool.max_gpus_per_project is not None for pool in books.pools.values())
        return user if by_user else "", project if by_project else ""

    # -------------------------------------------------------------------------------------------------------------- leases

    def lease(
        self,
        job_id: str,
        attempt: int,
        count: int,
        wish: GpuWish = ANY,
        *,
        user: str | None = None,
        project: str | None = None,
        kind: Kind | None = None,
        books: Books | None = None,
        among: Collection[str] | None = None,
    ) -> tuple[str, ...]:
        """The uuids of ``count`` devices, held until ``release``. Repeating it for an attempt gives the devices it has.

        ``among``: only of these. ``books`` of the same tick save a reading. Raises ``NoGpuError`` naming who holds which card, ``EngineError``
        and ``GpuSourceError`` when a book cannot be read: then nothing new is leased. Whoever calls it may simply come back later.
        """
        if count == 0:
            return ()
        chosen_from = None if among is None else frozenset(among)
        return self._leasing.lease(Request(job_id, attempt, count, wish, Asker(user, project, kind), chosen_from), books)

    def confirm_start(self, job_id: str, attempt: int, container_id: str | None = None) -> AbstractContextManager[None]:
        """Start the container inside the block: nobody else on the host starts one on GPUs meanwhile, and the cards were looked at just before.

        Raises ``NoGpuError`` when somebody else is on them; the lease stays, to be released. After the block the lease is active.
        ``container_id`` is the job's own where it is not given.
        """
        return self._leasing.confirm_start(job_id, attempt, container_id)

    def adopt(self, job_id: str, attempt: int, container_id: str = "", wish: GpuWish = ANY) -> tuple[str, ...]:
        """Lease again what the attempt's running container was given while it has no lease, as after a restore of the database; () for nothing.

        Whether the container is this installation's is the caller's to know. Raises ``NoGpuError`` when another job has a lease on its cards,
        ``EngineError`` and ``GpuSourceError``.
        """
        lease = self._leasing.adopt(job_id, attempt, container_id, wish)
        return lease.uuids if lease else ()

    def release(self, job_id: str, attempt: int, *, note: str = "") -> bool:
        """Give the attempt's cards back, when the end of its container was seen; may be repeated.

        False while its processes or memory are still on a card, or that cannot be seen: ``settle`` comes back to it.
        """
        return self._leasing.release(job_id, attempt, note)

    def settle(self) -> list[str]:
        """Gives back what ended jobs had left and is now gone; what stays for a minute is stuck. The ids of jobs whose lease ended."""
        return self._leasing.settle()

    def reclaim(self, is_alive: Callable[[str, int], bool]) -> list[str]:
        """Releases what a runner that was killed between a job's end and its release left, and every lease of an earlier boot.

        ``is_alive`` says of job id and attempt whether it may still need its cards. A lease whose container runs stays. The ids of jobs whose
        lease ended. Raises ``EngineError``: that the engine is silent does not mean that the containers are gone.
        """
        return self._leasing.reclaim(is_alive)

    def reconcile(self, holders: Iterable[LeaseHolder]) -> list[Finding]:
        """One look at all cards, every ten seconds or so: keeps their record and events, taints and heals, and tells what concerns jobs.

        ``holders`` are the attempts that have leases. Raises ``GpuSourceError``; that the engine is away does not matter.
        """
        with self._looking:
            return self._rounds.look(holders)

    # ----------------------------------------------------------------------------------------------------------- operators

    def list_events(self, uuid: str | None = None, *, limit: int = 50) -> list[dict[str, Any]]:
        """What happened to one device or to any, newest first."""
        return self._operators.list_events(uuid, limit)

    def list_pools(self) -> list[dict[str, Any]]:
        return self._operators.list_pools()

    def put_pool(self, name: str, **values: Any) -> dict[str, Any]:
        """Make a pool or change what is given of it: purpose, slots, max_gpus_per_user, max_gpus_per_project, users, projects, kinds, drained.

        Raises ``RequestError``.
        """
        return self._operators.put_pool(name, **values)

    def remove_pool(self, name: str) -> dict[str, Any]:
        """Raises ``NotFoundError``, and ``ConflictError`` while devices are in it."""
        return self._operators.remove_pool(name)

    def assign(self, uuid: str, pool: str) -> dict[str, Any]:
        """Put a device into a pool, '' for the default one; the slices of a card go with it."""
        return self._view(self._operators.assign(uuid, pool))

    def drain(self, target: str) -> dict[str, Any]:
        """No new jobs on a device, or on any of a pool."""
        return self._drain(target, on=True)

    def undrain(self, target: str) -> dict[str, Any]:
        return self._drain(target, on=False)

    def clear(self, uuid: str) -> dict[str, Any]:
        """Take an operator's word that a device is healthy; one that is missing is forgotten."""
        cleared, there = self._operators.clear(uuid)
        return self._view(cleared) if there else {"uuid": cleared, "forgotten": True}

    def _drain(self, target: str, *, on: bool) -> dict[str, Any]:
        if self._operators.find_pool(target):
            return self._operators.put_pool(target, drained=on)
        return self._view(self._operators.drain(target, on=on))

    def _view(self, uuid: str) -> dict[str, Any]:
        """As ``list_gpus`` has it."""
        return next(card for card in self.list_gpus() if card["uuid"] == uuid)
