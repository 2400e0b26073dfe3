"""The samples of a job: nothing whole is lost at a kill, and the Parquet file says what was sampled."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from runner.run_dir import RunDir
from runner.usage import UsageLog
from runner.usage_samples import GpuUse, UsageSample, from_line, to_line

BEGIN = 1_700_000_000.0
GIB = 1024**3


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    run_dir = RunDir(tmp_path)
    run_dir.create()
    return run_dir


def sample(at_s: float, **values: object) -> UsageSample:
    given = {"container": "c1", "memory_bytes": GIB, "cpu_seconds": at_s, "pids": 2, "out_bytes": 10} | values
    return UsageSample(BEGIN + at_s, **given)  # type: ignore[arg-type]


def files(run_dir: RunDir) -> list[str]:
    return sorted(path.name for path in run_dir.path.glob("*usage*"))


def test_samples_become_a_parquet_file_and_a_summary(run_dir: RunDir) -> None:
    log = UsageLog(run_dir)
    log.append(sample(0))
    log.append(sample(5, memory_bytes=3 * GIB, memory_limit_bytes=4 * GIB, pids=7))
    log.append(sample(10, memory_bytes=2 * GIB, out_bytes=30))
    summary = log.finish()
    assert files(run_dir) == ["usage.json", "usage.parquet"]
    assert pq.read_table(run_dir.path / "usage.parquet").column("memory_bytes").to_pylist() == [GIB, 3 * GIB, 2 * GIB]
    expected = {
        "samples": 3,
        "cpu_seconds": 10.0,
        "max_memory_bytes": 3 * GIB,
        "max_pids": 7,
        "out_bytes": 30,
        "from": BEGIN,
        "to": BEGIN + 10,
    }
    assert {name: summary[name] for name in expected} == expected


def test_the_summary_is_there_at_any_moment_of_the_end(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    UsageLog(run_dir).append(sample(0))
    read = UsageLog._read

    def read_when_it_has_ended(log: UsageLog) -> list[UsageSample]:
        monkeypatch.undo()
        UsageLog(run_dir).finish()
        return read(log)

    monkeypatch.setattr(UsageLog, "_read", read_when_it_has_ended)
    assert UsageLog(run_dir).summary()["samples"] == 1
    assert files(run_dir) == ["usage.json", "usage.parquet"]


def test_each_gpu_has_rows_of_its_own_so_that_nothing_counts_twice(run_dir: RunDir) -> None:
    log = UsageLog(run_dir)
    for at_s, busy in ((0, 0.5), (5, 1.0)):
        log.append(sample(at_s, gpus=(GpuUse("GPU-0", busy, GIB), GpuUse("GPU-1", None, 2 * GIB))))
    summary = log.finish()
    rows = pq.read_table(run_dir.path / "usage.parquet").to_pylist()
    assert [(row["gpu_uuid"], row["memory_bytes"], row["gpu_memory_bytes"]) for row in rows[:3]] == [
        (None, GIB, None),
        ("GPU-0", None, GIB),
        ("GPU-1", None, 2 * GIB),
    ]
    assert (summary["mean_gpu_utilization_fraction"], summary["max_gpu_memory_bytes"]) == (0.75, 2 * GIB)
    assert summary["gpus"]["GPU-1"] == {"mean_utilization_fraction": None, "max_memory_bytes": 2 * GIB}


def test_the_summary_is_the_same_before_and_after_the_end_and_when_it_is_asked_again(run_dir: RunDir) -> None:
    log = UsageLog(run_dir)
    log.append(sample(0))
    before = UsageLog(run_dir).summary()
    assert log.finish() == before == UsageLog(run_dir).summary() == UsageLog(run_dir).finish()


def test_a_job_that_was_never_sampled_has_no_files(run_dir: RunDir) -> None:
    assert UsageLog(run_dir).finish() == {} == UsageLog(run_dir).summary()
    assert files(run_dir) == []


def test_another_process_goes_on_where_the_first_was_killed(run_dir: RunDir) -> None:
    UsageLog(run_dir).append(sample(0))
    with (run_dir.path / "usage.jsonl").open("ab") as file:
        file.write(to_line(sample(5))[:-20])  # torn by the kill
    log = UsageLog(run_dir)
    log.append(sample(10))
    assert log.finish()["samples"] == 2
    assert pq.read_table(run_dir.path / "usage.parquet").column("cpu_seconds").to_pylist() == [0.0, 10.0]


def test_a_torn_end_is_left_out_also_when_nobody_goes_on(run_dir: RunDir) -> None:
    UsageLog(run_dir).append(sample(0))
    with (run_dir.path / "usage.jsonl").open("ab") as file:
        file.write(b'{"time": 17')
    assert UsageLog(run_dir).finish()["samples"] == 1


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b"\n\n", b'{"time": 17'])
def test_a_file_without_a_whole_line_is_as_good_as_none(run_dir: RunDir, content: bytes) -> None:
    (run_dir.path / "usage.jsonl").write_bytes(content)
    assert UsageLog(run_dir).finish() == {}
    assert files(run_dir) == []


def test_killed_before_the_samples_were_removed_it_is_all_made_once_more(run_dir: RunDir) -> None:
    log = UsageLog(run_dir)
    log.append(sample(0))
    lines = (run_dir.path / "usage.jsonl").read_bytes()
    summary = log.finish()
    (run_dir.path / "usage.jsonl").write_bytes(lines)
    assert UsageLog(run_dir).finish() == summary
    assert files(run_dir) == ["usage.json", "usage.parquet"]


KILLED = """
import os, signal, sys
from pathlib import Path
from runner.run_dir import RunDir
from runner.usage import UsageLog
from runner.usage_samples import UsageSample
log = UsageLog(RunDir(Path(sys.argv[1])))
for number in range(int(sys.argv[2])):
    log.append(UsageSample(1000.0 + number, "c1", memory_bytes=number))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_every_sample_that_was_written_survives_kill_9(run_dir: RunDir) -> None:
    for _ in range(2):
        subprocess.run([sys.executable, "-c", KILLED, str(run_dir.path), "20"], check=False)
    assert UsageLog(run_dir).finish()["samples"] == 40


