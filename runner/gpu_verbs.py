"""What a Runner does with GPUs: shows them and what happened to them, takes cards out of use and back, keeps the pools."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.installation import Installation


class GpuVerbs:
    """Part of ``runner.service.Runner``. A card is named by its uuid, the beginning of one that is unique, or its index."""

    _installation: Installation

    def list_gpus(self) -> list[dict[str, Any]]:
        """Every card and slice with its state and who holds it; also what is missing."""
        return self._installation.gpus.list_gpus()

    def gpu_events(self, uuid: str | None = None, *, limit: int = 50) -> list[dict[str, Any]]:
        """What happened to one card, or to any, newest first."""
        return self._installation.gpus.list_events(uuid, limit=limit)

    def drain_gpu(self, uuid: str, on: bool = True) -> dict[str, Any]:
        """Give no new job a card, or the cards of a pool; with ``on`` False take that back. Jobs that run are left alone."""
        gpus = self._installation.gpus
        return gpus.drain(uuid) if on else gpus.undrain(uuid)

    def clear_gpu(self, uuid: str) -> dict[str, Any]:
        """Somebody looked at the card and calls it healthy; one that is missing is forgotten."""
        return self._installation.gpus.clear(uuid)

    def list_gpu_pools(self) -> list[dict[str, Any]]:
        return self._installation.gpus.list_pools()

    def put_gpu_pool(
        self,
        name: str,
        *,
        purpose: str | None = None,
        slots: int | None = None,
        max_gpus_per_user: int | None = None,
        max_gpus_per_project: int | None = None,
        users: Sequence[str] | None = None,
        projects: Sequence[str] | None = None,
        kinds: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """Make a pool or change it: None leaves a value as it is, -1 takes a quota away, an empty list allows everybody."""
        return self._installation.gpus.put_pool(
            name,
            purpose=purpose,
            slots=slots,
            max_gpus_per_user=max_gpus_per_user,
            max_gpus_per_project=max_gpus_per_project,
            users=users,
            projects=projects,
            kinds=kinds,
        )

    def remove_gpu_pool(self, name: str) -> dict[str, Any]:
        """Refused while cards are in it."""
        return self._installation.gpus.remove_pool(name)

    def assign_gpu(self, uuid: str, pool: str) -> dict[str, Any]:
        """Put a card into a pool; '' is the default pool. Its slices go with it. Jobs that run are left alone."""
        return self._installation.gpus.assign(uuid, pool)
