"""Where users and projects stand: how much of their share they have used, and whether a quota bars them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from runner.queue.lines import Owner
from runner.queue.terms import Host, Running, Share, Shares

#: What a job that holds GPUs is charged ahead of its use, in seconds. Owners with equal use therefore take turns, and those with unequal
#: use are not kept apart by less than this. Longer than the time between two charges, short beside the half-life.
AHEAD_S = 600.0
_DEFAULT = Share()
_LEAST_WEIGHT = 1e-9


def use_rate(gpu_count: int, cpu_count: float, host: Host) -> float:
    """GPU-seconds that a job is charged per second; one without GPUs is charged its part of the host's processors."""
    return float(gpu_count) if gpu_count else (cpu_count or 1.0) / max(host.cpu_count, 1.0)


class Standing:
    """The shares of one moment, with what runs and what the present decision starts."""

    def __init__(self, shares: Shares, running: Iterable[Running], host: Host) -> None:
        self._shares = shares
        self._host = host
        self._used: dict[tuple[str, str], float] = {}
        self._gpus: Counter[tuple[str, str]] = Counter()
        self._jobs: Counter[tuple[str, str]] = Counter()
        for job in running:
            self._charge(("user", job.user), len(job.gpu_uuids), job.cpu_count)
            self._charge(("project", job.project), len(job.gpu_uuids), job.cpu_count)

    def rank(self, owner: Owner) -> tuple[float, float]:
        """Use per weight of the project, then of the user: the smallest is next."""
        return self.used(owner.project_key), self.used(owner.user_key)

    def used(self, key: tuple[str, str]) -> float:
        """Use per weight of a user or project. It only grows while a decision is made."""
        used = self._used.get(key)
        if used is None:
            share = self._shares.get(key, _DEFAULT)
            used = self._used[key] = share.usage_gpu_s / max(share.weight, _LEAST_WEIGHT)
        return used

    def charge(self, owner: Owner, gpu_count: int, cpu_count: float) -> None:
        """A job starts."""
        self._charge(owner.project_key, gpu_count, cpu_count)
        self._charge(owner.user_key, gpu_count, cpu_count)

    def barred_by(self, owner: Owner, gpu_count: int) -> tuple[str, str] | None:
        """The user or project whose quota keeps a job with so many GPUs from starting."""
        return next((key for key in (owner.user_key, owner.project_key) if key in self._shares and self._is_over(key, gpu_count)), None)

    def held(self, key: tuple[str, str]) -> tuple[Share, int, int]:
        """The share of a user or project, its GPUs and its jobs now."""
        return self._shares.get(key, _DEFAULT), self._gpus[key], self._jobs[key]

    def _is_over(self, key: tuple[str, str], gpu_count: int) -> bool:
        share = self._shares[key]
        if share.max_jobs is not None and self._jobs[key] + 1 > share.max_jobs:
            return True
        return bool(gpu_count) and share.max_gpus is not None and self._gpus[key] + gpu_count > share.max_gpus

    def _charge(self, key: tuple[str, str], gpu_count: int, cpu_count: float) -> None:
        weight = max(self._shares.get(key, _DEFAULT).weight, _LEAST_WEIGHT)
        self._used[key] = self.used(key) + use_rate(gpu_count, cpu_count, self._host) * AHEAD_S / weight
        self._gpus[key] += gpu_count
        self._jobs[key] += 1
