"""The queue as the scheduler has it."""

from __future__ import annotations

from collections.abc import Container, Iterable
from functools import cached_property, partial

from contracts.errors import NotFoundError
from runner.queue import reasons
from runner.queue.lines import Lines
from runner.queue.standing import Standing
from runner.queue.stock import Stock
from runner.queue.terms import Decision, Entry, Host, Offers, Running, Shares, Waiting
from runner.queue.walk import Scopes, Walk


class Queue:
    """Jobs that wait. Not safe between threads; the same calls give the same answers.

    A decision changes nothing: what was started is taken out with ``remove`` once its admission is on record.
    """

    def __init__(self, hold_after_s: float = 600.0) -> None:
        self._hold_after_s = hold_after_s
        self._lines = Lines()

    def __len__(self) -> int:
        return len(self._lines)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._lines

    def add(self, entry: Entry) -> None:
        """Line a job up; one of that id that is there already is replaced."""
        self._lines.add(entry)

    def remove(self, job_id: str) -> None:
        """Take a job out. May be repeated."""
        self._lines.remove(job_id)

    def get(self, job_id: str) -> Entry:
        """Raises ``NotFoundError`` for a job that does not wait."""
        if job_id not in self._lines:
            raise NotFoundError(f"job {job_id} does not wait in the queue", hint="`sluice job show` says where it stands.", job=job_id)
        return self._lines.entry(job_id)

    def decide(
        self, host: Host, running: Iterable[Running], offers: Offers, shares: Shares, now: float, limit: int | None = None
    ) -> Decision:
        """What may start now, at most ``limit`` jobs, and for whom the others are held back."""
        if host.blocked:
            return Decision()
        self._lines.wake(now)
        return _Look(self._lines, list(running), host, offers, shares, now).walk(self._hold_after_s).run(limit)

    def explain(self, job_id: str, host: Host, running: Iterable[Running], offers: Offers, shares: Shares, now: float) -> Waiting:
        """Where a job stands and why it waits. Raises ``NotFoundError`` for one that does not."""
        return self.explain_all([job_id], host, running, offers, shares, now)[job_id]

    def explain_all(
        self, job_ids: Iterable[str], host: Host, running: Iterable[Running], offers: Offers, shares: Shares, now: float
    ) -> dict[str, Waiting]:
        """As ``explain`` for several jobs, for little more than the cost of one."""
        entries = [self.get(job_id) for job_id in job_ids]
        self._lines.wake(now)
        look = _Look(self._lines, list(running), host, offers, shares, now)
        walk = look.walk(self._hold_after_s)
        started = {start.job_id for start in walk.run().starts} if not host.blocked else set()
        return {entry.job_id: Waiting(look.position(entry), look.reason(entry, walk, started)) for entry in entries}


class _Look:
    """The queue and its surroundings at one moment, before anything starts."""

    def __init__(self, lines: Lines, running: list[Running], host: Host, offers: Offers, shares: Shares, now: float) -> None:
        self._lines = lines
        self._host = host
        self._now = now
        self._new_stock = partial(Stock, host, running, offers, now)
        self._new_standing = partial(Standing, shares, running, host)
        self._scopes = Scopes(offers, lines.owners())

    @cached_property
    def _stock(self) -> Stock:
        return self._new_stock()

    @cached_property
    def _standing(self) -> Standing:
        return self._new_standing()

    def walk(self, hold_after_s: float) -> Walk:
        """A decision, with books of its own."""
        return Walk(self._lines, hold_after_s, self._new_standing(), self._new_stock(), self._scopes, self._now)

    def position(self, entry: Entry) -> int:
        return self._lines.count_before(entry, self._standing.rank) + 1

    def reason(self, entry: Entry, walk: Walk, started: Container[str]) -> str:
        """The first thing that has to change before the job can start."""
        if self._host.blocked:
            return self._host.blocked
        if entry.not_before > self._now:
            return reasons.back_off(entry, self._now)
        owner = self._lines.owner(entry)
        limit = self._standing.barred_by(owner, entry.gpu_count)
        if limit is not None:
            return reasons.quota(limit, *self._standing.held(limit), entry)
        options = self._stock.options(entry, self._scopes.of(owner, entry.gpu_count))
        lacking = self._stock.lacking(self._lines.demand(entry), options)
        if lacking:
            return reasons.lack(lacking, entry, self._stock.free(options), self._host, options)
        return self._behind(entry, walk, started)

    def _behind(self, entry: Entry, walk: Walk, started: Container[str]) -> str:
        """There is enough for it, but others come first."""
        if entry.job_id in started:
            return reasons.NEXT
        reservation = walk.barred_by(entry)
        if reservation is not None:
            return reasons.held_back(reservation, self._now)
        return reasons.behind(self.position(entry) - 1)
