"""YOLO: one text file of rows per picture, as Ultralytics (data.yaml) and Darknet (obj.names, train.txt) lay them out.

A row is ``class cx cy w h``, all but the class relative to the picture's width and height; a sixth column (a score) is not read.
``class x1 y1 x2 y2 ...`` with three points or more is an outline. Sizes are those of the pixels as stored.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

import yaml
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from contracts.dataset import Annotation, Sample
from contracts.job import JobWarning
from contracts.seams import ClassNames, Export, Format, Found, ImportedImage, Locate, Skip, not_located
from plugins.formats.listing import Listing, UnreadableFileError, folder_split_of, list_folder, shown
from plugins.formats.run_length import segmentation_bounds
from plugins.formats.values import BadValueError, read_class_name, read_number
from plugins.formats.yolo_writer import write_yolo

_LARGEST_LABEL_BYTES = 32 * 1024**2
_LARGEST_YAML_BYTES = 256 * 1024  # LVIS names 1,203 classes in 20 KB; the parser takes 8 s for this much
_LARGEST_LIST_BYTES = 256 * 1024**2
_HEADER_BYTES = 1024**2
_NOTHING = ("", "null", "~", "none")
_NAME_FILES = ("classes.txt", "obj.names")
_SPLIT_KEYS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test", "pool": "pool"}
_ROW = re.compile(rb"\s*\d{1,6}(\.0*)?(\s+[-+0-9.eE]+){4,}\s*(\r?\n|$)")
_YAML_NAMES = re.compile(rb"(^|[{,])\s*[\"']?names[\"']?\s*:", re.MULTILINE)
_NO_LABELS = re.compile(r"(?i)(readme|licen[cs]e|requirements|notes?|classes|labels|obj|predefined_classes)\b.*")


@dataclass
class _Description:
    """What data.yaml or its Darknet relatives say. ``names`` by class id; ``lists`` are (split, entry, the file that says so)."""

    names: dict[int, str] = field(default_factory=dict)
    source: str = ""
    lists: list[tuple[str, str, PurePosixPath]] = field(default_factory=list)
    pose: bool = False


class YoloFormat(Format):
    """YOLO folders: data.yaml or obj.names, and a text file of rows for each picture."""

    name: ClassVar[str] = "yolo"

    def detect(self, folder: Path) -> str:
        listing = list_folder(folder)
        for file in listing.with_suffix(".yaml", ".yml"):
            if _YAML_NAMES.search(listing.head(file, 65536)) and listing.pictures:
                return f"class names in {shown(file)}"
        stems = {picture.stem for picture in listing.pictures}
        labels = (file for file in listing.with_suffix(".txt") if file.stem in stems)
        found = next((file for file, _ in zip(labels, range(200), strict=False) if _ROW.match(listing.head(file, 4096))), None)
        return f"label rows in {shown(found)}" if found else ""

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:  # noqa: ARG002 - it names no addresses
        """A picture without a label file is unannotated; one whose file is empty shows nothing. A file with an unreadable row keeps the others."""
        listing = list_folder(folder)
        yield from listing.skips
        description, notes = _describe(listing)
        yield from notes
        splits, notes = _read_splits(listing, description)
        yield from notes
        names = _Names(description)
        labels = _Labels(listing)
        for picture in listing.pictures:
            file = labels.of(picture)
            yield from _read_picture(listing, picture, file, names, splits[picture])
        yield ClassNames(names.ordered())
        yield from names.notes()
        yield from labels.left_over()

    def write(self, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
        """``images/<split>``, ``labels/<split>`` and ``data.yaml``: rows of boxes, or of outlines in the files that have one.

        Coordinates have nine decimals, which is a hundred-thousandth of a pixel.
        """
        return write_yolo(folder, samples, export)


# ------------------------------------------------------------------------------------------------------ names and splits


def _describe(listing: Listing) -> tuple[_Description, list[Skip]]:
    """The first file that gives class names, the highest in the folder first: YAML before Darknet's lists of names."""
    description, notes = _Description(), []
    yamls = [file for file in _by_height(listing.with_suffix(".yaml", ".yml")) if _YAML_NAMES.search(listing.head(file, 65536))]
    for file in yamls:
        try:
            _read_yaml(listing, file, description)
        except (UnreadableFileError, BadValueError) as error:
            notes.append(Skip(shown(file), str(error), "file"))
    for file in _by_height([f for f in listing.files if f.name.lower() in _NAME_FILES or f.suffix.lower() == ".names"]):
        if not description.names:
            notes += _read_name_list(listing, file, description)
    description.lists += _darknet_lists(listing)
    return description, notes


