"""The life of a lease: reserved, starting, active, releasing, released, or stuck where a job left something on its cards."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from contracts.errors import ConflictError, GpuSourceError, NoGpuError, NotFoundError, StartError, UnavailableError
from contracts.job import GpuWish, container_name
from registry import gpus, leases
from registry.leases import LeaseRecord, LeaseState, Share
from runner.gpus import wishes
from runner.gpus.books import DEFAULT_POOL, Books
from runner.gpus.cards import Card, CardState
from runner.gpus.choice import choose, order
from runner.gpus.claims import names_in
from runner.gpus.lock import host_lock
from runner.gpus.reading import Reader
from runner.gpus.releasing import Verdict, verdict
from runner.gpus.suspects import note_failed_start
from runner.gpus.wishes import Asker

log = logging.getLogger(__name__)
#: Cards are chosen by a reading no older than this.
_FRESH_S = 5.0
_TRIES = 5
#: How often a choice may be lost to somebody who leases at the same moment. Each of them got what it wanted.
_RACES = 50
_LEAVING = (LeaseState.RELEASING, LeaseState.STUCK)
_CAN_START_ON = (CardState.FREE, CardState.DRAINED)


@dataclass(frozen=True)
class Request:
    """How many cards for which attempt, and which will do. ``among``: only of these, for the others are held for somebody."""

    job_id: str
    attempt: int
    count: int
    wish: GpuWish = wishes.ANY
    asker: Asker = Asker()
    among: frozenset[str] | None = None

    def may_have(self, uuid: str) -> bool:
        return self.among is None or uuid in self.among


class Leasing:
    """Safe to share between threads and processes: the slot rows exclude, all else is looked at again. ``clock`` is Unix seconds."""

    def __init__(self, reader: Reader, boot: Callable[[], str], lock_file: Path, clock: Callable[[], float] = time.time) -> None:
        self._reader = reader
        self._database = reader.database
        self._host = reader.host
        self._boot = boot
        self._lock_file = lock_file
        self._clock = clock

    def read(self) -> Books:
        """As ``GpuPool.read``."""
        books = self._reader.read()
        return self._reader.again(books) if self.settle(books) else books

    # ------------------------------------------------------------------------------------------------------------- leasing

    def lease(self, request: Request, books: Books | None = None) -> tuple[str, ...]:
        """As ``GpuPool.lease``."""
        for _ in range(_TRIES):
            lease = self._held(request) or self._take(request, books)
            if lease.state is not LeaseState.RESERVED or self._confirm(lease):
                return lease.uuids
            books = None
        raise NoGpuError(
            f"free GPUs on {self._host} were taken from outside {_TRIES} times in a row", hint="Try again.", asked=request.count
        )

    def _held(self, request: Request) -> LeaseRecord | None:
        lease = self._find(request.job_id, request.attempt)
        if lease is None:
            return None
        if lease.state in _LEAVING:
            raise NoGpuError(
                f"what attempt {lease.attempt} of job {lease.job_id} left on its GPUs is not gone yet", hint="Try again later."
            )
        if len(lease.uuids) != request.count or lease.host != self._host:
            raise ConflictError(
                f"attempt {lease.attempt} of job {lease.job_id} holds {len(lease.uuids)} GPUs on {lease.host}, "
                f"not {request.count} on {self._host}",
                hint="Start a new attempt.",
                held=list(lease.uuids),
            )
        return lease

    def _take(self, request: Request, books: Books | None) -> LeaseRecord:
        """Chosen outside the transaction, for that takes a while with many cards, and looked at again inside."""
        for _ in range(_RACES):
            if books is None or time.time() - books.read_at > _FRESH_S:
                books = self.read()
            running = self.adopt(request.job_id, request.attempt, wish=request.wish, books=books)
            if running:
                return running
            uuids = _chosen(books, request)
            with self._database.writing() as session:
                if request.wish.pool:
                    gpus.get_pool(session, request.wish.pool, lock=True)
                books = self._reader.compose(session, books.snapshot, books.claims, read_at=books.read_at)
                if _are_free(books, uuids, request):
                    return self._take_chosen(session, books, request, uuids)
        raise NoGpuError(f"others were faster {_RACES} times in a row on {self._host}", hint="Try again.", asked=request.count)

    def _take_chosen(self, session: Session, books: Books, request: Request, uuids: Sequence[str]) -> LeaseRecord:
        share, declared = None, request.wish.shared_bytes
        if declared:
            slots = {uuid: books.pool_of(uuid).slots for uuid in uuids}
            share = Share(declared, slots, {uuid: wishes.room_bytes(books.card(uuid)) for uuid in uuids})
        return leases.take(session, self._host, request.job_id, request.attempt, uuids, boot_id=self._boot(), share=share)

    def adopt(
        self, job_id: str, attempt: int, container_id: str = "", wish: GpuWish = wishes.ANY, books: Books | None = None
    ) -> LeaseRecord | None:
        """As ``GpuPool.adopt``, by these books where they are given; the lease that there is now."""
        books, name = books or self._reader.read(), container_name(job_id, attempt)
        uuids = books.given_to(name) if name in books.unleased else ()
        if not uuids:
            return None
        with self._database.writing() as session:
            leases.take(session, self._host, job_id, attempt, uuids, boot_id=self._boot(), share=_present_share(books, uuids, wish))
            for uuid in uuids:
                gpus.add_event(session, self._host, uuid, "adopted", job_id=job_id, detail={"container": name})
            lease = leases.mark(
                session, job_id, attempt, LeaseState.ACTIVE, container_id=container_id, note="its container ran without a lease"
            )
        log.warning("job %s: its container %s runs on %s without a lease and gets one", job_id, name, ", ".join(uuids))
        return lease

    def _confirm(self, lease: LeaseRecord) -> bool:
        """A second look after the commit: somebody outside may have started between the first look and now. If so the lease is given up."""
        try:
            busy = _in_the_way(self._reader.read(), lease)
        except BaseException:
            self._end(lease, "the cards could not be looked at again")
            raise
        if busy:
            self._end(lease, "no longer free at the second look", contended=busy)
            return False
        with self._database.writing() as session:
            leases.mark(session, lease.job_id, lease.attempt, LeaseState.STARTING)
        return True

    # ------------------------------------------------------------------------------------------------------------ starting

    @contextmanager
    def confirm_start(self, job_id: str, attempt: int, container_id: str | None = None) -> Iterator[None]:
        """As ``GpuPool.confirm_start``."""
        with host_lock(self._lock_file):
            lease = self._find(job_id, attempt) or self.adopt(job_id, attempt, container_id or "")
            if lease is None or lease.state in _LEAVING:
                raise NoGpuError(f"attempt {attempt} of job {job_id} holds no GPUs any more", hint="It has to queue again.")
            if lease.state is not LeaseState.ACTIVE:
                self._look_before_start(lease)
                lease = self._mark(lease, LeaseState.STARTING, container_id or self._container_of(lease))
            with self._suspecting(lease):
                yield
            self._mark(lease, LeaseState.ACTIVE, None if lease.container_id else container_id or self._container_of(lease))

    @contextmanager
    def _suspecting(self, lease: LeaseRecord) -> Iterator[None]:
        """A start that fails over its cards makes them suspect; what it raises stays the same."""
        try:
            yield
        except StartError as error:
            try:
                note_failed_start(self._reader, lease, error, self._clock())
            except UnavailableError as away:
                log.warning("the cards of job %s could not be called suspect: %s", lease.job_id, away.message)
            raise

    def _look_before_start(self, lease: LeaseRecord) -> None:
        books = self._reader.read()
        if container_name(lease.job_id, lease.attempt) in books.running:
            return  # a runner that was killed had started it
        busy = _in_the_way(books, lease)
        if busy:
            self._note_contended(busy, lease.job_id)
            raise NoGpuError(
                f"the GPUs of job {lease.job_id} were taken before it started: {_texts(busy)}",
                hint="It has to queue again.",
                busy={card.uuid: card.holder for card in busy},
            )

    def _container_of(self, lease: LeaseRecord) -> str:
        """As the job's row has it; '' tells that the attempt is about to start all the same."""
        with self._database.reading() as session:
            attempt, container_id = leases.containers(session, [lease.job_id]).get(lease.job_id, (0, ""))
        return container_id if attempt == lease.attempt else ""

    # ----------------------------------------------------------------------------------------------------------- releasing

    def release(self, job_id: str, attempt: int, note: str = "") -> bool:
        """As ``GpuPool.release``."""
        lease = self._find(job_id, attempt)
        if lease is None:
            return True
        if lease.container_id is None:
            self._end(lease, note)
            return True
        try:
            if lease.state not in _LEAVING:
                lease = self._mark(lease, LeaseState.RELEASING, note=note or None)
            return self._settle_one(lease, self._reader.read(engine_needed=False))
        except GpuSourceError as error:
            log.warning("the GPUs of job %s stay leased until they can be looked at: %s", job_id, error.message)
            return False
        except NotFoundError:
            return True  # another process was faster

    def settle(self, books: Books | None = None) -> list[str]:
        """As ``GpuPool.settle``, by these books where they are given."""
        if not self._leaving(books):
            return []
        books = books or self._reader.read(engine_needed=False)
        return [lease.job_id for lease in books.leases if lease.state in _LEAVING and self._settle_one(lease, books)]

    def reclaim(self, is_alive: Callable[[str, int], bool]) -> list[str]:
        """As ``GpuPool.reclaim``."""
        with self._database.reading() as session:
            held = leases.list_open(session, self._host)
        boot = self._boot()
        earlier = [lease for lease in held if lease.boot_id and boot and lease.boot_id != boot]
        for lease in earlier:
            self._end(lease, "the host was rebooted")
        rest = [lease for lease in held if lease not in earlier and lease.state not in _LEAVING]
        ended = self._without_container([lease for lease in rest if not is_alive(lease.job_id, lease.attempt)])
        released = [lease for lease in ended if self.release(lease.job_id, lease.attempt, "the job had ended")]
        return [lease.job_id for lease in (*earlier, *released)]

    def _without_container(self, ended: list[LeaseRecord]) -> list[LeaseRecord]:
        """That the engine is silent does not mean that the containers are gone."""
        running = names_in(self._reader.claims()) if ended else frozenset()
        return [lease for lease in ended if container_name(lease.job_id, lease.attempt) not in running]

    def _leaving(self, books: Books | None) -> bool:
        if books is not None:
            return any(lease.state in _LEAVING for lease in books.leases)
        with self._database.reading() as session:
            return any(lease.state in _LEAVING for lease in leases.list_open(session, self._host))

    def _settle_one(self, lease: LeaseRecord, books: Books) -> bool:
        began = lease.updated_at.timestamp() if lease.updated_at else 0.0
        ended_for_s = float("inf") if lease.state is LeaseState.STUCK else self._clock() - began
        decision, left = verdict(lease, books, ended_for_s)
        if decision is Verdict.RELEASE:
            with self._database.writing() as session:
                leases.release(session, lease.job_id, lease.attempt, states=_LEAVING)
            return True
        if decision is Verdict.STUCK and lease.state is not LeaseState.STUCK:
            log.warning("the GPUs of job %s are stuck: %s", lease.job_id, left)
            with suppress(NotFoundError):  # another process was faster
                self._mark(lease, LeaseState.STUCK, note=left)
        return False

    # -------------------------------------------------------------------------------------------------------------- record

    def _find(self, job_id: str, attempt: int) -> LeaseRecord | None:
        with self._database.reading() as session:
            lease = leases.find_lease(session, job_id, attempt)
        return None if lease is None or lease.state is LeaseState.RELEASED else lease

    def _mark(self, lease: LeaseRecord, state: LeaseState, container_id: str | None = None, note: str | None = None) -> LeaseRecord:
        with self._database.writing() as session:
            return leases.mark(session, lease.job_id, lease.attempt, state, container_id=container_id, note=note)

    def _end(self, lease: LeaseRecord, note: str, contended: Sequence[Card] = ()) -> None:
        with self._database.writing() as session:
            leases.release(session, lease.job_id, lease.attempt, note=note)
        self._note_contended(contended, lease.job_id)

    def _note_contended(self, cards: Sequence[Card], job_id: str) -> None:
        if not cards:
            return
        with self._database.writing() as session:
            for card in cards:
                gpus.add_event(session, self._host, card.uuid, "contended", job_id=job_id, detail=_who(card))


