"""CVAT for images 1.1: XML files with an ``<image>`` for each picture (docs.cvat.ai, "XML annotation format").

Boxes, also turned ones, polygons, polylines, points, ellipses, masks and tags are read with their attributes; skeletons, cuboids and tracks of
videos are named and left out. What has no word of its own becomes an outline: a turned box its four corners (``rotation`` is kept as an
attribute), an ellipse 72 points (``ellipse``: centre, radii, degrees). Files are read in passing, one ``<image>`` at a time.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import iterparse

from contracts.dataset import Annotation, Sample
from contracts.job import JobWarning
from contracts.seams import ClassNames, Export, Format, Found, ImportedImage, Locate, Skip, not_located
from plugins.formats.attributes import read_attributes
from plugins.formats.cvat_writer import write_cvat
from plugins.formats.geometry import ellipse, turned
from plugins.formats.listing import Listing, UnreadableFileError, folder_split_of, list_folder, named_split, shown, split_of
from plugins.formats.mask_runs import mask_bounds, mask_of, pixels_of
from plugins.formats.run_length import segmentation_bounds
from plugins.formats.values import BadValueError, is_true, read_class_name, read_number

_LARGEST_XML_BYTES = 8 * 1024**3
_LARGEST_IMAGE_BYTES = 256 * 1024**2
_MOST_FILES = 1000  # an export has one, or one for each task
_MOST_POINTS = 100_000
_MOST_MASK_PIXELS = 500_000_000
_HEAD = re.compile(rb"<annotations[\s>]")
_KNOWN = re.compile(rb"<(image\s|meta[\s>]|version[\s>])")
#: Parts of our own attributes that the tool writes as its own.
_WORDS = {"true": True, "false": False}


class CvatFormat(Format):
    """CVAT XML files (CVAT for images 1.1), and the pictures they name."""

    name: ClassVar[str] = "cvat"

    def detect(self, folder: Path) -> str:
        files = _documents(list_folder(folder))
        return f"{len(files)} XML files with <annotations>, such as {shown(files[0])}" if files else ""

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:  # noqa: ARG002 - it names no addresses
        """An image without shapes is taken as one that shows nothing, and their number is reported; pictures that no file names are unannotated."""
        listing = list_folder(folder)
        yield from listing.skips
        reading = _Reading(listing)
        for file in _documents(listing):
            yield from reading.read(file)
        yield ClassNames(tuple(dict.fromkeys(reading.class_names)), attributes=reading.class_attributes)
        for picture in listing.pictures:
            if picture in reading.done:
                continue
            if reading.unreadable:
                yield Skip(shown(picture), "it may belong to the file that cannot be read", "image")
                continue
            split = folder_split_of(picture)
            yield ImportedImage(listing.host(picture), shown(picture), None, (split,) if split else ())

    def write(self, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
        """``annotations.xml`` and the pictures in ``images/<split>/``. Coordinates are written in full, not with CVAT's two decimals."""
        return write_cvat(folder, samples, export)


def _documents(listing: Listing) -> list[PurePosixPath]:
    found = []
    files = listing.with_suffix(".xml")
    for path in files[:_MOST_FILES]:
        head = listing.head(path)
        if (match := _HEAD.search(head)) and _KNOWN.search(head, match.end()):
            found.append(path)
    return found


