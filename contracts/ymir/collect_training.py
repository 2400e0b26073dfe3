"""The stages that a training left: ``/out/models/result.yaml`` in its old, new and mixed forms (contract reference 5.2).

A night's training must not be lost over one bad number: whatever can be kept is kept, and everything else is named in a warning.
"""

from __future__ import annotations

import datetime
import math
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from contracts.errors import ResultMalformedError
from contracts.results import StageResult, TrainingResult
from contracts.ymir.documents import compose_yaml, construct_yaml, decode, duplicate_keys
from contracts.ymir.layout import ATTACHMENTS, MODELS, TRAINING_RESULT
from contracts.ymir.model_info import COUNT_METRICS, FLOAT_METRICS, quality_of
from contracts.ymir.out_dir import OutDir
from contracts.ymir.python_tags import ResultLoader, has_python_tags
from contracts.ymir.tolerances import Tolerances, printable, shorten

OLD_FORM_STAGE = "default_best_stage"

_MAX_BYTES = 2 * 1024**2
_MAX_FILES = 10_000  # below one folder that is named instead of a file
_MAX_TIMESTAMP = 253_402_300_799  # the last second of the year 9999
_MAX_COUNT = 2**63 - 1
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,99}")
_METRIC_NAMES = {name.lower(): name for name in (*FLOAT_METRICS, *COUNT_METRICS)}
_OTHER_MAP_NAMES = ("map", "map50", "map_50")
#: What a stage, or a file of the old form, says beside its metrics.
_NO_METRICS = frozenset(
    {"files", "stage_name", "timestamp", "model", "model_stages", "best_stage_name", "attachments", "evaluate_config", "object_type"}
)
#: Metrics of the image's own, such as F1 or AP@0.5 (small): their names are shown in tables and terminals.
_OWN_METRIC = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_@.,:/%+=() -]{0,63}")
_MOST_OWN_METRICS = 64


def collect_training(out_dir: Path) -> TrainingResult:
    """The stages with their files and metrics, also those of a failed training.

    Raises ``ResultMissingError`` without a result.yaml, ``ResultMalformedError`` when not one stage with a file can be read from it.
    """
    out, tolerances = OutDir(out_dir), Tolerances()
    document = _read(out, tolerances)
    found = _new_form(document, out, tolerances) if _is_new_form(document, tolerances) else _old_form(document, out, tolerances)
    if not found:
        raise _malformed("no stage with a file that exists is left", *(warning.message for warning in tolerances.warnings()))
    return TrainingResult(
        stages=tuple(found.values()),
        best_stage_name=_best_stage_name(document, found, tolerances),
        attachments=_attachments(document, out, tolerances),
        evaluate_config=_evaluate_config(document, tolerances),
        warnings=tolerances.warnings(),
    )


def _read(out: OutDir, tolerances: Tolerances) -> Mapping[Any, Any]:
    text, replaced = decode(out.read(TRAINING_RESULT, _MAX_BYTES))
    if replaced:
        tolerances.add("result_encoding", "the file is not UTF-8: unreadable characters were replaced", TRAINING_RESULT)
    try:
        node = compose_yaml(text)
        document = None if node is None else _construct(node, tolerances)
    except ValueError as error:
        raise _malformed(str(error)) from error
    if not isinstance(document, dict):
        raise _malformed("it is empty" if document is None else f"it is a {type(document).__name__}, not a mapping")
    return document


def _construct(node: yaml.Node, tolerances: Tolerances) -> Any:
    for name, line in duplicate_keys(node):
        tolerances.add("result_duplicate_key", "keys that stand twice; the last one counts", TRAINING_RESULT, f"line {line}: {name}")
    if not has_python_tags(node):
        return construct_yaml(node)
    document = construct_yaml(node, ResultLoader)
    tolerances.add(
        "result_python_tags", "numbers were written as Python objects (numpy scalars?); use float() before yaml.dump", TRAINING_RESULT
    )
    return document


def _is_new_form(document: Mapping[Any, Any], tolerances: Tolerances) -> bool:
    """``model_stages`` or ``model`` alone decide; a top-level ``map`` says nothing."""
    if document.get("model_stages") and document.get("model"):
        tolerances.add("result_mixed_form", "both model and model_stages are there; model_stages counts", TRAINING_RESULT)
    if document.get("model_stages") or ("model_stages" in document and "model" not in document):
        return True
    if not document.get("model"):
        raise _malformed(f"it has neither model_stages nor model, only {shorten(document) or 'nothing'}")
    return False