# ---------------------------------------------------------------------------------------------------------------- deciding


def _chosen(books: Books, request: Request) -> tuple[str, ...]:
    """Raises ``NoGpuError`` naming who holds which card, or the rule that is in the way."""
    wish, count = request.wish, request.count
    wishes.refuse_impossible(books, wish, count, request.asker)
    found = wishes.suitable(books, wish)
    free = [card for card in found if request.may_have(card.uuid) and wishes.is_free(books, card, wish)]
    _refuse_over_quota(books, request)
    if wish.shared_bytes:  # the fullest card that has room: others stay whole
        uuids = tuple(card.uuid for card in sorted(free, key=lambda card: (-len(card.leases), order(card.gpu)))[:count])
    else:
        uuids = choose([card.gpu for card in free], count, books.snapshot, mixed=bool(wish.model))
    if len(uuids) < count:
        raise _too_few_free(count, len(free), found, [card for card in found if card not in free])
    return uuids


def _present_share(books: Books, uuids: Sequence[str], wish: GpuWish) -> Share | None:
    """Of cards that the job is on already: what it declared counts, and that there is room for it is past deciding."""
    if not wish.shared_bytes:
        return None
    return Share(wish.shared_bytes, {uuid: books.pool_of(uuid).slots for uuid in uuids}, dict.fromkeys(uuids, sys.maxsize))