def _by_height(files: Sequence[PurePosixPath]) -> list[PurePosixPath]:
    return sorted(files, key=lambda file: (len(file.parts), str(file)))


def _read_yaml(listing: Listing, file: PurePosixPath, description: _Description) -> None:
    document = _parse_yaml(listing.read_text(file, _LARGEST_YAML_BYTES))
    names = document.get("names")
    pairs = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(pairs, dict):
        raise BadValueError("names is neither a list nor a mapping of classes")
    read = {_class_id(key): read_class_name(name) for key, name in pairs.items()}
    if description.names and description.names != read:
        raise BadValueError(f"gives other class names than {description.source}, which was read")
    description.names, description.source = read, shown(file)
    description.pose |= "kpt_shape" in document
    for key, split in _SPLIT_KEYS.items():
        entries = document.get(key)
        for entry in entries if isinstance(entries, list) else [entries]:
            if isinstance(entry, str) and entry.strip().lower() not in _NOTHING:
                description.lists.append((split, entry, file))


class _Text(yaml.BaseLoader):
    """Every value as the text it is, so that a class may be called ``no`` or ``007``.

    SECURITY: and no aliases; a few lines of them expand to gigabytes.
    """

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases are not read")
        return super().compose_node(parent, index)


def _parse_yaml(text: str) -> dict[Any, Any]:
    try:
        document = yaml.load(text, _Text)  # noqa: S506 (makes text, lists and mappings only)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        raise UnreadableFileError(f"is not readable YAML: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(document, dict):
        raise UnreadableFileError("is not a YAML mapping")
    return document


def _class_id(value: Any) -> int:
    number = read_number(value, "a class id")
    if number != int(number) or not 0 <= number < 1_000_000:
        raise BadValueError(f"a class id is not a whole number: {value!r:.40}")
    return int(number)


def _read_name_list(listing: Listing, file: PurePosixPath, description: _Description) -> list[Skip]:
    try:
        lines = listing.read_text(file, _LARGEST_YAML_BYTES).strip().splitlines()
        description.names = {index: read_class_name(line) for index, line in enumerate(lines)}
        description.source = shown(file)
    except (UnreadableFileError, BadValueError) as error:
        return [Skip(shown(file), str(error), "file")]
    return []


def _darknet_lists(listing: Listing) -> list[tuple[str, str, PurePosixPath]]:
    """train.txt, val.txt, ... that no label folder holds: lists of picture paths."""
    found = []
    for file in listing.with_suffix(".txt"):
        split = _SPLIT_KEYS.get(file.stem.lower())
        if split and "labels" not in file.parts and not _ROW.match(listing.head(file, 4096)):
            found.append((split, f"./{file.name}", file))
    return found


def _read_splits(listing: Listing, description: _Description) -> tuple[defaultdict[PurePosixPath, tuple[str, ...]], list[Skip]]:
    """The splits of every picture: from the entries, and for those in none of them from folders named after a split."""
    splits: defaultdict[PurePosixPath, tuple[str, ...]] = defaultdict(tuple)
    notes: list[Skip] = []
    folders = _Folders(listing)
    for split, entry, said_by in description.lists:
        for picture in folders.pictures_of(entry, said_by, notes):
            if split not in splits[picture]:
                splits[picture] += (split,)
    for picture in listing.pictures:
        if picture not in splits and (split := folder_split_of(picture)):
            splits[picture] = (split,)
    return splits, notes