def _old_form(document: Mapping[Any, Any], out: OutDir, tolerances: Tolerances) -> dict[str, StageResult]:
    tolerances.add("result_old_form", f"the form of protocol 0.0.0 (model, map): read as one stage {OLD_FORM_STAGE}", TRAINING_RESULT)
    values = {"files": document["model"], "timestamp": document.get("timestamp"), **_metrics_alone(document)}
    if "mAP" not in read_metrics(values, "", Tolerances()):
        values = {"mAP": 0.0} | values
    stage = _stage(OLD_FORM_STAGE, OLD_FORM_STAGE, values, out, tolerances, old_form=True)
    return {OLD_FORM_STAGE: stage} if stage else {}


def _metrics_alone(document: Mapping[Any, Any]) -> dict[str, Any]:
    """The metrics that stand beside ``model``; there ``map`` is the right name, and null means 0 for those that YMIR knows."""
    names = {*_METRIC_NAMES, *_OTHER_MAP_NAMES}
    found = {
        key: 0.0 if value is None and key.lower() in names else value
        for key, value in document.items()
        if isinstance(key, str) and key not in _NO_METRICS
    }
    return ({"mAP": found.pop("map")} if "map" in found else {}) | found


def _new_form(document: Mapping[Any, Any], out: OutDir, tolerances: Tolerances) -> dict[str, StageResult]:
    listed = document["model_stages"]
    if not isinstance(listed, dict):
        raise _malformed(f"model_stages is {_kind(listed)}, not a mapping of stage names to stages")
    stages: dict[str, StageResult] = {}
    for key, values in listed.items():
        name = _stage_name(str(key), stages, tolerances)
        if not isinstance(values, dict):
            tolerances.add("result_stage_dropped", "stages that are not mappings were dropped", TRAINING_RESULT, str(key))
            continue
        if values.get("stage_name") != key:
            tolerances.add("result_stage_name", "stage_name is missing or differs from the key; the key counts", TRAINING_RESULT, str(key))
        stage = _stage(name, str(key), values, out, tolerances)
        if stage:
            stages[name] = stage
    return stages


def _stage_name(key: str, taken: Iterable[str], tolerances: Tolerances) -> str:
    """The name as it can be a folder: other characters become ``_``."""
    name = folder_name(key)
    number = 2
    while name in taken:
        name, number = f"{name.rsplit('__', 1)[0]}__{number}", number + 1
    if name != key:
        tolerances.add(
            "result_stage_renamed", "stages whose names cannot be folders were renamed", TRAINING_RESULT, f"{key!r} is now {name!r}"
        )
    return name


def folder_name(key: str) -> str:
    """SECURITY: stages and attachments become folders of the registry and members of archives."""
    return key if _NAME.fullmatch(key) else (re.sub(r"[^A-Za-z0-9_.+=-]", "_", key).lstrip(".-+=")[:90] or "unnamed")


def _stage(
    name: str, key: str, values: Mapping[Any, Any], out: OutDir, tolerances: Tolerances, *, old_form: bool = False
) -> StageResult | None:
    files = _files(key, values.get("files"), out, tolerances)
    if not files:
        tolerances.add("result_stage_dropped", "stages without a single file that exists were dropped", TRAINING_RESULT, key)
        return None
    newest = max(int(path.stat().st_mtime) for path in files.values())
    timestamp = read_timestamp(values.get("timestamp"))
    if timestamp is None and (not old_form or values.get("timestamp") is not None):
        tolerances.add("result_timestamp", "stages without a readable timestamp; that of the newest file is taken", TRAINING_RESULT, key)
    return StageResult(name, files, read_metrics(values, key, tolerances), newest if timestamp is None else timestamp)


def _files(key: str, listed: Any, out: OutDir, tolerances: Tolerances) -> dict[str, Path]:
    if isinstance(listed, str):
        tolerances.add("result_files_not_list", "files is one text instead of a list", TRAINING_RESULT, key)
        listed = [listed]
    if not isinstance(listed, list):
        return {}
    files: dict[str, Path] = {}
    for entry in listed:
        if not isinstance(entry, str) or not entry.strip("/. "):
            tolerances.add(
                "result_file_dropped", "files that cannot be given to a later job were dropped", TRAINING_RESULT, f"{entry!r}: not a name"
            )
            continue
        files.update(_entry(key, entry, out, tolerances))
    return files


