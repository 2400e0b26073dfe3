"""What a model is imported from, read without trust: a YMIR package, an unpacked one, a folder of stages, or bare weights.

Reading changes nothing. What is found is a list of files with the facts about them; what the files do not say must be given.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from contracts.errors import DatasetError, NotFoundError, RequestError
from contracts.image import ObjectType
from contracts.job import JobWarning
from contracts.ymir.collect_training import folder_name, read_metrics
from contracts.ymir.layout import MODEL_INFO
from contracts.ymir.model_info import COUNT_METRICS, FLOAT_METRICS
from contracts.ymir.package_reader import MAX_INFO_BYTES, PackageInfo, PackageStage, parse_object_type, read_package_info
from contracts.ymir.tolerances import Tolerances, shorten
from runner.archives import Limits, is_tar, unpacked

#: A model is a few files, and weights hardly compress.
LIMITS = Limits(files=10_000, members=20_000, total_bytes=64 * 1024**3, ratio=100)
BARE_STAGE = "default_best_stage"
_ATTACHMENTS = "attachments"


@dataclass(frozen=True)
class Facts:
    """What a person says of the model. () and None: the source says it, or nobody does. ``metrics``: ``name=number`` each."""

    class_names: tuple[str, ...] = ()
    object_type: str | None = None
    stage: str | None = None
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundStage:
    """``files`` maps the name below the stage to where the file lies now."""

    name: str
    files: Mapping[str, Path]
    metrics: Mapping[str, float]
    timestamp: int


@dataclass(frozen=True)
class FoundModel:
    """A whole model, ready to be stored. ``form`` tells people what it was read as."""

    form: str
    stages: tuple[FoundStage, ...]
    best_stage: str
    class_names: tuple[str, ...]
    object_type: ObjectType
    parameters: Mapping[str, Any] = field(default_factory=dict)
    task_context: Mapping[str, Any] = field(default_factory=dict)
    attachments: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    evaluate_config: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[JobWarning, ...] = ()


@contextmanager
def found_model(source: Path, home: Path, facts: Facts) -> Iterator[FoundModel]:
    """The model in a file or folder; its files are there until the end of the block.

    Raises ``NotFoundError``, and ``RequestError`` for what cannot be trusted or understood, or when a fact is missing: ``fields["missing"]``
    names them all.
    """
    if not source.exists():
        raise NotFoundError(f"there is no file or folder {source}", hint="Name a model package, a folder, or a file of weights.")
    tolerances = Tolerances()
    if source.is_file() and not is_tar(source):
        yield _bare(f"the file {source.name}", {source.name: source}, facts, tolerances)
        return
    names: list[str] = []
    with _opened(source, home, names) as folder:
        _note_names(names, tolerances)
        yield _in_folder(folder, "archive" if source.is_file() else "folder", facts, tolerances)


@contextmanager
def _opened(source: Path, home: Path, names: list[str]) -> Iterator[Path]:
    """An archive of which nothing is left out: what YMIR packs are files alone."""
    try:
        opening = unpacked(source, home, limits=LIMITS, strict=True, on_name=names.append)
        folder = opening.__enter__()
    except DatasetError as error:
        raise RequestError(error.message, hint=error.hint, **error.fields) from error
    try:
        yield folder
    finally:
        opening.__exit__(None, None, None)


def _note_names(names: Sequence[str], tolerances: Tolerances) -> None:
    for name in names:
        if name.startswith("./"):
            tolerances.add("package_dot_prefix", "names in the archive begin with ./", "", name)


def _in_folder(folder: Path, form: str, facts: Facts, tolerances: Tolerances) -> FoundModel:
    files = _files(folder, tolerances)
    infos = [name for name in files if PurePosixPath(name).name == MODEL_INFO and name.count("/") <= 1]
    if len(infos) > 1:
        raise RequestError(f"there are several {MODEL_INFO}: {shorten(infos)}", hint="Import one model at a time.")
    if not infos:
        return _plain_folder(files, form, facts, tolerances)
    base = infos[0].removesuffix(MODEL_INFO)
    if base:
        tolerances.add("package_in_folder", f"the package lies in a folder of its own, {base}", MODEL_INFO)
        files = {name.removeprefix(base): path for name, path in files.items() if name.startswith(base)}
    with files.pop(MODEL_INFO).open("rb") as content:
        info = read_package_info(content.read(MAX_INFO_BYTES + 1))
    return _package(info, files, facts, tolerances)


def _files(folder: Path, tolerances: Tolerances) -> dict[str, Path]:
    """Every file below the folder by its relative name, sorted, without what a Mac adds.

    SECURITY: a link is followed only to a file inside the folder; anything that is neither file nor folder is refused.
    """
    root, found = Path(os.path.realpath(folder)), {}
    for directory, folders, names in os.walk(root):
        folders.sort()
        for name in (*names, *(name for name in folders if Path(directory, name).is_symlink())):
            path = Path(directory, name)
            relative = path.relative_to(root).as_posix()
            if name.startswith("._") or name == ".DS_Store" or relative.startswith("__MACOSX/"):
                tolerances.add("package_mac_files", "files that only a Mac reads were left out", "", relative)
                continue
            found[relative] = _regular(path, relative, root, tolerances)
            if len(found) > LIMITS.files:
                raise RequestError(f"{folder} holds more than {LIMITS.files:,} files", hint="A model is a few files: name its own folder.")
    return dict(sorted(found.items()))


def _regular(path: Path, relative: str, root: Path, tolerances: Tolerances) -> Path:
    if not relative.isprintable() or "\\" in relative:
        raise RequestError(f"{relative[:100]!r} cannot be the name of a model's file", hint="Rename it.")
    if path.is_symlink():
        target = Path(os.path.realpath(path))
        if not (target.is_relative_to(root) and target.is_file()):
            raise RequestError(f"{relative} is a link to no file inside of the folder", hint="Put the file itself there.", file=relative)
        tolerances.add("package_link", "links were replaced by the files that they point to", "", relative)
        return target
    if not stat.S_ISREG(path.lstat().st_mode):
        raise RequestError(f"{relative} is no file", hint="A model is made of files alone.", file=relative)
    return path


# --------------------------------------------------------------------------------------------------------------- packages


def _package(info: PackageInfo, files: dict[str, Path], facts: Facts, tolerances: Tolerances) -> FoundModel:
    if facts.stage or facts.metrics:
        raise RequestError("a package names its stages and their metrics itself", hint="Leave --stage and --metric out.")
    used: set[str] = set()
    stages = tuple(_package_stage(stage, files, used, tolerances) for stage in info.stages)
    attachments = {section: _attached(section, names, files, used) for section, names in info.attachments.items()}
    if extra := [name for name in files if name not in used]:
        tolerances.add("package_extra_files", f"files that no stage lists were left out: {shorten(extra)}", MODEL_INFO)
    return FoundModel(
        form=f"ymir package {info.version}",
        stages=stages,
        best_stage=info.best_stage_name,
        class_names=_classes(info.class_names, facts, tolerances),
        object_type=parse_object_type(facts.object_type) if facts.object_type else info.object_type,
        parameters=info.parameters,
        task_context=info.task_context,
        attachments={section: paths for section, paths in attachments.items() if paths},
        evaluate_config=info.evaluate_config,
        warnings=(*info.warnings, *tolerances.warnings()),
    )


def _package_stage(stage: PackageStage, files: Mapping[str, Path], used: set[str], tolerances: Tolerances) -> FoundStage:
    found = {}
    for name in stage.files:
        place = next((place for place in (f"{stage.folder}/{name}", name) if place in files), None)
        if place is None:
            raise RequestError(
                f"the package lacks the file {name} of its stage {stage.name}", hint="A model is imported whole or not at all.", file=name
            )
        if place == name and stage.folder and not name.startswith(f"{stage.folder}/"):
            tolerances.add("package_file_at_root", "files lie at the root instead of in their stage's folder", MODEL_INFO, name)
        found[name.removeprefix(f"{stage.folder}/") if stage.folder else name] = files[place]
        used.add(place)
    return FoundStage(stage.name, found, stage.metrics, stage.timestamp)


def _attached(section: str, names: Sequence[str], files: Mapping[str, Path], used: set[str]) -> tuple[Path, ...]:
    if folder_name(section) != section:
        raise RequestError(f"the attachments {section[:60]!r} cannot be the name of a folder", hint="Rename the section.")
    found = []
    for name in names:
        place = f"{_ATTACHMENTS}/{section}/{name}"
        if place not in files or "/" in name:
            raise RequestError(f"the package lacks its attachment {place}", hint="A model is imported whole or not at all.", file=place)
        used.add(place)
        found.append(files[place])
    return tuple(found)


def _classes(told: Sequence[str] | None, facts: Facts, tolerances: Tolerances) -> tuple[str, ...]:
    """In the order of their ids. Data has its classes in lower case, so a model has, too."""
    given = facts.class_names or told
    if not given:
        raise _missing(["class_names"])
    if facts.class_names and told and tuple(facts.class_names) != tuple(told):
        text = f"the classes given were taken, not those that it names itself: {shorten(told)}"
        tolerances.add("package_classes_overruled", text, MODEL_INFO)
    names = tuple(name.strip().lower() for name in given)
    if names != tuple(given):
        tolerances.add("package_class_case", "class names were put into lower case", MODEL_INFO, shorten(given))
    if len(set(names)) < len(names) or not all(name and name.isprintable() for name in names):
        raise RequestError(f"these cannot be the classes of a model: {shorten(given)}", hint="Name each once, in the order of their ids.")
    return names


# ------------------------------------------------------------------------------------------------- plain folders, bare weights


def _plain_folder(files: dict[str, Path], form: str, facts: Facts, tolerances: Tolerances) -> FoundModel:
    """Files at the top make it one stage; otherwise each folder is one."""
    if not files:
        raise RequestError(f"the {form} holds no file", hint="Name a model package, or a folder or file of weights.")
    if any("/" not in name for name in files):
        return _bare(f"a {form} of one stage", files, facts, tolerances)
    if facts.stage and facts.stage not in (folders := {name.partition("/")[0] for name in files}):
        raise RequestError(f"there is no stage {facts.stage!r}", hint=f"The folders are the stages: {shorten(sorted(folders))}.")
    _refuse_missing(facts)
    stages = []
    for folder in sorted({name.partition("/")[0] for name in files}):
        inner = {name.partition("/")[2]: path for name, path in files.items() if name.startswith(f"{folder}/")}
        stages.append(FoundStage(folder_name(folder), inner, {}, _newest(inner)))
    best = folder_name(facts.stage) if facts.stage else max(stages, key=lambda stage: (stage.timestamp, stage.name)).name
    if facts.stage is None and len(stages) > 1:
        tolerances.add("package_best_stage", f"nothing tells which stage is best; {best} is the newest")
    metrics = parse_metrics(facts.metrics)
    marked = [FoundStage(s.name, s.files, metrics if s.name == best else {}, s.timestamp) for s in stages]
    return _of_facts(f"a {form} of {len(stages)} stages", marked, best, facts, tolerances)


def _bare(form: str, files: Mapping[str, Path], facts: Facts, tolerances: Tolerances) -> FoundModel:
    _refuse_missing(facts)
    name = folder_name(facts.stage or BARE_STAGE)
    if facts.stage and name != facts.stage:
        raise RequestError(f"{facts.stage!r} cannot be the name of a stage", hint="Use letters, digits, '_', '.', '+', '=' and '-'.")
    return _of_facts(form, [FoundStage(name, files, parse_metrics(facts.metrics), _newest(files))], name, facts, tolerances)


def _of_facts(form: str, stages: Sequence[FoundStage], best: str, facts: Facts, tolerances: Tolerances) -> FoundModel:
    return FoundModel(
        form=form,
        stages=tuple(stages),
        best_stage=best,
        class_names=_classes(None, facts, tolerances),
        object_type=parse_object_type(facts.object_type),
        warnings=tolerances.warnings(),
    )


def _refuse_missing(facts: Facts) -> None:
    missing = [name for name in ("class_names", "object_type") if not getattr(facts, name)]
    if missing:
        raise _missing(missing)


_OPTIONS = {
    "class_names": "its classes in the order of their ids (--classes A,B)",
    "object_type": "its object type (--object-type detection)",
}


def _missing(names: Sequence[str]) -> RequestError:
    asked = " and ".join(_OPTIONS[name] for name in names)
    return RequestError(
        f"nothing in the source tells {asked}", hint="Say it; `sluice model import --help` lists what can be said.", missing=list(names)
    )


def parse_metrics(texts: Sequence[str]) -> dict[str, float]:
    """``mAP=0.7`` each. Raises ``RequestError`` for what is no number in its range."""
    given: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isprintable() or not name.strip():
            raise RequestError(f"{text!r} is not a metric", hint="Write mAP=0.7.")
        given[name.strip()] = value.strip()
    tolerances = Tolerances()
    metrics = read_metrics(given, "", tolerances, "")
    known = (*FLOAT_METRICS, *COUNT_METRICS)
    if unknown := [name for name in given if name.lower() not in {*map(str.lower, known), "map50"}]:
        raise RequestError(f"there is no metric {unknown[0]!r}", hint=f"Known: {', '.join(known)}.")
    if dropped := [warning for warning in tolerances.warnings() if warning.code == "result_metric_dropped"]:
        raise RequestError(dropped[0].message.replace(": : ", ": "), hint="Metrics are in [0, 1]; counts (tp, fp, fn) are from 0.")
    return metrics


def _newest(files: Mapping[str, Path]) -> int:
    return max(int(path.stat().st_mtime) for path in files.values())
