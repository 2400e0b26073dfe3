"""Imports folders and archives as dataset versions: the way of an import is ``import_dataset``.

The tables of a version are described in ``runner/dataset_files.py``.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from contracts.dataset import Annotation, Asset
from contracts.errors import DatasetError, InternalError, SluiceError
from contracts.seams import ClassNames, Format, Found, ImportedImage, Locate, PredictedBy, Skip, Store, not_located
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
from runner.dataset_files import Entry, tables_of, write_predictions
from runner.pictures import quiet_pillow, read_picture
from runner.publishing import Draft, changes_since, class_names_of, publish
from runner.tables import Tables, read_tables

#: The format that takes any folder of pictures; it is asked only when no other recognises the folder.
LAST_RESORT = "images"
_SPLIT = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")

OnProgress = Callable[[int, "int | None"], None]


def _quiet(done: int, total: int | None) -> None:
    """Progress nobody wants."""


@dataclass
class _Import:
    """What an import has found so far."""

    place: str
    split: str
    canonical: Mapping[str, str] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    skipped: list[Skip] = field(default_factory=list)
    mended: list[Skip] = field(default_factory=list)
    edge_count: int = 0
    declared: ClassNames = ClassNames(())
    predicted_by: PredictedBy | None = None

    def note(self, *skips: Skip) -> None:
        for skip in skips:
            (self.mended if skip.what == "mended" else self.skipped).append(skip)

    def called_now(self, annotations: Iterable[Annotation]) -> list[Annotation]:
        """Under the names that the dataset knows the classes by now."""
        names = self.canonical
        return [
            replace(a, class_name=names[a.class_name]) if names.get(a.class_name, a.class_name) != a.class_name else a for a in annotations
        ]


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
) -> dict[str, Any]:
    """Make a folder or archive the next version of a dataset; returns the report, which is also ``report.json`` of the version.

    1. The source is only read. What is left out, clipped or doubtful is in the report by name with a reason.
    2. The version appears whole, or not at all; only assets, which are content-addressed, may stay from an import that failed.
    3. What equals the latest version makes no new one: the report then says ``unchanged`` and names that version.

    ``split`` puts every picture into that split, whatever the source says. ``source_name`` is what the version remembers as its source.
    ``on_progress`` gets the pictures done and about how many there are. ``locate`` fetches what the source names by an address.
    Raises ``NotFoundError``, ``DatasetError`` (nothing recognised, several formats fit, nothing usable), ``UnavailableError`` (the disk).
    """
    _check_request(name, split)
    parent, classes = _known(name, database)
    found = _Import(source_name or str(source), split, names_by_alias(classes))
    with adding_assets(home):
        with unpacked(source, home, left_out=found.skipped) as folder:
            format_, detected = choose_format(folder, formats, format_name)
            _collect(found, format_, folder, locate, store, on_progress)
        _require_something(found, format_.name)
        draft = _draft(name, found, parent, classes, home, {"format": format_.name, "detected": detected})
        report = publish(draft, database, home)
    kept = _keep_predictions(found, report, database, home)
    return {**report, "predictions": kept} if kept else report


def _known(name: str, database: Database) -> tuple[VersionRecord | None, list[DatasetClass]]:
    with database.reading() as session:
        return datasets.find_version(session, name), list_classes(session, name)


def _draft(
    name: str, found: _Import, parent: VersionRecord | None, classes: list[DatasetClass], home: Path, seen: Mapping[str, str]
) -> Draft:
    tables = tables_of(found.entries.values(), now())
    former = _former(parent, home, found)
    if former:
        tables = dated_like(former, tables)
    declared = [found.canonical.get(class_name, class_name) for class_name in found.declared.names]
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
    )


def _former(parent: VersionRecord | None, home: Path, found: _Import) -> Tables | None:
    """The tables of the parent; a version whose files are lost must not keep anybody from importing again."""
    try:
        return read_tables(home / parent.folder) if parent else None
    except DatasetError as error:
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
    predictions = {e.asset.id: e.predictions for e in found.entries.values() if e.predictions is not None}
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
    looked_for = "; ".join(f"{name}: {_first_line(formats[name])}" for name in sorted(formats))
    raise DatasetError("no pictures or annotations of a known format were found", hint=f"Looked for {looked_for}.", formats=sorted(formats))


def _first_line(format_: Format) -> str:
    return (type(format_).__doc__ or "").strip().split("\n")[0].rstrip(".")


def _check_request(name: str, split: str) -> None:
    check_folder_name("dataset", name)
    if split and not _SPLIT.fullmatch(split):
        raise DatasetError(f"{split!r} cannot be the name of a split", hint="Use train, val, test or pool.", split=split)


def _require_something(found: _Import, format_name: str) -> None:
    if found.entries:
        return
    first = "; ".join(f"{skip.place}: {skip.reason}" for skip in found.skipped[:3])
    what = f"not one of its pictures can be used ({first})" if first else "it holds no pictures"
    hint = "Mend these, or name another --format." if first else "Name a folder with jpg, png or bmp files."
    raise DatasetError(f"{found.place} was read as {format_name}, but {what}", hint=hint, skipped=len(found.skipped))


# -------------------------------------------------------------------------------------------------------- collecting entries


def _collect(found: _Import, format_: Format, folder: Path, locate: Locate, store: Store, on_progress: OnProgress) -> None:
    """Read the format while threads check and store the pictures: decoding, hashing and syncing all happen outside of Python's lock."""
    total, done = _count_pictures(folder), 0
    on_progress(0, total)
    with quiet_pillow():
        for image, result in _in_order(_read(format_, folder, locate), locate, store, found):
            done += 1
            _enter(found, image, result)
            on_progress(done, max(done, total))
    if found.edge_count:
        reason = f"{found.edge_count} boxes reached at most one pixel beyond their picture, as corners counted from 1 do; they were clipped"
        found.note(Skip(".", reason, "mended"))
    on_progress(done, done)


