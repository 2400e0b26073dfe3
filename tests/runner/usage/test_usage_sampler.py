"""The sampler over real jobs of the process engine; what fails or hangs concerns only its own job."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import EngineGoneError, GpuSourceError
from contracts.gpu import Gpu, Snapshot
from contracts.seams import ContainerSpec, ContainerStats, Engine
from plugins.engines.process import ProcessEngine
from runner.run_dir import RunDir
from runner.usage import UsageLog
from runner.usage_sampler import FolderSize, UsageSampler

GIB = 1024**3
INTERVAL_S = 0.05


class ScriptedEngine(ProcessEngine):
    """An engine whose answer about a container is what the test says."""

    def __init__(self, state_dir: Path, answer: Callable[[], ContainerStats]) -> None:
        super().__init__(state_dir)
        self._answer = answer
        self.asked = 0

    def stats(self, container_id: str) -> ContainerStats:
        self.asked += 1
        return self._answer()


@pytest.fixture
def sampler() -> Iterator[Callable[..., UsageSampler]]:
    started: list[UsageSampler] = []

    def start(snapshot: Callable[[], Snapshot] = lambda: Snapshot(()), interval_s: float = INTERVAL_S) -> UsageSampler:
        started.append(UsageSampler(snapshot, interval_s))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def new_run_dir(tmp_path: Path) -> Callable[[str], RunDir]:
    def make(name: str = "job") -> RunDir:
        run_dir = RunDir(tmp_path / name)
        run_dir.create()
        return run_dir

    return make


@pytest.fixture
def new_engine(tmp_path: Path) -> Callable[..., ScriptedEngine]:
    return lambda answer=lambda: ContainerStats(memory_bytes=1): ScriptedEngine(tmp_path / "engine", answer)


@pytest.fixture
def running(tmp_path: Path, new_run_dir: Callable[[str], RunDir]) -> Iterator[tuple[Engine, str, RunDir]]:
    """A real job of the process engine that runs until the end of the test."""
    image, run_dir = tmp_path / "image", new_run_dir("running")
    for folder in ("app", "img-man"):
        (image / folder).mkdir(parents=True)
    (image / "app" / "start.sh").write_text(
        "head -c 300000 /dev/zero > $YMIR_OUT/big; exec sleep 600\n".replace("$YMIR_OUT", str(run_dir.out_dir))
    )
    (image / "img-man" / "training-template.yaml").write_text("epochs: 1\n")
    engine = ProcessEngine(tmp_path / "state")
    facts = engine.find_image(str(image))
    assert facts is not None
    container = engine.create(ContainerSpec("used", facts.digest, run_dir.in_dir, run_dir.out_dir, reference=facts.reference))
    engine.start(container)
    yield engine, container, run_dir
    engine.stop(container, 0.1)
    engine.remove(container)


def wait_until(true: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def summary(run_dir: RunDir) -> dict[str, Any]:
    return UsageLog(run_dir).summary()


def test_a_running_job_is_sampled_and_its_use_is_kept(sampler: Callable[..., UsageSampler], running: tuple[Engine, str, RunDir]) -> None:
    engine, container, run_dir = running
    wait_until(lambda: (run_dir.out_dir / "big").exists() and (run_dir.out_dir / "big").stat().st_size == 300_000)
    usage = sampler()
    usage.register("t1", engine, container, (), run_dir)
    wait_until(lambda: summary(run_dir).get("samples", 0) >= 3)
    usage.unregister("t1")
    used = UsageLog(run_dir).finish()
    assert used["max_memory_bytes"] > 0
    assert used["max_pids"] >= 1
    assert used["out_bytes"] >= 300_000


def test_a_jobs_own_gpus_are_sampled_with_one_snapshot_for_all_jobs(
    sampler: Callable[..., UsageSampler], new_engine: Callable[..., ScriptedEngine], new_run_dir: Callable[[str], RunDir]
) -> None:
    taken: list[float] = []

    def snapshot() -> Snapshot:
        taken.append(time.monotonic())
        cards = [Gpu(f"GPU-{n}", n, used_bytes=(n + 1) * GIB, utilization_fraction=0.5) for n in range(3)]
        return Snapshot((*cards, Gpu("GPU-3", 3, error="lost")))

    engine, dirs = new_engine(), [new_run_dir(name) for name in ("one", "two")]
    usage = UsageSampler(snapshot, 3600.0)  # one round: both jobs are due when it starts
    for name, cards, run_dir in zip(("t1", "t2"), (("GPU-1", "GPU-3"), ("GPU-0", "GPU-2")), dirs, strict=True):
        usage.register(name, engine, f"container of {name}", cards, run_dir)
    time.sleep(1.1)
    usage.start()
    wait_until(lambda: all(summary(run_dir) for run_dir in dirs))
    usage.stop()
    assert len(taken) == 1
    assert [list(summary(run_dir)["gpus"]) for run_dir in dirs] == [["GPU-1"], ["GPU-0", "GPU-2"]]
    assert summary(dirs[1])["max_gpu_memory_bytes"] == 3 * GIB


def test_the_gpus_are_not_read_for_jobs_without_any(
    sampler: Callable[..., UsageSampler], new_engine: Callable[..., ScriptedEngine], new_run_dir: Callable[[str], RunDir]
) -> None:
    def snapshot() -> Snapshot:
        raise AssertionError("nobody asked for the GPUs")

    run_dir, usage = new_run_dir("job"), sampler(snapshot)
    usage.register("t1", new_engine(), "c", (), run_dir)
    wait_until(lambda: summary(run_dir))


def test_gpus_that_cannot_be_read_leave_the_other_values(
    sampler: Callable[..., UsageSampler], new_engine: Callable[..., ScriptedEngine], new_run_dir: Callable[[str], RunDir]
) -> None:
    def snapshot() -> Snapshot:
        raise GpuSourceError("the driver hangs")

    run_dir, usage = new_run_dir("job"), sampler(snapshot)
    usage.register("t1", new_engine(), "c", ("GPU-0",), run_dir)
    wait_until(lambda: summary(run_dir))
    assert (summary(run_dir)["max_memory_bytes"], summary(run_dir)["gpus"]) == (1, {})


def test_an_engine_that_hangs_or_fails_takes_no_samples_from_another(
    sampler: Callable[..., UsageSampler], new_engine: Callable[..., ScriptedEngine], new_run_dir: Callable[[str], RunDir]
) -> None:
    released = threading.Event()

    def hang() -> ContainerStats:
        released.wait(60)
        return ContainerStats(memory_bytes=2)

    def fail() -> ContainerStats:
        raise EngineGoneError("it is away")

    usage, engines = sampler(), {"hanging": new_engine(hang), "failing": new_engine(fail), "well": new_engine()}
    dirs = {name: new_run_dir(name) for name in engines}
    for name, engine in engines.items():
        usage.register(name, engine, "c", (), dirs[name])
    wait_until(lambda: engines["hanging"].asked and engines["failing"].asked >= 3 and summary(dirs["well"]).get("samples", 0) >= 3)
    assert engines["hanging"].asked == 1
    usage.unregister("hanging")  # waits for no engine
    released.set()
    assert summary(dirs["failing"]) == {}
    assert not (dirs["hanging"].path / "usage.jsonl").exists()


def test_jobs_of_one_engine_do_not_wait_for_each_other(
    sampler: Callable[..., UsageSampler], new_engine: Callable[..., ScriptedEngine], new_run_dir: Callable[[str], RunDir]
) -> None:
    together = threading.Barrier(4)

    def answer_when_all_are_asked() -> ContainerStats:
        together.wait(60)
        return ContainerStats(memory_bytes=1)

    engine, usage = new_engine(answer_when_all_are_asked), UsageSampler(lambda: Snapshot(()), 3600.0)
    dirs = [new_run_dir(str(number)) for number in range(4)]
    for run_dir in dirs:
        usage.register(run_dir.path.name, engine, "c", (), run_dir)
    time.sleep(1.1)  # all are due at the start
    usage.start()
    wait_until(lambda: all(summary(run_dir) for run_dir in dirs))
    usage.stop()


def test_a_container_that_does_not_run_gives_no_sample(
    sampler: Callable[..., UsageSampler], new_engine: Callable[..., ScriptedEngine], new_run_dir: Callable[[str], RunDir]
) -> None:
    engine, run_dir, usage = new_engine(ContainerStats), new_run_dir("job"), sampler()
    usage.register("t1", engine, "c", (), run_dir)
    wait_until(lambda: engine.asked >= 2)
    assert summary(run_dir) == {}


def test_a_file_that_cannot_be_written_ends_no_thread(
    sampler: Callable[..., UsageSampler], new_engine: Callable[..., ScriptedEngine], new_run_dir: Callable[[str], RunDir]
) -> None:
    engine, run_dir, usage = new_engine(), new_run_dir("job"), sampler()
    (run_dir.path / "usage.jsonl").mkdir()
    usage.register("t1", engine, "c", (), run_dir)
    wait_until(lambda: engine.asked >= 3)
    (run_dir.path / "usage.jsonl").rmdir()
    wait_until(lambda: summary(run_dir))


def test_a_job_that_is_registered_before_the_start_is_sampled_after_it(
    new_engine: Callable[..., ScriptedEngine], new_run_dir: Callable[[str], RunDir]
) -> None:
    run_dir, usage = new_run_dir("job"), UsageSampler(lambda: Snapshot(()), INTERVAL_S)
    usage.register("t1", new_engine(), "c", (), run_dir)
    usage.start()
    wait_until(lambda: summary(run_dir))
    usage.stop()
    usage.stop()


def test_without_an_interval_nothing_is_sampled(
    sampler: Callable[..., UsageSampler], new_engine: Callable[..., ScriptedEngine], new_run_dir: Callable[[str], RunDir]
) -> None:
    engine, usage = new_engine(), sampler(interval_s=0.0)
    usage.register("t1", engine, "c", (), new_run_dir("job"))
    usage.unregister("t1")
    usage.unregister("t1")
    assert engine.asked == 0


def test_what_out_takes_is_measured_now_and_then_and_never_for_long(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for number in range(20):
        (tmp_path / "sub" / str(number)).write_bytes(b"x" * 4096)
    (tmp_path / "elsewhere").symlink_to("/")
    whole, part = FolderSize(tmp_path), FolderSize(tmp_path, most_entries=10)
    assert 20 * 4096 <= whole.measure() < 1024**2
    assert 0 < part.measure() < whole.measure()
    (tmp_path / "more").write_bytes(b"x" * 1024**2)
    assert whole.measure() < 1024**2  # as it was a moment ago
    assert FolderSize(tmp_path).measure() > 1024**2


def test_a_folder_that_is_not_there_takes_nothing(tmp_path: Path) -> None:
    assert FolderSize(tmp_path / "gone").measure() == 0


def test_lines_are_plain_json(
    sampler: Callable[..., UsageSampler], new_engine: Callable[..., ScriptedEngine], new_run_dir: Callable[[str], RunDir]
) -> None:
    run_dir, usage = new_run_dir("job"), sampler()
    usage.register("t1", new_engine(), "0123456789abcdef", (), run_dir)
    wait_until(lambda: summary(run_dir))
    line = json.loads((run_dir.path / "usage.jsonl").read_bytes().splitlines()[0])
    assert (line["container"], line["memory_bytes"]) == ("0123456789ab", 1)


def test_a_stop_in_the_middle_of_the_start_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler, start = UsageSampler(lambda: Snapshot(()), 1.0), threading.Thread.start

    def stop_and_start(thread: threading.Thread) -> None:
        sampler.stop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", stop_and_start)
    sampler.start()
    sampler.stop()
