"""One decision: a walk along the order, which starts what fits and holds for what does not.

While it lasts less and less is free and more is held, so whatever cannot start once need not be looked at again: of each demand the walk
meets one failure, not one per job.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from functools import cached_property
from heapq import heapify, heappop, heapreplace
from itertools import chain

from runner.queue.holds import Reservation, allowed, holdable, reserve
from runner.queue.lines import Demand, Desk, Group, Key, Level, Line, Lines, Owner
from runner.queue.standing import Standing
from runner.queue.stock import Devices, Options, Stock
from runner.queue.terms import Decision, Entry, Offers, Start

#: A demand of those whose offers are alike; jobs without GPUs have no scope.
Case = tuple[Demand, Hashable]
#: The cases of one priority in which something may still start, or be held for, each with its offer and the lines it is in.
Alive = dict[Case, tuple[Options, Group]]
#: Before every key.
_FIRST: Key = (-math.inf, "")


class Scopes:
    """Who is offered the same devices; found out when the first job with GPUs is looked at."""

    def __init__(self, offers: Offers, owners: Collection[Owner]) -> None:
        self._offers, self._owners = offers, owners

    @cached_property
    def _of(self) -> dict[Owner, Hashable]:
        scope: Callable[[str, str], Hashable] | None = getattr(self._offers, "scope", None)
        if scope is None:
            return {owner: (owner.user, owner.project) for owner in self._owners}
        return {owner: scope(owner.user, owner.project) for owner in self._owners}

    @cached_property
    def _are_one(self) -> bool:
        return len(set(self._of.values())) <= 1

    def of(self, owner: Owner, gpu_count: int) -> Hashable:
        return self._of.get(owner, (owner.user, owner.project)) if gpu_count else None

    def examples(self, demand: Demand, group: Group) -> Iterable[tuple[Hashable, Line]]:
        """Each scope of a group's owners, with one line in it."""
        if not demand.gpu_count or self._are_one:
            owner, line = next(iter(group.lines.items()))
            return ((self.of(owner, demand.gpu_count), line),)
        seen: dict[Hashable, Line] = {}
        for owner, line in group.lines.items():
            seen.setdefault(self._of[owner], line)
        return seen.items()


class Turn:
    """What one owner has to offer at one priority: a heap of the lines in which something can still happen, by the next key of each."""

    __slots__ = ("_heads", "desk", "owner")

    def __init__(self, desk: Desk) -> None:
        self.desk, self.owner = desk, desk.owner
        self._heads: list[tuple[Key, Demand, Line, int]] | None = None

    def head(self, alive: Alive, scopes: Scopes) -> tuple[Key, Demand] | None:
        """The oldest job in which something can still happen; None when there is none."""
        if self._heads is None:
            lines = self.desk.lines
            few = {demand for demand, _ in alive} & lines.keys() if len(alive) < len(lines) else lines
            self._heads = [(lines[demand].keys[0], demand, lines[demand], 0) for demand in few]
            heapify(self._heads)
        while self._heads:
            key, demand, _, _ = self._heads[0]
            if (demand, scopes.of(self.owner, demand.gpu_count)) in alive:
                return key, demand
            heappop(self._heads)
        return None

    def step(self, *, started: bool) -> None:
        """Go on behind the head: to the next job of its line when it started, to the next line when nothing more can happen in this one."""
        heads = self._heads or []
        _, demand, line, position = heads[0]
        if started and position + 1 < len(line.keys):
            heapreplace(heads, (line.keys[position + 1], demand, line, position + 1))
        else:
            heappop(heads)


class Turns:
    """Whose turn it is at one priority: a heap of projects, each a heap of its owners.

    Places are worked out when they come to the top. Until then they are too early at most: use and keys only grow during a decision.
    """

    def __init__(self, projects: Mapping[str, Iterable[Desk]], standing: Standing, alive: Alive, scopes: Scopes) -> None:
        self._standing, self._alive, self._scopes = standing, alive, scopes
        self._desks = projects
        self._members: dict[str, list[tuple[float, Key, Turn]]] = {}
        self._projects: list[tuple[float, float, Key, str]] = [(standing.used(("project", name)), -1.0, _FIRST, name) for name in projects]
        heapify(self._projects)

    def next(self) -> tuple[Turn, Key, Demand] | None:
        """The turn at the head of the order with its oldest job; None when nothing can happen any more."""
        while self._projects and self._alive:
            used, user_used, key, name = self._projects[0]
            turns = self._members.get(name) or self._open(name)
            found = self._next_of(turns)
            if found is None:
                heappop(self._projects)
            elif (used, user_used, key) == (place := (self._standing.used(("project", name)), *turns[0][:2])):
                return found
            else:
                heapreplace(self._projects, (*place, name))
        return None

    def _open(self, name: str) -> list[tuple[float, Key, Turn]]:
        """The owners of a project that may be next."""
        used = self._standing.used
        turns = self._members[name] = [(used(desk.owner.user_key), desk.first, Turn(desk)) for desk in self._desks[name]]
        heapify(turns)
        return turns

    def _next_of(self, turns: list[tuple[float, Key, Turn]]) -> tuple[Turn, Key, Demand] | None:
        """The first of a project, when everybody's place at the top of its heap is right."""
        while turns:
            user_used, key, turn = turns[0]
            now_used = self._standing.used(turn.owner.user_key)
            if user_used != now_used:
                heapreplace(turns, (now_used, key, turn))
                continue
            head = turn.head(self._alive, self._scopes)
            if head is None:
                heappop(turns)
            elif head[0] != key:
                heapreplace(turns, (now_used, head[0], turn))
            else:
                return turn, *head
        return None


