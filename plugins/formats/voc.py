"""Pascal VOC: one XML file per picture, split lists in ImageSets/Main.

Layout and tags follow the VOC2012 development kit, with what YMIR and ModelArts add to them (``voc_read``). Corners are inclusive pixels.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, TextIO
from xml.etree.ElementTree import Element

from contracts.dataset import Sample
from contracts.job import JobWarning
from contracts.seams import Export, Format, Found, ImportedImage, Locate, Skip, UnreadLabel, not_located
from plugins.formats.left_out import LeftOut
from plugins.formats.listing import Listing, UnreadableFileError, folder_split_of, is_mask, list_folder, shown
from plugins.formats.located import Places
from plugins.formats.masks import Mask, OpenMask
from plugins.formats.voc_read import LARGEST_XML_BYTES, PlainVoc, VocContent, parse_xml, read_voc
from plugins.formats.voc_write import VocFile, write_voc
from plugins.formats.writing import PictureNames, place_picture, shown_annotations, warn_of_class_order

_LARGEST_LIST_BYTES = 256 * 1024**2
_LARGEST_MASK_BYTES = 100 * 1024**2
_SPLITS = ("train", "val", "test", "pool")
_ROOT = re.compile(rb"<annotation[\s>]")  # not <annotations>, which is CVAT's


@dataclass
class VocReading:
    """XML files on their way to pictures. ``labels`` by picture; None there: its file cannot be read, so that it is left out.

    ``scored``: the objects are predictions.
    """

    listing: Listing
    locate: Locate = not_located
    scored: bool = False
    labels: dict[PurePosixPath, VocContent | None] = field(default_factory=dict)

    def read(self, file: PurePosixPath) -> Iterator[Skip]:
        """Enter what the file says under its picture; gives what is wrong with it."""
        place = shown(file)
        try:
            root = parse_xml(self.listing.read_bytes(file, LARGEST_XML_BYTES))
        except UnreadableFileError as error:
            yield from self._leave_out(file, str(error))
            return
        if root.tag != "annotation":
            yield Skip(place, f"is not a VOC annotation: its root is <{shown(root.tag[:40])}>", "file")
            return
        try:
            picture, doubt = _find_picture(self.listing, file, root)
        except UnreadableFileError as error:
            yield Skip(place, str(error), "file")
            return
        if picture in self.labels:
            yield Skip(place, f"annotates {shown(picture)}, which another file annotates already", "file")
            return
        yield from doubt
        yield from self._enter(file, picture, root)

    def _enter(self, file: PurePosixPath, picture: PurePosixPath, root: Element) -> Iterator[Skip]:
        numbers, notes = self._numbers(file, root)
        yield from notes
        content = read_voc(root, shown(file), scored=self.scored, open_mask=self.mask_opener(file), numbers=numbers)
        yield from content.notes
        self.labels[picture] = content

    def mask_opener(self, file: PurePosixPath) -> OpenMask:
        """Opens the mask that ``file`` names: the one in the folder whose path ends alike, else the one at that address."""
        return lambda address: Mask(Places(self.listing, file, self.locate).read(address, _LARGEST_MASK_BYTES, is_mask))

    def _numbers(self, file: PurePosixPath, root: Element) -> tuple[Mask | None, list[Skip]]:
        """VOC's own masks: SegmentationObject/<the same name>.png, whose pixels number the objects."""
        if root.find("mask_source") is not None:
            return None, []
        try:
            mask = self.listing.find_file(f"SegmentationObject/{file.stem}.png", file)
            if mask is None or mask.parent.name.lower() != "segmentationobject":
                return None, []
            return Mask(self.listing.read_bytes(mask, _LARGEST_MASK_BYTES)), []
        except UnreadableFileError as error:
            reason = f"its mask in SegmentationObject {error}; its boxes were kept without their outlines"
            return None, [Skip(shown(file), reason, "mended")]

    def _leave_out(self, file: PurePosixPath, reason: str) -> Iterator[Skip]:
        yield Skip(shown(file), reason, "file")
        try:
            picture = self.listing.find_picture(file.stem, file)
        except UnreadableFileError:
            return
        if picture and picture not in self.labels:
            self.labels[picture] = None
            yield Skip(shown(picture), f"its annotation file {shown(file)} cannot be read", "image")


