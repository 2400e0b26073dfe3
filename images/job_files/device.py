"""Where the arithmetic happens: a GPU when the job was given one, else the CPUs it may use."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from job_files.contract import NO_GPU_ERROR, ImageError


def choose_device(config: dict[str, Any]) -> torch.device:
    """The first GPU of ``gpu_id`` ('' is the CPU); sets the number of threads. Raises ImageError 300102 when it is not there."""
    torch.set_num_threads(allowed_cpus())
    wanted = str(config.get("gpu_id") or "").strip()
    if not wanted:
        return torch.device("cpu")
    first = wanted.split(",")[0]
    require_gpu(config, int(first))
    return torch.device("cuda", int(first))


def require_gpu(config: dict[str, Any], number: int) -> None:
    """Raises ImageError 300102, with the job's ``gpu_id`` and why, when torch cannot use this GPU."""
    if not torch.cuda.is_available() or number >= torch.cuda.device_count():
        build = "no CUDA in this build of torch" if torch.version.cuda is None else "torch sees no such GPU"
        raise ImageError(
            NO_GPU_ERROR, f"gpu_id {str(config['gpu_id'])!r}: {build} (torch {torch.__version__}); run with 0 GPUs for the CPU"
        )


def allowed_cpus(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """CPUs this container may use at once: its affinity, cut by a cgroup's quota (version 2 or 1)."""
    count = len(os.sched_getaffinity(0))
    try:
        if (cgroup / "cpu.max").exists():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota, period = ((cgroup / "cpu" / name).read_text() for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
        return max(1, min(count, round(int(quota) / int(period)))) if int(quota) > 0 else count
    except (OSError, ValueError):
        return count


def as_input(pictures: Any, device: torch.device) -> Tensor:
    """(n, H, W, 3) uint8 array to (n, 3, H, W) float, roughly in [-2, 2]."""
    batch = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2)
    return batch.float().sub_(114.0).div_(58.0)


def precision(device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 where a GPU does it, full precision elsewhere."""
    enabled = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)
