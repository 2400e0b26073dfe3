"""ARK text, YMIR's other form of boxes: ``class_index, xmin, ymin, xmax, ymax, box_quality, rotate_angle`` (contract reference 4.7).

Read with 5, 6 or 7 columns. Text files are found through index files (4.3) or beside the pictures; an ``/in`` folder of a job reads as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, TextIO

from contracts.dataset import Annotation, Sample
from contracts.job import JobWarning
from contracts.seams import ClassNames, Export, Format, Found, ImportedImage, Locate, Skip, not_located
from contracts.ymir.annotations import pixel_box
from plugins.formats.index_file import Row, first_row, read_index
from plugins.formats.left_out import LeftOut
from plugins.formats.listing import Listing, UnreadableFileError, folder_split_of, list_folder, shown
from plugins.formats.located import Places
from plugins.formats.safe_yaml import read_yaml
from plugins.formats.values import BadValueError, read_class_name, read_number
from plugins.formats.writing import PictureNames, place_picture, shown_annotations

_LARGEST_TEXT_BYTES = 100 * 1024**2
_LARGEST_NAMES_BYTES = 256 * 1024
_ROW = re.compile(rb"\s*\d{1,6}(\s*,\s*[-+]?[\d.]+([eE][-+]?\d+)?){4,6}\s*(\r?\n|$)")
_INDEX_SPLITS = {"train-index": "train", "val-index": "val", "test-index": "test", "candidate-index": "pool", "index": ""}
_SPLIT_INDEXES = {split: f"{stem}.tsv" for stem, split in _INDEX_SPLITS.items()}
_NAME_FILES = ("class_names.txt", "classes.txt", "obj.names")
_LABEL_FOLDERS = ("annotations", "labels", "gt", "Annotations")
_CONFIG_FILES = ("config.yaml", "meta.yaml", "config.yml", "meta.yml")


@dataclass
class _Entry:
    target: Path | str
    splits: tuple[str, ...] = ()
    label: str = ""  # the second column of its row


@dataclass
class _Names:
    """Class names by index. Without any list of them the indexes themselves are the names, and the report says so."""

    names: tuple[str, ...] = ()
    invented: set[int] = field(default_factory=set)

    def of(self, index: int) -> str:
        if not self.names:
            self.invented.add(index)
            return str(index)
        if index >= len(self.names):
            raise BadValueError(f"there is no class {index}; there are {len(self.names)} class names")
        return self.names[index]

    def in_order(self) -> tuple[str, ...]:
        return self.names or tuple(str(index) for index in sorted(self.invented))


class ArkFormat(Format):
    """ARK text folders: a text file of comma-separated rows per picture, beside it or named by *-index.tsv."""

    name: ClassVar[str] = "ark"
    more_specific_than: ClassVar[frozenset[str]] = frozenset({"ymir"})

    def detect(self, folder: Path) -> str:
        listing = list_folder(folder)
        for file in _indexes(listing):
            if len(row := first_row(listing, file)) > 1 and row[1].strip().lower().endswith(".txt"):
                return f"pictures and text files in {shown(file)}"
        stems = {picture.stem for picture in listing.pictures}
        labels = (file for file in listing.with_suffix(".txt") if file.stem in stems)
        found = next((file for file, _ in zip(labels, range(200), strict=False) if _ROW.match(listing.head(file))), None)
        return f"comma-separated rows in {shown(found)}" if found else ""

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
        """An empty text file says that there is nothing in the picture; without one it is unannotated."""
        listing = list_folder(folder)
        yield from listing.skips
        names, notes = _read_names(listing)
        yield from notes
        entries = {picture: _Entry(listing.host(picture)) for picture in listing.pictures}
        for file in _indexes(listing):
            yield from _enter_index(entries, listing, file, locate)
        labels = _Labels(listing, locate)
        for picture, entry in entries.items():
            split = folder_split_of(picture)
            entry.splits = entry.splits or ((split,) if split else ())
            yield from labels.read(picture, entry, names)
        yield ClassNames(names.in_order())
        if names.invented:
            yield Skip(".", f"there is none of {', '.join(_NAME_FILES)}: the class indexes were taken as names", "mended")

    def write(self, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
        """``images``, ``annotations``, an index for each split, and ``class_names.txt``. Boxes are written in whole pixels."""
        with _Writing(folder, export) as writing:
            for sample in samples:
                writing.add(sample)
        return writing.left_out.warnings()


def _indexes(listing: Listing) -> list[PurePosixPath]:
    return [file for file in listing.with_suffix(".tsv") if file.stem.lower() in _INDEX_SPLITS and first_row(listing, file)]


def _enter_index(entries: dict[PurePosixPath, _Entry], listing: Listing, file: PurePosixPath, locate: Locate) -> Iterator[Skip]:
    split = _INDEX_SPLITS[file.stem.lower()]
    for row in read_index(listing, file, locate):
        if not isinstance(row, Row):
            yield row
            continue
        entry = entries.setdefault(row.path, _Entry(row.target))
        entry.label = entry.label or (row.others[0] if row.others else "")
        if split and split not in entry.splits:
            entry.splits += (split,)


def _read_names(listing: Listing) -> tuple[_Names, list[Skip]]:
    """From a list of names, else from ``class_names`` of a config.yaml as a job has it; the highest in the folder."""
    by_height = sorted(listing.files, key=lambda file: (len(file.parts), str(file)))
    for wanted in (_NAME_FILES, _CONFIG_FILES):
        for file in by_height:
            if file.name.lower() in wanted:
                try:
                    if names := _names_in(listing, file):
                        return _Names(names), []
                except (UnreadableFileError, BadValueError) as error:
                    return _Names(), [Skip(shown(file), str(error), "file")]
    return _Names(), []


def _names_in(listing: Listing, file: PurePosixPath) -> tuple[str, ...]:
    text = listing.read_text(file, _LARGEST_NAMES_BYTES)
    values: Any = text.strip().splitlines()
    if file.suffix.lower() in (".yaml", ".yml"):
        document = read_yaml(text)
        values = document.get("class_names") if isinstance(document, dict) else None
    return tuple(read_class_name(value) for value in values) if isinstance(values, list) else ()


class _Labels:
    """The text file of each picture: the one its row names, else the one of its name that lies nearest."""

    def __init__(self, listing: Listing, locate: Locate) -> None:
        self._listing, self._locate = listing, locate
        self._files = frozenset(listing.with_suffix(".txt"))

    def read(self, picture: PurePosixPath, entry: _Entry, names: _Names) -> Iterator[ImportedImage | Skip]:
        try:
            text, place = self._text(picture, entry)
        except UnreadableFileError as error:
            yield Skip(shown(picture), f"its text file {error}", "image")
            return
        boxes: list[Annotation] = []
        for number, line in enumerate(text.splitlines() if text else (), start=1):
            try:
                boxes += [_read_row(line, names)] if line.strip() else []
            except BadValueError as error:
                yield Skip(f"{place}:{number}", str(error), "box")
        yield ImportedImage(entry.target, shown(picture), None if text is None else tuple(boxes), entry.splits)

    def _text(self, picture: PurePosixPath, entry: _Entry) -> tuple[str | None, str]:
        """The text, '' for an empty file, None for no file; and the file's name. Raises ``UnreadableFileError``."""
        if entry.label:
            places = Places(self._listing, picture, self._locate)
            return _decode(places.fetch(entry.label)), shown(entry.label)
        file = self._beside(picture)
        if file is None or file.name.lower() in _NAME_FILES:
            return None, ""
        return _decode(self._listing.host(file)), shown(file)

    def _beside(self, picture: PurePosixPath) -> PurePosixPath | None:
        """In the same folder, in one of labels that stands for the pictures' one, else the only one when the picture's name is the only one."""
        name, parts = f"{picture.stem}.txt", picture.parts[:-1]
        candidates = [picture.with_suffix(".txt")]
        candidates += [PurePosixPath(*parts[:-1], folder, name) for folder in _LABEL_FOLDERS if parts]
        if found := next((file for file in candidates if file in self._files), None):
            return found
        try:
            return self._listing.find_file(name, picture) if len(self._listing.pictures_with_stem(picture.stem)) <= 1 else None
        except UnreadableFileError:
            return None


