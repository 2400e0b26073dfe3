"""What every engine must do: the five guarantees and each method's word, with real processes.

A subclass provides the fixtures ``new_engine`` (a function that makes another engine object over the same jobs, as a new process would) and
``image`` (the facts of tests/images/probe on this engine). Tests of a promise that the engine does not make (``capabilities``) are skipped.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConflictError, EngineError, ImageError, ImageMissingError, PullError, StartError
from contracts.image import ImageFacts, Permissions
from contracts.seams import ContainerSpec, ContainerStatus, Engine

PROBE = Path(__file__).parents[1] / "images" / "probe"
INSTALLATION = "sluice.installation"
MIB = 1024**2
_PATIENCE_S = 60.0


class Job:
    """One job folder for the probe, written by hand: the conformance of engines must not hang on a dialect."""

    def __init__(self, engine: Engine, image: ImageFacts, folder: Path, installation: str) -> None:
        self.in_dir, self.out_dir = folder / "in", folder / "out"
        self.in_dir.mkdir(parents=True)
        (self.out_dir / "models").mkdir(parents=True)
        self._engine = engine
        self.spec = ContainerSpec(
            name=f"sluice-test-{uuid.uuid4().hex[:8]}-1",
            image=image.digest,
            reference=image.reference,
            in_dir=self.in_dir,
            out_dir=self.out_dir,
            labels={INSTALLATION: installation, "sluice.job": "t0000001", "sluice.attempt": "1"},
        )

    def ask(self, behaviour: str, **changes: Any) -> Job:
        """Writes config.yaml and env.yaml; ``changes`` are fields of the spec."""
        paths = self._engine.container_paths(self.in_dir, self.out_dir)
        (self.in_dir / "config.yaml").write_text(f"behaviour: {behaviour}\n")
        (self.in_dir / "env.yaml").write_text(
            f"task_id: t0000001\nrun_training: true\ninput:\n  root_dir: {paths.in_dir}\n  config_file: {paths.in_dir}/config.yaml\n"
            f"output:\n  root_dir: {paths.out_dir}\n  models_dir: {paths.out_dir}/models\n  monitor_file: {paths.out_dir}/monitor.txt\n"
        )
        self.spec = replace(self.spec, **changes)
        return self

    def create(self) -> str:
        return self._engine.create(self.spec)

    def start(self) -> str:
        container_id = self.create()
        self._engine.start(container_id)
        return container_id

    def run(self) -> ContainerStatus:
        """Create, watch, start, wait."""
        container_id = self.create()
        with self._engine.watch(container_id) as watch:
            self._engine.start(container_id)
            status = watch.wait(_PATIENCE_S)
        assert status is not None
        return status

    def wait_for(self, name: str) -> Path:
        """Until the probe has written this file into /out."""
        file = self.out_dir / name
        wait_until(lambda: file.exists() and file.stat().st_size > 0, f"{name} in {self.out_dir}")
        return file

    def answer(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.out_dir / name).read_text())
        return content


def wait_until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


@contextmanager
def _listening(engine: Engine, labels: Mapping[str, str]) -> Iterator[list[str]]:
    """What ``hints`` gives, in a thread of its own; inside the block it listens."""
    heard: list[str] = []
    stop = threading.Event()
    thread = threading.Thread(target=lambda: [heard.append(name) for name in engine.hints(labels, stop.is_set)])
    thread.start()
    try:
        wait_until(lambda: bool(heard), "the first sign of life")
        yield heard
    finally:
        stop.set()
        thread.join(_PATIENCE_S)
        assert not thread.is_alive(), "it goes on listening after stop"
        engine.close()


def read_all(engine: Engine, container_id: str) -> tuple[bytes, list[str]]:
    """The whole output and the cursors on the way."""
    data, cursors = b"", [""]
    while (chunk := engine.read_log(container_id, cursors[-1])).cursor != cursors[-1]:
        data += chunk.data
        cursors.append(chunk.cursor)
    return data, cursors


class EngineConformance:
    """Subclass it with ``new_engine`` and ``image``."""

    @pytest.fixture
    def new_engine(self) -> Callable[[], Engine]:
        raise NotImplementedError

    @pytest.fixture
    def image(self) -> ImageFacts:
        raise NotImplementedError

    @pytest.fixture
    def engine(self, new_engine: Callable[[], Engine]) -> Engine:
        return new_engine()

    @pytest.fixture
    def job(self, engine: Engine, image: ImageFacts, tmp_path: Path) -> Iterator[Job]:
        """A job folder; whatever was created under its installation label is gone after the test."""
        installation = uuid.uuid4().hex
        yield Job(engine, image, tmp_path, installation)
        for status in engine.list_containers({INSTALLATION: installation}):
            engine.stop(status.id, 0)
            engine.remove(status.id)

    def need(self, engine: Engine, capability: str) -> None:
        if capability not in engine.capabilities:
            pytest.skip(f"the {engine.name} engine does not promise {capability}")

    # ----------------------------------------------------------------------------------------------------------- images

    def test_the_engine_says_its_name_and_version(self, engine: Engine) -> None:
        info = engine.info()
        assert info.name == engine.name
        assert info.version

    def test_an_image_is_found_by_its_reference_and_one_that_is_not_there_is_none(self, engine: Engine, image: ImageFacts) -> None:
        assert engine.find_image(image.reference) == image
        assert image.digest.startswith("sha256:")
        assert image.has_command
        assert engine.find_image("sluice-test/no-such-image:ever") is None
        assert engine.find_image("") is None

    def test_every_image_an_engine_keeps_is_listed_under_each_of_its_names(self, engine: Engine, image: ImageFacts) -> None:
        listed = engine.list_images()
        assert [facts.reference for facts in listed] == sorted(facts.reference for facts in listed)
        assert listed == [] or (image.reference, image.digest) in [(facts.reference, facts.digest) for facts in listed]
        assert all(facts.size_bytes > 0 for facts in listed if facts.digest == image.digest)

    def test_an_image_that_a_container_uses_is_never_removed(self, engine: Engine, job: Job, image: ImageFacts) -> None:
        job.ask("ok").create()
        for reference in (image.reference, image.digest) if engine.list_images() else ():
            with pytest.raises(ConflictError):
                engine.remove_image(reference)
        assert engine.find_image(image.reference) == image

    def test_removing_an_image_that_is_not_there_frees_nothing(self, engine: Engine, image: ImageFacts) -> None:
        assert engine.remove_image("sluice-test/no-such-image:ever") == 0
        if not engine.list_images():  # what it runs is not its to remove
            assert engine.remove_image(image.reference) == engine.remove_image(image.digest) == 0
        assert engine.find_image(image.reference) == image

    def test_the_files_of_an_image_are_read_without_running_it(self, engine: Engine, image: ImageFacts) -> None:
        files = engine.read_image_files(image.reference, "/img-man", 1 * MIB)
        assert files == {path.name: path.read_bytes() for path in (PROBE / "img-man").iterdir()}
        assert engine.read_image_files(image.reference, "/no-such-folder", 1 * MIB) == {}

    def test_image_files_that_are_too_large_together_are_refused(self, engine: Engine, image: ImageFacts) -> None:
        with pytest.raises(ImageError, match="100 bytes"):
            engine.read_image_files(image.reference, "/img-man", 100)

    def test_files_of_an_image_that_is_missing_are_an_error(self, engine: Engine) -> None:
        with pytest.raises(ImageMissingError):
            engine.read_image_files("sluice-test/no-such-image:ever", "/img-man", 1 * MIB)

    def test_a_pull_that_cannot_succeed_says_so(self, engine: Engine) -> None:
        with pytest.raises(PullError) as caught:
            engine.pull_image("127.0.0.1:9/sluice-test/no-such-image:ever", lambda progress: None)
        assert caught.value.hint

    def test_a_folder_that_cannot_be_built_is_refused(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(ImageError):
            engine.build_image(tmp_path, "sluice-test/empty:latest", {}, lambda line: None)

    # ----------------------------------------------------------------------------------------------------------- create

    def test_a_created_container_has_not_run(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("print-env").create()
        status = engine.status(container_id)
        assert (status.state, status.exit_code, status.started_at, status.ended_at) == ("created", None, None, None)
        assert (status.id, status.name) == (container_id, job.spec.name)
        assert job.spec.labels.items() <= dict(status.labels).items()
        assert not (job.out_dir / "env.json").exists()

    def test_creating_again_adopts_the_container(self, engine: Engine, job: Job, new_engine: Callable[[], Engine]) -> None:
        container_id = job.ask("ok").create()
        assert engine.create(job.spec) == container_id
        assert new_engine().create(job.spec) == container_id

    def test_the_same_name_with_another_label_is_refused_and_the_label_is_named(self, engine: Engine, job: Job) -> None:
        job.ask("ok").create()
        other = replace(job.spec, labels={**job.spec.labels, "sluice.attempt": "2"})
        with pytest.raises(StartError, match="attempt"):
            engine.create(other)

    def test_the_same_name_with_other_folders_is_refused(self, engine: Engine, job: Job, tmp_path: Path) -> None:
        job.ask("ok").create()
        (tmp_path / "other").mkdir()
        with pytest.raises(StartError, match="exists"):
            engine.create(replace(job.spec, in_dir=tmp_path / "other"))

    def test_an_image_that_is_missing_is_named(self, engine: Engine, job: Job) -> None:
        with pytest.raises(ImageMissingError):
            engine.create(replace(job.spec, image=f"sha256:{'0' * 64}"))
        assert engine.status(job.spec.name).state == "gone"

    @pytest.mark.parametrize("part", ["in_dir", "out_dir"])
    def test_a_folder_that_is_missing_is_named_and_not_made(self, engine: Engine, job: Job, tmp_path: Path, part: str) -> None:
        missing = tmp_path / "missing"
        with pytest.raises(StartError, match="missing"):
            engine.create(replace(job.spec, **{part: missing}))
        assert not missing.exists()

    # ------------------------------------------------------------------------------------------------- start, wait, status

    @pytest.mark.parametrize("code", [0, 3])
    def test_the_exit_code_is_the_programs_own(self, job: Job, code: int) -> None:
        status = job.ask(f"exit:{code}").run()
        assert (status.state, status.exit_code, status.out_of_memory) == ("exited", code, False)
        assert status.started_at is not None
        assert status.ended_at is not None
        assert abs(time.time() - status.ended_at) < 3600
        assert status.started_at <= status.ended_at

    def test_a_watch_from_before_the_start_sees_an_instant_end(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("silent").create()
        with engine.watch(container_id) as watch:
            assert watch.wait(0) is None
            engine.start(container_id)
            wait_until(lambda: engine.status(container_id).state == "exited", "the end")
            status = watch.wait(0)
        assert status is not None
        assert (status.state, status.exit_code) == ("exited", 0)

    def test_a_watch_says_nothing_while_the_container_runs_and_may_be_asked_again(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("catch-term").start()
        job.wait_for("ready")
        with engine.watch(container_id) as watch:
            assert watch.wait(0.05) is None
            engine.stop(container_id, 10)
            first, second = watch.wait(10), watch.wait(0)
        assert first is not None
        assert first == second

    def test_a_watch_works_in_any_state(self, engine: Engine, job: Job) -> None:
        status = job.ask("exit:3").run()
        with engine.watch(status.id) as late:
            assert late.wait(0) == status
        engine.remove(status.id)
        with engine.watch(status.id) as watch:
            gone = watch.wait(0)
        assert gone is not None
        assert gone.state == "gone"

    def test_closing_a_watch_leaves_the_container_alone(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("hang").start()
        watch = engine.watch(container_id)
        watch.close()
        watch.close()
        assert engine.status(container_id).state == "running"

    def test_starting_what_runs_or_has_ended_does_nothing(self, engine: Engine, job: Job) -> None:
        status = job.ask("exit:3").run()
        engine.start(status.id)
        assert engine.status(status.id) == status

    def test_starting_twice_runs_once(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("hang").start()
        pid = job.wait_for("ready").read_text()
        engine.start(container_id)
        assert (job.out_dir / "ready").read_text() == pid

    def test_starting_what_was_removed_is_an_error(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("ok").create()
        engine.remove(container_id)
        with pytest.raises(StartError):
            engine.start(container_id)

    @pytest.mark.parametrize("container_id", ["", "sluice-test-never-existed-1", "../../etc", "a" * 64])
    def test_what_never_existed_is_gone_and_nothing_fails(self, engine: Engine, container_id: str) -> None:
        assert engine.status(container_id).state == "gone"
        if container_id:
            engine.stop(container_id, 1)
            engine.remove(container_id)
        assert engine.read_log(container_id, "").data == b""

    def test_status_takes_an_id_or_a_name(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("ok").create()
        assert engine.status(container_id) == engine.status(job.spec.name)

    def test_containers_are_listed_by_all_their_labels(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("ok").create()
        assert [status.id for status in engine.list_containers(job.spec.labels)] == [container_id]
        assert engine.list_containers({**job.spec.labels, "sluice.attempt": "7"}) == []

    def test_a_list_says_id_name_state_and_labels_of_what_runs_and_everything_of_what_ended(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("catch-term").start()
        job.wait_for("ready")
        [listed] = engine.list_containers(job.spec.labels)
        assert (listed.id, listed.name, listed.state, listed.exit_code) == (container_id, job.spec.name, "running", None)
        assert job.spec.labels.items() <= dict(listed.labels).items()
        engine.stop(container_id, 20)
        for _ in range(2):
            assert engine.list_containers(job.spec.labels) == [engine.status(container_id)]

    def test_a_container_under_the_name_of_one_that_was_removed_is_listed_with_its_own_end(self, engine: Engine, job: Job) -> None:
        for code in (3, 4):
            status = job.ask(f"exit:{code}").run()
            assert [listed.exit_code for listed in engine.list_containers(job.spec.labels)] == [code]
            engine.remove(status.id)
            assert engine.list_containers(job.spec.labels) == []

    # ------------------------------------------------------------------------------------------------------------- hints

    def test_an_end_is_hinted_at_by_name_and_the_status_tells_it_then(
        self, engine: Engine, job: Job, new_engine: Callable[[], Engine]
    ) -> None:
        with _listening(new_engine(), {INSTALLATION: job.spec.labels[INSTALLATION]}) as heard:
            container_id = job.ask("catch-term").start()
            job.wait_for("ready")
            time.sleep(1.0)  # an engine that sees every change may name it for its start, too
            heard.clear()
            engine.stop(container_id, 20)
            wait_until(lambda: job.spec.name in heard, "a hint at the end")
            assert engine.status(container_id).state == "exited"
        assert set(heard) <= {"", job.spec.name}

    def test_what_carries_other_labels_is_not_hinted_at(self, job: Job, new_engine: Callable[[], Engine]) -> None:
        with _listening(new_engine(), {INSTALLATION: "another"}) as heard:
            job.ask("exit:0").run()
            heard.clear()
            wait_until(lambda: len(heard) >= 2, "a sign of life each second")
        assert set(heard) == {""}

    def test_listening_ends_soon_after_stop_is_true(self, engine: Engine) -> None:
        assert list(engine.hints({INSTALLATION: "nobody"}, lambda: True)) in ([], [""])

    # ------------------------------------------------------------------------------------------------------------ output

    def test_output_comes_exactly_once_and_the_same_again_from_the_same_cursor(self, engine: Engine, job: Job) -> None:
        status = job.ask("flood:5000000").run()
        data, cursors = read_all(engine, status.id)
        numbers = [int(line[:9]) for line in data.splitlines() if b"xxx" in line]
        assert sorted(numbers) == list(range(len(numbers)))
        assert len(numbers) * 100 >= 5_000_000
        assert len(cursors) > 3, "5 MB came in one piece"
        for before, after in pairwise(cursors):
            chunk = engine.read_log(status.id, before)
            assert chunk.cursor == after
            assert len(chunk.data) <= 1.2 * MIB

    def test_output_is_read_while_it_is_written_without_a_gap(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("talk:40").start()
        data, cursor = b"", ""
        while True:
            ended = engine.status(container_id).state == "exited"
            chunk = engine.read_log(container_id, cursor)
            data, cursor = data + chunk.data, chunk.cursor
            if ended and not chunk.data:
                break
        assert [line for line in data.decode().splitlines() if line.startswith("line")] == [f"line {n}" for n in range(40)]

    def test_output_goes_on_in_another_engine_object_after_the_end(
        self, engine: Engine, job: Job, new_engine: Callable[[], Engine]
    ) -> None:
        status = job.ask("flood:2000000").run()
        first = engine.read_log(status.id, "")
        whole, _ = read_all(engine, status.id)
        data, cursor = first.data, first.cursor
        while (chunk := new_engine().read_log(status.id, cursor)).cursor != cursor:
            data, cursor = data + chunk.data, chunk.cursor
        assert data == whole

    def test_long_lines_and_a_last_line_without_end_come_whole(self, engine: Engine, job: Job) -> None:
        status = job.ask("long-lines").run()
        data, _ = read_all(engine, status.id)
        assert b"\n" + b"a" * 100_000 + b"\n" in data
        assert data.endswith(b" tail without end")

    def test_standard_error_is_output_too(self, engine: Engine, job: Job) -> None:
        status = job.ask("crash").run()
        assert status.exit_code == 1
        assert b"RuntimeError: a defect in the image" in engine.read_log(status.id, "").data

    def test_no_output_yet_is_no_error(self, engine: Engine, job: Job) -> None:
        assert engine.read_log(job.ask("ok").create(), "").data == b""

    # -------------------------------------------------------------------------------------------------------- stop, remove

    def test_stop_reaches_the_program_and_waits_for_it(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("catch-term").start()
        job.wait_for("ready")
        engine.stop(container_id, 20)
        status = engine.status(container_id)
        assert (status.state, status.exit_code) == ("exited", 0)
        assert (job.out_dir / "terminated").exists()
        assert b"terminated politely" in engine.read_log(container_id, "").data

    def test_stop_kills_after_the_grace_what_ignores_it(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("ignore-term").start()
        job.wait_for("ready")
        engine.stop(container_id, 1)
        status = engine.status(container_id)
        assert (status.state, status.exit_code, status.out_of_memory) == ("exited", 137, False)

    def test_stop_and_remove_may_be_repeated(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("hang").start()
        engine.stop(container_id, 0)
        ended = engine.status(container_id)
        engine.stop(container_id, 0)
        assert engine.status(container_id) == ended
        engine.remove(container_id)
        engine.remove(container_id)
        engine.stop(container_id, 0)
        assert engine.status(container_id).state == "gone"

    def test_stopping_what_was_never_started_does_nothing(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("ok").create()
        engine.stop(container_id, 0)
        assert engine.status(container_id).state == "created"

    def test_what_runs_is_not_removed(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("hang").start()
        with pytest.raises(EngineError):
            engine.remove(container_id)
        assert engine.status(container_id).state == "running"

    def test_the_name_is_free_after_remove(self, engine: Engine, job: Job) -> None:
        first = job.ask("exit:3").run()
        engine.remove(first.id)
        second = job.create()
        assert second != first.id
        assert engine.status(first.id).state == "gone"

    @pytest.mark.parametrize("where", ["", "session"])
    def test_no_process_of_a_job_outlives_it(self, engine: Engine, job: Job, where: str) -> None:
        container_id = job.ask(f"spawn-child:{where}").start()
        beat = job.wait_for("child-beat")
        engine.stop(container_id, 0)
        last = beat.read_text()
        time.sleep(0.3)
        assert beat.read_text() == last

    def test_orphans_are_reaped(self, engine: Engine, job: Job) -> None:
        status = job.ask("orphans").run()
        assert b"probe: zombies 0" in engine.read_log(status.id, "").data

    # ----------------------------------------------------------------------------------------------- after a runner's death

    def test_a_new_engine_object_finds_everything(self, engine: Engine, job: Job, new_engine: Callable[[], Engine]) -> None:
        container_id = job.ask("catch-term").start()
        job.wait_for("ready")
        other = new_engine()
        assert other.status(container_id).state == "running"
        assert [status.id for status in other.list_containers(job.spec.labels)] == [container_id]
        with other.watch(container_id) as watch:
            other.stop(container_id, 20)
            assert watch.wait(1) == engine.status(container_id)

    def test_a_container_outlives_the_runner_that_started_it_and_its_exit_code_too(self, engine: Engine, job: Job) -> None:
        """The runner is a process of its own that is killed with SIGKILL while it waits."""
        container_id = job.ask("catch-term").create()
        code = (
            "import sys, pathlib\nfrom importlib import import_module\n"
            "engine = getattr(import_module(sys.argv[1]), sys.argv[2])(pathlib.Path(sys.argv[3]))\n"
            "watch = engine.watch(sys.argv[4])\nengine.start(sys.argv[4])\nprint('started', flush=True)\nwatch.wait(1000)\n"
        )
        kind = type(engine)
        arguments = [sys.executable, "-c", code, kind.__module__, kind.__name__, str(engine.state_dir), container_id]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=PROBE.parents[2]) as runner:
            assert runner.stdout is not None
            assert runner.stdout.readline() == b"started\n"
            job.wait_for("ready")
            runner.kill()
        assert engine.status(container_id).state == "running"
        engine.stop(container_id, 20)
        assert engine.status(container_id).exit_code == 0

    # --------------------------------------------------------------------------------------------------------- stats, copy

    def test_use_is_known_while_it_runs_and_only_then(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("hang").create()
        assert engine.stats(container_id).memory_bytes is None
        engine.start(container_id)
        job.wait_for("ready")
        stats = engine.stats(container_id)
        assert stats.memory_bytes is not None
        assert stats.memory_bytes > 1 * MIB
        assert (stats.pids or 0) >= 1
        assert (stats.cpu_seconds or 0) > 0
        assert stats.memory_limit_bytes is None
        engine.stop(container_id, 0)
        assert engine.stats(container_id).memory_bytes is None

    def test_the_limit_of_memory_is_known_beside_its_use(self, engine: Engine, job: Job) -> None:
        self.need(engine, "memory_limit")
        container_id = job.ask("hang", memory_bytes=128 * MIB).start()
        job.wait_for("ready")
        assert engine.stats(container_id).memory_limit_bytes == 128 * MIB

    @pytest.mark.parametrize("ended", [False, True])
    def test_copies_hold_files_only_and_stay_below_the_folder(self, engine: Engine, job: Job, tmp_path: Path, ended: bool) -> None:
        container_id = job.ask("make-links").start()
        job.wait_for("ready")
        if ended:
            engine.stop(container_id, 0)
        out_dir = engine.container_paths(job.in_dir, job.out_dir).out_dir
        copied = engine.copy_out(container_id, f"{out_dir}/traps", tmp_path / "copy")
        assert copied == [tmp_path / "copy" / "traps" / "inner" / "good.txt"]
        assert copied[0].read_text() == "good"
        assert [path for path in (tmp_path / "copy").rglob("*") if not path.is_dir()] == copied

    def test_one_file_is_copied_and_replaces_a_link_that_stands_in_its_place(self, engine: Engine, job: Job, tmp_path: Path) -> None:
        status = job.ask("exit:0").run()
        precious = tmp_path / "precious"
        precious.write_text("mine")
        (tmp_path / "copy").mkdir()
        (tmp_path / "copy" / "monitor.txt").symlink_to(precious)
        out_dir = engine.container_paths(job.in_dir, job.out_dir).out_dir
        assert engine.copy_out(status.id, f"{out_dir}/monitor.txt", tmp_path / "copy") == [tmp_path / "copy" / "monitor.txt"]
        assert precious.read_text() == "mine"
        assert (tmp_path / "copy" / "monitor.txt").read_text().startswith("t0000001\t")

    def test_copying_what_is_not_there_is_an_error(self, engine: Engine, job: Job, tmp_path: Path) -> None:
        container_id = job.ask("ok").create()
        with pytest.raises(EngineError):
            engine.copy_out(container_id, f"{engine.container_paths(job.in_dir, job.out_dir).out_dir}/nothing", tmp_path / "copy")
        with pytest.raises(EngineError):
            engine.copy_out("sluice-test-never-existed-1", "/out", tmp_path / "copy")

    # ---------------------------------------------------------------------------------------------------------------- GPUs

    def test_a_job_without_gpus_is_told_that_there_are_none(self, job: Job) -> None:
        job.ask("print-env").run()
        assert job.answer("env.json")["env"]["NVIDIA_VISIBLE_DEVICES"] == "void"

    def test_a_job_without_gpus_claims_none(self, engine: Engine, job: Job) -> None:
        job.ask("hang").start()
        assert job.spec.name not in {name for names in engine.gpu_claims().values() for name in names}

    # ----------------------------------------------------------------------------------------------------------- isolation

    def test_a_confined_job_can_do_no_more_than_its_work(self, engine: Engine, job: Job) -> None:
        self.need(engine, "isolation")
        job.ask("look-around", shm_bytes=96 * MIB).run()
        walls = job.answer("walls.json")
        assert [name for name in ("in_writable", "root_writable", "app_writable") if walls[name]] == []
        assert walls["out_writable"]
        assert walls["home_writable"]
        assert walls["tmp_executable"]
        assert walls["interfaces"] == ["lo"]
        assert set(walls["status"]["CapEff"]) == set(walls["status"]["CapBnd"]) == {"0"}
        assert walls["status"]["NoNewPrivs"] == "1"
        assert walls["shm_bytes"] == 96 * MIB

    def test_a_compatible_job_gets_root_network_and_a_writable_root_but_no_new_privileges(self, engine: Engine, job: Job) -> None:
        self.need(engine, "isolation")
        job.ask("look-around", permissions=Permissions(network=True, root=True, writable_root=True)).run()
        walls = job.answer("walls.json")
        assert (walls["uid"], walls["gid"]) == (0, 0)
        assert walls["root_writable"]
        assert walls["app_writable"]
        assert not walls["in_writable"]
        assert len(walls["interfaces"]) > 1
        assert walls["status"]["NoNewPrivs"] == "1"

    @pytest.mark.parametrize(
        ("permission", "wall"), [("network", "interfaces"), ("writable_root", "root_writable"), ("root", "status")], ids=lambda p: str(p)
    )
    def test_a_single_permission_opens_one_wall_only(self, engine: Engine, job: Job, permission: str, wall: str) -> None:
        self.need(engine, "isolation")
        job.ask("look-around", permissions=Permissions(**{permission: True})).run()
        walls = job.answer("walls.json")
        closed = {"interfaces": ["lo"], "root_writable": False, "status": "0" * 16}
        seen = {"interfaces": walls["interfaces"], "root_writable": walls["root_writable"], "status": walls["status"]["CapEff"]}
        assert [name for name in closed if seen[name] != closed[name]] == [wall]

    # -------------------------------------------------------------------------------------------------------------- memory

    def test_a_job_that_takes_more_memory_than_its_limit_is_flagged(self, engine: Engine, job: Job) -> None:
        self.need(engine, "memory_limit")
        status = job.ask("oom:512", memory_bytes=64 * MIB).run()
        assert status.out_of_memory
        assert status.exit_code == 137

    def test_a_job_that_kills_itself_is_not_out_of_memory(self, job: Job) -> None:
        status = job.ask("kill-self").run()
        assert (status.exit_code, status.out_of_memory) == (137, False)

    def test_a_job_that_stays_below_its_limit_is_left_alone(self, engine: Engine, job: Job) -> None:
        self.need(engine, "memory_limit")
        status = job.ask("oom:32", memory_bytes=256 * MIB).run()
        assert (status.exit_code, status.out_of_memory) == (5, False)