class VocFormat(Format):
    """Pascal VOC folders of any layout: pictures and XML files are matched by name, wherever they lie."""

    name: ClassVar[str] = "voc"

    def detect(self, folder: Path) -> str:
        listing = list_folder(folder)
        files = listing.with_suffix(".xml")
        known = [path for path in files[:50] if _ROOT.search(listing.head(path))]
        return f"{len(files)} XML files with <annotation>, such as {shown(str(known[0]))}" if known else ""

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
        """A picture whose XML file cannot be read is left out, not taken as unannotated. Masks are no pictures."""
        listing = list_folder(folder).without_pictures(is_mask)
        yield from listing.skips
        splits, unknown = _read_splits(listing)
        yield from unknown
        reading = VocReading(listing, locate)
        for file in listing.with_suffix(".xml"):
            yield from reading.read(file)
        for picture in listing.pictures:
            yield from _labelled(reading, picture, splits[picture])

    def read_late(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
        """A file is read late when it alone is named as its picture; the notes on all others come first."""
        listing = list_folder(folder).without_pictures(is_mask)
        splits, unknown = _read_splits(listing)
        skips = [*listing.skips, *unknown]
        reading, unread = VocReading(listing, locate), _Unread(listing, locate, splits)
        for number, file in enumerate(listing.with_suffix(".xml")):
            if not unread.claims(file, (len(skips), number)):
                skips += reading.read(file)
        yield from skips
        for picture in listing.pictures:
            if picture in unread.labels:
                yield ImportedImage(listing.host(picture), shown(picture), None, splits[picture], label=unread.labels[picture])
            else:
                yield from _labelled(reading, picture, splits[picture])

    def write(self, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
        """``JPEGImages``, ``Annotations``, ``ImageSets/Main`` where there are splits, ``SegmentationObject`` where there are masks."""
        names, left_out = PictureNames(), LeftOut()
        with _SplitLists(folder / "ImageSets" / "Main") as lists:
            for sample in samples:
                name = names.name(sample)
                place_picture(sample, folder / "JPEGImages" / name, export)
                lists.add(sample.split, PurePosixPath(name).stem, left_out)
                _write_sample(folder, sample, name, export, left_out)
        warn_of_class_order(export, left_out)
        return left_out.warnings()


def _labelled(reading: VocReading, picture: PurePosixPath, splits: tuple[str, ...]) -> Iterator[ImportedImage]:
    """The picture with what was read for it; nothing when its file cannot be read."""
    found = reading.labels.get(picture, VocContent())
    if found is not None:
        boxes = found.annotations if picture in reading.labels else None
        yield ImportedImage(reading.listing.host(picture), shown(picture), boxes, splits, found.size, found.marks)


class _Unread:
    """XML files that alone are named as a picture, and that no other file names as its own: they are read with it."""

    def __init__(self, listing: Listing, locate: Locate, splits: Mapping[PurePosixPath, tuple[str, ...]]) -> None:
        self.labels: dict[PurePosixPath, UnreadLabel] = {}
        self._listing, self._locate, self._splits = listing, locate, splits
        self._pictures = _named_alike(listing)
        self._masked = _names_of_masks(listing)

    def claims(self, file: PurePosixPath, place: tuple[int, int]) -> bool:
        """Whether the file is read later; its notes then come at that place."""
        picture = self._pictures.get(file)
        if picture is None:
            return False
        plain = None if f"{file.stem}.png".lower() in self._masked else PlainVoc(f"{self._listing.root}/{file}", picture.name)
        self.labels[picture] = UnreadLabel(plain, partial(self._read, file, picture), place)
        return True

    def _read(self, file: PurePosixPath, picture: PurePosixPath) -> Iterator[ImportedImage | Skip]:
        reading = VocReading(self._listing, self._locate)
        yield from reading.read(file)
        yield from _labelled(reading, picture, self._splits[picture])


def _named_alike(listing: Listing) -> dict[PurePosixPath, PurePosixPath]:
    """The picture of each XML file that is the only one for it. What the others say is their picture is looked up first."""
    files = listing.with_suffix(".xml")
    own = {file: _picture_named_as(listing, file) for file in files}
    counts = Counter(own.values())
    others = {_picture_by_content(listing, file) for file, picture in own.items() if picture is None}
    return {file: picture for file, picture in own.items() if picture and counts[picture] == 1 and picture not in others}


def _picture_named_as(listing: Listing, file: PurePosixPath) -> PurePosixPath | None:
    try:
        return listing.find_picture(file.name[: -len(file.suffix)], file)
    except UnreadableFileError:
        return None


def _picture_by_content(listing: Listing, file: PurePosixPath) -> PurePosixPath | None:
    try:
        return _find_picture(listing, file, parse_xml(listing.read_bytes(file, LARGEST_XML_BYTES)))[0]
    except UnreadableFileError:
        return None


def _names_of_masks(listing: Listing) -> set[str]:
    """The names of pictures, in lower case, that may be VOC's masks of a file, or of which nobody knows which is meant."""
    names = Counter(path.name.lower() for path in listing.with_suffix(".png"))
    masks = {path.name.lower() for path in listing.with_suffix(".png") if path.parent.name.lower() == "segmentationobject"}
    return masks | {name for name, count in names.items() if count > 1}


def _write_sample(folder: Path, sample: Sample, name: str, export: Export, left_out: LeftOut) -> None:
    annotations = shown_annotations(sample, export, left_out)
    if annotations is None:
        return
    stem = PurePosixPath(name).stem
    file = VocFile(name, sample.asset, annotations, sample.marks, f"SegmentationObject/{stem}.png", "JPEGImages", export.hard)
    text, mask = write_voc(file, left_out)
    write_label(folder / "Annotations" / f"{stem}.xml", text.encode())
    if mask:
        write_label(folder / "SegmentationObject" / f"{stem}.png", mask)


def write_label(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


class _SplitLists:
    """ImageSets/Main/<split>.txt, opened when the first picture of a split comes; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, TextIO] = {}

    def add(self, split: str, stem: str, left_out: LeftOut) -> None:
        if not split:
            return
        if split not in _SPLITS:
            left_out.add("splits", f"the split {split!r} has no place in VOC", stem)
            return
        if split not in self._files:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._files[split] = (self._folder / f"{split}.txt").open("w", encoding="utf-8")
        self._files[split].write(f"{stem}\n")

    def __enter__(self) -> _SplitLists:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for file in self._files.values():
            file.close()


def _find_picture(listing: Listing, file: PurePosixPath, root: Element) -> tuple[PurePosixPath, list[Skip]]:
    """The picture of an XML file: the one with the same stem, else the one that <filename> names."""
    named = (root.findtext("filename") or "").strip()
    other = listing.find_picture(named, file) if named else None
    try:
        own = listing.find_picture(file.name[: -len(file.suffix)], file)
    except UnreadableFileError:
        if other is None:
            raise
        own = other
    if own is None and other is None:
        raise UnreadableFileError(f"there is no picture {shown(file.stem)}" + (f" or {shown(named[:200])}" if named else ""))
    if own and other and own != other:
        reason = f"names {shown(other)} as its picture, but was taken for {shown(own)}, which has the same name"
        return own, [Skip(shown(file), reason, "mended")]
    return own or other or file, []


def _read_splits(listing: Listing) -> tuple[defaultdict[PurePosixPath, tuple[str, ...]], list[Skip]]:
    """The splits of every picture: from ImageSets where there are any lists, else from folders named after a split."""
    splits: defaultdict[PurePosixPath, tuple[str, ...]] = defaultdict(tuple)
    skips: list[Skip] = []
    files = _split_lists(listing)
    for file in files:
        for line, picture in _read_split_list(listing, file, skips):
            if picture is None:
                skips.append(Skip(f"{shown(file)}:{line}", "there is no picture of this name", "image"))
            elif file.stem.lower() not in splits[picture]:
                splits[picture] += (file.stem.lower(),)
    if not files:
        splits.update({picture: (split,) for picture in listing.pictures if (split := folder_split_of(picture))})
    return splits, skips


def _split_lists(listing: Listing) -> list[PurePosixPath]:
    """ImageSets/Main/{train,val,test,pool}.txt, or those directly in ImageSets where there is no Main."""
    found = [path for path in listing.with_suffix(".txt") if path.stem.lower() in _SPLITS and "imagesets" in str(path.parent).lower()]
    main = [path for path in found if path.parent.name.lower() == "main"]
    return sorted(main or [path for path in found if path.parent.name.lower() == "imagesets"], key=_split_rank)


def _split_rank(path: PurePosixPath) -> Any:
    return _SPLITS.index(path.stem.lower()), str(path)


def _read_split_list(listing: Listing, file: PurePosixPath, skips: list[Skip]) -> Iterator[tuple[int, PurePosixPath | None]]:
    """Line number and picture for every name in the list; the picture is None when there is none."""
    try:
        text = listing.read_text(file, _LARGEST_LIST_BYTES)
    except UnreadableFileError as error:
        if "is empty" not in str(error):
            skips.append(Skip(shown(file), str(error), "file"))
        return
    for line, content in enumerate(text.splitlines(), start=1):
        name = content.strip()
        if not name:
            continue
        try:
            yield line, listing.find_picture(name, file) or listing.find_picture(name.rsplit(None, 1)[0], file)
        except UnreadableFileError as error:
            skips.append(Skip(f"{shown(file)}:{line}", str(error), "image"))
