"""Makes tables the next version of a dataset: whole, under a number of its own, or not at all."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from contracts.image import ObjectType
from registry import dataset_classes, datasets
from registry.database import Database
from registry.dataset_classes import DatasetClass
from runner.aside import aside_folder
from runner.dataset_files import write_json
from runner.run_dir import sync_to_disk
from runner.tables import Mask, Rows, Tables, codes_of, content_hash, hash_annotations, image_digests, write_tables

_SPLIT_ORDER = ("train", "val", "test", "pool")


@dataclass(frozen=True)
class Draft:
    """What is to become a version of ``dataset``.

    ``inputs`` are references of the versions it was made of, the first of them its parent; ``operation`` is what was done, None for an import.
    ``changes`` counts pictures ``added``, ``changed`` and ``deleted`` since the parent. ``classes``: all that the dataset is to know after it.
    ``report`` is what else is to be reported. ``same_annotations``: the folder of a version that has the same annotations, row by row.
    """

    dataset: str
    tables: Tables
    class_names: tuple[str, ...]
    source: str
    inputs: tuple[str, ...] = ()
    operation: Mapping[str, Any] | None = None
    changes: Mapping[str, int] = field(default_factory=dict)
    classes: Sequence[DatasetClass] = ()
    report: Mapping[str, Any] = field(default_factory=dict)
    same_annotations: Path | None = None


def publish(draft: Draft, database: Database, home: Path) -> dict[str, Any]:
    """The report, which is also ``report.json`` of the version. What equals the current version makes no new one and says ``unchanged``.

    The tables are written before the transaction, which only takes a number and gives the folder its name. Raises ``UnavailableError``.
    """
    with aside_folder(home, "version") as aside, ThreadPoolExecutor(1) as beside:
        hashing = beside.submit(_hashes, draft)
        write_tables(aside, draft.tables, _file(draft.same_annotations))
        facts = {**_facts(draft), **hashing.result()}
        with database.writing() as session:
            if found := _unchanged(session, draft.dataset, facts["content_hash"], home):
                del facts["annotations_hash"]
                return _completed(facts, home / found.folder, found.version, unchanged=True)
            return _enter(session, draft, facts, aside, home)


def _hashes(draft: Draft) -> dict[str, str]:
    annotations_hash = _known_hash(draft.same_annotations) or hash_annotations(draft.tables.annotations)
    whole = content_hash(draft.tables, draft.class_names, annotations_hash)
    return {"content_hash": whole, "annotations_hash": annotations_hash}


def _file(folder: Path | None) -> Path | None:
    return folder / "annotations.parquet" if folder else None


def _known_hash(folder: Path | None) -> str:
    """As its manifest says; '' where that cannot be read, or is of the time before it said so."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8")) if folder else {}
    except (OSError, ValueError):
        return ""
    return str(manifest.get("annotations_hash", ""))


def _unchanged(session: Session, name: str, content: str, home: Path) -> datasets.VersionRecord | None:
    current = datasets.find_version(session, name)
    return current if current and current.content_hash == content and (home / current.folder).is_dir() else None


def _enter(session: Session, draft: Draft, facts: dict[str, Any], aside: Path, home: Path) -> dict[str, Any]:
    number = datasets.next_number(session, draft.dataset)
    annotations_hash = facts.pop("annotations_hash")
    folder = home / "datasets" / draft.dataset / f"V{number:03d}"
    report = _completed(facts, folder, f"V{number:03d}")
    write_json(aside / "report.json", report)
    write_json(aside / "manifest.json", _manifest(report, number, draft.classes, annotations_hash))
    _place(aside, folder)
    try:
        _add_row(session, draft, report, number, str(folder.relative_to(home)))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return report


def _facts(draft: Draft) -> dict[str, Any]:
    """The report but for what is known only with the version's number."""
    tables = draft.tables
    states = word_counts(tables.images["state"])
    splits = word_counts(tables.images["split"])
    counts = word_counts(tables.annotations["class_name"])
    return {
        "dataset": draft.dataset,
        "version": "",
        "format": "",
        "detected": "",
        "images": len(tables),
        "annotations": len(tables.annotations),
        "object_type": int(object_type(tables)),
        "classes": {name: counts.get(name, 0) for name in draft.class_names},
        "splits": {split: splits[split] for split in sorted(splits, key=split_rank)},
        "states": dict(states),
        "hard": int(np.count_nonzero(tables.image_column("hard"))),
        "unlabeled": states.get("unlabeled", 0),
        "skipped": [],
        "mended": [],
        "unchanged": False,
        "source": draft.source,
        "inputs": list(draft.inputs),
        "operation": dict(draft.operation) if draft.operation else None,
        "changes": dict(draft.changes),
        "content_hash": "",
        **draft.report,
    }


