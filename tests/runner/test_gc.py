"""gc frees what nothing needs, and never anything else: whatever is referred to, driven, linked, unknown or young stays."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from contracts.errors import ConflictError, EngineGoneError, RequestError
from contracts.image import ImageFacts, ImageMetadata, Kind
from contracts.job import EndReason, JobSpec
from plugins.engines.process import ProcessEngine
from registry import datasets, images, jobs, models
from registry.models import StageRecord
from runner.asset_lock import adding_assets
from runner.datasets import import_dataset
from runner.gc import WHAT, collect
from runner.installation import Installation
from runner.run_dir import RunDir
from runner.service import Runner
from runner.settings import load_settings

DAY_S = 86400.0


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    opened = Installation(load_settings({"home": str(tmp_path / "home"), "engine": "process", "gpus": "fake"}))
    yield opened
    opened.close()


def age(path: Path, days: float) -> None:
    """Makes the path, with everything below it, so old."""
    moment = time.time() - days * DAY_S
    for each in (path, *(path.rglob("*") if path.is_dir() else ())):
        os.utime(each, (moment, moment), follow_symlinks=False)


def a_job(installation: Installation, job_id: str = "t2345678", ended_days_ago: float | None = 40, **changes: Any) -> Path:
    """A job with a run directory; ended and cleaned when it ended at all."""
    run_dir = RunDir(installation.home / "runs" / job_id)
    plan = {"output_name": changes.pop("output_name", job_id)}
    row = {"image_name": "probe", "image_reference": "probe:1", "image_digest": "sha256:probe", "engine": "process", **changes}
    with installation.database.writing() as session:
        jobs.add_job(session, id=job_id, kind=Kind.TRAINING, spec={}, plan=plan, run_dir=str(run_dir.path), **row)
        if ended_days_ago is not None:
            ended_at = datetime.now(timezone.utc) - timedelta(days=ended_days_ago)
            jobs.finish_job(session, job_id, EndReason.SUCCEEDED, result={"model": "m"}, ended_at=ended_at)
            jobs.update_job(session, job_id, cleaned_at=ended_at)
    run_dir.create()
    (run_dir.in_dir / "env.yaml").write_text("x" * 10)
    (run_dir.out_dir / "models").mkdir()
    (run_dir.out_dir / "models" / "best.pt").write_text("x" * 100)
    run_dir.log_file.write_text("a log")
    if ended_days_ago is not None:
        run_dir.write_job({"id": job_id})
    return run_dir.path


def a_dataset(installation: Installation, name: str = "pets", colours: range = range(3)) -> list[Path]:
    """An imported version of as many pictures; its assets."""
    source = installation.home.parent / f"source-{name}"
    source.mkdir()
    for number in colours:
        Image.new("RGB", (4, 3), (number, 99, 99)).save(source / f"{number}.png")
    import_dataset(
        name, source, formats=installation.formats, store=installation.store, database=installation.database, home=installation.home
    )
    return sorted((installation.home / "assets").glob("??/*"))


def stray_asset(installation: Installation, number: int = 1, days: float = 2) -> Path:
    sha1 = f"{number:040x}"
    path = installation.home / "assets" / sha1[-2:] / f"{sha1}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * 1000)
    age(path, days)
    return path


def places(answer: dict[str, Any], part: str = "items") -> list[str]:
    return [row.get("path") or row["reference"] for row in answer[part]]


def free(installation: Installation, **options: Any) -> dict[str, Any]:
    """What a dry run says, which the run itself then does."""
    dry, done = collect(installation, **options), collect(installation, dry_run=False, **options)
    assert (dry["dry_run"], done["dry_run"]) == (True, False)
    assert {**dry, "dry_run": False} == done
    return done


# ----------------------------------------------------------------------------------------------------------------------- runs


def test_folders_of_a_job_that_ended_long_ago_go_and_its_record_stays(installation: Installation) -> None:
    path = a_job(installation)
    (path / "out-1").mkdir()
    (path / "usage.parquet").touch()
    answer = free(installation)
    assert places(answer) == [str(path)]
    assert (answer["freed_bytes"], answer["kept"]) == (110, [])
    assert answer["items"][0]["why"].endswith(": in/, out/, out-1/ go, its log and job.json stay")
    assert sorted(entry.name for entry in path.iterdir()) == ["container.log", "job.json", "lock", "usage.parquet"]
    assert free(installation)["items"] == []


def test_the_whole_run_directory_goes_when_that_is_asked_for(installation: Installation) -> None:
    path = a_job(installation)
    assert places(free(installation, what=WHAT)) == [str(path)]
    assert not path.exists()
    with installation.database.reading() as session:
        assert jobs.get_job(session, path.name).end_reason is EndReason.SUCCEEDED


@pytest.mark.parametrize(
    ("days", "older_than", "goes"), [(40, 30, True), (20, 30, False), (20, 10, True), (0.5, 0, True), (0.5, 0.25, True)]
)
def test_the_age_of_a_job_counts_from_its_end(installation: Installation, days: float, older_than: float, goes: bool) -> None:
    path = a_job(installation, ended_days_ago=days)
    age(path, 0 if goes else 99)
    assert places(free(installation, older_than_days=older_than)) == ([str(path)] if goes else [])


def test_a_job_that_has_not_ended_or_not_been_cleaned_up_keeps_everything(installation: Installation) -> None:
    running, unclean = a_job(installation, "t2222222", ended_days_ago=None), a_job(installation, "t3333333")
    with installation.database.writing() as session:
        jobs.update_job(session, "t3333333", cleaned_at=None)
    age(running, 99)
    assert free(installation, older_than_days=0, what=WHAT)["items"] == []
    assert ((running / "out").exists(), (unclean / "out").exists()) == (True, True)


def test_a_job_that_somebody_drives_keeps_everything_and_is_named(installation: Installation) -> None:
    path = a_job(installation)
    with RunDir(path).driving():
        answer = free(installation)
    assert (places(answer), places(answer, "kept")) == ([], [str(path)])
    assert (path / "out").exists()


def test_stages_that_a_model_took_over_stay_and_are_not_counted(installation: Installation) -> None:
    path, folder = a_job(installation), installation.home / "models" / "first"
    a_model(installation, "first")
    os.link(path / "out" / "models" / "best.pt", folder / "best.pt")
    assert free(installation, what=WHAT)["items"][0]["bytes"] < 100
    assert (folder / "best.pt").read_text() == "x" * 100


def test_a_link_in_or_to_a_run_directory_is_named_and_not_followed(installation: Installation, tmp_path: Path) -> None:
    path, other = a_job(installation), a_job(installation, "t3333333")
    other.rename(tmp_path / "elsewhere")
    other.symlink_to(tmp_path / "elsewhere")
    (path / "out").rename(tmp_path / "out")
    (path / "out").symlink_to(tmp_path / "out")
    answer = free(installation)
    assert places(answer, "kept") == [str(path / "out"), str(other)]
    assert ((tmp_path / "out" / "models").exists(), (tmp_path / "elsewhere" / "out").exists()) == (True, True)


def test_a_run_directory_without_a_job_goes_a_day_later(installation: Installation) -> None:
    a_job(installation, ended_days_ago=1)
    old, young = (installation.home / "runs" / name / "in" for name in ("told1111", "tnew1111"))
    for folder in (old, young):
        folder.mkdir(parents=True)
    age(old.parent, 2)
    assert places(free(installation)) == [str(old.parent)]
    assert (old.exists(), young.exists()) == (False, True)


# ------------------------------------------------------------------------------------------------------- assets and what has no row


def test_an_asset_of_no_version_goes_a_day_later_and_those_of_versions_stay(installation: Installation) -> None:
    needed = a_dataset(installation) + a_dataset(installation, "cells", range(2, 5))
    for path in needed:
        age(path, 99)
    old, young = stray_asset(installation), stray_asset(installation, 2, days=0.9)
    answer = free(installation)
    assert [(row["path"], row["bytes"], row["why"]) for row in answer["items"]] == [
        (str(installation.home / "assets"), 1000, "1 that no dataset version refers to")
    ]
    assert [path.exists() for path in (*needed, old, young)] == [True] * len(needed) + [False, True]


def test_an_asset_that_an_import_just_found_again_is_not_taken_from_it(installation: Installation) -> None:
    asset = stray_asset(installation)
    with adding_assets(installation.home):
        answer = free(installation)
    assert (places(answer), answer["kept"][0]["why"]) == ([], "an import adds assets at this moment")
    assert asset.exists()


def test_an_import_waits_until_assets_are_freed(installation: Installation, tmp_path: Path) -> None:
    with (installation.home / "assets.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        thread = threading.Thread(target=a_dataset, args=(installation,))
        thread.start()
        while not (tmp_path / "source-pets" / "2.png").exists():
            time.sleep(0.01)
        assert list((installation.home / "assets").glob("??/*")) == []
    thread.join()
    assert len(list((installation.home / "assets").glob("??/*"))) == 3


@pytest.mark.parametrize("harm", ["missing", "torn"])
def test_no_asset_goes_while_a_version_cannot_be_read(installation: Installation, harm: str) -> None:
    a_dataset(installation)
    asset, table = stray_asset(installation), installation.home / "datasets" / "pets" / "V001" / "images.parquet"
    table.unlink()
    if harm == "torn":
        table.write_bytes(b"PAR1 and no more")
    answer = free(installation)
    assert (places(answer), asset.exists()) == ([], True)
    assert "which assets are needed is not known: pets@V001 cannot be read" in answer["kept"][0]["why"]


def test_files_in_the_store_that_are_no_assets_are_left_alone(installation: Installation, tmp_path: Path) -> None:
    folder = installation.home / "assets" / "01"
    folder.mkdir()
    (folder / "notes.txt").touch()
    (folder / f"{'0' * 38}01.jpg").symlink_to(tmp_path)
    (folder / f"{'1' * 38}01.jpg").mkdir()
    age(folder, 9)
    assert free(installation)["items"] == []


@settings(max_examples=25)
@given(
    versions=st.lists(st.sets(st.integers(0, 7), min_size=1), max_size=3), strays=st.sets(st.integers(1, 9)), old=st.sets(st.integers(1, 9))
)
def test_never_an_asset_of_a_version_and_always_an_old_one_of_none(
    tmp_path_factory: pytest.TempPathFactory, versions: list[set[int]], strays: set[int], old: set[int]
) -> None:
    home = tmp_path_factory.mktemp("world") / "home"
    installation = Installation(load_settings({"home": str(home), "engine": "process", "gpus": "fake"}))
    for number, colours in enumerate(versions):
        a_dataset(installation, f"d{number}", colours)  # type: ignore[arg-type]
    needed = set((home / "assets").glob("??/*"))
    for path in needed:
        age(path, 99)
    ages = {stray_asset(installation, number, days=2 if number in old else 0.5): number in old for number in strays}
    free(installation)
    assert set((home / "assets").glob("??/*")) == needed | {path for path, is_old in ages.items() if not is_old}
    installation.close()


def a_model(installation: Installation, name: str) -> Path:
    folder = installation.home / "models" / name
    folder.mkdir()
    row: dict[str, Any] = {"image_name": "probe", "image_digest": "sha256:probe", "object_type": 2, "class_names": ("cat",)}
    with installation.database.writing() as session:
        stages = (StageRecord("best", {}, 0, (), 0),)
        models.add_model(session, name=name, best_stage="best", parameters={}, folder=f"models/{name}", stages=stages, **row)
    return folder


def test_models_predictions_and_versions_without_a_row_go_and_those_with_one_stay(installation: Installation) -> None:
    home = installation.home
    a_dataset(installation)
    a_job(installation, "m2222222", ended_days_ago=2)
    kept = [a_model(installation, "first"), home / "predictions" / "m2222222.ranking.parquet"]
    gone = [home / "datasets" / "pets" / "V002", home / "models" / "second", home / "predictions" / "i3333333.parquet"]
    for path in (*kept, *gone):
        path.touch() if path.suffix else path.mkdir(exist_ok=True)
    for path in (home / "datasets", home / "models", home / "predictions"):
        age(path, 2)
    assert places(free(installation, what=["assets"])) == [str(path) for path in gone]
    assert [path.exists() for path in (*kept, *gone)] == [True, True, False, False, False]
    assert list((home / "tmp").iterdir()) == []


def test_the_model_that_a_killed_job_will_store_again_stays(installation: Installation) -> None:
    a_job(installation, "t4444444", ended_days_ago=None, output_name="mine")
    folders = [installation.home / "models" / name for name in ("mine", "mine-t4444444")]
    for folder in folders:
        folder.mkdir()
        age(folder, 9)
    assert free(installation)["items"] == []


def test_leftovers_of_killed_processes_go_and_what_is_in_use_stays(installation: Installation) -> None:
    home = installation.home
    killed = [home / "tmp" / "import-1", home / "tmp" / "old", home / "cache" / "sluice-build-abc_1234", home / "sluice-xyz98765"]
    left = [home / "tmp" / "import-2", home / "sluice-notes", home / "cache" / "wheels"]
    for path in (*killed, *left):
        path.mkdir(parents=True)
        age(path, 2)
    (home / "tmp" / "import-1.lock").touch()
    with (home / "tmp" / "import-2.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert places(free(installation)) == sorted(str(path) for path in killed)
    assert [path.exists() for path in (*killed, *left)] == [False] * 4 + [True] * 3
    assert not (home / "tmp" / "import-1.lock").exists()


# ------------------------------------------------------------------------------------------------------------ the wrong database


def test_with_another_database_nothing_goes_for_want_of_a_row(installation: Installation, tmp_path: Path) -> None:
    a_dataset(installation)
    a_model(installation, "first")
    a_job(installation)
    for folder in ("assets", "datasets", "models", "runs"):
        age(installation.home / folder, 99)
    before = sorted(installation.home.rglob("*"))
    other = {"home": str(installation.home), "engine": "process", "database": f"sqlite:///{tmp_path / 'other.db'}"}
    wrong = Installation(load_settings(other))
    answer = free(wrong, what=WHAT)
    wrong.close()
    assert (answer["items"], {row["what"] for row in answer["kept"]}) == ([], {"runs", "assets"})
    assert set(before) <= set(installation.home.rglob("*"))


def test_with_a_database_from_a_backup_nothing_goes_for_want_of_a_row(installation: Installation) -> None:
    a_job(installation, "t2222222", ended_days_ago=1)
    younger = RunDir(installation.home / "runs" / "t9999999")
    younger.create()
    younger.write_job({})
    asset = stray_asset(installation)
    age(younger.path, 2)
    answer = free(installation)
    assert (answer["items"], asset.exists(), younger.out_dir.exists()) == ([], True, True)
    assert "the job t9999999 ended in this home and is not in the database" in answer["kept"][0]["why"]


def test_a_new_home_has_nothing_to_free_and_no_doubts(installation: Installation) -> None:
    asset = stray_asset(installation)
    assert (places(free(installation)), asset.exists()) == ([str(installation.home / "assets")], False)
    assert free(installation) == {"dry_run": False, "items": [], "freed_bytes": 0, "kept": []}


# --------------------------------------------------------------------------------------------------------------------- images


class Shelf(ProcessEngine):
    """An engine that keeps images, as a list of (reference, digest); ``used``: digests that a container uses."""

    def __init__(self, state_dir: Path, *entries: tuple[str, str], used: tuple[str, ...] = ()) -> None:
        super().__init__(state_dir)
        self.entries, self.used = list(entries), list(used)

    def list_images(self) -> list[ImageFacts]:
        return [ImageFacts(reference, digest, 7) for reference, digest in sorted(self.entries)]

    def remove_image(self, reference: str) -> int:
        if reference in self.used:
            raise ConflictError(f"remove image {reference}: a container uses it")
        self.entries = [entry for entry in self.entries if entry[1] != reference]
        self.used = [digest for digest in self.used if not digest.startswith(f"base of {reference}")]
        return 7


def shelf(installation: Installation, *entries: tuple[str, str], **options: Any) -> Shelf:
    engine = Shelf(installation.home / "shelf", *entries, **options)
    installation._engines["process"] = engine
    return engine


def register(installation: Installation, *digests: str, name: str = "det") -> None:
    """An image of this name, which pointed to one digest after the other."""
    values: dict[str, Any] = {"metadata": ImageMetadata((), ())}
    with installation.database.writing() as session:
        images.add_image(session, name=name, reference=f"{name}:1", engine="process", digest=digests[0], **values)
        for digest in digests[1:]:
            images.replace_image(session, name, digest=digest, **values)


def test_the_former_content_of_a_name_goes_and_its_present_one_stays(installation: Installation) -> None:
    register(installation, "sha256:old", "sha256:new")
    engine = shelf(installation, ("", "sha256:old"), ("det:1", "sha256:new"), ("postgres:16", "sha256:other"))
    answer = free(installation)
    assert [(row["reference"], row["bytes"]) for row in answer["items"]] == [("sha256:old", 7)]
    assert [reference for reference, _ in engine.entries] == ["det:1", "postgres:16"]


def test_the_image_of_a_removed_name_goes_unless_an_unfinished_job_needs_it(installation: Installation) -> None:
    a_job(installation, "t2222222", ended_days_ago=1, image_reference="library/python", image_digest="sha256:ended")
    a_job(installation, "t3333333", ended_days_ago=None, image_digest="sha256:running")
    shelf(installation, ("python:latest", "sha256:ended"), ("probe:1", "sha256:running"))
    assert places(free(installation, what=["images"])) == ["python:latest"]


@pytest.mark.parametrize(("name", "goes"), [("probe:1", True), ("probe@sha256:1f", True), ("probe:2", False), ("mine/probe:1", False)])
def test_an_image_that_a_person_named_too_stays_and_the_name_is_told(installation: Installation, name: str, goes: bool) -> None:
    a_job(installation, ended_days_ago=1)
    shelf(installation, (name, "sha256:probe"))
    answer = free(installation, what=["images"])
    assert places(answer, "items" if goes else "kept") == [name]


def test_an_image_that_was_built_for_nobody_known_goes_only_when_asked_for(installation: Installation) -> None:
    shelf(installation, ("sluice/det:latest", "sha256:built"), ("sluice/base:bookworm", "sha256:base"), ("debian:12", "sha256:debian"))
    assert places(free(installation), "kept") == ["sluice/det:latest"]
    answer = free(installation, what=WHAT)
    assert (places(answer), answer["kept"]) == (["sluice/det:latest"], [])


def test_an_image_goes_after_those_that_were_built_on_it(installation: Installation) -> None:
    for number, digest in enumerate(("base of child", "child", "used")):
        a_job(installation, f"t222222{number}", ended_days_ago=1, image_reference=f"{number}:1", image_digest=digest)
    engine = shelf(installation, ("0:1", "base of child"), ("1:1", "child"), ("2:1", "used"), used=("base of child", "used"))
    answer = collect(installation, dry_run=False, what=["images"])
    assert (places(answer), answer["kept"]) == (
        ["0:1", "1:1"],
        [{"what": "images", "reference": "2:1", "why": "remove image used: a container uses it"}],
    )
    assert engine.entries == [("2:1", "used")]


def test_an_engine_that_is_away_is_named_and_the_rest_goes_on(installation: Installation, monkeypatch: pytest.MonkeyPatch) -> None:
    path, engine = a_job(installation), shelf(installation)

    def away() -> list[ImageFacts]:
        raise EngineGoneError("the engine does not answer")

    monkeypatch.setattr(engine, "list_images", away)
    answer = free(installation)
    assert answer["kept"] == [{"what": "images", "reference": "all of process", "why": "the engine does not answer"}]
    assert places(answer) == [str(path)]


# -------------------------------------------------------------------------------------------------------------- asked for, killed


@pytest.mark.parametrize(
    ("options", "message"),
    [({"what": ["jobs"]}, "gc knows no 'jobs'"), ({"older_than_days": -1.0}, "-1.0 days"), ({"older_than_days": float("nan")}, "nan days")],
)
def test_a_wrong_request_is_refused(installation: Installation, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        collect(installation, **options)


def test_only_what_was_asked_for_is_looked_at(installation: Installation) -> None:
    path, asset = a_job(installation), stray_asset(installation)
    assert places(free(installation, what=["assets"])) == [str(asset.parents[1])]
    assert places(free(installation, what=["runs"])) == [str(path)]


SLOW = """
import os, sys, time
from runner import disk_tree
from runner.gc import WHAT, collect
from runner.installation import Installation
from runner.settings import load_settings
unlink = disk_tree.os.unlink
def slow(path):
    time.sleep(0.01); unlink(path); print("gone", flush=True)
