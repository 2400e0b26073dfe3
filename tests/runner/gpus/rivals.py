"""A runner that leases at random, among others that do the same. Also a program: ``python -m tests.runner.gpus.rivals DATABASE HOST WORKER FOLDER``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from contracts.errors import NoGpuError
from plugins.gpus.fake import FakeSource
from registry.database import Database
from runner.gpus import GpuPool

ROUNDS = 6
MOST_CARDS = 3


@contextmanager
def alone_with(uuids: tuple[str, ...], folder: Path) -> Iterator[None]:
    """A folder for every card in use: making one that is there raises, which is how an overlap shows between processes."""
    for uuid in uuids:
        (folder / uuid).mkdir()
    yield
    for uuid in uuids:
        (folder / uuid).rmdir()


def lease_at_random(pool: GpuPool, worker: int, folder: Path, rounds: int = ROUNDS) -> int:
    """How many leases it got; the others were refused."""
    random, got = Random(worker), 0
    for turn in range(rounds):
        job_id = f"t{worker:03d}{turn:04d}"
        try:
            uuids = pool.lease(job_id, 1, random.randint(1, MOST_CARDS))
        except NoGpuError:
            continue
        with alone_with(uuids, folder):
            got += 1
        assert pool.release(job_id, 1)
    return got


if __name__ == "__main__":
    _, file, host, worker, folder = sys.argv
    with Database.open(Path(file)) as database:
        pool = GpuPool(source=FakeSource(), claims=dict, database=database, host=host)
        print(lease_at_random(pool, int(worker), Path(folder)))
