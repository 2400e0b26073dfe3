"""The files between this image and whoever runs it: env.yaml and config.yaml in, monitor.txt and results out.

Nothing here knows about a network or torch. Every file is written aside and renamed, so a reader never sees half of one.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

CONFIG_ERROR = 300001
DATASET_ERROR = 300002
IMAGE_FORMAT_ERROR = 300003
MODEL_ERROR = 300004
OBJECT_TYPE_ERROR = 300005
NO_GPU_ERROR = 300102
OUT_OF_MEMORY_ERROR = 300103
NOT_A_NUMBER_ERROR = 300201
CONTAINER_ERROR = 160004

RUNNING_STATE = 2
ERROR_STATE = 4
CLASSIFICATION, DETECTION, SEMANTIC_SEGMENTATION, INSTANCE_SEGMENTATION = 1, 2, 3, 4
OBJECT_TYPES = {
    CLASSIFICATION: "classification",
    DETECTION: "detection",
    SEMANTIC_SEGMENTATION: "semantic segmentation",
    INSTANCE_SEGMENTATION: "instance segmentation",
}
TRACE_LINES = 90

Parameters = TypeVar("Parameters")


class ImageError(Exception):
    """A failure with one of the contract's codes; the message says what, which value and where."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Env:
    """What env.yaml says: which kind of job this is and where its files are. Paths that are not used are ''."""

    task_id: str
    run_training: bool
    run_mining: bool
    run_infer: bool
    inputs: dict[str, str]
    outputs: dict[str, str]

    def input(self, name: str) -> Path:
        """An input path by its key in env.yaml, such as ``config_file``."""
        return _path(self.inputs, name, "input")

    def output(self, name: str) -> Path:
        """An output path by its key in env.yaml, such as ``monitor_file``."""
        return _path(self.outputs, name, "output")


def read_env(path: Path | None = None) -> Env:
    """The job's env.yaml, found through DEFAULT_ENV_FILE_PATH (default /in/env.yaml)."""
    path = path or Path(os.environ.get("DEFAULT_ENV_FILE_PATH", "/in/env.yaml"))
    document = read_mapping(path)
    return Env(
        task_id=str(document.get("task_id", "default-task")),
        run_training=bool(document.get("run_training")),
        run_mining=bool(document.get("run_mining")),
        run_infer=bool(document.get("run_infer")),
        inputs=dict(document.get("input") or {}),
        outputs=dict(document.get("output") or {}),
    )


def read_mapping(path: Path) -> dict[str, Any]:
    """A YAML file that holds one mapping. Raises ImageError (300001) naming the file."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise ImageError(CONFIG_ERROR, f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ImageError(CONFIG_ERROR, f"{path} does not hold a mapping of keys to values")
    return document


def read_parameters(config: dict[str, Any], form: type[Parameters]) -> Parameters:
    """The fields of a parameter dataclass out of config.yaml; missing keys keep their default, others are not looked at."""
    fields = {field.name: field for field in dataclasses.fields(form)}  # type: ignore[arg-type]
    given = {name: _convert(name, config[name], fields[name].default) for name in fields if config.get(name) is not None}
    return form(**given)


def require_positive(parameters: Any, *names: str) -> None:
    """Raises ImageError (300001) naming the parameter that is not above 0."""
    for name in names:
        if not getattr(parameters, name) > 0:
            raise ImageError(CONFIG_ERROR, f"{name} must be above 0, not {getattr(parameters, name)}")


def read_class_names(config: dict[str, Any]) -> list[str]:
    """``class_names`` of config.yaml: the position is the class id."""
    names = config.get("class_names") or []
    if not isinstance(names, list) or len(set(names)) != len(names):
        raise ImageError(CONFIG_ERROR, f"class_names must be a list without duplicates, not {names!r}")
    return [str(name) for name in names]


def check_object_type(config: dict[str, Any], *own: int) -> int:
    """What the job is about: one of ``own``, numbers of OBJECT_TYPES, and the first of them where it does not say. Raises ImageError (300005)."""
    wanted = config.get("object_type") or own[0]
    if str(wanted) not in map(str, own):
        does = " and ".join(f"{OBJECT_TYPES[each]} ({each})" for each in own)
        raise ImageError(OBJECT_TYPE_ERROR, f"object_type {wanted}: this image does {does} only")
    return int(wanted)


def read_index(path: Path) -> list[list[str]]:
    """The rows of an index file, split at TABs; blank lines are skipped. Raises ImageError (300002) when there are none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ImageError(DATASET_ERROR, f"{path} cannot be read: {error}") from error
    rows = [line.split("\t") for line in lines if line.strip()]
    if not rows:
        raise ImageError(DATASET_ERROR, f"{path} lists no pictures")
    return rows


