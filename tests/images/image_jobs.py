"""Image folders of ours run as a job runs them: staged by the contract, started as a process, collected by the contract."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from contracts.dataset import Annotation, Asset, ContainerPaths, JobInputs, ModelInput, Sample
from contracts.image import ImageMetadata, Kind, ObjectType
from contracts.results import StageResult
from contracts.ymir import read_metadata, stage

CONFINED = [
    "--network=none",
    "--read-only",
    "--tmpfs=/tmp",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--memory=2g",
    "--pids-limit=256",
]
IMAGES = Path(__file__).resolve().parents[2] / "images"


@dataclass(frozen=True)
class Ended:
    """A job of an image folder that has ended."""

    out_dir: Path
    exit_code: int
    log: str
    inputs: JobInputs


def make_samples(folder: Path, count: int, class_names: Sequence[str], seed: int = 0) -> list[Sample]:
    """Real pictures of 96x64 pixels with one bright box each, in a colour that tells the class."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    return [_make_sample(folder, random, index % len(class_names), class_names) for index in range(count)]


def _make_sample(folder: Path, random: np.random.Generator, label: int, class_names: Sequence[str]) -> Sample:
    pixels = random.integers(0, 60, (64, 96, 3)).astype(np.uint8)
    (width, height), (x, y) = random.integers(16, 32, 2).tolist(), random.integers(0, 32, 2).tolist()
    pixels[y : y + height, x : x + width, label % 3] = 230
    Image.fromarray(pixels).save(folder / "new.png")
    digest = hashlib.sha1((folder / "new.png").read_bytes()).hexdigest()
    path = (folder / "new.png").rename(folder / f"{digest}.png")
    box = Annotation(class_names[label], x, y, width, height)
    return Sample(Asset(digest, "png", 96, 64, path.stat().st_size), path, (box,))


def model_input(stage_result: StageResult, class_names: Sequence[str], object_type: ObjectType = ObjectType.DETECTION) -> ModelInput:
    """A trained stage as the input of the next job."""
    return ModelInput("model", stage_result.name, stage_result.files, tuple(class_names), object_type)


def stage_job(
    job_dir: Path, paths: ContainerPaths, name: str, kind: Kind, parameters: Mapping[str, Any], given: dict[str, Any]
) -> JobInputs:
    """Stages ``images/<name>`` in ``job_dir``: the parameters of its template overlaid by the given ones."""
    object_type = given.pop("object_type", metadata_of(name).object_types[0])
    values = {**template_defaults(name, kind, object_type), **parameters}
    inputs = JobInputs("t1234567", kind, object_type, tuple(given.pop("class_names")), values, paths=paths, **given)
    stage(inputs, job_dir / "in", job_dir / "out")
    return inputs


def template_defaults(name: str, kind: Kind, object_type: ObjectType | None = None) -> dict[str, Any]:
    """The defaults of an image folder's templates; mining overlays inference where one job does both."""
    metadata = metadata_of(name)
    templates = [metadata.find_template(part, object_type or metadata.object_types[0]) for part in reversed(kind.parts)]
    return {key: value for template in templates if template for key, value in template.defaults().items()}


def metadata_of(name: str) -> ImageMetadata:
    """What an image folder of ours declares, which needs no tolerance."""
    folder = IMAGES / name / "img-man"
    metadata = read_metadata({str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert metadata.warnings == ()
    return metadata


def confined_command(image: str, job_dir: Path, container: str, *options: str) -> list[str]:
    """The command that runs an image as Sluice confines it: no network, read-only root, an ordinary user, no capabilities.

    ``options`` of ``docker run`` come after the usual ones, and so overrule them.
    """
    for path in [job_dir / "out", *(job_dir / "out").rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    user = f"{os.getuid() or 1000}:{os.getgid() or 1000}"
    mounts = ["-v", f"{job_dir}/in:/in:ro", "-v", f"{job_dir}/out:/out"]
    return ["docker", "run", "--rm", "--name", container, "--user", user, "--env", "HOME=/tmp", *CONFINED, *options, *mounts, image]


def start(app_dir: Path, job_dir: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "DEFAULT_ENV_FILE_PATH": str(job_dir / "in" / "env.yaml"), "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(["bash", "start.sh"], cwd=app_dir, env=env, capture_output=True, text=True, timeout=300, check=False)