class _Reading:
    """All files of a folder. ``done`` are the pictures that were given, or left out by name."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self.done: set[PurePosixPath] = set()
        self.class_names: list[str] = []
        self.class_attributes: dict[str, dict[str, Any]] = {}
        self.unreadable = False
        self._bare = 0

    def read(self, file: PurePosixPath) -> Iterator[Found]:
        """Raises nothing: a file that breaks halfway keeps the images before."""
        self._bare = 0
        try:
            for number, element in self._elements(file):
                if element.tag == "image":
                    yield from self._image(file, number, element)
                elif element.tag == "label":
                    self._label(element)
                else:
                    yield Skip(f"{shown(file)}#track[{number}]", "tracks of videos are not read; export as CVAT for images", "box")
        except UnreadableFileError as error:
            self.unreadable = True
            yield Skip(shown(file), str(error), "file")
        if self._bare:
            yield Skip(shown(file), f"{self._bare} images have no shapes; they were taken as showing nothing", "mended")

    def _elements(self, file: PurePosixPath) -> Iterator[tuple[int, Element]]:
        """Labels, images and tracks with their numbers from 0. SECURITY: entities and external references are refused by defusedxml."""
        path = self._listing.host(file)
        counts: Counter[str] = Counter()
        try:
            if path.stat().st_size > _LARGEST_XML_BYTES:
                raise UnreadableFileError(f"is larger than the limit of {_LARGEST_XML_BYTES:,} bytes")
            with path.open("rb") as opened:
                depth, root, counted = 0, None, _Counted(opened)
                for event, element in iterparse(counted, events=("start", "end")):
                    depth += 1 if event == "start" else -1
                    if event == "start":
                        root = element if root is None else root
                        counted.check(depth)
                        continue
                    if element.tag == "label" and depth >= 1:
                        yield counts["label"], element
                    if depth == 1 and root is not None:
                        if element.tag in ("image", "track"):
                            yield counts[element.tag], element
                            counts[element.tag] += 1
                        root.clear()
                        counted.begin()
        except DefusedXmlException as error:
            raise UnreadableFileError(f"is refused: {type(error).__name__} (an XML file that defines entities)") from error
        except (ParseError, ValueError, LookupError, RecursionError) as error:
            raise UnreadableFileError(f"is not readable XML: {error}") from error
        except OSError as error:
            raise UnreadableFileError(f"cannot be read: {error.strerror}") from error

    def _label(self, element: Element) -> None:
        """Of the task's description; labels that are parts of skeletons are left out."""
        if element.find("name") is None or element.find("parent") is not None:
            return
        try:
            name = read_class_name(element.findtext("name"))
        except BadValueError:
            return
        self.class_names.append(name)
        said = {"color": element.findtext("color") or ""}
        names = [text.strip() for text in (part.findtext("name") or "" for part in element.iter("attribute")) if text.strip()]
        kept = read_attributes({**{key: text for key, text in said.items() if text}, **({"attributes": names} if names else {})})
        if kept:
            self.class_attributes.setdefault(name, kept)

    def _image(self, file: PurePosixPath, number: int, element: Element) -> Iterator[Found]:
        place = f"{shown(file)}#image[{number}]"
        try:
            picture = self._picture(file, element)
            size = _size(element)
        except (BadValueError, UnreadableFileError) as error:
            yield Skip(place, str(error), "image")
            return
        if picture in self.done:
            yield Skip(place, f"{shown(picture)} is there twice", "image")
            return
        self.done.add(picture)
        boxes, notes = _Shapes(place, size).read(element)
        yield from notes
        self._bare += not len(element)
        split = named_split(element.get("subset") or "") or folder_split_of(picture) or split_of(PurePosixPath(file.name))
        yield ImportedImage(self._listing.host(picture), shown(picture), boxes, (split,) if split else (), size)

    def _picture(self, file: PurePosixPath, element: Element) -> PurePosixPath:
        name = (element.get("name") or "").strip()
        if not name:
            raise BadValueError("the name of the image is missing")
        subset = (element.get("subset") or "").strip()
        wanted = f"{subset}/{name}" if subset and "/" not in subset else name
        picture = self._listing.find_picture(wanted, file)
        if picture is None:
            raise BadValueError(f"there is no picture {shown(name)[:200]}")
        return picture


