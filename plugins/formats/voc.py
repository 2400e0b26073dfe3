"""Pascal VOC: one XML file per picture, split lists in ImageSets/Main.

Layout and tags follow the VOC2012 development kit, with YMIR's ``box_quality`` and ``rotate_angle``. Corners are inclusive pixels.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException

from contracts.dataset import Annotation
from contracts.seams import Format, Found, ImportedImage, Locate, Skip, not_located
from plugins.formats.listing import Listing, UnreadableFileError, folder_split_of, list_folder, shown
from plugins.formats.values import BadValueError, is_true, read_class_name, read_number
from plugins.formats.xml_text import parse_xml

_LARGEST_XML_BYTES = 16 * 1024**2
_LARGEST_LIST_BYTES = 256 * 1024**2
_SPLITS = ("train", "val", "test", "pool")
_DECLARATION = re.compile(rb"""\s*<\?xml[^>]*encoding=["'](?P<encoding>[\w-]{1,40})["'][^>]*\?>""")
_CHINESE = (b"gb2312", b"gbk", b"gb18030")


@dataclass(frozen=True)
class _Labels:
    """What one XML file says. ``size`` None: it does not say for which picture size."""

    file: PurePosixPath
    annotations: tuple[Annotation, ...]
    size: tuple[int, int] | None


class VocFormat(Format):
    """Pascal VOC folders of any layout: pictures and XML files are matched by name, wherever they lie."""

    name: ClassVar[str] = "voc"

    def detect(self, folder: Path) -> str:
        listing = list_folder(folder)
        files = listing.with_suffix(".xml")
        known = [path for path in files[:50] if b"<annotation" in listing.head(path)]
        return f"{len(files)} XML files with <annotation>, such as {shown(str(known[0]))}" if known else ""

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:  # noqa: ARG002 - it names no addresses
        """A picture whose XML file cannot be read is left out, not taken as unannotated."""
        listing = list_folder(folder)
        yield from listing.skips
        splits, unknown = _read_splits(listing)
        yield from unknown
        labels: dict[PurePosixPath, _Labels | None] = {}
        for file in listing.with_suffix(".xml"):
            yield from _read_file(listing, file, labels)
        for picture in listing.pictures:
            if picture not in labels:
                yield ImportedImage(listing.host(picture), shown(picture), None, splits[picture])
            elif found := labels[picture]:
                yield ImportedImage(listing.host(picture), shown(picture), found.annotations, splits[picture], found.size)


def _read_file(listing: Listing, file: PurePosixPath, labels: dict[PurePosixPath, _Labels | None]) -> Iterator[Skip]:
    """Enter the file's labels under its picture; None there means that the picture is left out."""
    place = shown(file)
    try:
        root = _parse(listing.read_bytes(file, _LARGEST_XML_BYTES))
    except UnreadableFileError as error:
        yield from _leave_out(listing, file, str(error), labels)
        return
    if root.tag != "annotation":
        yield Skip(place, f"is not a VOC annotation: its root is <{shown(root.tag[:40])}>", "file")
        return
    try:
        picture, doubt = _find_picture(listing, file, root)
    except UnreadableFileError as error:
        yield Skip(place, str(error), "file")
        return
    if picture in labels:
        yield Skip(place, f"annotates {shown(picture)}, which another file annotates already", "file")
        return
    yield from doubt
    boxes, skips = _read_objects(root, place)
    yield from skips
    labels[picture] = _Labels(file, boxes, _read_size(root))


def _parse(content: bytes) -> Element:
    """SECURITY: entities and external references are refused."""
    try:
        root = parse_xml(_in_utf8(content))
    except DefusedXmlException as error:
        raise UnreadableFileError(f"is refused: {type(error).__name__} (an XML file that defines entities)") from error
    except (ParseError, ValueError, LookupError, RecursionError) as error:
        raise UnreadableFileError(f"is not readable XML: {error}") from error
    return root


def _in_utf8(content: bytes) -> bytes:
    """The file in UTF-8 where it says that it is in a Chinese encoding, which the XML parser does not know."""
    declared = _DECLARATION.match(content)
    if declared and declared["encoding"].lower() in _CHINESE:
        return content[declared.end() :].decode("gb18030").encode()
    return content


def _leave_out(listing: Listing, file: PurePosixPath, reason: str, labels: dict[PurePosixPath, _Labels | None]) -> Iterator[Skip]:
    yield Skip(shown(file), reason, "file")
    try:
        picture = listing.find_picture(file.stem, file)
    except UnreadableFileError:
        return
    if picture and picture not in labels:
        labels[picture] = None
        yield Skip(shown(picture), f"its annotation file {shown(file)} cannot be read", "image")


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


def _read_objects(root: Element, place: str) -> tuple[tuple[Annotation, ...], list[Skip]]:
    boxes, skips = [], []
    for number, element in enumerate(root.findall("object"), start=1):
        try:
            boxes.append(_read_object(element))
        except BadValueError as error:
            skips.append(Skip(f"{place}#object {number}", str(error), "box"))
    return tuple(boxes), skips


def _read_object(element: Element) -> Annotation:
    class_name = read_class_name(element.findtext("name"))
    box = element.find("bndbox")
    if box is None:
        rotated = element.find("robndbox") is not None
        raise BadValueError("rotated boxes (robndbox) are not read" if rotated else f"{class_name}: there is no bndbox")
    try:
        x1, y1, x2, y2 = (read_number(box.findtext(tag), tag) for tag in ("xmin", "ymin", "xmax", "ymax"))
    except BadValueError as error:
        raise BadValueError(f"{class_name}: {error}") from error
    return Annotation(
        class_name=class_name,
        x=x1,
        y=y1,
        width=x2 - x1 + 1,
        height=y2 - y1 + 1,
        difficult=is_true(element.findtext("difficult")),
        quality=_number_or(element.findtext("box_quality"), -1.0),
        angle=_number_or(box.findtext("rotate_angle"), 0.0),
    )


def _number_or(text: str | None, default: float) -> float:
    if text is None:
        return default
    try:
        return read_number(text, "")
    except BadValueError:
        return default


def _read_size(root: Element) -> tuple[int, int] | None:
    width, height = (int(_number_or(root.findtext(f"size/{side}"), 0)) for side in ("width", "height"))
    return (width, height) if width > 0 and height > 0 else None


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