def _decode(path: Path) -> str:
    try:
        return Listing(path.parent).read_text(PurePosixPath(path.name), _LARGEST_TEXT_BYTES)
    except UnreadableFileError as error:
        if "is empty" in str(error):
            return ""
        raise UnreadableFileError(f"{shown(path.name)} {error}") from error


def _read_row(line: str, names: _Names) -> Annotation:
    columns = [column.strip() for column in line.split(",")]
    if not 5 <= len(columns) <= 7:
        raise BadValueError(f"a row has {len(columns)} columns, not class_index, xmin, ymin, xmax, ymax, box_quality, rotate_angle")
    index = read_number(columns[0], "class_index")
    if not index.is_integer() or not 0 <= index < 1_000_000:
        raise BadValueError(f"class_index is no whole number: {columns[0][:40]!r}")
    x1, y1, x2, y2 = (read_number(text, name) for text, name in zip(columns[1:5], ("xmin", "ymin", "xmax", "ymax"), strict=True))
    quality = read_number(columns[5], "box_quality") if len(columns) > 5 else -1.0
    angle = read_number(columns[6], "rotate_angle") if len(columns) > 6 else 0.0
    return Annotation(names.of(int(index)), x1, y1, x2 - x1 + 1, y2 - y1 + 1, quality=quality, angle=angle)


