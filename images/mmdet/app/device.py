"""Where the arithmetic happens: GPUs when the job was given some, else the CPUs it may use; one process for each GPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from job_files.device import allowed_cpus, require_gpu

RANK, LOCAL_RANK, WORLD_SIZE = "RANK", "LOCAL_RANK", "WORLD_SIZE"  # torchrun's words


def wanted_gpus(config: dict[str, Any]) -> list[int]:
    """The job's ``gpu_id`` as numbers; [] means the CPU."""
    return [int(number) for number in str(config.get("gpu_id") or "").split(",") if number.strip()]


def choose_device(config: dict[str, Any]) -> torch.device:
    """The GPU of this process, or the CPU for a job without; sets the number of threads. Raises ImageError 300102 when it is not there."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(max(1, int(os.environ.get("SLUICE_THREADS") or allowed_cpus() // processes)))
    gpus = wanted_gpus(config)
    if not gpus:
        return torch.device("cpu")
    chosen = gpus[int(os.environ.get(LOCAL_RANK, "0")) % len(gpus)]
    require_gpu(config, chosen)
    torch.cuda.set_device(chosen)
    return torch.device("cuda", chosen)


def join_others(device: torch.device) -> bool:
    """Meets the other processes of the job when torchrun started several; whether it did."""
    if int(os.environ.get(WORLD_SIZE, "1")) < 2:
        return False
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return True


def is_first() -> bool:
    """Whether this process speaks for the job: writes stages, progress and curves."""
    return int(os.environ.get(RANK, "0")) == 0


def agree(values: Sequence[float], device: torch.device) -> list[float]:
    """The largest of each value over all processes, so that all of them stop together."""
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return list(values)
    shared = torch.tensor(values, dtype=torch.float64, device=device)
    torch.distributed.all_reduce(shared, op=torch.distributed.ReduceOp.MAX)
    return [float(value) for value in shared]


def half_precision(device: torch.device, wanted: bool) -> str:
    """The library's word for the number format of mixed precision; '' for full precision, as always on a CPU."""
    if not wanted or device.type != "cuda":
        return ""
    return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
