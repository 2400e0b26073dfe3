"""``ymir-info.yaml`` of a model package that somebody else wrote, in all versions and with the tolerances of contract reference 7.3 and 7.4.

What can be understood is, and every deviation is named; what would have to be guessed is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from contracts.errors import RequestError
from contracts.image import ObjectType
from contracts.job import JobWarning
from contracts.ymir.collect_training import OLD_FORM_STAGE, folder_name, read_metrics, read_number, read_timestamp
from contracts.ymir.documents import compose_yaml, construct_yaml, decode, duplicate_keys, plain
from contracts.ymir.layout import MODEL_INFO
from contracts.ymir.tolerances import Tolerances, printable, shorten

MAX_INFO_BYTES = 2 * 1024**2
_KNOWN_VERSIONS = ("2.0.0", "2.0.1", "2.0.2")
_OLD_VERSION = "1.1.0"
_LABELS = {t.label.replace(" ", "_"): t for t in ObjectType} | {"det": ObjectType.DETECTION, "seg": ObjectType.SEMANTIC_SEGMENTATION}


@dataclass(frozen=True)
class PackageStage:
    """One stage as the package lists it. ``files`` are names as they are written there; ``timestamp`` is 0 when it is not known."""

    name: str
    folder: str
    files: tuple[str, ...]
    metrics: Mapping[str, float]
    timestamp: int


@dataclass(frozen=True)
class PackageInfo:
    """What a package says of its model. ``class_names`` None: it does not say. ``version``: of the package's form."""

    version: str
    stages: tuple[PackageStage, ...]
    best_stage_name: str
    class_names: tuple[str, ...] | None
    object_type: ObjectType
    parameters: dict[str, Any] = field(default_factory=dict)
    task_context: dict[str, Any] = field(default_factory=dict)
    attachments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    evaluate_config: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[JobWarning, ...] = ()


def read_package_info(content: bytes) -> PackageInfo:
    """Raises ``RequestError`` for bytes that are no description of a model, or of a form that is not known."""
    if len(content) > MAX_INFO_BYTES:
        raise _refuse(f"it has {len(content):,} bytes, more than the {MAX_INFO_BYTES:,} allowed")
    tolerances = Tolerances()
    document = _document(content, tolerances)
    version = _version(document, tolerances)
    config = _config(document, tolerances)
    stages = _old_stages(document, tolerances) if version == _OLD_VERSION else _stages(document, tolerances)
    return PackageInfo(
        version=version,
        stages=tuple(stages),
        best_stage_name=_best_stage(document, stages, tolerances),
        class_names=_class_names(config, tolerances),
        object_type=_object_type(document, tolerances),
        parameters={name: value for name, value in config.items() if name != "class_names"},
        task_context=_mapping(document, "task_context", tolerances),
        attachments=_attachments(document, tolerances),
        evaluate_config=_evaluate_config(document, tolerances),
        warnings=tolerances.warnings(),
    )


# --------------------------------------------------------------------------------------------------------- the document


def _document(content: bytes, tolerances: Tolerances) -> dict[str, Any]:
    text, replaced = decode(content)
    if replaced:
        tolerances.add("package_encoding", "the file is not UTF-8: unreadable characters were replaced", MODEL_INFO)
    try:
        node = compose_yaml(text)
        document = None if node is None else construct_yaml(node)
    except ValueError as error:
        raise _refuse(str(error)) from error
    for name, line in duplicate_keys(node) if node else ():
        tolerances.add("package_duplicate_key", "keys that stand twice; the last one counts", MODEL_INFO, f"line {line}: {name}")
    if not isinstance(document, dict):
        raise _refuse("it is empty" if document is None else f"it is {_kind(document)}, not a mapping")
    return {str(key): value for key, value in document.items()}


def _version(document: Mapping[str, Any], tolerances: Tolerances) -> str:
    """The hand-made form has ``stages`` but no version; what has neither is of 1.1.0."""
    given = document.get("package_version")
    if given in (None, ""):
        if document.get("stages"):
            tolerances.add("package_no_version", "there are stages but no package_version; it is read as 2.0.0", MODEL_INFO)
            return _KNOWN_VERSIONS[0]
        tolerances.add("package_old_form", f"there is no package_version; it is read as {_OLD_VERSION}", MODEL_INFO)
        return _OLD_VERSION
    version = str(given).strip()
    if version == _OLD_VERSION or version in _KNOWN_VERSIONS:
        return version
    raise _refuse(f"package_version is {version[:40]!r}; known are {', '.join((_OLD_VERSION, *_KNOWN_VERSIONS))}")


