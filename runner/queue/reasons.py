"""Why a job waits, in words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from runner.queue.holds import Reservation
from runner.queue.lines import CPU, GPUS, MEMORY, SLOTS
from runner.queue.stock import Amounts, Options
from runner.queue.terms import Entry, Host, Share

NEXT = "is next"
_SHOWN = 8
_WISHES = {
    "model": "model {}",
    "pool": "pool {}",
    "memory_bytes": "at least {:.4g} GiB each",
    "mig_profile": "MIG {}",
    "shared_bytes": "shared",
}


def clock(moment: float, now: float) -> str:
    """A time of day, with its date when that is not today; in the time zone of the host."""
    then, today = datetime.fromtimestamp(moment).astimezone(), datetime.fromtimestamp(now).astimezone()
    return then.strftime("%H:%M" if then.date() == today.date() else "%Y-%m-%d %H:%M")


def back_off(entry: Entry, now: float) -> str:
    return f"tried again at {clock(entry.not_before, now)}"


def quota(key: tuple[str, str], share: Share, gpus: int, jobs: int, entry: Entry) -> str:
    """Which limit of a user or project is reached, and by how much."""
    kind, name = key
    if share.max_jobs is not None and jobs + 1 > share.max_jobs:
        return f"{kind} {name} may run {_jobs(share.max_jobs)} and runs {jobs}"
    needed = f"; this job needs {entry.gpu_count}" if gpus != share.max_gpus else ""
    return f"{kind} {name} may hold {_gpus(share.max_gpus or 0)} and holds {gpus}{needed}"


def lack(lacking: int, entry: Entry, free: Amounts, host: Host, options: Options) -> str:
    """What there is too little of, and who has it."""
    said = []
    if lacking & GPUS:
        said.append(_gpu_lack(entry, free.gpus, options))
    if lacking & CPU:
        processors = "1 processor" if entry.cpu_count == 1 else f"{entry.cpu_count:g} processors"
        said.append(f"needs {processors}, free {max(free.cpu, 0):.4g} of {host.cpu_count:g}")
    if lacking & MEMORY:
        said.append(f"needs {_gib(entry.memory_bytes)} of memory, free {_gib(max(free.memory, 0))} of {_gib(host.memory_bytes)}")
    if lacking & SLOTS:
        said.append(f"{host.job_slots} of {host.job_slots} slots for jobs without GPUs are taken")
    return "; ".join(said)


def held_back(reservation: Reservation, now: float) -> str:
    """For whom, for what, and for how long at most."""
    hold = reservation.hold
    wants = _gpus(hold.gpu_count) if reservation.lacking & GPUS else _rest(reservation)
    due = "" if hold.until is None else f" and starts by {clock(hold.until, now)}"
    return f"held back for job {hold.job_id}, which waits since {clock(hold.waits_since, now)} for {wants}{due}"


def behind(count: int) -> str:
    return NEXT if count == 0 else "1 job is before it" if count == 1 else f"{count} jobs are before it"


def _gpu_lack(entry: Entry, free: int, options: Options) -> str:
    asked = json.loads(entry.wish) if entry.wish else {}
    words = [text.format(_wished(name, asked[name])) for name, text in _WISHES.items() if asked.get(name) is not None]
    which = f" ({', '.join(words)})" if words else ""
    together = " of one model" if len(options) > 1 and entry.gpu_count > 1 else ""
    return "; ".join([f"needs {_gpus(entry.gpu_count)}{together}{which}, free {free}", *_some(list(options[0].offer.busy.values()))])


def _wished(name: str, value: object) -> object:
    return value / 1024**3 if name.endswith("_bytes") and isinstance(value, int) else value


def _some(texts: Sequence[str]) -> list[str]:
    return [*texts[:_SHOWN], f"and {len(texts) - _SHOWN} more"] if len(texts) > _SHOWN + 1 else list(texts)


def _rest(reservation: Reservation) -> str:
    demand, lacking = reservation.demand, reservation.lacking
    if lacking & CPU:
        return "1 processor" if demand.cpu_count == 1 else f"{demand.cpu_count:g} processors"
    return f"{_gib(demand.memory_bytes)} of memory" if lacking & MEMORY else "a slot"


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / 1024**3:.1f} GiB"
