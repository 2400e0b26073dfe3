"""Image folders of ours run as a job runs them, as a process or as a container; their modules, for tests."""

from __future__ import annotations

import importlib
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from contracts.dataset import ContainerPaths
from contracts.image import Kind
from plugins.engines.docker import DockerEngine
from runner.building import build_image
from tests.images.image_jobs import IMAGES, Ended, confined_command, stage_job, start


@pytest.fixture
def run_image(tmp_path: Path) -> Callable[..., Ended]:
    """Runs ``images/<name>`` for a kind with the parameters of its template and the given ones; blocks until it has ended."""

    def run(name: str, kind: Kind, parameters: Mapping[str, Any] | None = None, **given: Any) -> Ended:
        job_dir = tmp_path / f"{name}-{kind.value.replace('+', '-')}-{len(list(tmp_path.iterdir()))}"
        paths = ContainerPaths(str(job_dir / "in"), str(job_dir / "out"))
        inputs = stage_job(job_dir, paths, name, kind, parameters or {}, given)
        done = start(IMAGES / name / "app", job_dir)
        return Ended(job_dir / "out", done.returncode, done.stdout + done.stderr, inputs)

    return run


@pytest.fixture
def app(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the app of this folder's image by its plain name; afterwards none of them is known any more."""
    folder = IMAGES / _image_of(request) / "app"
    monkeypatch.syspath_prepend(str(folder))
    yield importlib.import_module
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "") or "").startswith(f"{folder}/"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """This folder's image, built with the ``BUILD_ARGS`` of the test module."""
    name = _image_of(request)
    engine, reference = DockerEngine(), f"sluice-test/{name}:{uuid.uuid4().hex[:12]}"
    build_args = getattr(request.module, "BUILD_ARGS", {})
    build_image(engine, IMAGES / name, reference, build_args=build_args, home=tmp_path_factory.mktemp("home"), on_output=print)
    engine.close()
    yield reference
    subprocess.run(["docker", "rmi", "-f", reference], check=True, capture_output=True)


@pytest.fixture(scope="module")
def run(request: pytest.FixtureRequest, image: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ended]:
    """Runs this folder's image as a confined container, for the ``CLASSES`` and with the ``OPTIONS`` of the test module; blocks until it has ended."""

    def run(kind: Kind, parameters: Mapping[str, Any] | None = None, **given: Any) -> Ended:
        job_dir = tmp_path_factory.mktemp("job")
        given = {"class_names": request.module.CLASSES, **given}
        inputs = stage_job(job_dir, ContainerPaths(), _image_of(request), kind, parameters or {}, given)
        container = f"sluice-test-{job_dir.name}-{uuid.uuid4().hex[:6]}"
        command = confined_command(image, job_dir, container, *getattr(request.module, "OPTIONS", ()))
        done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
        return Ended(job_dir / "out", done.returncode, done.stdout + done.stderr, inputs)

    return run


def _image_of(request: pytest.FixtureRequest) -> str:
    """The image folder that the tests of a folder are about: they have the same name."""
    return request.path.parent.name.replace("_", "-")