def _config(document: Mapping[str, Any], tolerances: Tolerances) -> dict[str, Any]:
    if "executor_config" not in document:
        tolerances.add("package_no_config", "executor_config is missing, so the parameters of the training are not known", MODEL_INFO)
    return _mapping(document, "executor_config", tolerances)


def _mapping(document: Mapping[str, Any], name: str, tolerances: Tolerances) -> dict[str, Any]:
    value = document.get(name)
    if isinstance(value, dict):
        found: dict[str, Any] = plain(value)
        return found
    if value is not None:
        tolerances.add("package_wrong_type", "sections that are not mappings were left out", MODEL_INFO, f"{name} is {_kind(value)}")
    return {}


# ---------------------------------------------------------------------------------------------------------------- stages


def _old_stages(document: Mapping[str, Any], tolerances: Tolerances) -> list[PackageStage]:
    """1.1.0: one list of files in ``models``, the metric in ``task_context``."""
    files = _names(document.get("models"), "models", tolerances)
    if not files:
        raise _refuse("it has neither stages nor models, so it lists no file of the model")
    context = document.get("task_context")
    metrics = read_metrics({"mAP": (context if isinstance(context, dict) else {}).get("mAP", 0.0)}, OLD_FORM_STAGE, tolerances, MODEL_INFO)
    return [PackageStage(OLD_FORM_STAGE, "", tuple(files), metrics, 0)]


def _stages(document: Mapping[str, Any], tolerances: Tolerances) -> list[PackageStage]:
    listed = document.get("stages")
    if not isinstance(listed, dict) or not listed:
        raise _refuse(f"stages is {_kind(listed)}, not a mapping of stage names to stages")
    found: list[PackageStage] = []
    for key, values in listed.items():
        if not isinstance(values, dict):
            raise _refuse(f"the stage {str(key)[:60]!r} is {_kind(values)}, not a mapping")
        found.append(_stage(str(key), {str(name): value for name, value in values.items()}, tolerances))
    names = [stage.name for stage in found]
    if len(set(names)) < len(names):
        raise _refuse(f"two stages have the same name: {shorten(names)}")
    return found


def _stage(key: str, values: Mapping[str, Any], tolerances: Tolerances) -> PackageStage:
    name = folder_name(key)
    if name != key:
        tolerances.add("package_stage_renamed", "stages whose names cannot be folders were renamed", MODEL_INFO, f"{key!r} is now {name!r}")
    if values.get("stage_name") is None:
        tolerances.add("package_stage_name", "stage_name is missing in a stage; its key counts", MODEL_INFO, key)
    elif values["stage_name"] != key:
        tolerances.add("package_stage_name", "stage_name differs from the key of the stage; the key counts", MODEL_INFO, key)
    timestamp = read_timestamp(values.get("timestamp"))
    if timestamp is None:
        tolerances.add("package_timestamp", "stages without a readable timestamp", MODEL_INFO, key)
    files = _names(values.get("files"), f"files of the stage {key}", tolerances)
    if not files:
        raise _refuse(f"the stage {key[:60]!r} lists no files")
    others = ("files", "stage_name", "timestamp")
    metrics = read_metrics({n: value for n, value in values.items() if n not in others}, key, tolerances, MODEL_INFO)
    return PackageStage(name, key, tuple(files), metrics, timestamp or 0)


def _names(listed: Any, what: str, tolerances: Tolerances) -> list[str]:
    if isinstance(listed, str):
        tolerances.add("package_files_not_list", "a list of files is one text", MODEL_INFO, what)
        listed = [listed]
    if listed is not None and not isinstance(listed, list):
        raise _refuse(f"{what}: {_kind(listed)} stands where a list of names must")
    names = list(listed or ())
    wrong = [name for name in names if not isinstance(name, str) or not _is_name(name)]
    if wrong:
        raise _refuse(f"{what}: {str(wrong[0])[:80]!r} is no name of a file below the stage")
    return list(dict.fromkeys(re.sub(r"^(\./)+", "", name) for name in names))


