"""The Runner: the one owner of jobs and GPUs, and the only thing a door calls. Every answer is a JSON-ready dict.

What only some verbs need (Arrow, Pillow, the image builder) is imported by those verbs: a command that lists jobs does not wait for it.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from contracts.errors import ConflictError, DatasetError, EngineError, InternalError, RequestError
from contracts.image import Kind, Profile
from contracts.job import JobSpec, JobState
from registry import datasets, images, jobs, links, models
from registry.jobs import JobRecord
from runner import images as image_registration
from runner.installation import Installation
from runner.models import export_model
from runner.references import parse_dataset_reference
from runner.settings import Settings, environment_of
from runner.views import job_view, link_view, model_view, time_view

log = logging.getLogger(__name__)
Say = Callable[[str], None]
Count = Callable[[int, "int | None"], None]


def _quiet(*_: object) -> None:
    pass


class Runner:
    """One installation, used by one process; several processes may use the same home at once."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._let_go: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    @classmethod
    def open(cls, settings: Settings) -> Runner:
        """Makes the home and brings the database up to date; engine and GPUs are contacted when first needed."""
        return cls(Installation(settings))

    def close(self) -> None:
        """Lets go of the jobs that threads of this process drive; their containers go on."""
        for event in self._let_go.values():
            event.set()
        self._installation.close()

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --------------------------------------------------------------------------------------------------------------- images

    def build_image(
        self,
        folder: Path,
        *,
        name: str | None = None,
        profile: str = "confined",
        allow: Sequence[str] = (),
        base: str | None = None,
        on_output: Say = _quiet,
    ) -> dict[str, Any]:
        """Builds an image folder and registers what came out."""
        from runner import building

        name = image_registration.check_name(name or image_registration.default_name(folder.resolve().name))
        engine = self._installation.engine
        reference = f"sluice/{name}:latest" if engine.name != "process" else str(folder.resolve())
        facts = building.build_image(engine, folder, reference, base=base, home=self._installation.home, on_output=on_output)
        return self._register(facts, name, profile, allow)

    def add_image(
        self,
        reference: str,
        *,
        name: str | None = None,
        profile: str = "confined",
        allow: Sequence[str] = (),
        pull: bool = True,
        on_progress: Say = _quiet,
    ) -> dict[str, Any]:
        """Registers an image, or what its reference points to now; ``changed_from`` is the digest it replaced."""
        facts = image_registration.find_or_pull(self._installation, reference, pull=pull, on_progress=on_progress)
        return self._register(facts, name, profile, allow)

    def _register(self, facts: Any, name: str | None, profile: str, allow: Sequence[str]) -> dict[str, Any]:
        image, replaced = image_registration.register(
            self._installation, facts, name=name, profile=_profile(profile), allow=_permissions(allow)
        )
        return {**image_registration.describe(self._installation, image), "changed_from": replaced}

    def list_images(self) -> list[dict[str, Any]]:
        with self._installation.database.reading() as session:
            records = images.list_images(session)
        return [image_registration.describe(self._installation, image) for image in records]

    def get_image(self, name: str) -> dict[str, Any]:
        with self._installation.database.reading() as session:
            image = images.get_image(session, name)
        return image_registration.describe(self._installation, image)

    def remove_image(self, name: str) -> dict[str, Any]:
        """Forgets the image and its links; the engine keeps it."""
        with self._installation.database.writing() as session:
            images.remove_image(session, name)
        return {"removed": name}

    def link_images(self, training_image: str, other_image: str) -> dict[str, Any]:
        with self._installation.database.writing() as session:
            return {"links": [link_view(link) for link in links.add_link(session, training_image, other_image)]}

    def unlink_images(self, training_image: str, other_image: str) -> dict[str, Any]:
        with self._installation.database.writing() as session:
            return {"links": [link_view(link) for link in links.remove_link(session, training_image, other_image)]}

    # ------------------------------------------------------------------------------------------------------------- datasets

    def import_dataset(
        self,
        name: str,
        path: Path,
        *,
        format: str | None = None,  # noqa: A002 - the word of the domain
        split: str = "",
        on_progress: Count = _quiet,
    ) -> dict[str, Any]:
        """A new version from a folder or archive; the report names everything that was left out and why."""
        return self._import(name, path, format, split, on_progress, source=str(path))

    def sample_dataset(
        self,
        kind: str = "digits",
        name: str = "digits",
        *,
        train: int = 300,
        val: int = 60,
        test: int = 0,
        pool: int = 200,
        seed: int = 0,
        on_progress: Count = _quiet,
    ) -> dict[str, Any]:
        """Detection scenes made here, without a download; the same seed gives the same pictures."""
        from runner.samples import make_digits

        if kind != "digits":
            raise RequestError(f"there is no sample {kind!r}", hint="Known: digits.")
        with tempfile.TemporaryDirectory(prefix="sluice-", dir=self._installation.home) as folder:
            make_digits(Path(folder), train=train, val=val, test=test, pool=pool, seed=seed)
            return self._import(name, Path(folder), "voc", "", on_progress, source=f"sample digits, seed {seed}")

    def _import(self, name: str, folder: Path, format_name: str | None, split: str, on_progress: Count, source: str) -> dict[str, Any]:
        from runner.datasets import import_dataset

        parts = self._installation
        return import_dataset(
            name,
            folder,
            formats=parts.formats,
            store=parts.store,
            database=parts.database,
            home=parts.home,
            format_name=format_name,
            split=split,
            on_progress=on_progress,
            source_name=source,
        )

    def list_datasets(self) -> list[dict[str, Any]]:
        with self._installation.database.reading() as session:
            names = [dataset.name for dataset in datasets.list_datasets(session)]
        return [self.get_dataset(name, report=False) for name in names]

    def get_dataset(self, reference: str, *, report: bool = True) -> dict[str, Any]:
        wanted = parse_dataset_reference(reference)
        with self._installation.database.reading() as session:
            version = datasets.get_version(session, wanted.name, wanted.number)
            numbers = [f"V{v.number:03d}" for v in datasets.list_versions(session, wanted.name)]
        return dataset_view(self._installation, version, numbers, report)

    # ----------------------------------------------------------------------------------------------------------------- jobs

    def parse_parameters(self, spec: JobSpec, texts: Sequence[str]) -> dict[str, Any]:
        """``key=text`` pairs, typed by the template of the image that the request means."""
        from runner import submission

        return submission.parse_parameters(self._installation, spec, texts)

    def submit(self, spec: JobSpec) -> dict[str, Any]:
        """Checks everything, then queues; nothing is left behind when it refuses."""
        from runner import submission

        return self._view(submission.submit(self._installation, spec))

    def run(self, job_id: str, *, wait_for_lock_s: float = 1.0) -> None:
        """Drives the job to its end in this process; returns at once when another process drives it."""
        from runner.execute import Attempt

        job = self._find_job(job_id)
        with self._installation.run_dir(job.id).driving(wait_for_lock_s) as taken:
            if taken:
                self.sweep()
                job = self._find_job(job.id)
                if not job.state.ended:
                    Attempt(self._installation, job, self._let_go[job.id]).run()

    def attend(self, job_id: str) -> None:
        """Hands the job to a process of its own that outlives this one; a driver in this process lets go of it."""
        job = self._find_job(job_id)
        self._let_go[job.id].set()
        run_dir = self._installation.run_dir(job.id)
        run_dir.create()
        # By way of a shell that ends at once: the process becomes nobody's child here, so it leaves no zombie.
        command = ["sh", "-c", '"$@" &', "sh", sys.executable, "-m", "runner.attend", job.id]
        with (run_dir.path / "runner.log").open("ab") as output:
            environment = {**os.environ, **environment_of(self._installation.settings)}
            pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            subprocess.run(command, **pipes, start_new_session=True, env=environment, cwd=str(self._installation.home), check=True)

    def watch(self, job_id: str) -> Iterator[dict[str, Any]]:
        """The job each time it changes, until it has ended. When no process drives it, a thread of this one does."""
        shown: dict[str, Any] = {}
        driver: _Driver | None = None
        while True:
            job = self.get_job(job_id)
            if job["state"] in ENDED and driver is not None:
                driver.join()  # it still removes the container and ends the lease
            if job != shown:
                yield job
            if job["state"] in ENDED:
                return
            shown = job
            if not job["attended"] and (driver is None or not driver.is_alive()):
                driver = self._drive(job, driver)
            time.sleep(self._installation.settings.poll_interval_s)

    def _drive(self, job: dict[str, Any], before: _Driver | None) -> _Driver:
        """Starts a driver in this process. One that stopped before the job's end had a reason, which is raised here."""
        if before is not None and self.get_job(job["id"])["state"] not in ENDED:
            raise before.error or InternalError(f"the job {job['id']} was left at step {job['step']}", hint=f"sluice job wait {job['id']}")
        driver = _Driver(self, job["id"])
        driver.start()
        return driver

    def list_jobs(self, *, states: Sequence[str] = (), kinds: Sequence[str] = (), limit: int = 50, offset: int = 0) -> dict[str, Any]:
        """Newest first. ``total`` counts all that match, not only this page."""
        chosen_states, chosen_kinds = [JobState(s) for s in states], [Kind(k) for k in kinds]
        with self._installation.database.reading() as session:
            records = jobs.list_jobs(session, states=chosen_states, kinds=chosen_kinds, limit=limit, offset=offset)
            total = jobs.count_jobs(session, states=chosen_states, kinds=chosen_kinds)
        return {"jobs": [self._view(job) for job in records], "total": total}

    def get_job(self, reference: str) -> dict[str, Any]:
        return self._view(self._find_job(reference))

    def read_job_log(self, reference: str, offset: int = 0, max_bytes: int = 1 << 20) -> tuple[bytes, int, bool]:
        """Output from a byte offset: the bytes, the next offset, and whether the job has ended (so that no more will come)."""
        job = self._find_job(reference)
        file = self._installation.run_dir(job.id).log_file
        if not file.exists():
            return b"", offset, job.state.ended
        with file.open("rb") as output:
            output.seek(offset)
            data = output.read(max_bytes)
        return data, offset + len(data), job.state.ended and not data

    def cancel_job(self, reference: str) -> dict[str, Any]:
        """Asks the job to end and waits until it has: SIGTERM, grace, kill; stages of a training are kept."""
        job = self._find_job(reference)
        if job.state.ended:
            return self._view(job)
        with self._installation.database.writing() as session:
            jobs.update_job(session, job.id, cancel_requested_at=datetime.now(timezone.utc))
        *_, last = self.watch(job.id)
        return last

    def rerun_job(self, reference: str) -> dict[str, Any]:
        """A new job with the same request. It keeps the name only if no model has it."""
        from runner import submission

        job = self._find_job(reference)
        spec = JobSpec.model_validate(job.spec)
        try:
            return self._view(submission.submit(self._installation, spec, rerun_of=job.id))
        except ConflictError:
            unnamed = spec.model_copy(update={"name": None})
            return self._view(submission.submit(self._installation, unnamed, rerun_of=job.id))

    def contact_sheet(self, reference: str, file: Path, *, limit: int = 24, columns: int = 6) -> dict[str, Any]:
        """A PNG of the pictures of a mining or inference job with the predicted boxes drawn."""
        from runner import contact_sheet

        return contact_sheet.write(self._installation, self._find_job(reference), file, limit=limit, columns=columns)

    def mining_ranking(self, reference: str, limit: int | None = None) -> list[dict[str, Any]]:
        """``rank, asset, name, score`` of the selected pictures, most worth labelling first."""
        import pyarrow.parquet as pq

        result = self._find_job(reference).result or {}
        result = result.get("mining", result)
        if "ranking_file" not in result:
            raise RequestError(f"the job {reference} has no ranking", hint="Only a mining job that succeeded has one.")
        rows: list[dict[str, Any]] = pq.read_table(result["ranking_file"]).to_pylist()
        return rows[:limit]

    def sweep(self) -> None:
        """Finishes what a runner that was killed after a job's end left: containers and leases of ended jobs. May be repeated."""
        from runner.execute import clean_up

        for job in self._unclean_jobs():
            clean_up(self._installation, job)
        with self._installation.database.reading() as session:
            unfinished = {job.id for job in jobs.list_unfinished(session)}
        try:
            self._installation.gpus.reclaim(unfinished.__contains__)
        except EngineError as away:
            log.warning("leases of ended jobs stay until the engine answers: %s", away.message)

    def _unclean_jobs(self) -> list[JobRecord]:
        with self._installation.database.reading() as session:
            return jobs.list_unclean(session)

    def _find_job(self, reference: str) -> JobRecord:
        with self._installation.database.reading() as session:
            return jobs.get_job(session, reference)

    def _view(self, job: JobRecord) -> dict[str, Any]:
        attended = not job.state.ended and self._installation.run_dir(job.id).is_driven()
        return job_view(job, attended=attended)

    # ----------------------------------------------------------------------------------------------- models, GPUs, the machine

    def list_models(self) -> list[dict[str, Any]]:
        with self._installation.database.reading() as session:
            return [model_view(model, self._installation.folder(model.folder)) for model in models.list_models(session)]

    def get_model(self, name: str) -> dict[str, Any]:
        with self._installation.database.reading() as session:
            model = models.get_model(session, name)
        return model_view(model, self._installation.folder(model.folder))

    def export_model(self, name: str, target: Path, *, overwrite: bool = False) -> dict[str, Any]:
        """The model with all its stages as a YMIR model package. A file that exists is only replaced when ``overwrite`` says so."""
        if target.exists() and not overwrite:
            raise ConflictError(f"{target} exists", hint="Name another file, or say --overwrite.")
        with self._installation.database.reading() as session:
            model = models.get_model(session, name)
        return export_model(self._installation.folder(model.folder), model, target)

    def list_gpus(self) -> list[dict[str, Any]]:
        return self._installation.gpus.list_gpus()

    def doctor(self) -> list[dict[str, Any]]:
        """What works on this machine and what to do about the rest."""
        from runner import doctor

        return doctor.examine(self._installation)


