"""gc on a real engine: what a name pointed to before goes, unless something still needs it. Never with ``whole``: the engine is shared."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.image import ImageMetadata
from contracts.seams import ContainerSpec, Engine
from registry import images
from runner.gc import collect
from runner.installation import Installation
from runner.settings import load_settings

pytestmark = pytest.mark.docker


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    opened = Installation(load_settings({"home": str(tmp_path / "home"), "engine": "docker", "gpus": "fake"}))
    yield opened
    opened.close()


@pytest.fixture
def built(installation: Installation, tmp_path: Path) -> Iterator[list[str]]:
    """The digests of an image that was registered and built anew twice, under one name; the last one is what it points to."""
    reference, digests = f"gc-of-sluice/{uuid.uuid4().hex[:8]}:1", []
    for number in range(3):
        digests.append(build(installation.engine, tmp_path, reference, number))
        register(installation, reference, digests)
    yield digests
    for digest in digests:
        installation.engine.remove_image(digest)


def build(engine: Engine, folder: Path, reference: str, number: int) -> str:
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY content /content\nCMD ["/content"]\n')
    (folder / "content").write_text(f"{number} {uuid.uuid4()}" * 1000)
    return engine.build_image(folder, reference, {}, lambda line: None).digest


def register(installation: Installation, reference: str, digests: list[str]) -> None:
    values: dict[str, Any] = {"digest": digests[-1], "metadata": ImageMetadata((), ())}
    with installation.database.writing() as session:
        if len(digests) == 1:
            images.add_image(session, name="det", reference=reference, engine="docker", **values)
        else:
            images.replace_image(session, "det", **values)


def references(answer: dict[str, Any]) -> set[str]:
    return {row["reference"] for row in answer["items"]}


def test_former_contents_of_a_name_leave_the_engine_and_the_present_one_stays(installation: Installation, built: list[str]) -> None:
    dry = collect(installation, what=["images"])
    assert references(dry) == set(built[:2])
    done = collect(installation, dry_run=False, what=["images"])
    assert (references(done), done["freed_bytes"] > 70_000) == (set(built[:2]), True)
    assert [installation.engine.find_image(digest) is not None for digest in built] == [False, False, True]
    assert references(collect(installation, dry_run=False, what=["images"])) == set()


def test_a_content_that_a_container_uses_stays_and_the_container_is_named(
    installation: Installation, built: list[str], tmp_path: Path
) -> None:
    name = f"gc-of-sluice-{uuid.uuid4().hex[:8]}"
    spec = ContainerSpec(name, built[0], tmp_path, tmp_path, labels={"sluice.installation": installation.id})
    installation.engine.create(spec)
    try:
        done = collect(installation, dry_run=False, what=["images"])
    finally:
        installation.engine.remove(name)
    assert references(done) == {built[1]}
    assert [row["why"] for row in done["kept"] if row["reference"] == built[0]] == [f"remove image {built[0]}: container {name} uses it"]
