"""A home with the image hard-examples and pictures with predictions, as a customer of ModelArts brings them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contracts.job import JobSpec
from runner.service import Runner
from runner.settings import load_settings
from tests.conformance.main_job import PROBE
from tests.images.image_jobs import IMAGES

APP = IMAGES / "hard-examples" / "app"
SIZE = (96, 64)
Document = Mapping[str, Any]


def boxes(*found: tuple[str, float, list[float]]) -> Document:
    """Class, score and y_min, x_min, y_max, x_max of each."""
    return {
        "detection_classes": [name for name, _, _ in found],
        "detection_boxes": [box for _, _, box in found],
        "detection_scores": [score for _, score, _ in found],
    }


def labels(label: str, *scores: tuple[str, str]) -> Document:
    return {"predicted_label": label, "scores": [list(pair) for pair in scores]}


SURE = boxes(("cat", 0.95, [10, 20, 40, 60]))
DOUBTFUL = boxes(("cat", 0.45, [10, 20, 40, 60]), ("dog", 0.9, [5, 5, 30, 30]))
EMPTY = boxes()


def catalogue(folder: Path, documents: Mapping[str, Document | None], results: str = "inference_results") -> Path:
    """``images/`` and ``inference_results/``, a picture of noise each; None: there is no result for it."""
    random = np.random.default_rng(len(documents))
    for name in ("images", results):
        (folder / name).mkdir(parents=True)
    for name, document in documents.items():
        Image.fromarray(random.integers(0, 255, (SIZE[1], SIZE[0], 3)).astype(np.uint8)).save(folder / "images" / name, quality=95)
        if document is not None:
            (folder / results / f"{name}_result.txt").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hx")
    with Runner.open(
        load_settings({"home": str(folder / "home"), "engine": "process", "gpus": "fake", "poll_interval_s": "0.05"}, environ={})
    ) as runner:
        runner.build_image(IMAGES / "hard-examples")
        runner.build_image(PROBE, name="probe")
        runner.link_images("probe", "probe")
        runner.link_images("probe", "hard-examples")
        documents = {f"frame {number}.jpg": SURE for number in range(3)} | {"doubt.jpg": DOUBTFUL, "empty.jpg": EMPTY}
        runner.import_dataset("tiny", catalogue(folder / "tiny", documents))
    return folder / "home"


@pytest.fixture
def runner(prepared_home: Path, tmp_path: Path) -> Iterator[Runner]:
    home = tmp_path / "home"
    shutil.copytree(prepared_home, home)
    with Runner.open(
        load_settings({"home": str(home), "engine": "process", "gpus": "fake", "poll_interval_s": "0.05"}, environ={})
    ) as opened:
        yield opened


@pytest.fixture
def mine(runner: Runner) -> Callable[..., dict[str, Any]]:
    """Runs a mining with hard-examples to its end."""

    def mine(data: str = "tiny", parameters: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
        spec = {"kind": "mining", "image": "hard-examples", "data": data, "parameters": parameters or {}, **given}
        job = runner.submit(JobSpec.model_validate(spec))
        runner.run(job["id"])
        return runner.get_job(job["id"])

    return mine
