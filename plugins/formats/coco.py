"""COCO: one or several JSON files with images, annotations and categories, anywhere in the folder (cocodataset.org, "Data format").

Read are object detection and instance segmentation, and the results of a model on them (a list of objects with a score each); captions
are left out by name, keypoints are dropped and counted. A file is read in passing, and a second time at the places of each picture's
annotations: memory grows with the number of annotations (about 80 bytes each), not with their outlines.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, NamedTuple

from contracts.dataset import STATES, Annotation, Marks, Sample
from contracts.job import JobWarning
from contracts.seams import ClassNames, Export, Format, Found, ImportedImage, Locate, PredictedBy, Skip, not_located
from plugins.formats.attributes import read_attributes
from plugins.formats.coco_writer import write_coco
from plugins.formats.json_stream import JsonFile, Piece
from plugins.formats.listing import Listing, UnreadableFileError, folder_split_of, list_folder, shown, split_of
from plugins.formats.run_length import read_segmentation, segmentation_bounds
from plugins.formats.values import BadValueError, is_true, read_class_name, read_number

_LARGEST_JSON_BYTES = 16 * 1024**3
_HEAD_BYTES = 64 * 1024
_WHOLE_BYTES = 8 * 1024**2
_KEYS = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_RESULTS = re.compile(rb"(\xef\xbb\xbf)?\s*\[\s*\{")
_RESULT_KEYS = (b'"image_id"', b'"category_id"', b'"score"')
#: Other tasks of the COCO challenges, whose files lie beside instances_*.json and speak of the same pictures.
_OTHER_TASKS = ("captions", "person_keypoints", "panoptic", "stuff")


@dataclass
class _Found:
    """What the files read so far say of one picture. ``annotations`` None: no file annotates it; else their numbers in ``document``.

    ``document`` names the classes; ``predictions`` are numbers in ``results``.
    """

    splits: tuple[str, ...] = ()
    document: _Document | None = None
    annotations: array[int] | None = None
    predictions: array[int] | None = None
    results: _Document | None = None
    size: tuple[int, int] | None = None
    marks: Marks = Marks()
    files: list[PurePosixPath] = field(default_factory=list)


@dataclass
class _Reading:
    """All files of one folder on their way to pictures. Only one of them is open at any time."""

    listing: Listing
    found: dict[PurePosixPath, _Found] = field(default_factory=dict)
    documents: list[_Document] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)
    class_attributes: dict[str, dict[str, Any]] = field(default_factory=dict)
    predicted_by: str = ""
    unreadable: bool = False
    open_document: _Document | None = None

    def value(self, document: _Document, number: int) -> Any:
        """One annotation of a document, read again from its place."""
        if self.open_document is not document:
            self.close()
            document.open()
            self.open_document = document
        return document.value(number)

    def close(self) -> None:
        if self.open_document:
            self.open_document.close()
        self.open_document = None


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
        for file in _results(reading.listing):
            yield from _read_results(reading, file)
        yield ClassNames(tuple(dict.fromkeys(reading.class_names)), attributes=reading.class_attributes)
        if reading.predicted_by:
            yield PredictedBy(reading.predicted_by)
        try:
            for picture in reading.listing.pictures:
                yield from _read_picture(reading, picture)
        finally:
            reading.close()

    def write(self, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
        """``annotations/instances_<split>.json`` with the pictures in ``<split>/``; predictions as ``results/instances_<split>.json``.

        Everything of an annotation but drawn shapes has its place: what COCO does not know stands in fields that its readers pass over.
        """
        return write_coco(folder, samples, export)


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
    reading = _Reading(listing)
    notes = list(_read_file(reading, file))
    annotations: dict[PurePosixPath, tuple[Annotation, ...] | None] = {}
    try:
        for picture, found in reading.found.items():
            annotations[picture] = None
            if found.annotations is not None and found.document:
                boxes, more = _annotations(reading, found.document, found.document, found.annotations, scored=scored)
                annotations[picture] = boxes
                notes += more
    finally:
        reading.close()
    sizes = {picture: found.size for picture, found in reading.found.items()}
    return CocoContent(annotations, sizes, tuple(dict.fromkeys(reading.class_names)), tuple(notes), reading.unreadable)


def _read_picture(reading: _Reading, picture: PurePosixPath) -> Iterator[ImportedImage | Skip]:
    found = reading.found.get(picture, _Found())
    if not found.files and reading.unreadable:
        yield Skip(shown(picture), "it may belong to the file that cannot be read", "image")
        return
    boxes = predictions = None
    if found.annotations is not None and found.document:
        boxes, notes = _annotations(reading, found.document, found.document, found.annotations)
        yield from notes
        if scored := tuple(box for box in boxes if box.score is not None):
            predictions = scored
            boxes = None if found.document.only_scores else tuple(box for box in boxes if box.score is None)
        elif found.document.only_scores:
            boxes, predictions = None, ()
    if found.predictions is not None and found.results and found.document:
        predictions, notes = _annotations(reading, found.results, found.document, found.predictions)
        yield from notes
    splits = found.splits or tuple(filter(None, [folder_split_of(picture)]))
    yield ImportedImage(reading.listing.host(picture), shown(picture), boxes, splits, found.size, found.marks, predictions)


def _annotations(
    reading: _Reading, document: _Document, named_by: _Document, numbers: Iterable[int], *, scored: bool = False
) -> tuple[tuple[Annotation, ...], list[Skip]]:
    """Annotations of one document with the categories of another, the same one but for results."""
    boxes, notes = [], []
    for number in numbers:
        place = document.place_of(number)
        try:
            value = reading.value(document, number)
            box, doubt = _read_annotation(value, named_by.classes)
            boxes.append(replace(box, score=_read_score(value)) if scored else box)
            if doubt:
                notes.append(Skip(place, doubt, "mended"))
        except (BadValueError, UnreadableFileError) as error:
            notes.append(Skip(place, str(error), "box"))
    return tuple(boxes), notes


# ------------------------------------------------------------------------------------------------------------------ files


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


def _results(listing: Listing) -> list[PurePosixPath]:
    """The JSON files that are lists of detections with scores."""
    found = []
    for path in listing.with_suffix(".json"):
        head = listing.head(path, _HEAD_BYTES)
        if _RESULTS.match(head) and all(key in head for key in _RESULT_KEYS):
            found.append(path)
    return found


def _read_file(reading: _Reading, file: PurePosixPath) -> Iterator[Skip]:
    document = _Document(reading.listing, file)
    try:
        document.scan()
    except UnreadableFileError as error:
        reading.unreadable = True
        yield Skip(shown(file), str(error), "file")
        return
    reading.documents.append(document)
    reading.class_names += document.ordered_names()
    for name, attributes in document.class_attributes.items():
        reading.class_attributes.setdefault(name, attributes)
    yield from document.notes
    document.notes.clear()
    for image in document.images:
        yield from _enter_image(reading, document, image)
    yield from _enter_annotations(reading, document)


def _enter_image(reading: _Reading, document: _Document, image: _Image) -> Iterator[Skip]:
    found = reading.found.setdefault(image.picture, _Found())
    splits = tuple(dict.fromkeys([*found.splits, *filter(None, [split_of(document.file)])]))
    if document.file in found.files:
        yield Skip(image.place, f"{shown(image.picture)} is there twice", "image")
    elif found.annotations is not None and document.annotates:
        yield Skip(image.place, f"{shown(image.picture)} is annotated by {shown(found.files[0])} already", "image")
        found.splits = splits
    else:
        document.pictures[image.key] = image.picture
        found.files.append(document.file)
        found.splits, found.size, found.marks = splits, found.size or image.size, image.marks
        if document.annotates:
            found.document, found.annotations = document, array("q")
        found.document = found.document or document


def _enter_annotations(reading: _Reading, document: _Document) -> Iterator[Skip]:
    for number, key in enumerate(document.keys):
        if key is None:
            continue  # named by the scan
        if key not in document.pictures:
            yield Skip(document.place_of(number), f"there is no image with the id {key}", "box")
        elif picture := document.pictures[key]:
            numbers = reading.found[picture].annotations
            if numbers is not None:
                numbers.append(number)


def _read_results(reading: _Reading, file: PurePosixPath) -> Iterator[Skip]:
    """Detections of a model: entered under the pictures of the file that they were made for."""
    results = _Document(reading.listing, file)
    try:
        results.scan()
        document = _made_for(reading, results)
        _refuse_second(reading, document)
    except UnreadableFileError as error:
        yield Skip(shown(file), str(error), "file")
        return
    yield from results.notes
    results.notes.clear()
    reading.predicted_by = reading.predicted_by or file.stem
    for found in reading.found.values():
        if found.document is document:
            found.results, found.predictions = results, array("q")
    for number, key in enumerate(results.keys):
        if key is not None and key not in document.pictures:
            yield Skip(results.place_of(number), f"there is no image with the id {key} in {shown(document.file)}", "box")
        elif key is not None and (picture := document.pictures[key]):
            numbers = reading.found[picture].predictions
            if numbers is not None:
                numbers.append(number)


def _made_for(reading: _Reading, results: _Document) -> _Document:
    """The file whose images the results speak of: of the same split, else the only one that knows all the images."""
    split = split_of(results.file)
    fitting = [document for document in reading.documents if split and split_of(document.file) == split]
    if len(fitting) != 1:
        wanted = {key for key in results.keys if key is not None}
        fitting = [document for document in reading.documents if wanted <= document.pictures.keys()]
    if not fitting and len(reading.documents) == 1:
        fitting = reading.documents
    if len(fitting) != 1:
        count = len(fitting or reading.documents)
        raise UnreadableFileError(f"holds predictions, and for which of {count} COCO files does not show")
    return fitting[0]


def _refuse_second(reading: _Reading, document: _Document) -> None:
    for found in reading.found.values():
        if found.document is document and found.results:
            raise UnreadableFileError(f"holds predictions for pictures whose predictions {shown(found.results.file)} holds already")


class _Image(NamedTuple):
    """One image entry whose picture is in the folder."""

    place: str
    key: str
    picture: PurePosixPath
    size: tuple[int, int] | None
    marks: Marks


class _Document:
    """One COCO file: its classes and images, and for each annotation its image's id and its place in the file."""

    def __init__(self, listing: Listing, file: PurePosixPath) -> None:
        self.file, self._listing, self._place = file, listing, shown(file)
        self.pictures: dict[str, PurePosixPath | None] = {}  # by image id; None: the image was skipped
        self.images: list[_Image] = []
        self.classes: dict[str, str] = {}  # by category id
        self.class_attributes: dict[str, dict[str, Any]] = {}
        self.annotates = False  # files such as image_info_test2017.json name pictures only
        self.keys: list[str | None] = []
        self.notes: list[Skip] = []
        self._places = array("q")
        self._known_keys: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._json: JsonFile | None = None
        self._list_of_results = False

    @property
    def only_scores(self) -> bool:
        """Every annotation has a score: the file holds what a model found, and says nothing of what is in the pictures."""
        return 0 < len(self.keys) == self._counts["score"]

    def place_of(self, number: int) -> str:
        return f"{self._place}#{'' if self._list_of_results else 'annotations'}[{number}]"

    def ordered_names(self) -> list[str]:
        """In the order of their ids, numbers before words."""
        return [self.classes[key] for key in sorted(self.classes, key=lambda key: (not key.isdecimal(), len(key), key))]

    def open(self) -> None:
        self._json = JsonFile(self._listing, self.file, _LARGEST_JSON_BYTES)

    def close(self) -> None:
        if self._json:
            self._json.__exit__()
        self._json = None

    def value(self, number: int) -> Any:
        if self._json is None:
            self.open()
        return self._json.value_at(self._places[2 * number], self._places[2 * number + 1]) if self._json else None

    def scan(self) -> None:
        """Read the file once. Raises ``UnreadableFileError`` when it is not COCO to its end."""
        handlers = {"images": self._image, "categories": self._category, "annotations": self._annotation, "": self._annotation}
        seen: set[str] = set()
        with JsonFile(self._listing, self.file, _LARGEST_JSON_BYTES) as document:
            for piece in document.pieces():
                if piece.number >= 0 and (handler := handlers.get(piece.key)):
                    handler(piece)
                elif piece.number < 0 and piece.value is None:
                    seen.add(piece.key)
        self._list_of_results = "" in seen
        self.annotates = "annotations" in seen
        if not seen & {"images", ""}:
            raise UnreadableFileError("has no list of images")
        if self._list_of_results and self._counts["keypoints"] > self._counts["boxes"]:
            raise UnreadableFileError("holds keypoints, which are not read")
        self._note_dropped()

    def _note_dropped(self) -> None:
        if count := self._counts["keypoints"]:
            self.notes.append(Skip(self._place, f"the keypoints of {count} annotations were left out; their boxes were kept", "mended"))
        if count := self._counts["class keypoints"]:
            self.notes.append(Skip(self._place, f"the keypoints and skeletons of {count} categories were left out", "mended"))

    def _category(self, piece: Piece) -> None:
        try:
            key, name = _key(_field(piece.value, "id")), read_class_name(_field(piece.value, "name"))
            if key in self.classes:
                raise BadValueError(f"the id {key} is there twice; {name} was left out")
        except BadValueError as error:
            self.notes.append(Skip(f"{self._place}#categories[{piece.number}]", str(error), "file"))
            return
        self.classes[key] = name
        self._counts["class keypoints"] += bool(piece.value.get("keypoints") or piece.value.get("skeleton"))
        said = {**piece.value.get("attributes", {})} if isinstance(piece.value.get("attributes"), dict) else {}
        said |= {word: piece.value[word] for word in ("supercategory", "color") if isinstance(piece.value.get(word), str)}
        if kept := read_attributes({word: text for word, text in said.items() if text != ""}):
            self.class_attributes.setdefault(name, kept)

    def _image(self, piece: Piece) -> None:
        place = f"{self._place}#images[{piece.number}]"
        try:
            key, name = _key(_field(piece.value, "id")), _field(piece.value, "file_name")
            if not isinstance(name, str) or not name.strip():
                raise BadValueError("the file name is missing")
            if key in self.pictures:
                raise BadValueError(f"the id {key} is there twice; {shown(name)[:200]} was left out")
            self.pictures[key] = None
            picture = self._listing.find_picture(name, self.file)
            if picture is None:
                raise BadValueError(f"there is no picture {shown(name)[:200]}")
        except (BadValueError, UnreadableFileError) as error:
            self.notes.append(Skip(place, str(error), "image"))
            return
        self.images.append(_Image(place, key, picture, _size(piece.value), read_marks(piece.value)))

    def _annotation(self, piece: Piece) -> None:
        key = None
        try:
            key = _key(_field(piece.value, "image_id"))
            key = self._known_keys.setdefault(key, key)
            self._counts["score"] += _is_score(piece.value.get("score"))
            self._counts["keypoints"] += bool(piece.value.get("keypoints"))
            self._counts["boxes"] += "bbox" in piece.value or "segmentation" in piece.value
        except BadValueError as error:
            word = "" if piece.key == "" else "annotations"
            self.notes.append(Skip(f"{self._place}#{word}[{piece.number}]", str(error), "box"))
        self.keys.append(key)
        self._places.extend((piece.start, piece.end))


