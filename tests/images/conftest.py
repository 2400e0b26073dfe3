"""Runs image folders of ours as a job runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from contracts.dataset import ContainerPaths
from contracts.image import Kind
from tests.images.image_jobs import IMAGES, Ended, stage_job, start


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
