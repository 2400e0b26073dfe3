"""The rules of the queue without its shortcuts: every waiting job is looked at in order, and sorted again after each start.

One rule is for the sake of the shortcuts: a demand that neither fits nor may be held for when it is looked at, when its priority begins or after a
hold, gets no hold in this decision, even when a later start takes what it would need. It gets it in the next decision.
"""

from __future__ import annotations

from runner.queue import Decision, Entry, Start
from runner.queue.holds import Reservation, allowed, holdable, reserve
from runner.queue.lines import Demand, Owner
from runner.queue.standing import Standing
from runner.queue.stock import Devices, Options, Stock
from tests.runner.queue.world import World


def decide(world: World, entries: list[Entry]) -> Decision:
    return _Naive(world).run(entries)


class _Naive:
    def __init__(self, world: World) -> None:
        self.standing = Standing(world.shares, world.running, world.host)
        self.stock = Stock(world.host, world.running, world, world.now)
        self.now, self.hold_after_s = world.now, world.hold_after_s
        self.starts: list[Start] = []
        self.held: list[Reservation] = []

    def run(self, entries: list[Entry]) -> Decision:
        for priority in sorted({one.priority for one in entries}, reverse=True):
            level = [one for one in entries if one.priority == priority]
            self.hopeful = self.still_hopeful(level)
            left = list(level)
            while left:
                left.sort(key=lambda one: (*self.standing.rank(Owner(one.user, one.project)), one.submitted_at, one.job_id))
                self.consider(left.pop(0), level)
        return Decision(tuple(self.starts), tuple(reservation.hold for reservation in self.held))

    def consider(self, entry: Entry, level: list[Entry]) -> None:
        owner, demand = Owner(entry.user, entry.project), Demand(entry)
        if self.standing.barred_by(owner, entry.gpu_count):
            return
        candidates = self.allowed(entry)
        if candidates is None:
            self.block(entry, level)
            return
        self.starts.append(Start(entry.job_id, entry.gpu_count, self.stock.names(candidates)))
        for reservation in self.held:
            if not reservation.lets_pass_in_time(demand, self.now):
                reservation.give(demand, candidates)
        self.stock.take(entry.job_id, demand, candidates)
        self.standing.charge(owner, demand.gpu_count, demand.cpu_count)

    def allowed(self, entry: Entry) -> int | None:
        return allowed(Demand(entry), self.options(entry), self.stock, self.held, self.now)

    def block(self, entry: Entry, level: list[Entry]) -> None:
        groups = self.may_hold(entry, level)
        if case(entry) in self.hopeful and groups:
            reservation = reserve(entry, Demand(entry), groups, self.stock, self.held)
            if reservation.hold.until is not None or self.has_waited(entry):
                self.held.append(reservation)
                self.hopeful &= self.still_hopeful(level)
        if not self.may_hold(entry, level):
            self.hopeful.discard(case(entry))

    def still_hopeful(self, level: list[Entry]) -> set[tuple[object, ...]]:
        return {case(one) for one in level if self.allowed(one) is not None or self.may_hold(one, level)}

    def may_hold(self, entry: Entry, level: list[Entry]) -> list[Devices]:
        demand = Demand(entry)
        groups = holdable(demand, self.options(entry), self.stock, self.held)
        aged = any(self.has_waited(one) for one in level if case(one)[:-1] == case(entry)[:-1])
        return groups if aged or any(self.stock.earliest(demand, devices) for devices in groups) else []

    def options(self, entry: Entry) -> Options:
        return self.stock.options(entry, (entry.user, entry.project))

    def has_waited(self, entry: Entry) -> bool:
        return self.now - entry.submitted_at >= self.hold_after_s


def case(entry: Entry) -> tuple[object, ...]:
    """The demand, and last whose offer it is."""
    demanded = (entry.gpu_count, entry.cpu_count, entry.memory_bytes, entry.wish, entry.kind, entry.runtime_s)
    return (*demanded, (entry.user, entry.project) if entry.gpu_count else None)