disk_tree.os.unlink = slow
collect(Installation(load_settings()), dry_run=False)
"""


def test_gc_that_is_killed_half_way_is_taken_up_by_the_next(installation: Installation) -> None:
    path = many_files(installation)
    process = subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE, env=environment(installation))
    assert process.stdout is not None
    for _ in range(7):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert 0 < len(list((path / "out").rglob("f*"))) < 100
    assert places(free(installation)) == [str(path)]
    assert (path / "job.json").exists()


def test_of_two_at_once_the_second_waits_and_finds_the_rest(installation: Installation) -> None:
    many_files(installation)
    process = subprocess.Popen([sys.executable, "-c", SLOW], stdout=subprocess.PIPE, env=environment(installation))
    assert process.stdout is not None
    process.stdout.readline()
    assert collect(installation, dry_run=False) == {"dry_run": False, "items": [], "freed_bytes": 0, "kept": []}
    assert process.stdout.read().count(b"gone") + 1 >= 100
    assert process.wait() == 0
    process.stdout.close()


def many_files(installation: Installation) -> Path:
    path = a_job(installation)
    for number in range(100):
        (path / "out" / f"f{number}").touch()
    return path


def environment(installation: Installation) -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {**os.environ, "SLUICE_HOME": str(installation.home), "SLUICE_ENGINE": "process", "SLUICE_GPUS": "fake", "PYTHONPATH": str(root)}


def test_datasets_that_were_forgotten_free_their_assets(installation: Installation) -> None:
    kept = a_dataset(installation, "kept", range(2))
    everything = a_dataset(installation, "forgotten", range(1, 4))
    with installation.database.writing() as session:
        datasets.remove_dataset(session, "forgotten")
    age(installation.home, 9)
    answer = free(installation)
    assert places(answer) == [str(installation.home / "assets"), str(installation.home / "datasets" / "forgotten" / "V001")]
    assert (sorted((installation.home / "assets").glob("??/*")), len(everything)) == (kept, 4)


def test_gc_all_the_time_harms_no_import_and_no_job(tmp_path: Path) -> None:
    options = {"home": str(tmp_path / "home"), "engine": "process", "gpus": "fake", "poll_interval_s": "0.1"}
    root = Path(__file__).parents[1]
    with Runner.open(load_settings(options)) as runner, collecting(options) as done:
        runner.build_image(root / "images" / "probe", name="probe")
        runner.import_dataset("scenes", root / "scenarios" / "first-steps" / "input" / "scenes")
        runner.link_images("probe", "probe")
        *_, trained = runner.watch(runner.submit(TRAINING)["id"])
        a_dataset(runner._installation, "more", range(5))
        *_, found = runner.watch(runner.submit(INFERENCE)["id"])
        rounds = len(done)
    assert (trained["end_reason"], found["end_reason"], found["result"]["images"]) == ("succeeded", "succeeded", 2)
    assert rounds > 3
    assert {row["what"] for answer in done for row in answer["items"]} == {"records"}


TRAINING = JobSpec(kind=Kind.TRAINING, image="probe", train_data="scenes", name="first")
INFERENCE = JobSpec(kind=Kind.INFERENCE, model="first", data="scenes:val")


@contextmanager
def collecting(options: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
    """gc of everything, again and again, beside the block; its answers."""
    done: list[dict[str, Any]] = []
    stop = threading.Event()

    def loop() -> None:
        with Runner.open(load_settings(options)) as other:
            while not stop.is_set():
                done.append(other.gc(dry_run=False, older_than_days=0, what=WHAT))

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield done
    finally:
        stop.set()
        thread.join()
