"""The process engine: the conformance of every engine, and what is its own."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import EngineError, ImageMissingError, StartError
from contracts.image import ImageFacts
from contracts.seams import Engine
from plugins.engines.process import ProcessEngine
from plugins.engines.process_record import find
from tests.conformance.engine import INSTALLATION, PROBE, EngineConformance, Job, wait_until


class TestProcessEngine(EngineConformance):
    @pytest.fixture
    def new_engine(self, tmp_path: Path) -> Callable[[], Engine]:
        return lambda: ProcessEngine(tmp_path / "state")

    @pytest.fixture
    def image(self, engine: Engine) -> ImageFacts:
        return engine.build_image(PROBE, "probe", {}, lambda line: None)

    def test_the_environment_is_small_and_holds_nothing_of_the_callers(
        self, job: Job, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("MY_PASSWORD", "secret")
        monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
        job.ask("print-env").run()
        answer = job.answer("env.json")
        names = "CUDA_VISIBLE_DEVICES DEFAULT_ENV_FILE_PATH HOME LANG NVIDIA_VISIBLE_DEVICES PATH PYTHONDONTWRITEBYTECODE TMPDIR"
        assert sorted(set(answer["env"]) - {"PWD", "OLDPWD", "SHLVL", "_"}) == names.split()  # those four are bash's own
        assert answer["env"]["CUDA_VISIBLE_DEVICES"] == ""
        assert answer["env"]["HOME"].startswith(str(tmp_path / "state"))
        assert answer["cwd"] == str(PROBE / "app")

    def test_gpus_are_shown_by_uuid_and_claimed_while_it_runs(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("hang", gpu_uuids=("GPU-a", "GPU-b")).create()
        assert engine.gpu_claims() == {}
        engine.start(container_id)
        assert engine.gpu_claims() == {"GPU-a": (job.spec.name,), "GPU-b": (job.spec.name,)}
        job.wait_for("ready")
        environment = Path(f"/proc/{(job.out_dir / 'ready').read_text()}/environ").read_bytes().split(b"\0")
        assert {b"CUDA_VISIBLE_DEVICES=GPU-a,GPU-b", b"NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-b"} <= set(environment)
        engine.stop(container_id, 0)
        assert engine.gpu_claims() == {}

    def test_all_jobs_that_share_a_gpu_are_named(self, engine: Engine, job: Job, image: ImageFacts, tmp_path: Path) -> None:
        other = Job(engine, image, tmp_path / "other", job.spec.labels[INSTALLATION])
        for sharing in (job, other):
            sharing.ask("hang", gpu_uuids=("GPU-a",)).start()
        assert engine.gpu_claims() == {"GPU-a": tuple(sorted((job.spec.name, other.spec.name)))}

    def test_a_folder_that_changed_since_it_was_registered_is_refused(self, engine: Engine, job: Job, tmp_path: Path) -> None:
        folder = tmp_path / "image"
        shutil.copytree(PROBE, folder)
        facts = engine.build_image(folder, "probe", {}, lambda line: None)
        (folder / "app" / "new.py").write_text("x = 1\n")
        with pytest.raises(ImageMissingError, match="changed since it was registered"):
            job.ask("ok", image=facts.digest, reference=facts.reference).create()

    def test_pythons_caches_and_other_folders_do_not_change_the_digest(self, engine: Engine, tmp_path: Path) -> None:
        folder = tmp_path / "image"
        shutil.copytree(PROBE, folder)
        before = engine.find_image(str(folder))
        (folder / "app" / "__pycache__").mkdir(exist_ok=True)
        (folder / "app" / "__pycache__" / "app.cpython-311.pyc").write_bytes(b"x")
        (folder / "README.md").write_text("words")
        assert engine.find_image(str(folder)) == before

    def test_a_link_out_of_the_image_folder_shows_nothing_of_the_host(self, engine: Engine, tmp_path: Path) -> None:
        folder = tmp_path / "image"
        shutil.copytree(PROBE, folder)
        (folder / "img-man" / "stolen.yaml").symlink_to("/etc/passwd")
        files = engine.read_image_files(str(folder), "/img-man", 1_000_000)
        assert "stolen.yaml" not in files
        assert engine.read_image_files(str(folder), "/app/../../..", 1_000_000) == {}

    def test_a_linked_package_is_part_of_the_image_and_its_digest(self, engine: Engine, tmp_path: Path) -> None:
        folder, package = tmp_path / "images" / "one", tmp_path / "images" / "shared"
        shutil.copytree(PROBE, folder)
        (package / "deeper").mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "deeper" / "part.py").write_text("x = 1\n")
        (package / "secret.key").write_text("not source")
        (package / "loop").symlink_to(package)
        (folder / "app" / "shared").symlink_to("../../shared")
        (folder / "app" / "no-package").symlink_to(tmp_path)
        before = engine.find_image(str(folder))
        files = engine.read_image_files(str(folder), "/app", 1_000_000)
        assert {"shared/__init__.py", "shared/deeper/part.py"} == {name for name in files if name.startswith(("shared/", "no-package/"))}
        (package / "secret.key").write_text("changed")
        assert engine.find_image(str(folder)) == before
        (package / "deeper" / "part.py").write_text("x = 2\n")
        after = engine.find_image(str(folder))
        assert before is not None
        assert after is not None
        assert after.digest != before.digest

    def test_a_killed_supervisor_takes_the_program_with_it_and_is_named(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("hang").start()
        pid = int(job.wait_for("ready").read_text())
        supervisor = engine.supervisor_pid(container_id)
        assert supervisor is not None
        os.kill(supervisor, signal.SIGKILL)
        wait_until(lambda: engine.status(container_id).state == "exited", "the end")
        status = engine.status(container_id)
        assert (status.exit_code, status.out_of_memory) == (137, False)
        assert "supervisor was killed" in status.error
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the program")

    def test_a_pid_that_was_used_again_is_not_the_job(self, engine: Engine, job: Job) -> None:
        container_id = job.ask("hang").start()
        job.wait_for("ready")
        record = find(engine.state_dir, container_id)
        assert record is not None
        file = record.folder / "running.json"
        true_facts = file.read_text()
        file.write_text(true_facts.replace('"start_ticks": ', '"start_ticks": 9'))
        assert engine.status(container_id).state == "exited"
        engine.stop(container_id, 0)
        file.write_text(true_facts)
        assert engine.status(container_id).state == "running", "the stop reached a process that was not the job's"

    def test_a_start_that_fails_leaves_a_created_container_with_the_reason(self, engine: Engine, job: Job, tmp_path: Path) -> None:
        folder = tmp_path / "image"
        shutil.copytree(PROBE, folder)
        facts = engine.build_image(folder, "probe", {}, lambda line: None)
        container_id = job.ask("ok", image=facts.digest, reference=facts.reference).create()
        shutil.rmtree(folder / "app")
        with pytest.raises(StartError, match="No such file"):
            engine.start(container_id)
        status = engine.status(container_id)
        assert (status.state, status.exit_code) == ("created", None)
        assert "No such file" in status.error

    def test_nothing_of_a_job_is_left_after_remove(self, engine: Engine, job: Job) -> None:
        engine.remove(job.ask("ok").run().id)
        assert list(engine.state_dir.iterdir()) == []

    def test_nothing_is_copied_from_outside_the_jobs_folders(self, engine: Engine, job: Job, tmp_path: Path) -> None:
        container_id = job.ask("ok").create()
        (job.out_dir / "way-out").symlink_to("/etc")
        for path in ("/etc/passwd", f"{job.out_dir}/../../../etc/passwd", f"{job.out_dir}/way-out/passwd"):
            with pytest.raises(EngineError, match="not in a folder"):
                engine.copy_out(container_id, path, tmp_path / "copy")

    @pytest.mark.parametrize("name", ["", "../escape", ".hidden", "a/b", "a\nb"])
    def test_a_name_that_is_no_name_is_refused(self, engine: Engine, job: Job, name: str) -> None:
        with pytest.raises(StartError, match="name"):
            job.ask("ok", name=name).create()
