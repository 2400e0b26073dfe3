"""Where a job may be shown the whole store: only where somebody asked for it, and where store and engine can do it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import DatasetError, RequestError
from contracts.job import JobSpec
from plugins.engines.process import ProcessEngine
from plugins.stores.local import LocalStore
from runner.service import Runner
from runner.settings import load_settings
from tests.conformance.main_job import PROBE, voc_folder

SPEC = JobSpec(kind="mining", model="first", data="pets:test")


@pytest.fixture
def runner(tmp_path: Path, index_view_from: str) -> Iterator[Runner]:
    settings = load_settings({"home": str(tmp_path / "home"), "engine": "process", "index_view_from": index_view_from})
    with Runner.open(settings) as runner:
        runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 3, "val": 2, "test": 3}))
        runner.build_image(PROBE, name="probe")
        runner.link_images("probe", "probe")
        *_, job = runner.watch(runner.submit(JobSpec(kind="training", image="probe", train_data="pets", name="first"))["id"])
        assert job["state"] == "succeeded", job["evidence"]
        yield runner


@pytest.mark.parametrize(("index_view_from", "shown"), [("0", False), ("4", False), ("3", True)])
def test_only_so_many_pictures_are_a_reason(runner: Runner, shown: bool) -> None:
    job = runner.submit(SPEC)
    assert [warning["code"] for warning in job["warnings"]] == ["sees_whole_store"] * shown
    *_, last = runner.watch(job["id"])
    assert (last["state"], last["result"]["ranked"]) == ("succeeded", 3), last["evidence"]


@pytest.mark.parametrize("index_view_from", ["1"])
@pytest.mark.parametrize(("owner", "verb"), [(ProcessEngine, "show_folder"), (LocalStore, "folder_of_all")])
def test_a_store_or_an_engine_that_cannot_do_it_is_named(runner: Runner, owner: type, verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = runner.list_jobs()["total"]
    monkeypatch.setattr(owner, verb, lambda *_: None)
    with pytest.raises(RequestError, match=f"the (engine|store) {owner.name} cannot do") as raised:  # type: ignore[attr-defined]
        runner.submit(SPEC)
    assert "index_view_from = 0" in (raised.value.hint or "")
    assert runner.list_jobs()["total"] == jobs


@pytest.mark.parametrize("index_view_from", ["1"])
def test_a_lost_picture_is_found_before_the_job_runs(runner: Runner) -> None:
    job = runner.submit(SPEC)
    lost = list((runner._installation.home / "assets").glob("??/*.png"))
    for path in lost:
        path.unlink()
    runner._installation.samples = type(runner._installation.samples)(lifetime_s=60.0, size=8)  # as after a minute
    *_, last = runner.watch(job["id"])
    assert (last["end_reason"], last["exit_code"]) == ("data_invalid", None)
    assert "is not in the store" in last["evidence"]["message"]
    with pytest.raises(DatasetError, match="is not in the store"):
        runner.submit(SPEC.model_copy(update={"seed": 1}))