def write_aside(path: Path, content: str | bytes) -> None:
    """Puts a whole file at ``path`` or leaves what was there: written beside it, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(content.encode() if isinstance(content, str) else content)
    aside.replace(path)


def write_ranking(path: Path, ranking: list[tuple[str, float]]) -> None:
    """result.tsv: picture and score, highest score first."""
    ordered = sorted(ranking, key=lambda row: -row[1])
    write_aside(path, "".join(f"{picture}\t{score:.8g}\n" for picture, score in ordered))


def write_labels(path: Path, labels: dict[str, list[dict[str, Any]]]) -> None:
    """infer-result.json of a classification: labels by base name of the picture, the surest first."""
    write_aside(path, json.dumps({"classification": {name: {"labels": found} for name, found in labels.items()}}))


def write_detections(path: Path, detections: dict[str, list[dict[str, Any]]]) -> None:
    """infer-result.json: boxes by base name of the picture; a picture without boxes has an empty list."""
    write_aside(path, json.dumps({"detection": {name: {"boxes": boxes} for name, boxes in detections.items()}}))


class Monitor:
    """Says in monitor.txt how far the job is. ``first`` and ``last`` bound the part of the job that is reported now."""

    def __init__(self, path: Path, task_id: str, interval_s: float = 0.5) -> None:
        self.path, self.task_id, self.interval_s = path, task_id, interval_s
        self.first, self.last = 0.0, 1.0
        self._written_at = 0.0

    def span(self, first: float, last: float) -> None:
        """From now on a fraction of 0 means ``first`` and 1 means ``last``."""
        self.first, self.last = first, last

    def progress(self, fraction: float) -> None:
        """Reports a fraction in [0, 1] of the current span, at most every ``interval_s`` seconds but always the end."""
        now = time.monotonic()
        if fraction >= 1 or now - self._written_at >= self.interval_s:
            self._written_at = now
            within = min(max(fraction, 0.0), 1.0)
            self._write(self.first + (self.last - self.first) * within, RUNNING_STATE, 0, "", "")

    def error(self, code: int, message: str, trace: str = "") -> None:
        """Reports the end of the job by a failure; ``trace`` follows on lines of its own."""
        self._write(1.0, ERROR_STATE, code, " ".join(message.split()), trace)

    def _write(self, fraction: float, state: int, code: int, message: str, trace: str) -> None:
        fields = [self.task_id, f"{time.time():.6f}", f"{fraction:.4f}", str(state), str(code)]
        row = "\t".join(fields + ([message] if message else []))
        write_aside(self.path, "\n".join([row, *trace.splitlines()[-TRACE_LINES:]]) + "\n")


def code_of(error: BaseException) -> int:
    """The contract's code for any exception."""
    if isinstance(error, ImageError):
        return error.code
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return OUT_OF_MEMORY_ERROR
    return CONTAINER_ERROR


def trace_of(error: BaseException) -> str:
    """The traceback as text."""
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def _path(paths: dict[str, str], name: str, side: str) -> Path:
    if not paths.get(name):
        raise ImageError(CONFIG_ERROR, f"env.yaml gives no {side}.{name}")
    return Path(paths[name])


def _convert(name: str, value: Any, default: Any) -> Any:
    """A value in the type of its default; web forms send numbers and booleans as strings."""
    try:
        if isinstance(default, bool):
            return _boolean(value)
        return type(default)(value) if not isinstance(value, type(default)) else value
    except (TypeError, ValueError) as error:
        raise ImageError(CONFIG_ERROR, f"{name}: {value!r} is not of type {type(default).__name__}") from error


def _boolean(value: Any) -> bool:
    word = str(value).strip().lower()
    if word in ("true", "t", "yes", "y", "1", "on"):
        return True
    if word in ("false", "f", "no", "n", "0", "off", ""):
        return False
    raise ValueError(word)