def _are_free(books: Books, uuids: Sequence[str], request: Request) -> bool:
    """Still, by the leases and rules of the transaction."""
    _refuse_over_quota(books, request)
    return all(wishes.is_free(books, books.card(uuid), request.wish) for uuid in uuids)


def _refuse_over_quota(books: Books, request: Request) -> None:
    pool = books.pools.get(request.wish.pool, DEFAULT_POOL) if request.wish.pool else DEFAULT_POOL
    left, quota = wishes.remaining(pool, request.asker, books)
    if left is not None and request.count > left:
        raise NoGpuError(
            f"{request.count} more GPUs are too many: {quota}", hint="Wait for those jobs, or ask for fewer.", asked=request.count
        )


def _in_the_way(books: Books, lease: LeaseRecord) -> list[Card]:
    """The lease's cards on which somebody else is, or which can no longer be used."""
    others = books.without(lease)
    allowed = (*_CAN_START_ON, CardState.LEASED) if lease.shared_bytes is not None else _CAN_START_ON
    cards = [others.card(uuid) if uuid in others.gpus else _gone(books, uuid) for uuid in lease.uuids]
    return [card for card in cards if card.state not in allowed]


def _gone(books: Books, uuid: str) -> Card:
    return next(card for card in books.cards if card.uuid == uuid)


def _too_few_free(count: int, free: int, found: Sequence[Card], busy: Sequence[Card]) -> NoGpuError:
    asked = "1 GPU is" if count == 1 else f"{count} GPUs are"
    mixed = " of different models" if free >= count else ""
    return NoGpuError(
        f"{asked} asked for, {free} of {len(found)} free{mixed}{f': {_texts(busy)}' if busy else ''}",
        hint="Wait for them, ask for fewer, or see `sluice gpu list`.",
        asked=count,
        total=len(found),
        busy={card.uuid: card.holder for card in busy},
    )


def _texts(cards: Sequence[Card]) -> str:
    return "; ".join(card.busy_text for card in cards)


def _who(card: Card) -> Mapping[str, str]:
    return {"state": str(card.state), "holder": card.holder, "reason": card.reason}