class _Driver(threading.Thread):
    """Drives one job beside the thread that watches it. A daemon: when the process ends, the container goes on."""

    def __init__(self, runner: Runner, job_id: str) -> None:
        super().__init__(name=f"job {job_id}", daemon=True)
        self._runner = runner
        self._job_id = job_id
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self._runner.run(self._job_id)
        except BaseException as error:
            self.error = error


ENDED = tuple(str(state) for state in JobState if state.ended)


def dataset_view(installation: Installation, version: datasets.VersionRecord, numbers: list[str], report: bool) -> dict[str, Any]:
    view: dict[str, Any] = {
        "name": version.dataset,
        "version": version.version,
        "versions": numbers,
        "images": version.image_count,
        "annotations": version.annotation_count,
        "classes": list(version.class_names),
        "splits": dict(version.splits),
        "object_type": version.object_type,
        "source": version.source,
        "folder": str(installation.folder(version.folder)),
        "created_at": time_view(version.created_at),
    }
    if report:
        file = installation.folder(version.folder) / "report.json"
        view["report"] = _read_json(file)
    return view


def _read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}", hint="The version's folder was changed from outside.") from error


def _profile(text: str) -> Profile:
    try:
        return Profile(text)
    except ValueError as error:
        raise RequestError(f"there is no profile {text!r}", hint=f"Known: {', '.join(Profile)}.") from error


def _permissions(texts: Sequence[str]) -> tuple[str, ...]:
    known = ("network", "root", "writable_root")
    given = tuple(dict.fromkeys(text.replace("-", "_") for text in texts))
    for permission in given:
        if permission not in known:
            raise RequestError(f"there is no permission {permission!r}", hint=f"Known: {', '.join(p.replace('_', '-') for p in known)}.")
    return given