def _entry(key: str, entry: str, out: OutDir, tolerances: Tolerances) -> dict[str, Path]:
    """The file by its name below the stage; every file below a folder."""
    path, name, reason = _locate(key, entry, out, tolerances)
    if path is None:
        tolerances.add(
            "result_file_dropped", "files that cannot be given to a later job were dropped", TRAINING_RESULT, f"{entry}: {reason}"
        )
        return {}
    if stat.S_ISREG(path.lstat().st_mode):
        return {name: path}
    tolerances.add("result_folder_as_file", "a folder is named as a file; all files in it are taken", TRAINING_RESULT, entry)
    return {f"{name}/{inner}": found for inner, found in _folder_files(path)}


def _locate(key: str, entry: str, out: OutDir, tolerances: Tolerances) -> tuple[Path | None, str, str]:
    """The path and the name below the stage, or the reason why there is none.

    Looks below the stage first, then below /out/models, last for the base name (contract reference 9).
    """
    reason = ""
    for name, base in _places(key, entry):
        found = out.find(name, base)
        if _usable(found.path):
            if name.startswith("/"):
                tolerances.add("result_absolute_path", "files are named by absolute paths", TRAINING_RESULT, entry)
            elif name != entry:
                tolerances.add("result_file_elsewhere", "files were found by their base name only", TRAINING_RESULT, entry)
            return found.path, _name_below_stage(key, name, out), ""
        reason = reason if reason.endswith("outside /out") else found.reason or "it is not a file"
    return None, "", reason


def _places(key: str, entry: str) -> Iterator[tuple[str, str]]:
    stage_dir = f"{MODELS}/{key}"
    yield entry, stage_dir
    if not entry.startswith("/"):
        yield entry, MODELS
    base_name = PurePosixPath(entry).name
    if base_name != entry:
        yield base_name, stage_dir
        yield base_name, MODELS


def _usable(path: Path | None) -> bool:
    if path is None:
        return False
    mode = path.lstat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode)


def _name_below_stage(key: str, entry: str, out: OutDir) -> str:
    """``entry`` without the folders that lead to the stage; only the base name when it climbs or cannot be a name."""
    name = entry
    if entry.startswith("/"):
        inner = out.relative(entry) or PurePosixPath(entry).name
        name = inner.removeprefix(f"{MODELS}/")
    path = PurePosixPath(name.removeprefix(f"{key}/"))
    plain = ".." not in path.parts and not path.is_absolute() and path.parts
    return printable(str(path) if plain else path.name or "file")


def _folder_files(folder: Path) -> list[tuple[str, Path]]:
    """Regular files below the folder by relative name; links are left out."""
    found: list[tuple[str, Path]] = []
    for directory, _, names in os.walk(folder):
        for name in sorted(names):
            path = Path(directory, name)
            if stat.S_ISREG(path.lstat().st_mode) and len(found) < _MAX_FILES:
                found.append((printable(path.relative_to(folder).as_posix()), path))
    return sorted(found)


def read_timestamp(value: Any) -> int | None:
    """Unix seconds, of a number, a text or a date; None for anything else."""
    if isinstance(value, datetime.datetime):
        aware = value if value.tzinfo else value.replace(tzinfo=datetime.timezone.utc)
        value = aware.timestamp()
    number = read_number(value)
    return int(number) if number is not None and 0 <= number <= _MAX_TIMESTAMP else None


