"""Starts the job that env.yaml describes. A kind's modules are loaded when it is asked for: training needs what mining does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

from job_files.contract import DETECTION, INSTANCE_SEGMENTATION, Env, Monitor, read_parameters
from job_files.start import Job, Jobs, main
from parameters import TrainingParameters

WORLD_SIZE = "WORLD_SIZE"  # torchrun's word for the number of its processes


def load_train() -> Job:
    return train


def load_mine() -> Job:
    from mine import mine

    return mine


def load_infer() -> Job:
    from infer import infer

    return infer


def train(env: Env, config: dict[str, Any], monitor: Monitor) -> bool:
    """Trains in this process, or in one for each GPU; False when it was asked to stop."""
    count = process_count(config)
    if count > 1 and WORLD_SIZE not in os.environ:
        return run_processes(count)
    from train import train as train_here

    return train_here(env, config, monitor)


def process_count(config: dict[str, Any]) -> int:
    """The parameter ``processes``, or one for each of the job's GPUs."""
    gpus = [number for number in str(config.get("gpu_id") or "").split(",") if number.strip()]
    return read_parameters(config, TrainingParameters).processes or max(1, len(gpus))


def run_processes(count: int) -> bool:
    """This program once more, ``count`` times, by torchrun on this machine; passes a request to stop on to all of them, and gives False then.

    The first of them tells the job's failures in monitor.txt: there is nothing to add, and this process ends with 1.
    """
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", __file__]
    with subprocess.Popen(command) as group:
        stopping: list[int] = []

        def stop(*_: object) -> None:
            stopping.append(1)
            group.terminate()

        signal.signal(signal.SIGTERM, stop)
        code = group.wait()
    if code and not stopping:
        sys.exit(1)
    return not stopping


JOBS = Jobs((DETECTION, INSTANCE_SEGMENTATION), load_train, load_mine, load_infer)

if __name__ == "__main__":
    sys.exit(main(JOBS))