class _Folders:
    """Finds the folder or list that an entry of data.yaml means, also when it was written for another machine."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._below: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
        for picture in listing.pictures:
            for parent in picture.parents:
                self._below[parent].append(picture)

    def pictures_of(self, entry: str, said_by: PurePosixPath, notes: list[Skip]) -> list[PurePosixPath]:
        parts = [part for part in entry.strip().replace("\\", "/").split("/") if part not in ("", ".", "..")]
        if not parts:
            return self._below[said_by.parent]
        if parts[-1].lower().endswith(".txt"):
            return self._listed(parts, said_by, notes)
        for start in range(len(parts)):
            found = self._folder(said_by.parent, parts[start:])
            if found is not None:
                return self._below[found]
        notes.append(Skip(f"{shown(said_by)}#{shown(entry)[:200]}", "there is no such folder with pictures", "file"))
        return []

    def _folder(self, base: PurePosixPath, parts: list[str]) -> PurePosixPath | None:
        """The folder below ``base`` or the root, else the only one anywhere that ends so."""
        for candidate in (base.joinpath(*parts), PurePosixPath(*parts)):
            if candidate in self._below:
                return candidate
        ending = [folder for folder in self._below if list(folder.parts[-len(parts) :]) == parts]
        return ending[0] if len(ending) == 1 else None

    def _listed(self, parts: list[str], said_by: PurePosixPath, notes: list[Skip]) -> list[PurePosixPath]:
        same = [file for file in self._listing.with_suffix(".txt") if file.name == parts[-1]]
        file = next((f for f in (said_by.parent.joinpath(*parts), PurePosixPath(*parts)) if f in same), same[0] if len(same) == 1 else None)
        if file is None:
            notes.append(Skip(f"{shown(said_by)}#{shown('/'.join(parts))[:200]}", "there is no such list of pictures", "file"))
            return []
        try:
            lines = self._listing.read_text(file, _LARGEST_LIST_BYTES).splitlines()
        except UnreadableFileError as error:
            notes.append(Skip(shown(file), str(error), "file"))
            return []
        found = [self._line(file, number, line, notes) for number, line in enumerate(lines, start=1) if line.strip()]
        return [picture for picture in found if picture]

    def _line(self, file: PurePosixPath, number: int, line: str, notes: list[Skip]) -> PurePosixPath | None:
        try:
            picture = self._listing.find_picture(line, file)
            reason = "" if picture else f"there is no picture {shown(line.strip())[:200]}"
        except UnreadableFileError as error:
            picture, reason = None, str(error)
        if reason:
            notes.append(Skip(f"{shown(file)}:{number}", reason, "image"))
        return picture


class _Names:
    """Class names by id. Without any file of names the ids themselves are the names, and the report says so."""

    def __init__(self, description: _Description) -> None:
        self._names = description.names
        self._invented: set[int] = set()
        self.pose = description.pose

    def of(self, number: int) -> str:
        if not self._names:
            self._invented.add(number)
            return str(number)
        if number not in self._names:
            raise BadValueError(f"there is no class {number}; the names end at {max(self._names)}")
        return self._names[number]

    def ordered(self) -> tuple[str, ...]:
        names = self._names or {number: str(number) for number in self._invented}
        return tuple(dict.fromkeys(names[number] for number in sorted(names)))

    def notes(self) -> Iterator[Skip]:
        if self._invented:
            yield Skip(".", "there is no data.yaml, classes.txt or obj.names: the class ids were taken as names", "mended")


# ---------------------------------------------------------------------------------------------------------------- labels


class _Labels:
    """Finds the label file of a picture: ``labels`` in place of ``images``, the same folder, else the only one of that name nearby."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._files = set(listing.with_suffix(".txt"))
        self._by_stem: dict[str, list[PurePosixPath]] = defaultdict(list)
        for file in sorted(self._files, key=str):
            self._by_stem[file.stem].append(file)
        self._used: set[PurePosixPath] = set()

    def of(self, picture: PurePosixPath) -> PurePosixPath | None:
        found = next((file for file in self._candidates(picture) if file in self._files), None)
        if found:
            self._used.add(found)
        return found

    def _candidates(self, picture: PurePosixPath) -> Iterator[PurePosixPath]:
        parts = list(picture.parts)
        for index in reversed(range(len(parts) - 1)):
            if parts[index].lower() == "images":
                labels = "labels" if parts[index] == "images" else "Labels"
                yield PurePosixPath(*parts[:index], labels, *parts[index + 1 :]).with_suffix(".txt")
        yield picture.with_suffix(".txt")
        alone = self._by_stem.get(picture.stem, [])
        if len(alone) == 1 and len(self._listing.pictures_with_stem(picture.stem)) == 1:
            yield alone[0]

    def left_over(self) -> Iterator[Skip]:
        """Files that look like labels but belong to no picture."""
        for file in sorted(self._files - self._used, key=str):
            if not _NO_LABELS.fullmatch(file.stem) and _ROW.match(self._listing.head(file, 4096)):
                yield Skip(shown(file), "there is no picture for these labels", "file")


