"""The Docker engine: the conformance of every engine, and what is its own, against the running daemon."""

from __future__ import annotations

import io
import subprocess
import tarfile
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from contracts.errors import EngineGoneError, ImageError, PullError, StartError
from contracts.image import ImageFacts, Permissions
from contracts.seams import Engine
from plugins.engines.docker import DockerEngine
from plugins.engines.docker_log_api import ApiReader
from plugins.engines.docker_spec import READER_LABEL
from tests.conformance.engine import MIB, EngineConformance, Job, read_all, wait_until

pytestmark = pytest.mark.docker
_CARD = "GPU-12345678-1234-1234-1234-123456789abc"


@pytest.fixture
def inspect() -> Callable[[str], dict]:
    client = docker.APIClient(version="auto")
    yield client.inspect_container
    client.close()


class TestDockerEngine(EngineConformance):
    @pytest.fixture
    def new_engine(self) -> Callable[[], Engine]:
        return DockerEngine

    @pytest.fixture
    def image(self, probe_image: ImageFacts) -> ImageFacts:
        return probe_image

    # ------------------------------------------------------------------------------------------------------------ stats

    def test_the_kernels_files_and_the_engine_say_the_same_of_what_it_uses(
        self, engine: Engine, job: Job, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        container_id = job.ask("hang", memory_bytes=128 * MIB).start()
        job.wait_for("ready")
        read = engine.stats(container_id)
        monkeypatch.setattr("plugins.engines.docker.find_folders", lambda *_: None)  # as when the engine is on another machine
        with closing(DockerEngine()) as elsewhere:
            told = elsewhere.stats(container_id)
        assert (read.pids, read.memory_limit_bytes) == (told.pids, told.memory_limit_bytes) == (told.pids, 128 * MIB)
        assert read.memory_bytes == pytest.approx(told.memory_bytes, abs=2 * MIB)
        assert read.cpu_seconds == pytest.approx(told.cpu_seconds, abs=2.0)

    # ----------------------------------------------------------------------------------------------------------- create

    def test_nothing_of_the_image_is_overridden(self, job: Job) -> None:
        job.ask("print-env").run()
        answer = job.answer("env.json")
        assert answer["cwd"] == "/app"
        assert answer["env"]["PROBE_SETTING"] == "kept"
        own = {"PATH", "PROBE_SETTING", "HOSTNAME", "HOME", "NVIDIA_VISIBLE_DEVICES"}
        assert set(answer["env"]) - {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"} == own
        assert answer["env"]["HOME"] == "/tmp"

    def test_a_root_job_keeps_the_images_own_home(self, job: Job) -> None:
        job.ask("print-env", permissions=Permissions(root=True)).run()
        assert job.answer("env.json")["env"]["HOME"] == "/root"

    def test_the_container_is_as_the_contract_and_the_walls_say(self, job: Job, inspect: Callable[[str], dict]) -> None:
        spec = {"memory_bytes": 128 * MIB, "cpu_count": 1.5, "pids_limit": 99, "stop_grace_s": 7.5}
        raw = inspect(job.ask("ok", **spec).create())
        config, host = raw["Config"], raw["HostConfig"]
        assert (config["Cmd"], config["Entrypoint"], config["WorkingDir"]) == (["bash", "/usr/bin/start.sh"], None, "/app")
        assert (config["StopSignal"], config["StopTimeout"], config["Hostname"]) == ("SIGTERM", 8, raw["Id"][:12])
        assert (host["Memory"], host["MemorySwap"], host["NanoCpus"], host["PidsLimit"]) == (128 * MIB, 128 * MIB, 1_500_000_000, 99)
        assert (host["AutoRemove"], host["RestartPolicy"]["Name"], host["Init"]) == (False, "no", True)
        assert (host["NetworkMode"], host["CapDrop"], host["SecurityOpt"]) == ("none", ["ALL"], ["no-new-privileges"])
        assert host["LogConfig"]["Type"] == "json-file"
        assert not host["DeviceRequests"]
        assert not host["Privileged"]

    def test_gpus_are_asked_for_by_uuid_in_one_request(self, engine: Engine, job: Job, inspect: Callable[[str], dict]) -> None:
        container_id = job.ask("ok", gpu_uuids=(_CARD, "GPU-b")).create()
        raw = inspect(container_id)
        wanted = {"Driver": "nvidia", "Count": 0, "DeviceIDs": [_CARD, "GPU-b"], "Capabilities": [["gpu", "compute", "utility"]]}
        assert [{key: request[key] for key in wanted} for request in raw["HostConfig"]["DeviceRequests"]] == [wanted]
        assert f"NVIDIA_VISIBLE_DEVICES={_CARD},GPU-b" in raw["Config"]["Env"]
        assert engine.status(container_id).gpu_uuids == (_CARD, "GPU-b")

    def test_a_card_that_cannot_be_given_is_an_error_of_the_start(self, engine: Engine, job: Job) -> None:
        if engine.info().details["nvidia runtime"] == "yes":
            pytest.skip("this engine can give cards")
        container_id = job.ask("ok", gpu_uuids=(_CARD,)).create()
        with pytest.raises(StartError, match="could not select device driver") as caught:
            engine.start(container_id)
        assert "NVIDIA Container Toolkit" in caught.value.hint
        status = engine.status(container_id)
        assert (status.state, status.exit_code) == ("created", None)
        engine.stop(container_id, 0)
        engine.remove(container_id)

    def test_other_limits_under_the_same_name_are_refused(self, engine: Engine, job: Job) -> None:
        job.ask("ok").create()
        with pytest.raises(StartError, match="other folders, limits"):
            engine.create(replace(job.spec, memory_bytes=128 * MIB))

    def test_a_limit_that_the_engine_refuses_is_a_start_error_with_its_words(self, job: Job) -> None:
        with pytest.raises(StartError, match=r"[Mm]inimum memory limit") as caught:
            job.ask("ok", memory_bytes=1 * MIB).create()
        assert "too small" in caught.value.hint

    # ----------------------------------------------------------------------------------------------------------- images

    def test_an_image_without_a_command_is_started_as_the_contract_names_its_entry(
        self, engine: Engine, job: Job, tmp_path: Path, inspect: Callable[[str], dict]
    ) -> None:
        (tmp_path / "image").mkdir()
        (tmp_path / "image" / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /img-man/readme.md\n")
        facts = engine.build_image(tmp_path / "image", "sluice-test/no-command:latest", {}, lambda line: None)
        assert not facts.has_command
        try:
            container_id = job.ask("ok", image=facts.digest).create()
            assert inspect(container_id)["Config"]["Cmd"] == ["bash", "/usr/bin/start.sh"]
            status = job.run()
            assert status.exit_code == 127
            assert b"bash" in engine.read_log(container_id, "").data
            engine.remove(container_id)
        finally:
            docker.APIClient(version="auto").remove_image("sluice-test/no-command:latest")

    def test_dockerignore_is_honoured_and_a_failing_step_shows_its_last_lines(self, engine: Engine, tmp_path: Path) -> None:
        (tmp_path / "Dockerfile").write_text(
            "ARG BASE\nFROM ${BASE}\nLABEL sluice.test=fails\nCOPY . /here/\nRUN ls /here; for n in $(seq 50); do echo word $n; done; exit 9\n"
        )
        (tmp_path / ".dockerignore").write_text("secret*\n")
        (tmp_path / "secret.txt").write_text("x")
        (tmp_path / "plain.txt").write_text("x")
        lines: list[str] = []
        with pytest.raises(ImageError, match=r"(?s)word 50.*non-zero code: 9") as caught:
            engine.build_image(tmp_path, "sluice-test/fails:latest", {"BASE": "sluice-test/probe:latest"}, lines.append)
        assert "plain.txt" in lines
        assert "secret.txt" not in lines
        assert len(caught.value.fields["lines"]) <= 20
        assert engine.find_image("sluice-test/fails:latest") is None
        _remove_half_built_images()

    def test_links_in_the_metadata_are_followed_inside_it_only_and_nothing_is_left(self, engine: Engine, tmp_path: Path) -> None:
        (tmp_path / "Dockerfile").write_text(
            "FROM sluice-test/probe:latest\n"
            "RUN mv /img-man /real && ln -s /real /img-man && cd /real && ln -s manifest.yaml inner.yaml && ln -s /etc/passwd outer.yaml"
            " && ln -s /real/manifest.yaml absolute.yaml && mkdir det && ln -s ../manifest.yaml det/up.yaml && ln -s loop loop && mkfifo fifo\n"
        )
        engine.build_image(tmp_path, "sluice-test/links:latest", {}, lambda line: None)
        try:
            files = engine.read_image_files("sluice-test/links:latest", "/img-man", MIB)
            assert {"manifest.yaml", "inner.yaml", "det/up.yaml"} <= set(files)
            assert not {"outer.yaml", "loop", "fifo"} & set(files)
            assert files["det/up.yaml"] == files["inner.yaml"] == files["manifest.yaml"]
            assert engine.list_containers({READER_LABEL: "1"}) == []
        finally:
            docker.APIClient(version="auto").remove_image("sluice-test/links:latest")

    def test_nothing_is_left_when_the_files_are_too_large(self, engine: Engine, image: ImageFacts) -> None:
        with pytest.raises(ImageError):
            engine.read_image_files(image.digest, "/usr", 1 * MIB)
        assert engine.list_containers({READER_LABEL: "1"}) == []

    def test_a_tar_of_a_root_file_system_becomes_an_image(self, engine: Engine, tmp_path: Path) -> None:
        with tarfile.open(tmp_path / "root.tar", "w") as tar:
            entry = tarfile.TarInfo("img-man/readme.md")
            entry.size = 5
            tar.addfile(entry, io.BytesIO(b"words"))
        facts = engine.import_image(tmp_path / "root.tar", "sluice-test/imported:1")
        try:
            assert facts == engine.find_image("sluice-test/imported:1")
            assert engine.read_image_files(facts.digest, "/img-man", MIB) == {"readme.md": b"words"}
        finally:
            docker.APIClient(version="auto").remove_image("sluice-test/imported:1")

    def test_a_name_is_taken_from_an_image_and_the_last_one_frees_its_own_layers_only(self, engine: Engine, tmp_path: Path) -> None:
        (tmp_path / "Dockerfile").write_text("FROM sluice-test/probe:latest\nCOPY weight /weight\n")
        (tmp_path / "weight").write_bytes(bytes(3 * MIB))
        names = [engine.build_image(tmp_path, f"sluice-test/heavy:{tag}", {}, lambda line: None).reference for tag in "ab"]
        assert [facts.reference for facts in engine.list_images() if facts.reference.startswith("sluice-test/heavy")] == names
        assert engine.remove_image(names[0]) == 0
        assert engine.find_image(names[0]) is None
        assert 3 * MIB <= engine.remove_image(names[1]) < 4 * MIB
        assert engine.find_image(names[1]) is None

    def test_a_digest_removes_an_image_under_all_its_names(self, engine: Engine, tmp_path: Path) -> None:
        (tmp_path / "Dockerfile").write_text("FROM sluice-test/probe:latest\nLABEL sluice.test=names\nCOPY Dockerfile /\n")
        facts = [engine.build_image(tmp_path, f"sluice-test/names:{tag}", {}, lambda line: None) for tag in "ab"]
        assert facts[0].digest == facts[1].digest
        assert engine.remove_image(facts[0].digest) > 0
        assert [engine.find_image(name) for name in (facts[0].reference, facts[1].reference, facts[0].digest)] == [None] * 3

    def test_a_registry_that_cannot_be_reached_is_told_apart_from_a_missing_image(self, engine: Engine) -> None:
        with pytest.raises(PullError) as caught:
            engine.pull_image("127.0.0.1:9/x/y:z", lambda line: None)
        assert "could not be reached" in caught.value.hint
        with pytest.raises(PullError, match="image id"):
            engine.pull_image(f"sha256:{'0' * 64}", lambda line: None)

    # ----------------------------------------------------------------------------------------------------------- output

    def test_both_ways_to_read_the_log_give_the_same_bytes(self, engine: DockerEngine, job: Job) -> None:
        status = job.ask("flood:3000000").run()
        by_file, _ = read_all(engine, status.id)
        reader, by_api, cursor = ApiReader(engine._log_stream), b"", ""
        while (chunk := reader.read(status.id, cursor)).cursor != cursor:
            assert len(chunk.data) <= 1.2 * MIB
            again = ApiReader(engine._log_stream)
            assert again.read(status.id, cursor) == chunk, "another process reads something else at the same place"
            again.close()
            by_api, cursor = by_api + chunk.data, chunk.cursor
        assert by_api == by_file

    def test_a_log_that_grew_past_its_files_goes_on_after_a_line_that_says_so(self, job: Job, engine: Engine) -> None:
        """500 000 lines of 100 bytes through files of 1 MB, as an operator's own log settings could make them."""
        container_id = _small_log_container(job, max_files=3)
        with engine.watch(container_id) as watch:
            engine.start(container_id)
            wait_until(lambda: bool(engine.read_log(container_id, "").data), "the first output")
            early = engine.read_log(container_id, "").cursor
            assert watch.wait(120) is not None
        late = DockerEngine().read_log(container_id, early)  # one that did not hold the file that was read
        assert late.data.startswith(b"[sluice: output was lost here")
        data, _ = read_all(engine, container_id)
        assert data.rstrip().endswith(b"000499999 " + b"x" * 89)

    def test_a_reader_that_keeps_up_misses_nothing_over_many_rotations(self, job: Job, engine: Engine) -> None:
        container_id = _small_log_container(job, max_files=100, lines=200_000)
        engine.start(container_id)
        numbers, rest, cursor = [], b"", ""
        while True:
            ended = engine.status(container_id).state == "exited"
            chunk = engine.read_log(container_id, cursor)
            *whole, rest = (rest + chunk.data).split(b"\n")
            numbers += [int(line[:9]) for line in whole if b" xxx" in line]
            if ended and chunk.cursor == cursor:
                break
            cursor = chunk.cursor
        assert sorted(numbers) == list(range(200_000))

    # -------------------------------------------------------------------------------------------------------------- end

    def test_a_kill_from_outside_is_not_out_of_memory(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("hang").start()
        job.wait_for("ready")
        with engine.watch(container_id) as watch:
            subprocess.run(["docker", "kill", container_id], check=True, capture_output=True)
            status = watch.wait(20)
        assert status is not None
        assert (status.exit_code, status.out_of_memory) == (137, False)

    def test_a_child_that_ran_out_of_memory_is_flagged_beside_the_parents_own_code(self, job: Job) -> None:
        status = job.ask("oom-child", memory_bytes=64 * MIB).run()
        assert (status.exit_code, status.out_of_memory) == (3, True)

    def test_a_container_removed_from_outside_ends_the_wait_as_gone(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("hang").start()
        with engine.watch(container_id) as watch:
            subprocess.run(["docker", "rm", "-f", container_id], check=True, capture_output=True)
            status = watch.wait(20)
        assert status is not None
        assert status.state == "gone"

    def test_a_paused_container_runs_and_can_be_stopped(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("catch-term").start()
        job.wait_for("ready")
        subprocess.run(["docker", "pause", container_id], check=True, capture_output=True)
        assert engine.status(container_id).state == "running"
        engine.stop(container_id, 20)
        assert engine.status(container_id).exit_code == 0

    def test_waits_of_many_threads_need_no_thread_each(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("hang").start()
        before = threading.active_count()
        watches = [engine.watch(container_id) for _ in range(20)]
        assert threading.active_count() == before
        for watch in watches:
            watch.close()


def _small_log_container(job: Job, max_files: int, lines: int = 500_000) -> str:
    """As ``create`` makes it, but with log files of 1 MB, and a command of its own for speed."""
    client = docker.APIClient(version="auto")
    config = {
        "Image": job.spec.image,
        "Labels": dict(job.spec.labels),
        "Cmd": ["bash", "-c", f"seq -f '%09.0f {'x' * 89}' 0 {lines - 1}"],
        "HostConfig": {
            "NetworkMode": "none",
            "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m", "max-file": str(max_files), "compress": "false"}},
        },
    }
    try:
        return client.create_container_from_config(config, job.spec.name)["Id"]
    finally:
        client.close()


def _remove_half_built_images() -> None:
    """The steps before a failed one stay on the engine as nameless images."""
    client = docker.APIClient(version="auto")
    for image in client.images(filters={"dangling": True, "label": "sluice.test=fails"}):
        client.remove_image(image["Id"])
    client.close()


@pytest.mark.parametrize(
    ("address", "hint"),
    [("unix:///nonexistent/docker.sock", "does not exist"), ("tcp://127.0.0.1:9", "Nobody listens")],
)
def test_an_engine_that_does_not_answer_is_gone_and_the_hint_says_why(monkeypatch: pytest.MonkeyPatch, address: str, hint: str) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    engine = DockerEngine()
    for call in (engine.info, lambda: engine.status("x"), lambda: engine.find_image("x"), lambda: engine.list_containers({})):
        with pytest.raises(EngineGoneError) as caught:
            call()
        assert hint in caught.value.hint
