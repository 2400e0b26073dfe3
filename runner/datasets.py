"""Imports folders and archives as dataset versions: the way of an import is ``import_dataset``.

The tables of a version are described in ``runner/dataset_files.py``.
"""

from __future__ import annotations

import os
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.dataset import Annotation, Asset
from contracts.errors import DatasetError, InternalError, SluiceError
from contracts.seams import ClassNames, Format, Found, ImportedImage, Locate, PredictedBy, Skip, Store, not_located
from contracts.sharing import sharing
from registry import datasets
from registry.database import Database
from registry.dataset_classes import DatasetClass, list_classes, names_by_alias
from registry.datasets import VersionRecord
from registry.lookup import check_folder_name
from registry.predictions import add_prediction, find_prediction
from registry.tables import now
from runner.archives import unpacked
from runner.asset_lock import adding_assets
from runner.boxes import check_boxes, overhang_px
from runner.chosen_format import most_specific
from runner.collecting import seldom_collecting
from runner.dataset_files import Entry, write_predictions
from runner.gathering import Gathered
from runner.import_choice import Choice
from runner.intake import Intake, PictureRules, Taken
from runner.merging_imports import added_to
from runner.pictures import quiet_pillow
from runner.publishing import Draft, OutpacedError, changes_since, class_names_of, publish
from runner.tables import Tables, read_tables

#: The format that takes any folder of pictures; it is asked only when no other recognises the folder.
LAST_RESORT = "images"
_SPLIT = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_LONGEST_FILE_NAME = 255
#: What to do with annotations of a class that the dataset does not know: take the class up, leave them out, or refuse the import.
UNKNOWN_CLASSES = ("add", "ignore", "stop")

OnProgress = Callable[[int, "int | None"], None]


def _quiet(done: int, total: int | None) -> None:
    """Progress nobody wants."""


@dataclass(frozen=True)
class Rules:
    """How strict an import is. ``add``: keep what the current version has; else the new version is exactly what the source holds, or what is
    chosen of it: annotations of ``class_names`` and the pictures that have any, and hard examples alone."""

    unknown_classes: str = "add"
    add: bool = False
    pictures: PictureRules = PictureRules()
    class_names: tuple[str, ...] = ()
    hard_only: bool = False


@dataclass
class _Import:
    """What an import has found so far. ``known_classes`` None: any class is taken."""

    place: str
    split: str
    canonical: Mapping[str, str] = field(default_factory=dict)
    known_classes: frozenset[str] | None = None
    choice: Choice = field(default_factory=Choice)
    gathered: Gathered = field(default_factory=lambda: Gathered(now()))
    predictions: dict[str, Sequence[Annotation]] = field(default_factory=dict)
    skipped: list[Skip] = field(default_factory=list)
    mended: list[Skip] = field(default_factory=list)
    edge_count: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    declared: ClassNames = ClassNames(())
    predicted_by: PredictedBy | None = None
    format_name: str = ""
    #: How many were skipped and mended before the format told of any, and after each that it told of; and what labels were read for too late.
    told: list[tuple[int, int]] = field(default_factory=list)
    label_notes: list[tuple[tuple[int, int], Skip]] = field(default_factory=list)

    def tell(self, *skips: Skip) -> None:
        """Note what the format itself says, in its order."""
        for skip in skips:
            self.note(skip)
            self.told.append((len(self.skipped), len(self.mended)))

    def place_label_notes(self) -> None:
        """Put what was found in labels that were read with their pictures where it stands when all labels are read before."""
        notes = sorted(self.label_notes, key=itemgetter(0))
        for kind, listed in enumerate((self.skipped, self.mended)):
            late = [(self.told[place[0]][kind], skip) for place, skip in notes if (skip.what == "mended") == bool(kind)]
            listed[:] = _with_late(listed, late)
        self.label_notes.clear()

    def note(self, *skips: Skip) -> None:
        for skip in skips:
            (self.mended if skip.what == "mended" else self.skipped).append(skip)

    def called_now(self, annotations: Iterable[Annotation]) -> list[Annotation]:
        """Under the names that the dataset knows the classes by now; without those of classes that it is not to know."""
        names, known = self.canonical, self.known_classes
        called = [
            replace(a, class_name=names[a.class_name]) if names.get(a.class_name, a.class_name) != a.class_name else a for a in annotations
        ]
        if known is None:
            return called
        self.unknown.update(a.class_name for a in called if a.class_name not in known)
        return [a for a in called if a.class_name in known]