def test_after_the_close_nothing_is_added(run_dir: RunDir) -> None:
    log = UsageLog(run_dir)
    log.append(sample(0))
    log.close()
    log.append(sample(5))
    assert log.finish()["samples"] == 1


def test_a_long_job_keeps_its_highest_values_in_fewer_lines(run_dir: RunDir) -> None:
    log, seconds = UsageLog(run_dir), range(0, 200_000, 5)
    for at_s in seconds:
        used = 9 * GIB if at_s == 150_005 else GIB
        log.append(sample(at_s, memory_bytes=used, gpus=(GpuUse("GPU-0", 1.0 if at_s < 100_000 else 0.0, used),)))
    lines = (run_dir.path / "usage.jsonl").read_bytes().count(b"\n")
    summary = log.finish()
    assert lines < len(seconds) / 2
    assert (summary["samples"], summary["cpu_seconds"]) == (len(seconds), 199_995.0)
    assert (summary["max_memory_bytes"], summary["max_gpu_memory_bytes"]) == (9 * GIB, 9 * GIB)
    assert summary["mean_gpu_utilization_fraction"] == 0.5


def test_a_clock_that_is_set_back_stops_nothing(run_dir: RunDir) -> None:
    log = UsageLog(run_dir)
    for at_s in (100_000, 99_000, -5_000, 99_005):
        log.append(sample(at_s))
    assert (run_dir.path / "usage.jsonl").read_bytes().count(b"\n") == 4


def test_the_cpu_time_of_each_attempt_counts(run_dir: RunDir) -> None:
    log = UsageLog(run_dir)
    for at_s, container, cpu_seconds in ((0, "c1", 3.0), (5, "c1", 8.0), (60, "c2", 1.0)):
        log.append(sample(at_s, container=container, cpu_seconds=cpu_seconds))
    assert log.finish()["cpu_seconds"] == 9.0


def test_what_the_engine_does_not_know_is_null(run_dir: RunDir) -> None:
    log = UsageLog(run_dir)
    log.append(UsageSample(BEGIN, "c1", memory_bytes=5))
    summary = log.finish()
    assert (summary["max_pids"], summary["cpu_seconds"], summary["mean_gpu_utilization_fraction"]) == (None, 0.0, None)
    json.dumps(summary, allow_nan=False)


def test_a_run_directory_that_cannot_be_written_fails_nobody_and_keeps_the_samples(run_dir: RunDir) -> None:
    log = UsageLog(run_dir)
    log.append(sample(0))
    (run_dir.path / "usage.parquet").mkdir()  # what nobody can replace by a file, root included
    assert log.finish()["samples"] == 1
    assert (run_dir.path / "usage.jsonl").exists()
    (run_dir.path / "usage.parquet").rmdir()
    assert UsageLog(run_dir).finish()["samples"] == 1
    assert files(run_dir) == ["usage.json", "usage.parquet"]


def test_a_line_reads_as_it_was_written() -> None:
    written = sample(1.5, gpus=(GpuUse("GPU-0", 0.25, 7),))
    assert from_line(to_line(written)) == written