def _count_pictures(folder: Path) -> int:
    return sum(name.lower().endswith(_PICTURE_SUFFIXES) for _, _, names in os.walk(folder) for name in names)


def _read(format_: Format, folder: Path, locate: Locate) -> Iterator[Found]:
    """What the format gives; a defect of the plugin is named as one."""
    try:
        yield from format_.read(folder, locate)
    except (SluiceError, OSError):
        raise
    except Exception as error:
        raise InternalError(
            f"the format {format_.name} failed: {type(error).__name__}: {error}", hint="This is a defect of the format."
        ) from error


def _in_order(
    items: Iterator[Found], locate: Locate, store: Store, found: _Import
) -> Iterator[tuple[ImportedImage, tuple[Asset, int] | DatasetError]]:
    """Every picture with what was found in it, in the order of the source; only a few wait in memory at any time."""
    workers = min(8, 2 * (os.cpu_count() or 1))
    waiting: deque[tuple[ImportedImage, Future[tuple[Asset, int] | DatasetError]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="sluice-import") as threads:
        try:
            for item in items:
                if isinstance(item, ImportedImage):
                    waiting.append((item, threads.submit(_take_in, store, item.path, locate)))
                elif isinstance(item, ClassNames):
                    found.declared = item
                elif isinstance(item, PredictedBy):
                    found.predicted_by = item
                else:
                    found.note(item)
                if len(waiting) > 2 * workers:
                    image, future = waiting.popleft()
                    yield image, future.result()
            while waiting:
                image, future = waiting.popleft()
                yield image, future.result()
        finally:
            threads.shutdown(wait=True, cancel_futures=True)


def _take_in(store: Store, path: Path | str, locate: Locate) -> tuple[Asset, int] | DatasetError:
    """The asset, stored, and its EXIF orientation; the error is a value here, for one bad picture does not end an import."""
    try:
        picture = read_picture(locate(path) if isinstance(path, str) else path)
    except DatasetError as error:
        return error
    store.add_bytes(picture.content, picture.asset.id, picture.asset.extension)
    return picture.asset, picture.orientation


def _enter(found: _Import, image: ImportedImage, result: tuple[Asset, int] | DatasetError) -> None:
    if isinstance(result, DatasetError):
        found.note(Skip(image.name, result.message, "image"))
        return
    asset, orientation = result
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
    entry = Entry(asset, name, _one_split(found, image), boxes, image.marks, _checked_predictions(found, image, asset))
    known = found.entries.setdefault(asset.id, entry)
    if known is not entry:
        _join(found, known, entry)


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


def _join(found: _Import, known: Entry, again: Entry) -> None:
    """The same content under a second name: one asset, and the first annotations count."""
    reason = f"is the same picture as {known.name}"
    if known.split and again.split and known.split != again.split:
        reason += f", which is in {known.split}; it was refused for {again.split}"
    known.split = known.split or again.split
    if known.annotations is None:
        known.annotations = again.annotations
    elif again.annotations is not None and list(known.annotations) != list(again.annotations):
        reason += "; its other annotations were left out"
    found.note(Skip(again.name, reason, "image"))