def _with_late(listed: Sequence[Skip], late: Iterable[tuple[int, Skip]]) -> list[Skip]:
    """The list with the late ones before those that stand at their places."""
    whole: list[Skip] = []
    done = 0
    for at, skip in late:
        whole += listed[done:at]
        done = max(done, at)
        whole.append(skip)
    return whole + list(listed[done:])


def import_dataset(
    name: str,
    source: Path,
    *,
    formats: Mapping[str, Format],
    store: Store,
    database: Database,
    home: Path,
    format_name: str | None = None,
    split: str = "",
    on_progress: OnProgress = _quiet,
    source_name: str = "",
    locate: Locate = not_located,
    left_out: Sequence[Skip] = (),
    rules: Rules = Rules(),
) -> dict[str, Any]:
    """Make a folder or archive the next version of a dataset; returns the report, which is also ``report.json`` of the version.

    1. The source is only read. What is left out, clipped or doubtful is in the report by name with a reason.
    2. The version appears whole, or not at all; only assets, which are content-addressed, may stay from an import that failed.
    3. What equals the latest version makes no new one: the report then says ``unchanged`` and names that version.

    ``split`` puts every picture into that split, whatever the source says. ``source_name`` is what the version remembers as its source.
    ``on_progress`` gets the pictures done and about how many there are. ``locate`` fetches what the source names by an address.
    ``left_out``: what was left out before; the report names it, too.
    Raises ``NotFoundError``, ``DatasetError`` (nothing recognised, several formats fit, nothing usable), ``UnavailableError`` (the disk).
    """
    _check_request(name, split, rules)
    found = _begun(name, source_name or str(source), split, rules, database)
    found.choice = Choice(rules.class_names, rules.hard_only, found.canonical)
    found.note(*left_out)
    with adding_assets(home):
        with unpacked(source, home, left_out=found.skipped) as folder, sharing():
            _require_files(found, folder)
            format_, detected = choose_format(folder, formats, format_name)
            _collect(found, format_, folder, locate, store, rules.pictures, on_progress)
        found.declared = found.choice.declared(found.declared)
        found.note(*found.choice.notes())
        _require_something(found, format_.name)
        _settle_unknown_classes(found, rules)
        report = _published(name, found, rules, database, home, {"format": format_.name, "detected": detected})
    kept = _keep_predictions(found, report, database, home)
    return {**report, "predictions": kept} if kept else report


def _begun(name: str, place: str, split: str, rules: Rules, database: Database) -> _Import:
    """An import with the classes that the dataset knows. Raises ``DatasetError`` when it must know them all and knows none."""
    parent, classes = _known(name, database)
    canonical = names_by_alias(classes)
    if rules.unknown_classes == "add":
        return _Import(place, split, canonical)
    known = frozenset(canonical.values()) | frozenset(parent.class_names if parent else ())
    if not known:
        raise DatasetError(f"the dataset {name} knows no classes yet", hint="Import with --unknown-classes add first.", dataset=name)
    return _Import(place, split, canonical, known)


def _published(name: str, found: _Import, rules: Rules, database: Database, home: Path, seen: Mapping[str, str]) -> dict[str, Any]:
    """The report of the version. What is added to a version is added to the one that is current in the end, whoever was faster meanwhile."""
    tables = found.gathered.tables()
    while True:
        parent, classes = _known(name, database)
        try:
            return publish(_draft(name, found, tables, parent, classes, home, seen, add=rules.add), database, home)
        except OutpacedError:
            continue


def _known(name: str, database: Database) -> tuple[VersionRecord | None, list[DatasetClass]]:
    with database.reading() as session:
        return datasets.find_version(session, name), list_classes(session, name)


def _draft(
    name: str,
    found: _Import,
    tables: Tables,
    parent: VersionRecord | None,
    classes: list[DatasetClass],
    home: Path,
    seen: Mapping[str, str],
    *,
    add: bool,
) -> Draft:
    former = _former(parent, home, found, needed=add)
    if former:
        tables = dated_like(former, tables)
    if former and add:
        tables = added_to(former, tables)
    declared = [*(parent.class_names if parent and add else ()), *(found.canonical.get(known, known) for known in found.declared.names)]
    class_names = class_names_of(tables, declared)
    report = {**seen, "skipped": [asdict(skip) for skip in found.skipped], "mended": [asdict(skip) for skip in found.mended]}
    return Draft(
        dataset=name,
        tables=tables,
        class_names=class_names,
        source=found.place,
        inputs=(parent.reference,) if parent else (),
        changes=changes_since(former, tables, np.ones(len(tables), bool)),
        classes=with_new_classes(classes, class_names, found.declared),
        report=report,
        on_current=add,
    )