class _Counted:
    """A file that refuses to hold more than one image's worth of XML in memory, or a tree that is too deep."""

    def __init__(self, file: Any) -> None:
        self._file, self._since = file, 0

    def read(self, size: int = -1) -> bytes:
        content: bytes = self._file.read(size)
        self._since += len(content)
        if self._since > _LARGEST_IMAGE_BYTES:
            raise ValueError(f"an image has more than {_LARGEST_IMAGE_BYTES:,} bytes of XML")
        return content

    def begin(self) -> None:
        self._since = 0

    def check(self, depth: int) -> None:
        if depth > 100:
            raise ValueError("it is nested too deeply")


def _size(element: Element) -> tuple[int, int] | None:
    if element.get("width") is None and element.get("height") is None:
        return None
    width, height = (int(read_number(element.get(side), f"the image's {side}")) for side in ("width", "height"))
    return (width, height) if width > 0 and height > 0 else None


# ---------------------------------------------------------------------------------------------------------------- shapes


class _Shapes:
    """The shapes of one image."""

    def __init__(self, place: str, size: tuple[int, int] | None) -> None:
        self._place, self._size = place, size
        self._mask_pixels = 0
        self._groups: dict[tuple[str, str], int] = {}
        self._boxes: list[Annotation] = []

    def read(self, element: Element) -> tuple[tuple[Annotation, ...], list[Skip]]:
        notes: list[Skip] = []
        numbers: dict[str, int] = defaultdict(int)
        for shape in element:
            tag = shape.tag if isinstance(shape.tag, str) else "?"
            place = f"{self._place}/{shown(tag)[:40]}[{numbers[tag]}]"
            numbers[tag] += 1
            try:
                if doubt := self._read(tag, shape):
                    notes.append(Skip(place, doubt, "mended"))
            except BadValueError as error:
                notes.append(Skip(place, str(error), "box"))
        return tuple(self._boxes), notes

    def _read(self, tag: str, shape: Element) -> str:
        """Add what one element says; the answer is a doubt, or ''."""
        readers = {"box": self._box, "polygon": self._polygon, "polyline": self._polyline, "points": self._points,
                   "ellipse": self._ellipse, "mask": self._mask, "tag": self._tag}  # fmt: skip
        if tag not in readers:
            raise BadValueError(f"<{shown(tag)[:40]}> is not read")
        return readers[tag](shape, read_class_name(shape.get("label"))) or ""

    def _add(self, element: Element, name: str, bounds: tuple[float, ...], more: Mapping[str, Any] | None = None, **said: Any) -> None:
        author = (element.get("source") or "").strip()[:200]
        author = {"manual": "human"}.get(author, author) if author.isprintable() else ""
        x, y, width, height = bounds
        said |= {"attributes": {**_attributes(element), **(more or {})}, "annotated_by": author}
        self._boxes.append(Annotation(name, x, y, width, height, **said))

    def _box(self, shape: Element, name: str) -> None:
        left, top, right, bottom = (read_number(shape.get(side), f"{name}: {side}") for side in ("xtl", "ytl", "xbr", "ybr"))
        degrees = _degrees(shape)
        if not degrees:
            return self._add(shape, name, (left, top, right - left, bottom - top))
        corners = turned(left, top, right - left, bottom - top, degrees, ((left + right) / 2, (top + bottom) / 2))
        return self._add(shape, name, segmentation_bounds([corners]), {"rotation": degrees}, segmentation=[corners])

    def _polygon(self, shape: Element, name: str) -> None:
        """Polygons of one group and class are parts of one object."""
        points = _read_points(shape, name)
        if len(points) < 6:
            raise BadValueError(f"{name}: a polygon has fewer than three points")
        group = (shape.get("group_id") or "").strip()
        if group not in ("", "0") and (name, group) in self._groups:
            at = self._groups[name, group]
            known = self._boxes[at]
            polygons = [*(known.segmentation or []), points]
            x, y, width, height = segmentation_bounds(polygons)
            self._boxes[at] = Annotation(
                name, x, y, width, height, segmentation=polygons, attributes=known.attributes, annotated_by=known.annotated_by
            )
            return
        self._groups[name, group] = len(self._boxes)
        self._add(shape, name, segmentation_bounds([points]), segmentation=[points])

    def _polyline(self, shape: Element, name: str) -> None:
        points = _read_points(shape, name)
        if len(points) < 4:
            raise BadValueError(f"{name}: a polyline has fewer than two points")
        kind = "line" if len(points) == 4 else "polyline"
        self._add(shape, name, segmentation_bounds([points]), shape=kind, points=tuple(points))

    def _points(self, shape: Element, name: str) -> str:
        points = _read_points(shape, name)
        for x, y in zip(points[::2], points[1::2], strict=True):
            self._add(shape, name, (x, y, 0.0, 0.0), shape="point", points=(x, y))
        return f"{name}: {len(points) // 2} points that were drawn as one shape are points of their own" if len(points) > 2 else ""

    def _ellipse(self, shape: Element, name: str) -> None:
        cx, cy, rx, ry = (read_number(shape.get(part), f"{name}: {part}") for part in ("cx", "cy", "rx", "ry"))
        if rx <= 0 or ry <= 0:
            raise BadValueError(f"{name}: an ellipse without a radius")
        if rx == ry:
            return self._add(shape, name, (cx - rx, cy - ry, 2 * rx, 2 * ry), shape="circle", points=(cx, cy, rx))
        outline, said = ellipse(cx, cy, rx, ry, _degrees(shape)), [cx, cy, rx, ry, _degrees(shape)]
        return self._add(shape, name, segmentation_bounds([outline]), {"ellipse": said}, segmentation=[outline])

    def _mask(self, shape: Element, name: str) -> None:
        x, y, width, height = (int(read_number(shape.get(side), f"{name}: {side}")) for side in ("left", "top", "width", "height"))
        if self._size is None:
            raise BadValueError(f"{name}: a mask in an image without a width and a height")
        self._mask_pixels += abs(width * height)
        if self._mask_pixels > _MOST_MASK_PIXELS:
            raise BadValueError(f"{name}: the masks of one image have more than {_MOST_MASK_PIXELS:,} pixels")
        runs = [int(read_number(run, f"{name}: a run of the mask")) for run in (shape.get("rle") or "").split(",")]
        mask = mask_of(pixels_of(runs, width * height), (x, y, width, height), self._size)
        self._add(shape, name, tuple(map(float, mask_bounds(mask))), segmentation=mask)

    def _tag(self, shape: Element, name: str) -> None:
        self._add(shape, name, (0.0, 0.0, 0.0, 0.0), shape="image")


def _attributes(shape: Element) -> dict[str, Any]:
    """Those of the task, and what CVAT knows of every shape where it is not as it mostly is."""
    said: dict[str, Any] = {}
    for part in shape.findall("attribute"):
        text = (part.text or "").strip()
        said[part.get("name") or ""] = _WORDS.get(text, text)
    if is_true(shape.get("occluded", "0")):
        said["occluded"] = True
    for word in ("z_order", "group_id"):
        text = (shape.get(word) or "0").strip()
        if re.fullmatch(r"-?\d{1,9}", text) and int(text) and not (word == "group_id" and shape.tag == "polygon"):
            said[word] = int(text)
    return read_attributes(said)


def _degrees(shape: Element) -> float:
    return read_number(shape.get("rotation", "0"), "rotation") % 360


def _read_points(shape: Element, name: str) -> list[float]:
    pairs = [pair.split(",") for pair in (shape.get("points") or "").split(";") if pair.strip()]
    if not pairs or len(pairs) > _MOST_POINTS or any(len(pair) != 2 for pair in pairs):
        raise BadValueError(f"{name}: points are no list of x,y pairs")
    return [read_number(value, f"{name}: a point") for pair in pairs for value in pair]
