"""The waiting jobs, kept so that a decision looks at the heads of lines only.

A line holds the jobs of one priority, user, project and demand, oldest first. Two jobs of a line are the same to the queue but for their age,
so that when the first cannot start none can.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection
from heapq import heappop, heappush

from runner.queue.terms import Entry

#: Order inside a line: submit time, then job id.
Key = tuple[float, str]
#: Resources, as flags.
GPUS, CPU, MEMORY, SLOTS = 1, 2, 4, 8
#: Sums of processors are not exact.
_EPSILON = 1e-9


class Demand:
    """What a job asks for; equal demands are one object, so that it is compared and hashed by identity. ``jobs`` in line have it."""

    __slots__ = ("cpu_count", "gpu_count", "jobs", "kind", "memory_bytes", "runtime_s", "slots", "wish")

    def __init__(self, entry: Entry) -> None:
        self.gpu_count = entry.gpu_count
        self.cpu_count = entry.cpu_count
        self.memory_bytes = entry.memory_bytes
        self.wish = entry.wish
        self.kind = entry.kind
        self.runtime_s = entry.runtime_s
        self.slots = 0 if entry.gpu_count else 1
        self.jobs = 0

    def lacks(self, cpu: float, memory: int, slots: int) -> int:
        """Of which of these, beside GPUs, there is too little. What is not demanded is never lacking, however overdrawn it is."""
        lacking = CPU if self.cpu_count > cpu + _EPSILON and self.cpu_count else 0
        if self.memory_bytes > memory and self.memory_bytes:
            lacking |= MEMORY
        return lacking | SLOTS if self.slots > slots and self.slots else lacking


class Owner:
    """A user in a project; equal owners are one object. ``jobs`` in line are theirs."""

    __slots__ = ("jobs", "project", "project_key", "user", "user_key")

    def __init__(self, user: str, project: str) -> None:
        self.user, self.project, self.jobs = user, project, 0
        self.user_key, self.project_key = ("user", user), ("project", project)


class Line:
    """Keys in order. They nearly always come in order; when they do not, they are sorted when next read."""

    __slots__ = ("_in_order", "_keys")

    def __init__(self) -> None:
        self._keys: list[Key] = []
        self._in_order = True

    @property
    def keys(self) -> list[Key]:
        if not self._in_order:
            self._keys.sort()
            self._in_order = True
        return self._keys

    def add(self, key: Key) -> None:
        self._in_order = self._in_order and (not self._keys or self._keys[-1] < key)
        self._keys.append(key)

    def remove(self, key: Key) -> None:
        del self.keys[bisect_left(self.keys, key)]


class Group:
    """The lines of one demand at one priority, by owner."""

    __slots__ = ("_oldest", "lines")

    def __init__(self) -> None:
        self.lines: dict[Owner, Line] = {}
        self._oldest: float | None = None

    @property
    def oldest(self) -> float:
        """The oldest submit time."""
        if self._oldest is None:
            self._oldest = min(line.keys[0][0] for line in self.lines.values())
        return self._oldest

    def came(self, key: Key) -> None:
        if self._oldest is not None:
            self._oldest = min(self._oldest, key[0])

    def went(self, key: Key) -> None:
        if key[0] == self._oldest:
            self._oldest = None  # somebody else's is, found when it is asked for


class Desk:
    """The lines of one owner at one priority, by demand. ``first`` is the key of its oldest job."""

    __slots__ = ("count", "first", "lines", "owner")

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.lines: dict[Demand, Line] = {}
        self.first: Key = (float("inf"), "")
        self.count = 0

    def count_before(self, key: Key) -> int:
        return sum(bisect_left(line.keys, key) for line in self.lines.values())


class Level:
    """Everything of one priority."""

    __slots__ = ("count", "desks", "groups", "priority", "projects")

    def __init__(self, priority: int) -> None:
        self.priority = priority
        self.groups: dict[Demand, Group] = {}
        self.desks: dict[Owner, Desk] = {}
        self.projects: dict[str, dict[Owner, Desk]] = {}
        self.count = 0

    def add(self, owner: Owner, demand: Demand, key: Key) -> None:
        desk = self.desks.get(owner) or self._new_desk(owner)
        group = self.groups.get(demand) or self.groups.setdefault(demand, Group())
        line = desk.lines.get(demand)
        if line is None:
            line = desk.lines[demand] = group.lines[owner] = Line()
        line.add(key)
        desk.first = min(desk.first, key)
        group.came(key)
        desk.count += 1
        self.count += 1

    def remove(self, owner: Owner, demand: Demand, key: Key) -> None:
        desk, group = self.desks[owner], self.groups[demand]
        line = desk.lines[demand]
        line.remove(key)
        group.went(key)
        desk.count -= 1
        self.count -= 1
        if not line.keys:
            del desk.lines[demand], group.lines[owner]
        if not group.lines:
            del self.groups[demand]
        if not desk.lines:
            self._remove_desk(owner)
        elif desk.first == key:
            desk.first = min(line.keys[0] for line in desk.lines.values())

    def _new_desk(self, owner: Owner) -> Desk:
        desk = self.desks[owner] = self.projects.setdefault(owner.project, {})[owner] = Desk(owner)
        return desk

    def _remove_desk(self, owner: Owner) -> None:
        del self.desks[owner], self.projects[owner.project][owner]
        if not self.projects[owner.project]:
            del self.projects[owner.project]


class Lines:
    """Every waiting job. Those that are tried again later sleep aside until ``wake``."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._levels: dict[int, Level] = {}
        self._demands: dict[tuple[object, ...], Demand] = {}
        self._owners: dict[tuple[str, str], Owner] = {}
        self._asleep: set[str] = set()
        self._alarms: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._entries

    def entry(self, job_id: str) -> Entry:
        """Raises ``KeyError``."""
        return self._entries[job_id]

    def add(self, entry: Entry) -> None:
        self.remove(entry.job_id)
        self._entries[entry.job_id] = entry
        if entry.not_before > entry.submitted_at:
            self._asleep.add(entry.job_id)
            heappush(self._alarms, (entry.not_before, entry.job_id))
        else:
            self._line_up(entry)

    def remove(self, job_id: str) -> None:
        entry = self._entries.pop(job_id, None)
        if entry is None:
            return
        if job_id in self._asleep:
            self._asleep.remove(job_id)
            return
        self._leave(entry)

    def wake(self, now: float) -> None:
        """Line up the jobs whose back-off is over."""
        while self._alarms and self._alarms[0][0] <= now:
            at, job_id = heappop(self._alarms)
            if job_id in self._asleep and self._entries[job_id].not_before == at:
                self._asleep.remove(job_id)
                self._line_up(self._entries[job_id])

    def levels(self) -> list[Level]:
        """The most urgent first."""
        return [self._levels[priority] for priority in sorted(self._levels, reverse=True)]

    def count_before(self, entry: Entry, rank: Callable[[Owner], tuple[float, float]]) -> int:
        """Jobs in line that come before this one, with its owner's rank among the others as it is now."""
        own, key = rank(self.owner(entry)), _key(entry)
        count = sum(level.count for level in self._levels.values() if level.priority > entry.priority)
        level = self._levels.get(entry.priority)
        for desk in level.desks.values() if level else ():
            other = rank(desk.owner)
            if other <= own:
                count += desk.count if other < own else desk.count_before(key)
        return count

    def owners(self) -> Collection[Owner]:
        """Everybody with a job in line."""
        return self._owners.values()

    def owner(self, entry: Entry) -> Owner:
        key = (entry.user, entry.project)
        return self._owners.get(key) or Owner(*key)

    def demand(self, entry: Entry) -> Demand:
        return self._demands.get(_demanded(entry)) or Demand(entry)

    def _line_up(self, entry: Entry) -> None:
        owner = self._owners.setdefault((entry.user, entry.project), self.owner(entry))
        demand = self._demands.setdefault(_demanded(entry), self.demand(entry))
        owner.jobs += 1
        demand.jobs += 1
        level = self._levels.get(entry.priority) or self._levels.setdefault(entry.priority, Level(entry.priority))
        level.add(owner, demand, _key(entry))

    def _leave(self, entry: Entry) -> None:
        owner, demand, level = self.owner(entry), self.demand(entry), self._levels[entry.priority]
        level.remove(owner, demand, _key(entry))
        owner.jobs -= 1
        demand.jobs -= 1
        if not owner.jobs:
            del self._owners[entry.user, entry.project]
        if not demand.jobs:
            del self._demands[_demanded(entry)]
        if not level.count:
            del self._levels[entry.priority]


def _demanded(entry: Entry) -> tuple[object, ...]:
    return (entry.gpu_count, entry.cpu_count, entry.memory_bytes, entry.wish, entry.kind, entry.runtime_s)


def _key(entry: Entry) -> Key:
    return (entry.submitted_at, entry.job_id)
