"""Samples of what a job used, and what they say together. Pure but for ``write_table``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from runner.run_dir import sync_to_disk

_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True)
class GpuUse:
    """One card or slice; None: the device did not say."""

    uuid: str
    utilization_fraction: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class UsageSample:
    """One moment, or ``readings`` moments in one: the highest memory and processes, the mean utilisation, otherwise the last value.

    ``time`` is Unix seconds, ``cpu_seconds`` counts from the container's start, ``out_bytes`` is the disk that /out takes. None: not known.
    """

    time: float
    container: str = ""
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    cpu_seconds: float | None = None
    pids: int | None = None
    out_bytes: int | None = None
    gpus: tuple[GpuUse, ...] = ()
    readings: int = 1


def to_line(sample: UsageSample) -> bytes:
    return json.dumps(asdict(sample), separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> UsageSample | None:
    """None for a line that a crash cut off or left unreadable."""
    try:
        values = json.loads(line)
        return UsageSample(**{**values, "gpus": tuple(GpuUse(**gpu) for gpu in values["gpus"])})
    except (ValueError, TypeError, KeyError):
        return None


def merged(samples: Sequence[UsageSample]) -> UsageSample:
    """One sample for several that follow each other; at least one."""
    if len(samples) == 1:
        return samples[0]
    last = samples[-1]
    uuids = {gpu.uuid: None for sample in samples for gpu in sample.gpus}
    return UsageSample(
        time=last.time,
        container=last.container,
        memory_bytes=_highest(sample.memory_bytes for sample in samples),
        memory_limit_bytes=last.memory_limit_bytes,
        cpu_seconds=_highest(sample.cpu_seconds for sample in samples),
        pids=_highest(sample.pids for sample in samples),
        out_bytes=_last([sample.out_bytes for sample in samples]),
        gpus=tuple(_merged_gpu(uuid, samples) for uuid in uuids),
        readings=sum(sample.readings for sample in samples),
    )


def summarize(samples: Sequence[UsageSample]) -> dict[str, Any]:
    """The whole job in a few numbers; each attempt's CPU time counts."""
    if not samples:
        return {}
    whole = merged(samples)
    by_container = {sample.container: 0.0 for sample in samples}
    for sample in samples:
        by_container[sample.container] = max(by_container[sample.container], sample.cpu_seconds or 0.0)
    return {
        "samples": whole.readings,
        "from": samples[0].time,
        "to": samples[-1].time,
        "cpu_seconds": round(sum(by_container.values()), 3),
        "max_memory_bytes": whole.memory_bytes,
        "memory_limit_bytes": whole.memory_limit_bytes,
        "max_pids": whole.pids,
        "out_bytes": whole.out_bytes,
        "mean_gpu_utilization_fraction": _mean(_utilizations(samples)),
        "max_gpu_utilization_fraction": _highest(value for value, _ in _utilizations(samples)),
        "max_gpu_memory_bytes": _highest(gpu.memory_bytes for gpu in whole.gpus),
        "gpus": {
            gpu.uuid: {"mean_utilization_fraction": gpu.utilization_fraction, "max_memory_bytes": gpu.memory_bytes} for gpu in whole.gpus
        },
    }


def write_table(samples: Sequence[UsageSample], file: Path) -> None:
    """One row for each sample, and one for each GPU in it: what the container used stands only in the first, so that nothing counts twice."""
    import pyarrow as pa  # here: a process that only samples does not need it
    import pyarrow.parquet as pq

    columns = {"time": pa.timestamp("ms", "UTC"), "container": pa.string(), "readings": pa.int64()}
    columns |= {name: pa.int64() for name in ("memory_bytes", "memory_limit_bytes", "pids", "out_bytes", "gpu_memory_bytes")}
    columns |= {"cpu_seconds": pa.float64(), "gpu_uuid": pa.string(), "gpu_utilization_fraction": pa.float64()}
    rows = [row for sample in samples for row in _rows(sample)]
    aside = file.with_name(f".{file.name}.new")
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(list(columns.items()))), aside)
    sync_to_disk(aside)
    aside.replace(file)


def _rows(sample: UsageSample) -> Iterator[dict[str, Any]]:
    both = {"time": round(sample.time * 1000), "container": sample.container, "readings": sample.readings}
    own = ("memory_bytes", "memory_limit_bytes", "cpu_seconds", "pids", "out_bytes")
    yield {**both, **{name: getattr(sample, name) for name in own}}
    for gpu in sample.gpus:
        yield {**both, "gpu_uuid": gpu.uuid, "gpu_utilization_fraction": gpu.utilization_fraction, "gpu_memory_bytes": gpu.memory_bytes}


def _merged_gpu(uuid: str, samples: Sequence[UsageSample]) -> GpuUse:
    used = _highest(gpu.memory_bytes for sample in samples for gpu in sample.gpus if gpu.uuid == uuid)
    return GpuUse(uuid, _mean(_utilizations(samples, uuid)), used)


def _utilizations(samples: Sequence[UsageSample], uuid: str | None = None) -> list[tuple[float, int]]:
    """Each value with the number of readings it stands for."""
    pairs = ((gpu, sample.readings) for sample in samples for gpu in sample.gpus if uuid in (None, gpu.uuid))
    return [(gpu.utilization_fraction, readings) for gpu, readings in pairs if gpu.utilization_fraction is not None]


def _mean(weighted: Sequence[tuple[float, int]]) -> float | None:
    weight = sum(readings for _, readings in weighted)
    return round(sum(value * readings for value, readings in weighted) / weight, 4) if weight else None


def _highest(values: Iterable[_Number | None]) -> _Number | None:
    return max((value for value in values if value is not None), default=None)


def _last(values: Sequence[int | None]) -> int | None:
    return next((value for value in reversed(values) if value is not None), None)
