"""A home with a dataset of four pictures, and predictions as jobs leave them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts.dataset import Annotation, Asset, Marks
from contracts.image import Kind
from registry import jobs, predictions
from registry.tables import now
from runner.dataset_files import Entry, tables_of, write_predictions
from runner.publishing import Draft, publish
from runner.service import Runner
from runner.settings import load_settings

NAMES = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")
Boxes = Mapping[str, Sequence[Annotation] | None]


def asset_id(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()


def box(label: str, x: float, score: float | None = None, size: float = 20, **given: Any) -> Annotation:
    return Annotation(label, x, 10, size, size, score=score, **given)


#: Two cats and a dog in labelled pictures; c.jpg is labelled and empty, nobody labelled d.jpg.
LABELS: Boxes = {
    "a.jpg": [box("cat", 10, attributes={"pose": "left"}), box("dog", 50)],
    "b.jpg": [box("cat", 10)],
    "c.jpg": [],
    "d.jpg": None,
}


@dataclass
class World:
    """``runner`` with what the tests put into its home."""

    runner: Runner

    def label(
        self, labels: Boxes, name: str = "pets", *, classes: Sequence[str] = ("cat", "dog"), tags: Mapping[str, Any] | None = None
    ) -> str:
        """A version with these pictures, all in the split test."""
        entries = [
            Entry(Asset(asset_id(picture), "jpg", 100, 100, 9), picture, "test", boxes, Marks(tags=(tags or {}).get(picture, {})))
            for picture, boxes in labels.items()
        ]
        draft = Draft(name, tables_of(entries, now()), tuple(classes), "test")
        return str(publish(draft, self.database, self.home)["version"])

    def predict(self, job: str, found: Boxes, data: str = "pets", number: int = 1, model: str = "first", given: int = 0) -> None:
        """What the job left: pictures that it does not name have no entry. ``given``: how many it got, else all of the version."""
        file = self.home / "predictions" / f"{job}.parquet"
        write_predictions(file, {asset_id(picture): tuple(boxes or ()) for picture, boxes in found.items()})
        with self.database.writing() as session:
            jobs.add_job(
                session,
                id=job,
                kind=Kind.INFERENCE,
                spec={},
                plan={},
                image_name="probe",
                image_reference="probe",
                image_digest="sha256:0",
                engine="process",
                run_dir=f"runs/{job}",
                name=f"{job}-name",
            )
            predictions.add_prediction(
                session,
                job_id=job,
                model_name=model,
                stage_name="best",
                dataset=data,
                number=number,
                split="test",
                file=f"predictions/{job}.parquet",
                image_count=given or self.runner.get_dataset(f"{data}@V{number:03d}")["images"],
                annotation_count=sum(len(boxes or ()) for boxes in found.values()),
            )

    @property
    def database(self) -> Any:
        return self.runner._installation.database

    @property
    def home(self) -> Path:
        return self.runner._installation.home


@pytest.fixture
def empty_world(tmp_path: Path) -> Iterator[World]:
    settings = load_settings({"home": str(tmp_path / "home"), "engine": "process", "gpus": "fake"}, environ={})
    with Runner.open(settings) as runner:
        yield World(runner)


@pytest.fixture
def world(empty_world: World) -> World:
    empty_world.label(LABELS)
    empty_world.predict(
        "i1", {"a.jpg": [box("cat", 10, 0.9), box("dog", 51, 0.8)], "b.jpg": [box("dog", 10, 0.7)], "d.jpg": [box("cat", 1, 0.9)]}
    )
    return empty_world


@pytest.fixture
def files() -> Callable[[Path], dict[str, bytes]]:
    """Every file below a folder with its bytes."""
    return lambda folder: {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}