class Walk:
    """One decision in the making. ``starts`` and ``held`` grow in order."""

    def __init__(self, lines: Lines, hold_after_s: float, standing: Standing, stock: Stock, scopes: Scopes, now: float) -> None:
        self.starts: list[Start] = []
        self.held: list[Reservation] = []
        self._lines = lines
        self._aged_before = now - hold_after_s
        self._standing = standing
        self._stock = stock
        self._scopes = scopes
        self._now = now
        self._stuck: set[Case] = set()
        self._unforeseen: set[Case] = set()

    def run(self, limit: int | None = None) -> Decision:
        for level in self._lines.levels():
            if len(self.starts) != limit:
                self._walk(level, limit)
        return Decision(tuple(self.starts), tuple(reservation.hold for reservation in self.held))

    def barred_by(self, entry: Entry) -> Reservation | None:
        """After the walk: whom what is left is held for, when it would be enough for this job."""
        owner, demand = self._lines.owner(entry), self._lines.demand(entry)
        options = self._stock.options(entry, self._scopes.of(owner, demand.gpu_count))
        if allowed(demand, options, self._stock, [], self._now) is None:
            return None
        return next((r for r in self.held if allowed(demand, options, self._stock, [r], self._now) is None), None)

    def _walk(self, level: Level, limit: int | None) -> None:
        alive = self._alive(level)
        turns = Turns(self._projects(level, alive), self._standing, alive, self._scopes)
        while len(self.starts) != limit and (found := turns.next()):
            turn, key, demand = found
            turn.step(started=self._consider(turn.owner, key, demand, alive))

    def _alive(self, level: Level) -> Alive:
        alive: Alive = {}
        for demand, group in level.groups.items():
            for scope, line in self._scopes.examples(demand, group):
                case, options = (demand, scope), self._stock.options(self._lines.entry(line.keys[0][1]), scope)
                if self._fits(case, options) is not None or self._holdable(case, options, group):
                    alive[case] = options, group
        return alive

    def _projects(self, level: Level, alive: Alive) -> Mapping[str, Collection[Desk]]:
        """By project, those with a job in question; all when these are so many that asking takes longer."""
        groups = [level.groups[demand] for demand in {demand for demand, _ in alive}]
        if sum(len(group.lines) for group in groups) >= len(level.desks):
            return {name: desks.values() for name, desks in level.projects.items()}
        chosen: dict[str, list[Desk]] = {}
        for owner in dict.fromkeys(chain.from_iterable(group.lines for group in groups)):
            chosen.setdefault(owner.project, []).append(level.desks[owner])
        return chosen

    def _consider(self, owner: Owner, key: Key, demand: Demand, alive: Alive) -> bool:
        """Whether the job starts. When it is blocked, what can still happen is known better than before."""
        if self._standing.barred_by(owner, demand.gpu_count):
            return False
        entry, case = self._lines.entry(key[1]), (demand, self._scopes.of(owner, demand.gpu_count))
        options, group = alive[case]
        candidates = self._fits(case, options)
        if candidates is not None:
            self._start(entry, owner, demand, candidates)
            return True
        if self._hold(entry, case, options, group):
            self._prune(alive)
        elif not self._holdable(case, options, group):
            del alive[case]
        return False

    def _prune(self, alive: Alive) -> None:
        """After a hold: of most demands nothing can start or be held for any more."""
        for case, (options, group) in list(alive.items()):
            if self._fits(case, options) is None and not self._holdable(case, options, group):
                del alive[case]

    def _fits(self, case: Case, options: Options) -> int | None:
        if case in self._stuck:
            return None
        candidates = allowed(case[0], options, self._stock, self.held, self._now)
        if candidates is None:
            self._stuck.add(case)
        return candidates

    def _start(self, entry: Entry, owner: Owner, demand: Demand, candidates: int) -> None:
        self.starts.append(Start(entry.job_id, demand.gpu_count, self._stock.names(candidates)))
        for reservation in self.held:
            if not reservation.lets_pass_in_time(demand, self._now):
                reservation.give(demand, candidates)
        self._stock.take(entry.job_id, demand, candidates)
        self._standing.charge(owner, demand.gpu_count, demand.cpu_count)

    def _hold(self, entry: Entry, case: Case, options: Options, group: Group) -> bool:
        groups = self._holdable(case, options, group)
        if not groups:
            return False
        reservation = reserve(entry, case[0], groups, self._stock, self.held)
        if reservation.hold.until is None:
            self._unforeseen.add(case)
            if entry.waits_since > self._aged_before:
                return False
        self.held.append(reservation)
        return True

    def _holdable(self, case: Case, options: Options, group: Group) -> list[Devices]:
        """What may be held for a job of this demand: at once when it is known until when, otherwise after a while. Nothing when it may not."""
        found = holdable(case[0], options, self._stock, self.held)
        if not found or group.oldest <= self._aged_before:
            return found
        foreseeable = case not in self._unforeseen and any(self._stock.may_be_foreseeable(case[0], devices) for devices in found)
        return found if foreseeable else []
