"""A host whose three books are real: leases in a registry, containers on the private engine, processes on the cards of our stand-in for NVML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contracts.image import Kind
from contracts.job import GpuWish, container_name
from contracts.seams import Engine, GpuSource
from registry import jobs
from registry.database import Database
from runner.gpus import GpuPool
from tests.docker.gpus.lab import HOLD, Lab

HOST = "lab"
JOB = "job"


def open_pool(database: Database, engine: Engine, source: GpuSource, lock_file: Path) -> GpuPool:
    """The GPUs as any runner of this installation sees them."""
    return GpuPool(source=source, claims=engine.gpu_claims, database=database, host=HOST, lock_file=lock_file)


class Host:
    """Jobs with leases and containers, driven step by step as a runner does."""

    def __init__(self, lab: Lab, pool: GpuPool, database: Database) -> None:
        self.lab = lab
        self.pool = pool
        self.database = database

    def add_job(self, job_id: str) -> None:
        with self.database.writing() as session:
            jobs.add_job(
                session,
                id=job_id,
                kind=Kind.TRAINING,
                spec={},
                plan={},
                image_name="gpu",
                image_reference="sluice-test/gpu:latest",
                image_digest="sha256:0",
                engine="docker",
                run_dir=f"runs/{job_id}",
            )

    def start_job(self, job_id: str, count: int, wish: GpuWish | None = None, script: str = HOLD) -> tuple[str, ...]:
        """The cards of a job that runs now."""
        self.add_job(job_id)
        uuids = self.pool.lease(job_id, 1, count, wish or GpuWish())
        self.start_on(job_id, uuids, script)
        return uuids

    def start_on(self, job_id: str, uuids: Sequence[str], script: str = HOLD) -> str:
        container_id = self.create_on(job_id, uuids, script)
        with self.pool.confirm_start(job_id, 1, container_id):
            self.lab.engine.start(container_id)
        return container_id

    def create_on(self, job_id: str, uuids: Sequence[str], script: str = HOLD) -> str:
        container_id = self.lab.engine.create(self.lab.spec(uuids, script, name=container_name(job_id, 1)))
        with self.database.writing() as session:
            jobs.update_job(session, job_id, container_id=container_id)
        return container_id

    def end_job(self, job_id: str) -> bool:
        """Whether all its cards could be given back at once."""
        self.lab.engine.stop(container_name(job_id, 1), 1)
        self.lab.engine.remove(container_name(job_id, 1))
        return self.pool.release(job_id, 1)

    def cards(self) -> dict[str, dict[str, Any]]:
        return {card["uuid"]: card for card in self.pool.list_gpus()}

    def states(self) -> list[str]:
        return [card["state"] for card in self.pool.list_gpus()]