def word_counts(column: Any) -> Counter[str]:
    """How often each word of a column occurs."""
    codes, names = codes_of(column)
    found = np.bincount(codes[codes >= 0], minlength=len(names)).tolist()
    counts: Counter[str] = Counter()
    for name, count in zip(names, found, strict=True):
        counts[name] += count
    return +counts


def split_rank(split: str) -> tuple[int, str]:
    """Known splits in their order, others behind, no split last."""
    return (_SPLIT_ORDER.index(split) if split in _SPLIT_ORDER else len(_SPLIT_ORDER) + (not split)), split


def object_type(tables: Tables) -> ObjectType:
    """What the annotations can teach: outlines also teach boxes, boxes no outlines, labels of whole pictures neither."""
    annotations = tables.annotations
    if annotations["segmentation"].null_count < len(annotations):
        return ObjectType.INSTANCE_SEGMENTATION
    shapes = word_counts(annotations["shape"])
    return ObjectType.CLASSIFICATION if set(shapes) == {"image"} else ObjectType.DETECTION


def class_names_of(tables: Tables, declared: Sequence[str] = ()) -> tuple[str, ...]:
    """The classes that have an annotation: in the declared order, the others in alphabetical order behind them."""
    used = word_counts(tables.annotations["class_name"])
    order = [name for name in dict.fromkeys(declared) if name in used]
    return (*order, *sorted(set(used) - set(order)))


def changes_since(parent: Tables | None, tables: Tables, touched: Mask | None = None, *, exact: bool = False) -> dict[str, int]:
    """Pictures added, changed (another split, state, mark or annotation) and deleted since the parent.

    ``touched``: the pictures that may have changed; None: none. Pass all true where nothing is known. ``exact``: they have.
    """
    if parent is None:
        return {"added": len(tables), "changed": 0, "deleted": 0}
    rows = tables.rows_in(parent)
    both = rows >= 0
    common = int(np.count_nonzero(both))
    suspects = both & touched if touched is not None else np.zeros(len(tables), bool)
    changed = int(suspects.sum()) if exact else _changed(parent, tables, suspects, rows)
    return {"added": len(tables) - common, "changed": changed, "deleted": len(parent) - common}


def _changed(parent: Tables, tables: Tables, mask: Mask, rows: Rows) -> int:
    """How many of the pictures in the mask, which both have, differ; both are in the order of their ids."""
    if not mask.any():
        return 0
    before = np.zeros(len(parent), bool)
    before[rows[mask]] = True
    return int(np.count_nonzero(image_digests(parent.keep(before)) != image_digests(tables.keep(mask))))


def _completed(facts: dict[str, Any], folder: Path, version: str, *, unchanged: bool = False) -> dict[str, Any]:
    return {**facts, "version": version, "unchanged": unchanged, "folder": str(folder), "report_file": str(folder / "report.json")}


def _manifest(report: Mapping[str, Any], number: int, classes: Sequence[DatasetClass], annotations_hash: str) -> dict[str, Any]:
    kept = ("dataset", "version", "format", "images", "annotations", "splits", "states", "source", "inputs", "operation", "content_hash")
    created_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    known = {c.name: {"aliases": list(c.aliases), **c.attributes} for c in classes if c.name in report["classes"]}
    names = list(report["classes"])
    stated = {"schema": 2, "number": number, "created_at": created_at, "class_names": names, "classes": known}
    return {**stated, **{k: report[k] for k in kept}, "annotations_hash": annotations_hash}


def _place(aside: Path, folder: Path) -> None:
    """Give the finished folder its name. A folder that has it already was left by a process killed before its row was there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        orphan = aside.with_suffix(".orphan")
        folder.rename(orphan)
        shutil.rmtree(orphan, ignore_errors=True)
    for file in aside.iterdir():
        file.chmod(0o444)
    aside.rename(folder)
    sync_to_disk(folder, folder.parent)


def _add_row(session: Session, draft: Draft, report: Mapping[str, Any], number: int, folder: str) -> None:
    parent, _, parent_version = draft.inputs[0].partition("@V") if draft.inputs else ("", "", "")
    datasets.add_version(
        session,
        dataset=draft.dataset,
        number=number,
        folder=folder,
        image_count=report["images"],
        annotation_count=report["annotations"],
        class_names=tuple(report["classes"]),
        splits=report["splits"],
        object_type=report["object_type"],
        content_hash=report["content_hash"],
        parent=int(parent_version) if parent == draft.dataset else None,
        source=report["source"],
        inputs=report["inputs"],
        operation=report["operation"],
        changes=report["changes"],
        statistics={name: report[name] for name in ("states", "hard", "classes")},
    )
    if draft.classes:
        dataset_classes.put_classes(session, draft.dataset, draft.classes)