def _former(parent: VersionRecord | None, home: Path, found: _Import, *, needed: bool) -> Tables | None:
    """The tables of the parent; a version whose files are lost must not keep anybody from importing again, but for adding they are needed."""
    try:
        return read_tables(home / parent.folder) if parent else None
    except DatasetError as error:
        if needed:
            raise
        found.note(Skip(parent.reference if parent else "", f"could not be compared: {error.message}", "mended"))
        return None


def dated_like(former: Tables, tables: Tables) -> Tables:
    """Pictures that were in the dataset before keep the time at which they came."""
    rows = tables.rows_in(former)
    known = former.images["added_at"].take(pa.array(rows, mask=rows < 0))
    return tables.with_image_column("added_at", pc.coalesce(known, tables.images["added_at"]))


def with_new_classes(known: Sequence[DatasetClass], names: Iterable[str], declared: ClassNames) -> list[DatasetClass]:
    """The known classes and behind them the new ones, with what the source says of them where no other class has that name."""
    taken = set(names_by_alias(known))
    added = [name for name in names if name not in taken]
    taken |= set(added)
    classes = list(known)
    for name in added:
        aliases = tuple(dict.fromkeys(alias for alias in declared.aliases.get(name, ()) if alias not in taken))
        taken |= set(aliases)
        classes.append(DatasetClass(name, aliases, declared.attributes.get(name, {})))
    return classes


def _keep_predictions(found: _Import, report: Mapping[str, Any], database: Database, home: Path) -> str:
    """What a model of the source found: beside the version and never in it; its id, '' for none. Repeated after a kill it does what is missing."""
    predictions = found.predictions
    if not predictions:
        return ""
    import_id = f"import-{report['content_hash'][:16]}"
    file = home / "predictions" / f"{import_id}.parquet"
    with database.reading() as session:
        if find_prediction(session, import_id) and file.exists():
            return import_id
    write_predictions(file, predictions)
    boxes = sum(map(len, predictions.values()))
    model = found.predicted_by.model if found.predicted_by else ""
    facts = {"dataset": report["dataset"], "number": int(report["version"][1:]), "split": found.split}
    with database.writing() as session:
        if find_prediction(session, import_id) is None:
            relative = str(file.relative_to(home))
            add_prediction(
                session, job_id=import_id, model_name=model, stage_name="", file=relative,
                image_count=len(predictions), annotation_count=boxes, **facts,
            )  # fmt: skip
    return import_id


def choose_format(folder: Path, formats: Mapping[str, Format], format_name: str | None = None) -> tuple[Format, str]:
    """The format to read the folder with, and why. Raises ``DatasetError`` when none or several fit, or the named one does not exist."""
    if format_name is not None:
        if format_name not in formats:
            raise DatasetError(f"there is no format {format_name!r}", hint=f"Known: {', '.join(sorted(formats))}.", format=format_name)
        return formats[format_name], formats[format_name].detect(folder) or "named by the request"
    if not any(folder.iterdir()):
        raise DatasetError("the folder is empty", hint="Name the folder that holds the pictures.")
    fitting = most_specific(
        formats, {name: why for name in sorted(formats) if name != LAST_RESORT and (why := formats[name].detect(folder))}
    )
    if len(fitting) > 1:
        reasons = "; ".join(f"{name}: {why}" for name, why in fitting.items())
        raise DatasetError(
            f"the folder fits several formats ({reasons})",
            hint=f"Say which one: --format {' or --format '.join(fitting)}.",
            formats=sorted(fitting),
        )
    if fitting:
        ((name, why),) = fitting.items()
        return formats[name], why
    if LAST_RESORT in formats and (why := formats[LAST_RESORT].detect(folder)):
        return formats[LAST_RESORT], why
    hint = f"Looked for {', '.join(sorted(formats))}; --format NAME reads it as that one and says what does not fit."
    raise DatasetError("no pictures or annotations of a known format were found", hint=hint, formats=sorted(formats))


def _check_request(name: str, split: str, rules: Rules) -> None:
    check_folder_name("dataset", name)
    if rules.unknown_classes not in UNKNOWN_CLASSES:
        hint = f"Known: {', '.join(UNKNOWN_CLASSES)}."
        raise DatasetError(
            f"unknown classes cannot be treated by {rules.unknown_classes!r}", hint=hint, unknown_classes=rules.unknown_classes
        )
    if split and not _SPLIT.fullmatch(split):
        raise DatasetError(f"{split!r} cannot be the name of a split", hint="Use train, val, test or pool.", split=split)


