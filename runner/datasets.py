"""Imports folders and archives as dataset versions: the way of an import is ``import_dataset``.

The tables of a version are described in ``runner/dataset_files.py``.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from contracts.dataset import Asset
from contracts.errors import DatasetError, InternalError, SluiceError
from contracts.image import ObjectType
from contracts.seams import ClassNames, Format, Found, ImportedImage, Locate, PredictedBy, Skip, Store, not_located
from registry import datasets
from registry.database import Database
from registry.lookup import check_folder_name
from runner.archives import unpacked
from runner.aside import aside_folder
from runner.asset_lock import adding_assets
from runner.boxes import check_boxes, overhang_px
from runner.dataset_files import Entry, content_hash, write_json, write_tables
from runner.pictures import quiet_pillow, read_picture
from runner.run_dir import sync_to_disk

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
    entries: dict[str, Entry] = field(default_factory=dict)
    skipped: list[Skip] = field(default_factory=list)
    mended: list[Skip] = field(default_factory=list)
    edge_count: int = 0
    declared: tuple[str, ...] = ()
    predicted_by: PredictedBy | None = None

    def note(self, *skips: Skip) -> None:
        for skip in skips:
            (self.mended if skip.what == "mended" else self.skipped).append(skip)

    @property
    def class_counts(self) -> Counter[str]:
        return Counter(box.class_name for entry in self.entries.values() for box in entry.annotations or ())

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that have a box: in the order of the source's ids, the others in alphabetical order behind them."""
        used = self.class_counts
        order = [name for name in dict.fromkeys(self.declared) if name in used]
        return (*order, *sorted(set(used) - set(order)))


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
    _check_request(name, split)
    found = _Import(source_name or str(source), split)
    found.note(*left_out)
    with adding_assets(home):
        with unpacked(source, home, left_out=found.skipped) as folder:
            format_, detected = choose_format(folder, formats, format_name)
            _collect(found, format_, folder, locate, store, on_progress)
        _require_something(found, format_.name)
        with aside_folder(home, "import") as aside:
            write_tables(aside, found.entries.values())
            return _publish(_facts(name, found, format_.name, detected), aside, database, home)


def choose_format(folder: Path, formats: Mapping[str, Format], format_name: str | None = None) -> tuple[Format, str]:
    """The format to read the folder with, and why. Raises ``DatasetError`` when none or several fit, or the named one does not exist."""
    if format_name is not None:
        if format_name not in formats:
            raise DatasetError(f"there is no format {format_name!r}", hint=f"Known: {', '.join(sorted(formats))}.", format=format_name)
        return formats[format_name], formats[format_name].detect(folder) or "named by the request"
    if not any(folder.iterdir()):
        raise DatasetError("the folder is empty", hint="Name the folder that holds the pictures.")
    fitting = {name: why for name in sorted(formats) if name != LAST_RESORT and (why := formats[name].detect(folder))}
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
                    found.declared = item.names
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
        checked = check_boxes(image.name, image.annotations, asset.width, asset.height)
        found.note(*checked.notes)
        found.edge_count += checked.edge_count
        boxes = checked.kept
    name = image.name.encode("utf-8", "backslashreplace").decode()
    entry = Entry(asset, name, _one_split(found, image), boxes)
    known = found.entries.setdefault(asset.id, entry)
    if known is not entry:
        _join(found, known, entry)


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


# ------------------------------------------------------------------------------------------------------------- publishing


def _facts(name: str, found: _Import, format_name: str, detected: str) -> dict[str, Any]:
    """The report but for what is known only with the version's number."""
    counts = found.class_counts
    entries = found.entries.values()
    splits = Counter(entry.split for entry in entries)
    return {
        "dataset": name,
        "version": "",
        "format": format_name,
        "detected": detected,
        "images": len(found.entries),
        "annotations": counts.total(),
        "object_type": int(_object_type(entries)),
        "classes": {class_name: counts[class_name] for class_name in found.class_names},
        "splits": {split: splits[split] for split in sorted(splits, key=_split_rank)},
        "unlabeled": sum(entry.annotations is None for entry in entries),
        "skipped": [asdict(skip) for skip in found.skipped],
        "mended": [asdict(skip) for skip in found.mended],
        "unchanged": False,
        "source": found.place,
        "content_hash": content_hash(entries, found.class_names),
    }


def _split_rank(split: str) -> tuple[int, str]:
    order = ("train", "val", "test", "pool")
    return (order.index(split) if split in order else len(order) + (not split)), split


def _publish(facts: dict[str, Any], aside: Path, database: Database, home: Path) -> dict[str, Any]:
    """Take a number, give the folder its name and enter the version, in one transaction."""
    name = facts["dataset"]
    with database.writing() as session:
        latest = datasets.find_version(session, name)
        if latest and latest.content_hash == facts["content_hash"] and (home / latest.folder).is_dir():
            return _completed(facts, home / latest.folder, latest.version, unchanged=True)
        number = datasets.next_number(session, name)
        folder = home / "datasets" / name / f"V{number:03d}"
        report = _completed(facts, folder, f"V{number:03d}")
        write_json(aside / "report.json", report)
        write_json(aside / "manifest.json", _manifest(report, number))
        _place(aside, folder)
        try:
            _add_row(session, report, number, str(folder.relative_to(home)), latest.number if latest else None)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
    return report


def _completed(facts: dict[str, Any], folder: Path, version: str, *, unchanged: bool = False) -> dict[str, Any]:
    return {**facts, "version": version, "unchanged": unchanged, "folder": str(folder), "report_file": str(folder / "report.json")}


def _manifest(report: Mapping[str, Any], number: int) -> dict[str, Any]:
    kept = ("dataset", "version", "format", "images", "annotations", "splits", "unlabeled", "source", "content_hash")
    created_at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"schema": 1, "number": number, "created_at": created_at, "class_names": list(report["classes"]), **{k: report[k] for k in kept}}


def _place(aside: Path, folder: Path) -> None:
    """Give the finished folder its name. A folder that has it already was left by an import killed before its row was there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        orphan = aside.with_suffix(".orphan")
        folder.rename(orphan)
        shutil.rmtree(orphan, ignore_errors=True)
    for file in aside.iterdir():
        file.chmod(0o444)
    aside.rename(folder)
    sync_to_disk(folder, folder.parent)


def _object_type(entries: Iterable[Entry]) -> ObjectType:
    """What the annotations can teach: outlines also teach boxes, boxes no outlines."""
    outlined = any(box.segmentation for entry in entries for box in entry.annotations or ())
    return ObjectType.INSTANCE_SEGMENTATION if outlined else ObjectType.DETECTION


def _add_row(session: Session, report: Mapping[str, Any], number: int, folder: str, parent: int | None) -> None:
    datasets.add_version(
        session,
        dataset=report["dataset"],
        number=number,
        folder=folder,
        image_count=report["images"],
        annotation_count=report["annotations"],
        class_names=tuple(report["classes"]),
        splits=report["splits"],
        object_type=report["object_type"],
        content_hash=report["content_hash"],
        parent=parent,
        source=report["source"],
    )
