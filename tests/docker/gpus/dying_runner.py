"""A runner that takes one job from its lease to its end, and kills itself with SIGKILL when it has done the step that is named.

``python -m tests.docker.gpus.dying_runner FOLDER STEP``; the engine is the one of DOCKER_HOST, the cards those of LD_LIBRARY_PATH.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import docker

from plugins.engines.docker import DockerEngine
from plugins.gpus.nvml import NvmlSource
from registry.database import Database
from tests.docker.gpus.books import JOB, Host, open_pool
from tests.docker.gpus.lab import Lab


def main(folder: Path, last: str) -> None:
    """``looked`` and ``started`` are inside the lock, after the last look at the cards."""

    def done(step: str) -> None:
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    engine = DockerEngine()
    database = Database.open(folder / "sluice.db")
    host = Host(Lab(engine, docker.from_env, folder), open_pool(database, engine, NvmlSource(), folder / "gpu.lock"), database)
    uuids = host.pool.lease(JOB, 1, 2)
    done("leased")
    container_id = host.create_on(JOB, uuids)
    done("created")
    with host.pool.confirm_start(JOB, 1, container_id):
        done("looked")
        engine.start(container_id)
        done("started")
    done("active")
    engine.stop(container_id, 1)
    done("stopped")
    engine.remove(container_id)
    done("removed")
    host.pool.release(JOB, 1)
    done("released")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