def _require_files(found: _Import, folder: Path) -> None:
    """An archive of which nothing could be unpacked says why, rather than that it is empty."""
    if found.skipped and not any(folder.iterdir()):
        raise _nothing_usable(found, "nothing in it could be unpacked")


def _require_something(found: _Import, format_name: str) -> None:
    if len(found.gathered):
        return
    first = "; ".join(f"{skip.place}: {skip.reason}" for skip in found.skipped[:3])
    what = f"not one of its pictures can be used ({first})" if first else "it holds no pictures"
    hint = "Mend these, or name another --format." if first else "Name a folder with jpg, png or bmp files."
    raise DatasetError(f"{found.place} was read as {format_name}, but {what}", hint=hint, skipped=len(found.skipped))


def _nothing_usable(found: _Import, what: str) -> DatasetError:
    first = "; ".join(f"{skip.place[:60]}: {skip.reason}" for skip in found.skipped[:3])
    return DatasetError(f"{found.place}: {what} ({first})", hint="Mend these.", skipped=len(found.skipped))


def _settle_unknown_classes(found: _Import, rules: Rules) -> None:
    """Say once for each unknown class how many of its annotations were left out, or refuse them all together."""
    counts = sorted(found.unknown.items())
    if counts and rules.unknown_classes == "stop":
        named = ", ".join(f"{name[:60]} ({count})" for name, count in counts[:10]) + (", ..." if len(counts) > 10 else "")
        raise DatasetError(
            f"the source has annotations of {len(counts)} classes that the dataset does not know: {named}",
            hint="Give a known class these names as aliases, or say --unknown-classes add or ignore.",
            classes=[name for name, _ in counts],
        )
    for name, count in counts:
        found.note(Skip(".", f"the dataset does not know the class {name[:200]!r}; its {count} annotations were left out", "box"))


# -------------------------------------------------------------------------------------------------------- collecting entries


def _collect(
    found: _Import, format_: Format, folder: Path, locate: Locate, store: Store, rules: PictureRules, on_progress: OnProgress
) -> None:
    """Read the format while others check and store the pictures."""
    total, done = _count_pictures(folder), 0
    found.format_name = format_.name
    found.told = [(len(found.skipped), len(found.mended))]
    on_progress(0, total)
    with quiet_pillow(), seldom_collecting(), Intake(store, locate, rules, total) as intake:
        for image, result in _in_order(_read(format_, folder, locate), intake, found):
            done += 1
            _enter(found, image, result)
            on_progress(done, max(done, total))
    found.place_label_notes()
    if found.edge_count:
        reason = f"{found.edge_count} boxes reached at most one pixel beyond their picture, as corners counted from 1 do; they were clipped"
        found.note(Skip(".", reason, "mended"))
    on_progress(done, done)


def _count_pictures(folder: Path) -> int:
    return sum(name.lower().endswith(_PICTURE_SUFFIXES) for _, _, names in os.walk(folder) for name in names)


def _read(format_: Format, folder: Path, locate: Locate) -> Iterator[Found]:
    """What the format gives; a defect of the plugin is named as one."""
    with _defects_of(format_.name):
        yield from format_.read_late(folder, locate)


@contextmanager
def _defects_of(format_name: str) -> Iterator[None]:
    try:
        yield
    except (SluiceError, OSError):
        raise
    except Exception as error:
        raise InternalError(
            f"the format {format_name} failed: {type(error).__name__}: {error}", hint="This is a defect of the format."
        ) from error


def _in_order(items: Iterator[Found], intake: Intake, found: _Import) -> Iterator[tuple[ImportedImage, Taken]]:
    """Every picture with what became of it, and every note, in the order of the source; only a few batches wait in memory at any time."""
    waiting: deque[tuple[list[ImportedImage | Skip], Future[list[Taken]]]] = deque()
    for batch in _batches(items, intake.batch, found):
        images = [item for item in batch if isinstance(item, ImportedImage)]
        labels = [image.label.plainly if image.label else None for image in images]
        waiting.append((batch, intake.submit([image.path for image in images], labels)))
        if len(waiting) > intake.width:
            yield from _taken(*waiting.popleft(), found)
    while waiting:
        yield from _taken(*waiting.popleft(), found)


def _batches(items: Iterator[Found], size: int, found: _Import) -> Iterator[list[ImportedImage | Skip]]:
    batch: list[ImportedImage | Skip] = []
    for item in items:
        if isinstance(item, ClassNames):
            found.declared = item
        elif isinstance(item, PredictedBy):
            found.predicted_by = item
        elif isinstance(item, ImportedImage) and _has_long_name(item):
            batch.append(Skip(item.name, f"its file name is longer than {_LONGEST_FILE_NAME} characters", "image"))
        else:
            batch.append(item)
        if len(batch) >= size:
            yield batch
            batch = []
    if batch:
        yield batch


