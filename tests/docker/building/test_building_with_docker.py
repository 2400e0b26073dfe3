"""Image folders built for real, on a machine that may reach no registry at all."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from contracts.errors import ImageError, PullError
from contracts.image import ImageFacts
from plugins.engines.docker import DockerEngine
from runner.base_images import make_debian_base
from runner.building import build_image
from runner.wheels import find_base_python

pytestmark = pytest.mark.docker

REFERENCE = "sluice-test/building:latest"
MADE_BASE = "sluice/base:bookworm"
DOCKERFILE = f"ARG BASE={MADE_BASE}\nFROM ${{BASE}}\nCOPY . /context\n"
Build = Callable[..., ImageFacts]


@pytest.fixture
def engine() -> Iterator[DockerEngine]:
    engine = DockerEngine()
    yield engine
    engine.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The smallest image folder."""
    folder = tmp_path / "image"
    (folder / "img-man").mkdir(parents=True)
    (folder / "img-man" / "infer-template.yaml").write_text("threshold: 0.5\n")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return folder


@pytest.fixture
def build(engine: DockerEngine, folder: Path, tmp_path: Path) -> Iterator[Build]:
    """Builds the folder, with further arguments of ``build_image``; the image is removed afterwards."""

    def build(**arguments: object) -> ImageFacts:
        said: list[str] = arguments.pop("said", [])
        return build_image(engine, folder, REFERENCE, home=tmp_path / "home", on_output=said.append, **arguments)

    yield build
    _remove(REFERENCE)


def _remove(reference: str) -> None:
    client = docker.from_env()
    if client.images.list(name=reference):
        client.images.remove(reference, force=True)
    client.close()


def _read(engine: DockerEngine, inside: str) -> dict[str, bytes]:
    return engine.read_image_files(REFERENCE, inside, 8 * 1024**2)


def test_a_build_sees_the_folder_and_the_part_of_the_host_and_writes_neither(engine: DockerEngine, folder: Path, build: Build) -> None:
    before = sorted(folder.rglob("*"))
    assert build().reference == REFERENCE
    assert {"Dockerfile", "img-man/infer-template.yaml", ".sluice/pip.conf", ".sluice/ca-certificates.crt"} <= set(
        _read(engine, "/context")
    )
    assert sorted(folder.rglob("*")) == before


def test_the_context_is_gone_after_the_build_also_when_it_fails(folder: Path, build: Build, tmp_path: Path) -> None:
    (folder / "Dockerfile").write_text(DOCKERFILE + "RUN echo the last words && exit 7\n")
    with pytest.raises(ImageError, match="the last words") as caught:
        build()
    assert f"from {folder} failed" in caught.value.message
    assert not list((tmp_path / "home" / "cache").glob("sluice-build-*"))


def test_a_dockerignore_that_ignores_everything_keeps_the_part_of_the_host(engine: DockerEngine, folder: Path, build: Build) -> None:
    (folder / ".dockerignore").write_text("*\n!img-man\n")
    build()
    assert {".sluice/pip.conf", "img-man/infer-template.yaml"} <= set(_read(engine, "/context"))


def test_every_user_may_read_what_a_careful_person_built(engine: DockerEngine, folder: Path, build: Build) -> None:
    (folder / "img-man" / "infer-template.yaml").chmod(0o600)
    (folder / "img-man").chmod(0o700)
    (folder / "Dockerfile").write_text(
        DOCKERFILE + "RUN stat -c %a /context/img-man /context/img-man/* > /modes.d\nRUN mkdir /m && mv /modes.d /m\n"
    )
    build()
    assert _read(engine, "/m")["modes.d"].split() == [b"755", b"644"]


def test_a_base_that_no_registry_gives_is_replaced_by_a_debian_with_the_same_python(folder: Path, build: Build) -> None:
    said: list[str] = []
    (folder / "Dockerfile").write_text("ARG BASE=docker.io/library/python:3.11-slim-bookworm\nFROM ${BASE}\nRUN python3 --version\n")
    build(said=said)
    assert any(line.startswith("Python 3.11.") for line in said)


def test_an_unknown_base_that_cannot_be_pulled_is_refused_with_what_to_do(folder: Path, build: Build) -> None:
    (folder / "Dockerfile").write_text("ARG BASE=registry.invalid/team/base:1\nFROM ${BASE}\n")
    with pytest.raises(PullError, match=r"registry\.invalid/team/base:1 cannot be pulled") as refusal:
        build()
    assert "--base" in refusal.value.hint


def test_a_base_may_be_chosen_when_the_dockerfile_allows_it(folder: Path, build: Build) -> None:
    (folder / "Dockerfile").write_text("ARG BASE=registry.invalid/team/base:1\nFROM ${BASE}\n")
    assert build(base=MADE_BASE).architecture
    (folder / "Dockerfile").write_text("FROM registry.invalid/team/base:1\n")
    with pytest.raises(ImageError, match="has no ARG BASE"):
        build(base=MADE_BASE)


def test_wheels_of_the_host_install_in_a_build_without_an_index(
    folder: Path, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _put_wheel(tmp_path / "shelf")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "shelf"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    (folder / "requirements.txt").write_text("tinylib==1.0\n")
    install = "python3 -m pip install --no-index --find-links /context/.sluice/wheels --target /site -r /context/requirements.txt"
    (folder / "Dockerfile").write_text(
        DOCKERFILE + f"RUN {install}\nRUN PYTHONPATH=/site python3 -c 'import tinylib; print(tinylib.WORD)'\n"
    )
    said: list[str] = []
    build(said=said)
    assert "from the shelf" in said


def _put_wheel(shelf: Path) -> None:
    shelf.mkdir()
    with zipfile.ZipFile(shelf / "tinylib-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tinylib.py", "WORD = 'from the shelf'\n")
        wheel.writestr("tinylib-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinylib\nVersion: 1.0\n")
        wheel.writestr("tinylib-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tinylib-1.0.dist-info/RECORD", "")


def test_the_python_of_a_base_is_found_without_running_it(engine: DockerEngine) -> None:
    assert find_base_python(engine, MADE_BASE) == "3.11"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="making a base image needs root, or user namespaces that this test does not set up")
def test_a_base_is_made_from_the_debian_archive(engine: DockerEngine, tmp_path: Path) -> None:
    _remove("sluice/base:trixie")
    try:
        make_debian_base(engine, "trixie", tmp_path, lambda line: None)
        assert find_base_python(engine, "sluice/base:trixie") == "3.13"
        assert [path.suffix for path in tmp_path.iterdir() if path.name.startswith("base")] == [".lock"]
    finally:
        _remove("sluice/base:trixie")