def _is_name(name: str) -> bool:
    """SECURITY: a relative path that stays below its folder, without control characters."""
    parts = name.split("/")
    return bool(name.strip("/. ")) and name.isprintable() and "\\" not in name and not name.startswith("/") and ".." not in parts


def _best_stage(document: Mapping[str, Any], stages: Sequence[PackageStage], tolerances: Tolerances) -> str:
    named = document.get("best_stage_name")
    for stage in stages:
        if str(named) in (stage.folder, stage.name):
            return stage.name
    order = ("maskAP", "mIoU", "mAP")
    best = max(stages, key=lambda stage: ([stage.metrics.get(metric, 0.0) for metric in order], stage.timestamp))
    if len(stages) > 1 or named is not None:
        reason = "is missing" if named is None else f"{str(named)[:60]!r} is none of the stages"
        tolerances.add(
            "package_best_stage", f"best_stage_name {reason}; {best.name} has the best metric (then the newest time)", MODEL_INFO
        )
    return best.name


# --------------------------------------------------------------------------------------------------------- all the rest


def _class_names(config: Mapping[str, Any], tolerances: Tolerances) -> tuple[str, ...] | None:
    listed = config.get("class_names")
    if listed is None:
        return None
    if isinstance(listed, str):
        tolerances.add("package_classes_not_list", "class_names is one text; it was split at commas", MODEL_INFO)
        listed = [part.strip() for part in listed.split(",")]
    if not isinstance(listed, list):
        raise _refuse(f"class_names is {_kind(listed)}, not a list")
    names = [str(name) for name in listed]
    wrong = [name for name in names if not name.strip() or not name.isprintable()]
    if wrong or len(set(names)) < len(names):
        raise _refuse(f"class_names has {'an unusable name' if wrong else 'a name twice'}: {shorten(map(printable, names))}")
    return tuple(names)


def _object_type(document: Mapping[str, Any], tolerances: Tolerances) -> ObjectType:
    """The file's own word, else the task's; 0 and nothing mean detection."""
    given = document.get("object_type")
    if given in (None, 0, "0", ""):
        context = document.get("task_context")
        given = context.get("object_type") if isinstance(context, dict) else None
    if given in (None, 0, "0", ""):
        return ObjectType.DETECTION
    if not isinstance(given, int) or isinstance(given, bool):
        tolerances.add("package_object_type", f"object_type is {str(given)[:40]!r}, not a number", MODEL_INFO)
    return parse_object_type(given)


def parse_object_type(given: Any) -> ObjectType:
    """A number of the contract's, as number or text, or its word. Raises ``RequestError``."""
    text = str(given).strip().lower().replace(" ", "_").replace("-", "_")
    if _LABELS.get(text):
        return _LABELS[text]
    number = read_number(given)
    if number is None or int(number) != number or int(number) not in {int(t) for t in ObjectType if t}:
        known = ", ".join(f"{int(t)} ({t.label})" for t in ObjectType if t)
        raise RequestError(f"there is no object type {str(given)[:40]!r}", hint=f"Known: {known}.")
    return ObjectType(int(number))


def _attachments(document: Mapping[str, Any], tolerances: Tolerances) -> dict[str, tuple[str, ...]]:
    listed = _mapping(document, "attachments", tolerances)
    return {section: tuple(_names(names, f"attachments of {section[:60]}", tolerances)) for section, names in listed.items()}


def _evaluate_config(document: Mapping[str, Any], tolerances: Tolerances) -> dict[str, float]:
    numbers = {printable(name)[:100]: read_number(value) for name, value in _mapping(document, "evaluate_config", tolerances).items()}
    if None in numbers.values():
        tolerances.add("package_evaluate_config", "values of evaluate_config that are not numbers were left out", MODEL_INFO)
    return {name: number for name, number in numbers.items() if number is not None}


def _kind(value: Any) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"


def _refuse(reason: str) -> RequestError:
    return RequestError(
        printable(f"{MODEL_INFO} cannot be used: {reason}")[:600],
        hint="docs/notes/models.md tells what a model package is; or import the bare weights: `sluice model import --help`.",
        place=MODEL_INFO,
    )
