"""COCO: one or several JSON files with images, annotations and categories, anywhere in the folder (cocodataset.org, "Data format").

Read are object detection and instance segmentation; captions and keypoints beside them are left out by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from contracts.dataset import Annotation
from contracts.seams import ClassNames, Format, Found, ImportedImage, Locate, Skip, not_located
from plugins.formats.listing import Listing, UnreadableFileError, folder_split_of, list_folder, shown, split_of
from plugins.formats.run_length import read_segmentation, segmentation_bounds
from plugins.formats.values import BadValueError, is_true, read_class_name, read_number

_LARGEST_JSON_BYTES = 2 * 1024**3
_HEAD_BYTES = 64 * 1024
_WHOLE_BYTES = 8 * 1024**2
_KEYS = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
#: Other tasks of the COCO challenges, whose files lie beside instances_*.json and speak of the same pictures.
_OTHER_TASKS = ("captions", "person_keypoints", "panoptic", "stuff")


@dataclass
class _Found:
    """What the files read so far say of one picture. ``annotations`` None: no file annotates it."""

    splits: tuple[str, ...] = ()
    annotations: list[Annotation] | None = None
    size: tuple[int, int] | None = None
    files: list[PurePosixPath] = field(default_factory=list)


@dataclass
class _Reading:
    """All files of one folder on their way to pictures."""

    listing: Listing
    found: dict[PurePosixPath, _Found] = field(default_factory=dict)
    class_names: list[str] = field(default_factory=list)
    unreadable: bool = False
    scored: bool = False  # the annotations are predictions, their confidence the score


class CocoFormat(Format):
    """COCO folders: JSON files with images, annotations and categories, and the pictures they name."""

    name: ClassVar[str] = "coco"

    def detect(self, folder: Path) -> str:
        listing = list_folder(folder)
        files = _documents(listing)
        return f"{len(files)} COCO files, such as {shown(files[0])}" if files else ""

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:  # noqa: ARG002 - it names no addresses
        """Pictures that no file names are unannotated. The split is that of the file's name or folder, else of the picture's folder."""
        reading = _Reading(list_folder(folder))
        yield from reading.listing.skips
        for file in _documents(reading.listing):
            if other := _instances_instead(reading.listing, file):
                yield Skip(shown(file), f"is for another task; {shown(other)} was read", "file")
            else:
                yield from _read_file(reading, file)
        yield ClassNames(tuple(dict.fromkeys(reading.class_names)))
        for picture in reading.listing.pictures:
            found = reading.found.get(picture, _Found())
            if not found.files and reading.unreadable:
                yield Skip(shown(picture), "it may belong to the file that cannot be read", "image")
                continue
            boxes = None if found.annotations is None else tuple(found.annotations)
            splits = found.splits or tuple(filter(None, [folder_split_of(picture)]))
            yield ImportedImage(reading.listing.host(picture), shown(picture), boxes, splits, found.size)


@dataclass(frozen=True)
class CocoContent:
    """What one COCO file says of the pictures of a listing; None there: it names the picture, but annotates none."""

    annotations: Mapping[PurePosixPath, tuple[Annotation, ...] | None]
    sizes: Mapping[PurePosixPath, tuple[int, int] | None]
    class_names: tuple[str, ...]
    notes: tuple[Skip, ...]
    unreadable: bool


def read_coco_file(listing: Listing, file: PurePosixPath, *, scored: bool = False) -> CocoContent:
    """One file alone, for formats that keep one in a place of their own. ``scored``: its annotations are predictions."""
    reading = _Reading(listing, scored=scored)
    notes = tuple(_read_file(reading, file))
    found = reading.found
    return CocoContent(
        {picture: None if one.annotations is None else tuple(one.annotations) for picture, one in found.items()},
        {picture: one.size for picture, one in found.items()},
        tuple(dict.fromkeys(reading.class_names)),
        notes,
        reading.unreadable,
    )


def _documents(listing: Listing) -> list[PurePosixPath]:
    """The JSON files that show at least two of the three lists near their beginning or end, or anywhere in a small file."""
    return [path for path in listing.with_suffix(".json") if len(_keys(listing.host(path))) >= 2]


def _keys(file: Path) -> set[bytes]:
    try:
        size_bytes = file.stat().st_size
        with file.open("rb") as opened:
            text = opened.read(_WHOLE_BYTES if size_bytes <= _WHOLE_BYTES else _HEAD_BYTES)
            if size_bytes > _WHOLE_BYTES:
                opened.seek(-_HEAD_BYTES, 2)
                text += opened.read()
    except OSError:
        return set()
    return set(_KEYS.findall(text))


def _instances_instead(listing: Listing, file: PurePosixPath) -> PurePosixPath | None:
    for task in _OTHER_TASKS:
        if file.name.startswith(f"{task}_"):
            instances = file.with_name(file.name.replace(task, "instances", 1))
            return instances if instances in listing.files else None
    return None


def _read_file(reading: _Reading, file: PurePosixPath) -> Iterator[Skip]:
    try:
        document = _parse(reading.listing, file)
    except UnreadableFileError as error:
        reading.unreadable = True
        yield Skip(shown(file), str(error), "file")
        return
    yield from _Document(reading, file, document).read()


def _parse(listing: Listing, file: PurePosixPath) -> Mapping[str, Any]:
    try:
        document = json.loads(listing.read_text(file, _LARGEST_JSON_BYTES))
    except (ValueError, RecursionError, MemoryError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]
        raise UnreadableFileError(f"is not readable JSON: {reason or type(error).__name__}") from error
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        raise UnreadableFileError("has no list of images")
    return document


class _Document:
    """One COCO file: its images matched to pictures, its annotations entered under them."""

    def __init__(self, reading: _Reading, file: PurePosixPath, document: Mapping[str, Any]) -> None:
        self._reading, self._file, self._document = reading, file, document
        self._place = shown(file)
        self._pictures: dict[Any, PurePosixPath | None] = {}  # by image id; None: the image was skipped
        self._classes: dict[Any, str] = {}  # by category id

    def read(self) -> Iterator[Skip]:
        yield from self._read_categories()
        yield from self._read_images()
        yield from self._read_annotations()

    def _read_categories(self) -> Iterator[Skip]:
        found: list[tuple[Any, str]] = []
        for index, category in enumerate(_list(self._document, "categories")):
            try:
                found.append((_key(_field(category, "id")), read_class_name(_field(category, "name"))))
            except BadValueError as error:
                yield Skip(f"{self._place}#categories[{index}]", str(error), "file")
        self._classes = dict(found)
        ordered = sorted(found, key=lambda pair: (not pair[0].isdecimal(), len(pair[0]), pair[0]))
        self._reading.class_names += [name for _, name in ordered]

    def _read_images(self) -> Iterator[Skip]:
        split = split_of(self._file)
        for index, image in enumerate(_list(self._document, "images")):
            place = f"{self._place}#images[{index}]"
            try:
                key, name = _key(_field(image, "id")), _field(image, "file_name")
                if not isinstance(name, str) or not name.strip():
                    raise BadValueError("the file name is missing")
                if key in self._pictures:
                    raise BadValueError(f"the id {key} is there twice; {shown(name)} was left out")
                self._pictures[key] = None
                picture = self._reading.listing.find_picture(name, self._file)
                if picture is None:
                    raise BadValueError(f"there is no picture {shown(name)[:200]}")
            except (BadValueError, UnreadableFileError) as error:
                yield Skip(place, str(error), "image")
                continue
            yield from self._enter_image(place, key, picture, image, split)

    def _enter_image(self, place: str, key: str, picture: PurePosixPath, image: Mapping[str, Any], split: str) -> Iterator[Skip]:
        found = self._reading.found.setdefault(picture, _Found())
        if self._file in found.files:
            yield Skip(place, f"{shown(picture)} is there twice", "image")
            return
        if found.annotations is not None and self._annotates:
            yield Skip(place, f"{shown(picture)} is annotated by {shown(found.files[0])} already", "image")
            found.splits = tuple(dict.fromkeys([*found.splits, *filter(None, [split])]))
            return
        self._pictures[key] = picture
        found.files.append(self._file)
        found.splits = tuple(dict.fromkeys([*found.splits, *filter(None, [split])]))
        found.size = found.size or _size(image)
        if self._annotates:
            found.annotations = []

    @property
    def _annotates(self) -> bool:
        """Files such as image_info_test2017.json name pictures only."""
        return isinstance(self._document.get("annotations"), list)

    def _read_annotations(self) -> Iterator[Skip]:
        for index, annotation in enumerate(_list(self._document, "annotations")):
            place = f"{self._place}#annotations[{index}]"
            try:
                key = _key(_field(annotation, "image_id"))
                if key not in self._pictures:
                    raise BadValueError(f"there is no image with the id {key}")
                picture = self._pictures[key]
                if picture is not None:
                    box, doubt = _read_annotation(annotation, self._classes)
                    if self._reading.scored:
                        box = replace(box, score=_read_score(annotation))
                    boxes = self._reading.found[picture].annotations
                    if boxes is not None:
                        boxes.append(box)
                    if doubt:
                        yield Skip(place, doubt, "mended")
            except BadValueError as error:
                yield Skip(place, str(error), "box")


def _read_annotation(annotation: Mapping[str, Any], classes: Mapping[Any, str]) -> tuple[Annotation, str]:
    """The box, and why its outline was left out ('' when it was not)."""
    key = _key(_field(annotation, "category_id"))
    if key not in classes:
        raise BadValueError(f"there is no category with the id {key}")
    segmentation, doubt = None, ""
    if outline := annotation.get("segmentation"):
        try:
            segmentation = read_segmentation(outline)
        except BadValueError as error:
            doubt = f"the box was kept without its outline: {error}"
    x, y, width, height = _read_box(annotation.get("bbox"), segmentation, classes[key])
    crowd = is_true(annotation.get("iscrowd", 0))
    return Annotation(classes[key], x, y, width, height, segmentation=segmentation, crowd=crowd), doubt


def _read_score(annotation: Mapping[str, Any]) -> float:
    """YMIR's ``confidence``, or ``score`` as COCO's results have it."""
    score = read_number(annotation.get("confidence", annotation.get("score")), "the confidence")
    if not 0 <= score <= 1:
        raise BadValueError(f"the confidence {score:g} is not between 0 and 1")
    return score


def _read_box(box: Any, segmentation: Any, class_name: str) -> tuple[float, float, float, float]:
    if box is None and isinstance(segmentation, list):
        return segmentation_bounds(segmentation)
    if not isinstance(box, list) or len(box) != 4:
        raise BadValueError(f"{class_name}: bbox is not a list of four numbers")
    x, y, width, height = (read_number(value, f"{class_name}: bbox[{index}]") for index, value in enumerate(box))
    return x, y, width, height


def _list(document: Mapping[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    return value if isinstance(value, list) else []


def _field(entry: Any, name: str) -> Any:
    if not isinstance(entry, dict):
        raise BadValueError("is not an object")
    return entry.get(name)


def _key(value: Any) -> str:
    """An id as text: some tools write 7, others "7"."""
    if isinstance(value, bool) or not isinstance(value, (int, str, float)):
        raise BadValueError("the id is missing or no number")
    try:
        return str(int(value)) if isinstance(value, float) else str(value).strip()[:200]
    except (ValueError, OverflowError) as error:
        raise BadValueError(f"the id is not usable: {value!r:.40}") from error


def _size(image: Mapping[str, Any]) -> tuple[int, int] | None:
    try:
        width, height = (int(read_number(image.get(side), side)) for side in ("width", "height"))
    except BadValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None
