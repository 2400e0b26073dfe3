"""Labels of whole pictures: a folder for each class (as torchvision's ImageFolder has them), or a text file of labels beside each picture.

Both as ModelArts imports them (modelarts-spec 6.1, modes A and B): the last folder counts; where there are text files, they count.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import ClassVar

from contracts.dataset import Annotation, Sample
from contracts.job import JobWarning
from contracts.seams import Export, Format, Found, ImportedImage, Locate, Skip, not_located
from plugins.formats.listing import Listing, UnreadableFileError, folder_split_of, is_picture_folder, list_folder, named_split, shown
from plugins.formats.losses import KNOWN_SPLITS, Losses
from plugins.formats.values import BadValueError, read_class_name
from plugins.formats.writing import PictureNames, is_seen, is_unlabeled, place_picture

_LARGEST_LABEL_BYTES = 64 * 1024
_MOST_LABELS = 1000
_LOOKED_AT = 200
#: A row of numbers, as YOLO and others write boxes. Text of that form is never a label.
_ROW = re.compile(r"\s*[-+0-9.eE]+([\s,;]+[-+0-9.eE]+){4,}[\s,;]*")
#: What Windows refuses in the name of a folder.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
#: Longer texts are descriptions of pictures, as text-to-image models learn from.
_LONGEST_SEEN_LABEL = 64
#: Files that may hold other labels: with one of them, folders are not taken for classes.
_PERHAPS_LABELS = (
    ".xml", ".json", ".jsonl", ".csv", ".tsv", ".yaml", ".yml", ".parquet", ".manifest", ".names", ".data", ".cfg", ".mat", ".pkl", ".npy",
    ".tfrecord",
)  # fmt: skip
_PROSE = re.compile(r"(?i)(readme|licen[cs]e|classes|labels|class_names|notes?|dataset[-_]?metadata|metadata|croissant).*")


class ClassFoldersFormat(Format):
    """Folders of pictures named after classes, also below folders named after splits."""

    name: ClassVar[str] = "class-folders"

    def detect(self, folder: Path) -> str:
        """Strict, for any folders of pictures look alike: at least two classes, all at the same depth, and nothing else that may hold labels."""
        listing = list_folder(folder)
        classes = _class_folders(listing)
        if len({path.name.lower() for path in classes}) < 2 or _has_labels(listing) or not _alike(classes):
            return ""
        if any(picture.parent not in classes for picture in listing.pictures):
            return ""
        names = sorted({shown(path.name) for path in classes})
        return f"pictures in {len(names)} folders named as classes, such as {names[0]} and {names[1]}"

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:  # noqa: ARG002 - it names no addresses
        """Pictures at the top, or straight in a folder named after a split that has no class beside it, are unannotated."""
        listing = list_folder(folder)
        yield from listing.skips
        classes = _class_folders(listing)
        names: dict[PurePosixPath, str | None] = {}
        for path in sorted(classes, key=str):
            try:
                names[path] = read_class_name(shown(path.name))
            except BadValueError as error:
                names[path] = None
                yield Skip(shown(path), f"{error}; its pictures were left out", "file")
        for picture in listing.pictures:
            split = folder_split_of(picture.parent if picture.parent in classes else picture)
            splits = (split,) if split else ()
            if picture.parent not in classes:
                yield ImportedImage(listing.host(picture), shown(picture), None, splits)
            elif name := names[picture.parent]:
                yield ImportedImage(listing.host(picture), shown(picture), (_label(name),), splits)

    def write(self, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
        """``<split>/<class>/x.jpg``: the first label of a picture is its folder. Pictures without one lie beside the class folders."""
        losses, names = Losses("class-folders"), PictureNames()
        for sample in samples:
            labels = _labels(sample, export, losses)
            top = PurePosixPath(sample.split) if sample.split in KNOWN_SPLITS or (sample.split and labels) else PurePosixPath()
            if len(labels) > 1:
                losses.note("labels", "further labels of pictures, as a picture lies in one folder only", len(labels) - 1)
            place = top / self._folder(labels[0], losses) if labels else top
            if not labels and not sample.annotations and not is_unlabeled(sample):
                losses.note("nothing")
            place_picture(sample, folder / place / names.name(sample), export)
        return losses.warnings()

    @staticmethod
    def _folder(name: str, losses: Losses) -> str:
        safe = _UNSAFE.sub("_", name).strip(". ") or "_"
        if named_split(safe) or _RESERVED.fullmatch(safe):
            safe = f"class {safe}"
        if safe != name:
            losses.note("names", "pictures of classes whose names no folder can have")
        return safe


class ClassTextFormat(Format):
    """A text file beside each picture with its labels, one a line."""

    name: ClassVar[str] = "class-text"

    def detect(self, folder: Path) -> str:
        """Labels are short, and come again; rows of numbers and long descriptions are something else."""
        listing = list_folder(folder)
        files = [file for picture, file in _beside(listing) if file]
        if not files or any(file.suffix.lower() in (".yaml", ".yml", ".names") for file in listing.files):
            return ""
        read = [_seen_labels(listing, file) for file in files[:_LOOKED_AT]]
        if any(labels is None for labels in read) or not any(read):
            return ""
        distinct = {label for labels in read for label in labels or ()}
        if len(read) > 10 and len(distinct) > len(read) / 2:
            return ""
        return f"{len(files)} text files of labels beside pictures, such as {shown(files[0])}"

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:  # noqa: ARG002 - it names no addresses
        """A picture without a text file is unannotated; one whose file is empty shows none of the classes."""
        listing = list_folder(folder)
        yield from listing.skips
        used: set[PurePosixPath] = set()
        for picture, file in _beside(listing):
            split = folder_split_of(picture)
            splits = (split,) if split else ()
            labels = None
            if file:
                used.add(file)
                try:
                    labels = yield from self._read_labels(listing, file)
                except UnreadableFileError as error:
                    yield Skip(shown(file), str(error), "file")
                    yield Skip(shown(picture), f"its label file {shown(file)} cannot be read", "image")
                    continue
            yield ImportedImage(listing.host(picture), shown(picture), labels, splits)
        for file in listing.with_suffix(".txt"):
            if file not in used and not _PROSE.fullmatch(file.stem):
                yield Skip(shown(file), "there is no picture beside it for these labels", "file")

    def _read_labels(self, listing: Listing, file: PurePosixPath) -> Generator[Skip, None, tuple[Annotation, ...]]:
        """A generator of the notes whose value are the labels."""
        labels: dict[str, Annotation] = {}
        for number, line in _lines(listing, file):
            place = f"{shown(file)}:{number}"
            try:
                if _ROW.fullmatch(line):
                    raise BadValueError("a row of numbers is no label")
                if len(labels) >= _MOST_LABELS:
                    raise BadValueError(f"more than {_MOST_LABELS} labels are not read")
                name = read_class_name(line)
                if name in labels:
                    raise BadValueError(f"{name} is there twice")
                labels[name] = _label(name)
            except BadValueError as error:
                yield Skip(place, str(error), "box")
        return tuple(labels.values())

    def write(self, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
        """``<split>/x.jpg`` with ``<split>/x.txt``; none for a picture of which only boxes are known."""
        losses, names = Losses("class-text"), PictureNames()
        for sample in samples:
            labels = _labels(sample, export, losses)
            target = folder / (sample.split or "pictures") / names.name(sample)
            place_picture(sample, target, export)
            if labels or (is_seen(sample, export) and not _chosen(sample, export)):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.with_suffix(".txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        return losses.warnings()


def _label(name: str) -> Annotation:
    return Annotation(name, 0.0, 0.0, 0.0, 0.0, shape="image")


def _chosen(sample: Sample, export: Export) -> tuple[Annotation, ...]:
    return (sample.predictions or ()) if export.predictions else sample.annotations


def _labels(sample: Sample, export: Export, losses: Losses) -> list[str]:
    """The labels of the whole picture, each once; boxes are counted as lost."""
    losses.note_sample(sample, frozenset({"predictions"} if export.predictions else ()))
    chosen = _chosen(sample, export)
    for label in chosen:
        if label.shape != "image":
            losses.note("box")
        else:
            losses.note_annotation(label, frozenset({"shape"}))
    return list(dict.fromkeys(label.class_name for label in chosen if label.shape == "image"))


# ---------------------------------------------------------------------------------------------------------------- folders


def _class_folders(listing: Listing) -> set[PurePosixPath]:
    """The folders that hold pictures and are named as classes: not as a split is, unless other classes lie beside them."""
    holding = {picture.parent for picture in listing.pictures} - {PurePosixPath()}
    named: dict[PurePosixPath, int] = defaultdict(int)
    for path in holding:
        named[path.parent] += not named_split(path.name)
    return {path for path in holding if not named_split(path.name) or named[path.parent]}


def _alike(classes: set[PurePosixPath]) -> bool:
    """All directly in one folder, or in folders side by side that are named after splits; and none is named as folders for pictures are."""
    tops = {path.parent for path in classes}
    split_tops = all(named_split(top.name) for top in tops) and len({top.parent for top in tops}) == 1
    return (len(tops) == 1 or split_tops) and not any(is_picture_folder(path.name) for path in classes)


def _has_labels(listing: Listing) -> bool:
    if any(file.suffix.lower() in _PERHAPS_LABELS and not _PROSE.fullmatch(file.stem) for file in listing.files):
        return True
    return any(file for _, file in _beside(listing))


# ------------------------------------------------------------------------------------------------------------- text files


def _beside(listing: Listing) -> Iterator[tuple[PurePosixPath, PurePosixPath | None]]:
    """Every picture with the text file of its name in its folder."""
    texts = {(file.parent, file.stem): file for file in listing.with_suffix(".txt")}
    for picture in listing.pictures:
        yield picture, texts.get((picture.parent, picture.stem))


def _seen_labels(listing: Listing, file: PurePosixPath) -> list[str] | None:
    """The labels of a file, None when it seems to hold something else."""
    try:
        lines = [line for _, line in _lines(listing, file)]
    except UnreadableFileError:
        return []
    if any(_ROW.fullmatch(line) or len(line) > _LONGEST_SEEN_LABEL or not line.strip().isprintable() for line in lines):
        return None
    return [" ".join(line.split()).lower() for line in lines]


def _lines(listing: Listing, file: PurePosixPath) -> list[tuple[int, str]]:
    """Numbers and text of the lines that are not blank."""
    try:
        text = listing.read_text(file, _LARGEST_LABEL_BYTES)
    except UnreadableFileError as error:
        if "is empty" in str(error):
            return []
        raise
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
