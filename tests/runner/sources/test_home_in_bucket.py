"""A home whose assets lie in a bucket: imports, jobs, gc and doctor, as with a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigurationError, DatasetError, UnavailableError
from contracts.job import JobSpec
from runner.service import Runner
from tests.conformance.main_job import PROBE, voc_folder
from tests.runner.sources.conftest import left_in
from tests.s3 import FaultyProxy, S3Server, says

Open, Connect = Callable[..., Runner], Callable[..., dict[str, Any]]


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    return s3_server.new_bucket()


@pytest.fixture
def runner(open_runner: Open, connect: Connect, s3_faults: FaultyProxy, bucket: str) -> Runner:
    made = open_runner(store="s3", store_connection="team", store_address=f"s3://{bucket}/assets", poll_interval_s="0.1")
    connect(made, s3_faults.endpoint)
    return made


def keys(server: S3Server, bucket: str) -> list[str]:
    found = server.client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return [row["Key"] for row in found if "/homes/" not in row["Key"]]


def test_a_job_is_given_links_to_the_cache_and_only_its_own_assets_are_fetched(
    runner: Runner, s3_server: S3Server, s3_faults: FaultyProxy, bucket: str, home: Path, tmp_path: Path
) -> None:
    runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 4, "val": 2, "test": 5}))
    assert len(keys(s3_server, bucket)) == 11
    assert list((home / "assets").rglob("*")) == []
    runner.build_image(PROBE, name="probe")
    for name in ("first", "second"):
        s3_faults.requests.clear()
        job = runner.submit(JobSpec(kind="training", image="probe", train_data="pets", name=name))
        *_, job = runner.watch(job["id"])
        assert job["state"] == "succeeded", job["evidence"]
        assert len([1 for method, _ in s3_faults.requests if method == "GET"]) == (6 if name == "first" else 0)
    cached = [path for path in (home / "cache" / "assets").glob("??/*") if path.suffix == ".png"]
    assert len(cached) == 6
    assert {path.stat().st_nlink for path in cached} == {1}  # the jobs have ended and hold nothing any more


def test_pictures_are_measured_and_exported_where_the_cache_has_none_of_them(
    runner: Runner, s3_faults: FaultyProxy, home: Path, tmp_path: Path
) -> None:
    runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 4, "val": 2}))
    runner.derive_dataset("pets", {"op": "deduplicate", "distance": 0})
    assert runner.derive_dataset("pets@V001", {"op": "group", "groups": 2})["operation"]["sizes"]
    assert runner.analyse_dataset("pets@V001")["unreadable"] == 0
    for path in (home / "cache" / "assets").glob("??/*.png"):
        path.unlink()
    assert runner.export_dataset("pets@V001", tmp_path / "out", format="coco")["images"] == 6
    assert len(list((tmp_path / "out").rglob("*.png"))) == 6


def test_a_mining_result_can_be_drawn(runner: Runner, tmp_path: Path) -> None:
    runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 4, "val": 2, "test": 3}))
    runner.build_image(PROBE, name="probe")
    *_, job = runner.watch(runner.submit(JobSpec(kind="training", image="probe", train_data="pets", name="first"))["id"])
    runner.link_images("probe", "probe")
    *_, job = runner.watch(runner.submit(JobSpec(kind="mining", model="first", data="pets:test", top_k=2))["id"])
    assert job["state"] == "succeeded", job["evidence"]
    assert runner.contact_sheet(job["id"], tmp_path / "sheet.png")["images"] == 2


def test_a_store_that_refuses_leaves_no_version(runner: Runner, s3_faults: FaultyProxy, home: Path, tmp_path: Path) -> None:
    s3_faults.on("PUT", ".png", says(403, "AccessDenied"), after=2)
    with pytest.raises(DatasetError, match="may not be written") as refused:
        runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 6}))
    assert "s3:PutObject" in refused.value.hint
    assert (runner.list_datasets(), left_in(home)) == ([], [])


def test_a_job_whose_store_is_away_for_a_while_is_carried_on(runner: Runner, s3_faults: FaultyProxy, tmp_path: Path) -> None:
    runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 3, "val": 1}))
    runner.build_image(PROBE, name="probe")
    job_id = runner.submit(JobSpec(kind="training", image="probe", train_data="pets"))["id"]
    s3_faults.on("GET", ".png", says(503, "SlowDown"), times=40)
    with pytest.raises(UnavailableError, match="could not be read"):
        runner.run(job_id)
    s3_faults.faults.clear()
    runner.run(job_id)
    assert runner.get_job(job_id)["state"] == "succeeded"


def test_a_cache_that_is_too_small_for_a_job_ends_it_with_the_setting_to_change(
    open_runner: Open, connect: Connect, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    runner = open_runner(store="s3", store_connection="team", store_address=f"s3://{bucket}", cache_bytes="100", poll_interval_s="0.1")
    connect(runner, s3_server.endpoint)
    runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 3, "val": 1}))
    runner.build_image(PROBE, name="probe")
    *_, job = runner.watch(runner.submit(JobSpec(kind="training", image="probe", train_data="pets"))["id"])
    assert (job["state"], job["end_reason"]) == ("failed", "data_invalid")
    assert "cache" in job["evidence"]["message"]
    assert "cache_bytes" in job["evidence"]["hint"]


def test_gc_frees_what_no_version_needs_and_its_copy_in_the_cache(
    runner: Runner, s3_server: S3Server, bucket: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 2}))
    needed = set(keys(s3_server, bucket))
    sha1 = f"{7:040x}"
    s3_server.client.put_object(Bucket=bucket, Key=f"assets/07/{sha1}.jpg", Body=b"x" * 1000)
    assert runner.gc(dry_run=True, what=["assets"])["items"] == []  # it is younger than a day
    now = time.time()
    monkeypatch.setattr("runner.gc_files.time.time", lambda: now + 2 * 86400)
    foretold = runner.gc(dry_run=True, what=["assets"])
    answer = runner.gc(dry_run=False, what=["assets"])
    assert foretold["items"] == answer["items"]
    assert [(item["path"], item["bytes"]) for item in answer["items"] if item["path"].startswith("s3:")] == [
        (f"s3://{bucket}/assets/", 1000)
    ]
    assert set(keys(s3_server, bucket)) == needed


def test_gc_takes_nothing_from_a_bucket_that_another_home_uses(
    runner: Runner, s3_server: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha1 = f"{7:040x}"
    for key in (f"assets/07/{sha1}.jpg", "assets/homes/another"):
        s3_server.client.put_object(Bucket=bucket, Key=key, Body=b"x")
    now = time.time()
    monkeypatch.setattr("runner.gc_files.time.time", lambda: now + 2 * 86400)
    answer = runner.gc(dry_run=False, what=["assets"])
    assert answer["items"] == []
    assert "other homes keep assets in the same place" in answer["kept"][0]["why"]
    assert keys(s3_server, bucket) == [f"assets/07/{sha1}.jpg"]


def test_a_gc_that_cannot_ask_the_store_frees_nothing_and_goes_on(runner: Runner, s3_faults: FaultyProxy) -> None:
    s3_faults.on("GET", "list-type", says(403, "AccessDenied"))
    answer = runner.gc(dry_run=False, what=["assets"])
    assert answer["items"] == []
    assert "may not be listed" in answer["kept"][0]["why"]


def test_the_cache_of_a_store_that_is_no_longer_used_goes(open_runner: Open, home: Path) -> None:
    runner = open_runner()
    cache = home / "cache" / "assets"
    (cache / "07").mkdir(parents=True)
    (cache / "07" / f"{7:040x}.jpg").write_bytes(b"x" * 10)
    for path in (*cache.rglob("*"), cache):
        os.utime(path, (1, 1))
    assert [item["path"] for item in runner.gc(dry_run=False, what=["assets"])["items"]] == [str(cache)]


def test_doctor_writes_and_removes_something_in_the_store(runner: Runner, s3_server: S3Server, s3_faults: FaultyProxy, bucket: str) -> None:
    finding = next(finding for finding in runner.doctor() if finding["check"] == "store")
    assert (finding["status"], finding["message"].startswith(f"s3: s3://{bucket}/assets/")) == ("ok", True)
    assert keys(s3_server, bucket) == []
    s3_faults.on("PUT", "checks/", says(403, "AccessDenied"))
    finding = next(finding for finding in runner.doctor() if finding["check"] == "store")
    assert (finding["status"], "may not be written" in finding["message"]) == ("failed", True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"store": "tape"}, "there is no store 'tape'"),
        ({"store": "s3"}, "in which bucket"),
        ({"store": "s3", "store_address": "nonsense"}, "names no bucket"),
    ],
)
def test_a_store_that_cannot_be_is_refused_by_the_setting(settings: dict[str, str], words: str, open_runner: Open, tmp_path: Path) -> None:
    runner = open_runner(**settings)
    with pytest.raises(ConfigurationError, match=words):
        runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 2}))
