"""Real databases in tmp_path, and the things the tests put into them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from contracts.image import ImageMetadata, Kind, ObjectType, Parameter, ParameterType, Template
from registry.database import Database
from registry.images import ImageRecord, add_image
from registry.jobs import JobRecord, add_job

ALL_KINDS = (Kind.TRAINING, Kind.MINING, Kind.INFERENCE)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sluice.db"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with Database.open(url) as database:
        yield database


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """One write transaction for the whole test."""
    with database.writing() as session:
        yield session


@pytest.fixture
def metadata() -> Callable[..., ImageMetadata]:
    """Metadata of an image offering these kinds for these object types."""

    def make(kinds: tuple[Kind, ...] = ALL_KINDS, object_types: tuple[ObjectType, ...] = (ObjectType.DETECTION,)) -> ImageMetadata:
        parameters = (Parameter("epochs", ParameterType.INT, 10, "how often"), Parameter("seed", ParameterType.ANY, None))
        templates = tuple(Template(kind, object_type, parameters) for kind in kinds for object_type in object_types)
        return ImageMetadata(object_types=object_types, templates=templates)

    return make


@pytest.fixture
def new_image(metadata: Callable[..., ImageMetadata]) -> Callable[..., ImageRecord]:
    """Registers an image; ``kinds`` and ``object_types`` as in ``metadata``."""

    def make(session: Session, name: str = "tinydet", kinds: tuple[Kind, ...] = ALL_KINDS, **given: Any) -> ImageRecord:
        object_types = given.pop("object_types", (ObjectType.DETECTION,))
        values = {
            "reference": f"sluice/{name}:1",
            "engine": "docker",
            "digest": f"sha256:{name}",
            "metadata": metadata(kinds, object_types),
        }
        return add_image(session, name=name, **(values | given))

    return make


@pytest.fixture
def new_job() -> Callable[..., JobRecord]:
    def make(session: Session, id: str = "t4k2m9xq", **given: Any) -> JobRecord:  # noqa: A002
        values: dict[str, Any] = {
            "kind": Kind.TRAINING,
            "spec": {},
            "plan": {},
            "image_name": "tinydet",
            "image_reference": "sluice/tinydet:1",
        }
        values |= {"image_digest": "sha256:tinydet", "engine": "docker", "run_dir": f"runs/{id}"}
        return add_job(session, id=id, **(values | given))

    return make
