"""What a Runner does with shares: who gets how much of the GPUs, and at most how many."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from registry import shares
from registry.shares import ShareRecord
from runner.installation import Installation


class ShareVerbs:
    """Part of ``runner.service.Runner``."""

    _installation: Installation

    def list_shares(self) -> list[dict[str, Any]]:
        """Everybody with settings or use; ``usage_gpu_s`` as it counts now."""
        with self._installation.database.reading() as session:
            records = shares.list_shares(session)
        return [self._share_view(record) for record in records]

    def set_share(
        self, kind: str, name: str, *, weight: float | None = None, max_gpus: int | None = None, max_jobs: int | None = None
    ) -> dict[str, Any]:
        """Change the share of a ``user`` or ``project``: None leaves a value as it is, -1 takes a quota away. Jobs that run are left alone."""
        with self._installation.database.writing() as session:
            record = shares.set_share(session, kind, name, weight=weight, max_gpus=max_gpus, max_jobs=max_jobs)
        return self._share_view(record)

    def _share_view(self, record: ShareRecord) -> dict[str, Any]:
        half_life_s = self._installation.settings.share_half_life_s
        now = datetime.now(timezone.utc).timestamp()
        return {
            "kind": record.kind,
            "name": record.name,
            "weight": record.weight,
            "max_gpus": record.max_gpus,
            "max_jobs": record.max_jobs,
            "usage_gpu_s": round(shares.decay(record.usage_gpu_s, record.used_until.timestamp(), now, half_life_s), 3),
        }