def _read_picture(
    listing: Listing, picture: PurePosixPath, file: PurePosixPath | None, names: _Names, splits: tuple[str, ...]
) -> Iterator[ImportedImage | Skip]:
    if file is None:
        yield ImportedImage(listing.host(picture), shown(picture), None, splits)
        return
    try:
        rows = _read_rows(listing, file)
    except UnreadableFileError as error:
        yield Skip(shown(file), str(error), "file")
        yield Skip(shown(picture), f"its label file {shown(file)} cannot be read", "image")
        return
    size = _picture_size(listing, picture) if rows else (1, 1)
    if size is None:
        yield Skip(shown(picture), "is no readable jpg, png or bmp, so that its labels mean no pixels", "image")
        return
    boxes: list[Annotation] = []
    for line, columns in rows:
        try:
            boxes.append(_read_row(columns, size, names))
        except BadValueError as error:
            yield Skip(f"{shown(file)}:{line}", str(error), "box")
    yield ImportedImage(listing.host(picture), shown(picture), tuple(boxes), splits)


def _read_rows(listing: Listing, file: PurePosixPath) -> list[tuple[int, list[str]]]:
    """Line numbers and columns of every row that is not blank."""
    try:
        text = listing.read_text(file, _LARGEST_LABEL_BYTES)
    except UnreadableFileError as error:
        if "is empty" in str(error):
            return []
        raise
    return [(number, line.split()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _picture_size(listing: Listing, picture: PurePosixPath) -> tuple[int, int] | None:
    """Width and height from the header, whatever the suffix; None when there is none. Whether the picture is whole is the importer's question."""
    content = listing.head(picture, _HEADER_BYTES)
    openers: tuple[type[ImageFile], ...] = (JpegImageFile, PngImageFile, BmpImageFile)
    for opener in openers:
        try:
            width, height = opener(BytesIO(content)).size
        except Exception:  # noqa: S112 (Pillow raises nearly everything for what is not its format; the next one is asked)
            continue
        return width, height
    return None


def _read_row(columns: list[str], size: tuple[int, int], names: _Names) -> Annotation:
    if len(columns) < 5:
        raise BadValueError(f"a row has {len(columns)} columns, not class cx cy w h")
    class_name = names.of(_class_id(columns[0]))
    if not names.pose and len(columns) >= 7 and len(columns) % 2:
        points = [read_number(text, "a point") for text in columns[1:]]
        polygon = [value * size[index % 2] for index, value in enumerate(points)]
        x, y, width, height = segmentation_bounds([polygon])
        _refuse_pixels(points)
        return Annotation(class_name, x, y, width, height, segmentation=[polygon])
    cx, cy, width, height = (read_number(text, name) for text, name in zip(columns[1:5], ("cx", "cy", "w", "h"), strict=True))
    _refuse_pixels([cx, cy, width, height])
    return Annotation(class_name, (cx - width / 2) * size[0], (cy - height / 2) * size[1], width * size[0], height * size[1])


def _refuse_pixels(values: Sequence[float]) -> None:
    """A little beyond the picture is clipped by the importer; far beyond, the row was written in pixels."""
    far = next((value for value in values if not -1 <= value <= 2), None)
    if far is not None:
        raise BadValueError(f"{far:g} is no share of the picture's width or height; was the row written in pixels?")
