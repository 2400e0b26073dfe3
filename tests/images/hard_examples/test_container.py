"""hard-examples built as an image and run by Sluice as it confines it: no network, read-only root, an ordinary user, no capabilities."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.job import JobSpec
from runner.service import Runner
from runner.settings import load_settings
from tests.images.hard_examples.conftest import DOUBTFUL, EMPTY, SURE, catalogue
from tests.images.image_jobs import IMAGES

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    name = f"hx-{uuid.uuid4().hex[:8]}"
    with Runner.open(load_settings({"home": str(tmp_path / "home"), "engine": "docker", "gpus": "fake"}, environ={})) as opened:
        image = opened.build_image(IMAGES / "hard-examples", name=name)
        yield opened
    subprocess.run(["docker", "rmi", "-f", image["reference"]], check=True, capture_output=True)


def test_hx_01_in_a_confined_container(runner: Runner, tmp_path: Path) -> None:
    documents = {f"frame {number}.jpg": SURE for number in range(3)} | {"doubt.jpg": DOUBTFUL, "empty.jpg": EMPTY}
    runner.import_dataset("tiny", catalogue(tmp_path / "tiny", documents))
    (image,) = runner.list_images()
    assert image["size_bytes"] < 700 * 1024**2
    parameters = {"output_dataset_type": "directory", "task_summary_file": "/out/summary.log"}
    job = runner.submit(JobSpec.model_validate({"kind": "mining", "image": image["name"], "data": "tiny", "parameters": parameters}))
    runner.run(job["id"])
    job = runner.get_job(job["id"])
    assert job["state"] == "succeeded", job["evidence"]
    assert [warning["code"] for warning in job["warnings"]] == ["no_training_data"]
    assert [Path(row["name"]).name for row in job["result"]["top"]][:2] == ["empty.jpg", "doubt.jpg"]
    out = Path(job["run_dir"], "out")
    hard = [json.loads(line) for line in (out / "output.manifest").read_text().splitlines()]
    assert json.loads((out / "summary.log").read_text()) == {"task_status": "SUCCEED", "total_sample": 5, "hard_sample": len(hard)}
    assert all((out / line["source"]).is_file() for line in hard)
    report = runner.import_dataset("hard", out, hard_only=True)
    assert (report["format"], runner.get_dataset("hard")["hard"]) == ("manifest", len(hard))