def _has_long_name(image: ImportedImage) -> bool:
    return len(image.name) > _LONGEST_FILE_NAME and len(image.name.rpartition("/")[2]) > _LONGEST_FILE_NAME


def _taken(batch: list[ImportedImage | Skip], future: Future[list[Taken]], found: _Import) -> Iterator[tuple[ImportedImage, Taken]]:
    results = iter(future.result())
    for item in batch:
        if isinstance(item, Skip):
            found.tell(item)
            continue
        result = next(results)
        if (image := _with_label(found, item, result)) is not None:
            yield image, result


def _with_label(found: _Import, image: ImportedImage, result: Taken) -> ImportedImage | None:
    """The picture with what its label says; None when the format leaves it out for that."""
    if image.label is None:
        return image
    content = None if isinstance(result, DatasetError) else result[2]
    if content is not None:
        facts = content.annotations, image.splits, content.declared_size, content.marks
        return ImportedImage(image.path, image.name, *facts, predictions=image.predictions)
    whole = None
    with _defects_of(found.format_name):
        for item in image.label.fully():
            if isinstance(item, Skip):
                found.label_notes.append((image.label.place, item))
            else:
                whole = item
    return whole


def _enter(found: _Import, given: ImportedImage, result: Taken) -> None:
    if (image := found.choice.of(given)) is None:
        return
    if isinstance(result, DatasetError):
        found.note(Skip(image.name, result.message, "image"))
        return
    asset, orientation, _ = result
    if reason := _drawn_elsewhere(image, asset, orientation):
        found.note(Skip(image.name, reason, "image"))
        return
    _note_doubts(found, image, asset, orientation)
    boxes = None
    if image.annotations is not None:
        checked = check_boxes(image.name, found.called_now(image.annotations), asset.width, asset.height)
        found.note(*checked.notes)
        found.edge_count += checked.edge_count
        boxes = checked.kept
    name = image.name.encode("utf-8", "backslashreplace").decode()
    predictions = _checked_predictions(found, image, asset)
    if reason := found.gathered.add(Entry(asset, name, _one_split(found, image), boxes, image.marks)):
        found.note(Skip(name, reason, "image"))
    elif predictions is not None:
        found.predictions[asset.id] = predictions


def _checked_predictions(found: _Import, image: ImportedImage, asset: Asset) -> list[Annotation] | None:
    if image.predictions is None:
        return None
    checked = check_boxes(f"{image.name}#prediction", found.called_now(image.predictions), asset.width, asset.height)
    found.note(*checked.notes)
    return checked.kept


def _drawn_elsewhere(image: ImportedImage, asset: Asset, orientation: int) -> str:
    """Why the boxes cannot be those of this picture as it is stored; '' when they can."""
    declared, size = image.declared_size, (asset.width, asset.height)
    if not image.annotations or declared in (None, size):
        return ""
    if orientation >= 5 and declared == size[::-1]:
        return f"its boxes were drawn on the view turned by EXIF orientation {orientation}; jobs see the pixels as stored, {size[0]} x {size[1]}"
    if any(overhang_px(box, *size) > 1 for box in image.annotations):
        return f"its boxes were drawn for {declared[0]} x {declared[1]} pixels and leave the picture, which is {size[0]} x {size[1]}"
    return ""


def _note_doubts(found: _Import, image: ImportedImage, asset: Asset, orientation: int) -> None:
    if orientation != 1 and image.annotations:
        reason = f"viewers turn it (EXIF orientation {orientation}); its boxes were taken as drawn on the pixels as stored"
        found.note(Skip(image.name, reason, "mended"))
    declared = image.declared_size
    if image.annotations and declared and declared != (asset.width, asset.height):
        reason = f"is {asset.width} x {asset.height}, not {declared[0]} x {declared[1]} as its annotations say; the boxes fit and were kept"
        found.note(Skip(image.name, reason, "mended"))


def _one_split(found: _Import, image: ImportedImage) -> str:
    """The one split of a picture: a picture to learn from and to be measured on would make the measurement worthless."""
    if found.split:
        return found.split
    splits = [split for split in image.splits if _SPLIT.fullmatch(split)]
    for other in splits[1:]:
        found.note(Skip(image.name, f"is listed in {splits[0]} and in {other}; it was kept in {splits[0]} only", "image"))
    return splits[0] if splits else ""