# ---------------------------------------------------------------------------------------------------------------- writing


class _Writing:
    """One export on its way to disk; a context manager."""

    def __init__(self, folder: Path, export: Export) -> None:
        self._folder, self._export = folder, export
        self._ids = {name: index for index, name in enumerate(export.class_names)}
        self._names = PictureNames()
        self._indexes: dict[str, TextIO] = {}
        self.left_out = LeftOut()

    def __enter__(self) -> _Writing:
        (self._folder / "annotations").mkdir()
        (self._folder / "class_names.txt").write_text("".join(f"{name}\n" for name in self._export.class_names), encoding="utf-8")
        return self

    def __exit__(self, *exc_info: object) -> None:
        for file in self._indexes.values():
            file.close()

    def add(self, sample: Sample) -> None:
        name = self._names.name(sample)
        place_picture(sample, self._folder / "images" / name, self._export)
        columns = [f"images/{name}"]
        annotations = shown_annotations(sample, self._export, self.left_out)
        if sample.marks.tags or sample.marks.hard:
            self.left_out.add("marks", "tags and marks of pictures have no place in ARK text", name)
        if annotations is not None:
            columns.append(f"annotations/{PurePosixPath(name).stem}.txt")
            (self._folder / columns[1]).write_text("".join(self._row(one, name) for one in annotations), encoding="utf-8")
        self._index(sample.split, name).write("\t".join(columns) + "\n")

    def _index(self, split: str, name: str) -> TextIO:
        if split not in _SPLIT_INDEXES:
            self.left_out.add("splits", f"the split {split!r} has no index", name)
            split = ""
        if split not in self._indexes:
            self._indexes[split] = (self._folder / _SPLIT_INDEXES[split]).open("w", encoding="utf-8")
        return self._indexes[split]

    def _row(self, annotation: Annotation, name: str) -> str:
        box = pixel_box(annotation)
        if annotation.shape != "box" or box is None:
            self.left_out.add("shapes", "annotations that are no boxes have no place in ARK text", name)
            return ""
        if annotation.class_name not in self._ids:
            self.left_out.add("classes", "boxes of classes that are not exported were left out", name)
            return ""
        if box != (annotation.x, annotation.y, annotation.width, annotation.height):
            self.left_out.add("whole_pixels", "boxes were rounded to whole pixels", name)
        if annotation.segmentation or annotation.attributes or annotation.crowd or annotation.difficult or annotation.annotated_by:
            self.left_out.add("attributes", "outlines and attributes of boxes have no place in ARK text", name)
        x, y, width, height = box
        class_id = self._ids[annotation.class_name]
        return f"{class_id}, {x}, {y}, {x + width - 1}, {y + height - 1}, {float(annotation.quality)}, {float(annotation.angle)}\n"
