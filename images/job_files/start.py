"""Starts the job that env.yaml describes: training, mining, inference, or mining followed by inference."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from job_files.contract import (
    CONFIG_ERROR,
    Env,
    ImageError,
    Monitor,
    check_object_type,
    code_of,
    read_env,
    read_mapping,
    trace_of,
)

STOPPED_EXIT_CODE = 143  # 128 + SIGTERM


Job = Callable[[Env, dict[str, Any], Monitor], Any]


@dataclass(frozen=True)
class Jobs:
    """What an image does: ``object_types`` as the contract numbers them, the usual one first, and a function that gives the job of a kind when it
    is needed, for the libraries of one kind may be slow to load. A job finds its object type in its configuration. A training's job says whether
    it came to its end (False: it was asked to stop); one that failed and has told so in monitor.txt already ends with ``sys.exit(1)``.
    """

    object_types: tuple[int, ...]
    train: Callable[[], Job]
    mine: Callable[[], Job]
    infer: Callable[[], Job]


def main(jobs: Jobs) -> int:
    """The exit code. A failure is told in monitor.txt and in the log."""
    # A process with id 1 gets no signal it does not ask for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(STOPPED_EXIT_CODE))
    monitor = None
    try:
        env = read_env()
        monitor = Monitor(env.output("monitor_file"), env.task_id)
        monitor.progress(0.0)
        return run(jobs, env, monitor)
    except Exception as error:
        print(trace_of(error), file=sys.stderr, flush=True)
        print(f"failed with {code_of(error)}: {error}", file=sys.stderr, flush=True)
        if monitor:
            monitor.error(code_of(error), str(error) or type(error).__name__, trace_of(error))
        return 1


def run(jobs: Jobs, env: Env, monitor: Monitor) -> int:
    """Runs what is asked for, one after the other; each part gets its share of the progress."""
    config: dict[str, Any] = read_mapping(Path(env.input("config_file")))
    config["object_type"] = check_object_type(config, *jobs.object_types)
    if env.run_training:
        return 0 if jobs.train()(env, config, monitor) else STOPPED_EXIT_CODE
    if not (env.run_mining or env.run_infer):
        raise ImageError(CONFIG_ERROR, "env.yaml asks for none of run_training, run_mining, run_infer")
    both = env.run_mining and env.run_infer
    if env.run_mining:
        monitor.span(0.0, 0.5 if both else 1.0)
        jobs.mine()(env, config, monitor)
    if env.run_infer:
        monitor.span(0.5 if both else 0.0, 1.0)
        jobs.infer()(env, config, monitor)
    return 0