def read_number(value: Any) -> float | None:
    """Numbers and numeric texts, as YMIR takes them; never a bool, NaN or infinity."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def read_metrics(values: Mapping[Any, Any], key: str, tolerances: Tolerances, place: str = TRAINING_RESULT) -> dict[str, float]:
    """The metrics of a stage: first those that YMIR knows under its names, then up to 64 numbers of the image's own, as it calls them.

    ``place``: the file that they stand in.
    """
    metrics: dict[str, float] = {}
    own: dict[str, float] = {}
    for given, value in values.items():
        if value is None or given in _NO_METRICS:
            continue
        name = _metric_name(given)
        if name is None:
            _add_own(own, given, value, key, tolerances, place)
            continue
        if given != name and name in values:  # the exact name wins over any other spelling in the same stage
            continue
        number = read_number(value)
        if number is None or not _in_range(name, number):
            message = "metrics that are no numbers in their range ([0, 1]; counts from 0) were dropped"
            tolerances.add("result_metric_dropped", message, place, f"{key}: {given} = {value!r}")
            continue
        if given != name:
            tolerances.add("result_metric_name", "metrics under other names", place, f"{given} is read as {name}")
        metrics[name] = float(int(number)) if name in COUNT_METRICS else number
    return {**metrics, **own}


def _add_own(own: dict[str, float], given: Any, value: Any, key: str, tolerances: Tolerances, place: str) -> None:
    number = read_number(value)
    if number is not None and isinstance(given, str) and _OWN_METRIC.fullmatch(given) and len(own) < _MOST_OWN_METRICS:
        own[given] = number
        return
    message = f"other values of a stage than {_MOST_OWN_METRICS} numbers with plain names of up to 64 characters were left out"
    tolerances.add("result_value_left_out", message, place, f"{key}: {str(given)[:60]} = {str(value)[:60]!r}")


def _metric_name(given: Any) -> str | None:
    """The name that YMIR knows the metric by."""
    lowered = given.lower() if isinstance(given, str) else ""
    return "mAP" if lowered in _OTHER_MAP_NAMES else _METRIC_NAMES.get(lowered)


def _in_range(name: str, number: float) -> bool:
    return 0 <= number <= _MAX_COUNT if name in COUNT_METRICS else 0 <= number <= 1


def _best_stage_name(document: Mapping[Any, Any], stages: Mapping[str, StageResult], tolerances: Tolerances) -> str:
    named = document.get("best_stage_name")
    if named is not None and str(named) in stages:
        return str(named)
    best = max(stages.values(), key=lambda stage: (_quality(stage), stage.timestamp)).name
    if best != OLD_FORM_STAGE:
        reason = "is missing" if named is None else f"{str(named)[:60]!r} is none of the stages"
        tolerances.add("result_best_stage", f"best_stage_name {reason}; {best} has the best metric (then the newest time)", TRAINING_RESULT)
    return best


def _quality(stage: StageResult) -> tuple[float, ...]:
    """SDK's own order: maskAP before mIoU before mAP; a classification, which has none of them, by its accuracy."""
    return (*(stage.metrics.get(name, 0.0) for name in ("maskAP", "mIoU")), quality_of(stage.metrics))


def _attachments(document: Mapping[Any, Any], out: OutDir, tolerances: Tolerances) -> dict[str, tuple[Path, ...]]:
    listed = document.get("attachments") or {}
    if not isinstance(listed, dict):
        tolerances.add("result_attachments", f"attachments is {_kind(listed)}, not a mapping; it is left out", TRAINING_RESULT)
        return {}
    found = {folder_name(str(section)): tuple(_attached(str(section), names, out, tolerances)) for section, names in listed.items()}
    return {section: paths for section, paths in found.items() if paths}


def _attached(section: str, names: Any, out: OutDir, tolerances: Tolerances) -> Iterator[Path]:
    for name in [names] if isinstance(names, str) else names if isinstance(names, list) else []:
        places = (f"{ATTACHMENTS}/{section}", MODELS) if isinstance(name, str) else ()
        path = next((found.path for base in places if (found := out.find_file(name, base)).path), None)
        if path:
            yield path
        else:
            tolerances.add(
                "result_attachment_missing", "attachments that do not exist inside /out were left out", TRAINING_RESULT, str(name)
            )


def _evaluate_config(document: Mapping[Any, Any], tolerances: Tolerances) -> dict[str, float]:
    listed = document.get("evaluate_config") or {}
    numbers = {printable(str(name))[:100]: read_number(value) for name, value in listed.items()} if isinstance(listed, dict) else {"": None}
    if None in numbers.values():
        tolerances.add("result_evaluate_config", "values of evaluate_config that are not numbers were left out", TRAINING_RESULT)
    return {name: number for name, number in numbers.items() if number is not None}


def _kind(value: Any) -> str:
    return "empty" if value is None else f"a {type(value).__name__}"


def _malformed(reason: str, *details: str) -> ResultMalformedError:
    return ResultMalformedError(
        f"/out/{TRAINING_RESULT} cannot be used: {reason}",
        hint=" ".join(["The image must list its stages as the contract says (model_stages, best_stage_name).", *details])[:2000],
        place=TRAINING_RESULT,
    )