# ------------------------------------------------------------------------------------------------------------ annotations


def _read_annotation(annotation: Any, classes: Mapping[Any, str]) -> tuple[Annotation, str]:
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
    score = annotation.get("score")
    box = Annotation(
        classes[key], x, y, width, height,
        score=min(max(float(score), 0.0), 1.0) if _is_score(score) else None,
        segmentation=segmentation,
        crowd=is_true(annotation.get("iscrowd", 0)),
        attributes=read_attributes(annotation.get("attributes")),
        **_read_extras(annotation),
    )  # fmt: skip
    return box, doubt


def _read_score(annotation: Mapping[str, Any]) -> float:
    """YMIR's ``confidence``, or ``score`` as COCO's results have it."""
    score = read_number(annotation.get("confidence", annotation.get("score")), "the confidence")
    if not 0 <= score <= 1:
        raise BadValueError(f"the confidence {score:g} is not between 0 and 1")
    return score


def _read_extras(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """What our own writer says beyond COCO; the defaults where there is nothing, or nothing of use."""
    extras: dict[str, Any] = {"difficult": is_true(annotation.get("difficult", 0))}
    for name, default in (("quality", -1.0), ("angle", 0.0)):
        value = annotation.get(name)
        extras[name] = float(value) if isinstance(value, (int, float)) and abs(value) < 1e6 else default
    author = annotation.get("annotated_by")
    extras["annotated_by"] = author[:200] if isinstance(author, str) and author.isprintable() else ""
    return extras


def read_marks(image: Mapping[str, Any]) -> Marks:
    """The marks of a sample as our own writer puts them into an image entry."""
    coefficient, reasons, tags = image.get("hard_coefficient"), image.get("hard_reasons"), image.get("tags")
    return Marks(
        state=str(image.get("state")) if image.get("state") in STATES else "",
        hard=image.get("hard") is True,
        hard_coefficient=float(coefficient) if isinstance(coefficient, (int, float)) and 0 <= coefficient <= 1 else None,
        hard_reasons=tuple(reason for reason in reasons if type(reason) is int)[:100] if isinstance(reasons, list) else (),
        tags={name: text for name, text in read_attributes(tags).items() if isinstance(text, str)},
    )


def _is_score(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e-6 <= value <= 1 + 1e-6


def _read_box(box: Any, segmentation: Any, class_name: str) -> tuple[float, float, float, float]:
    if box is None and isinstance(segmentation, list):
        return segmentation_bounds(segmentation)
    if not isinstance(box, list) or len(box) != 4:
        raise BadValueError(f"{class_name}: bbox is not a list of four numbers")
    x, y, width, height = (read_number(value, f"{class_name}: bbox[{index}]") for index, value in enumerate(box))
    return x, y, width, height


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
