"""Starts the job that env.yaml describes: training, mining, inference, or mining followed by inference."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from contract import CONFIG_ERROR, Env, ImageError, Monitor, code_of, read_env, read_mapping, read_object_type, read_parameters, trace_of
from parameters import TrainingParameters

WORLD_SIZE = "WORLD_SIZE"  # torchrun's word for the number of its processes
STOPPED_EXIT_CODE = 143  # 128 + SIGTERM


def main() -> int:
    """The exit code. A failure is told in monitor.txt and in the log."""
    # A process with id 1 gets no signal it does not ask for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED_EXIT_CODE))
    monitor = None
    try:
        env = read_env()
        monitor = Monitor(env.output("monitor_file"), env.task_id)
        monitor.progress(0.0)
        return run(env, monitor)
    except Exception as error:
        print(trace_of(error), file=sys.stderr, flush=True)
        print(f"failed with {code_of(error)}: {error}", file=sys.stderr, flush=True)
        if monitor:
            monitor.error(code_of(error), str(error) or type(error).__name__, trace_of(error))
        return 1


def run(env: Env, monitor: Monitor) -> int:
    """Runs what is asked for, one after the other; each part gets its share of the progress."""
    config: dict[str, Any] = read_mapping(Path(env.input("config_file")))
    read_object_type(config)
    if env.run_training:
        return train(env, config, monitor)
    if not (env.run_mining or env.run_infer):
        raise ImageError(CONFIG_ERROR, "env.yaml asks for none of run_training, run_mining, run_infer")
    both = env.run_mining and env.run_infer
    if env.run_mining:
        from mine import mine

        monitor.span(0.0, 0.5 if both else 1.0)
        mine(env, config, monitor)
    if env.run_infer:
        from infer import infer

        monitor.span(0.5 if both else 0.0, 1.0)
        infer(env, config, monitor)
    return 0


def train(env: Env, config: dict[str, Any], monitor: Monitor) -> int:
    """Trains in this process, or in one for each GPU. Of several, the first tells the job's failures, and its exit code is the job's."""
    count = process_count(config)
    if count > 1 and WORLD_SIZE not in os.environ:
        return run_processes(count)
    from train import train as train_here

    return 0 if train_here(env, config, monitor) else STOPPED_EXIT_CODE


def process_count(config: dict[str, Any]) -> int:
    """The parameter ``processes``, or one for each of the job's GPUs."""
    gpus = [number for number in str(config.get("gpu_id") or "").split(",") if number.strip()]
    return read_parameters(config, TrainingParameters).processes or max(1, len(gpus))


def run_processes(count: int) -> int:
    """This program once more, ``count`` times, by torchrun on this machine; passes a request to stop on to all of them."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", __file__]
    with subprocess.Popen(command) as group:
        stopping: list[int] = []

        def stop(*_: object) -> None:
            stopping.append(1)
            group.terminate()

        signal.signal(signal.SIGTERM, stop)
        code = group.wait()
    return STOPPED_EXIT_CODE if stopping else min(code, 1)


if __name__ == "__main__":
    sys.exit(main())
