"""One Pascal VOC file, read tolerantly: VOC2012, YMIR (contract reference 4.8) and ModelArts (modelarts-spec 5) with all its shapes.

An object that says how sure somebody was (``confidence``) is ground truth all the same: the number stays an attribute, unless the source
says that its objects are predictions. ``mask_source`` and ``mask_color`` become the outline where the object has no polygon of its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from xml.etree.ElementTree import Element, ParseError
from xml.etree.ElementTree import fromstring as plain_fromstring

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from contracts.dataset import Annotation, Marks
from contracts.errors import DatasetError
from contracts.seams import LabelContent, Skip
from plugins.formats.listing import UnreadableFileError, read_bytes
from plugins.formats.masks import Mask, OpenMask, mask_bounds, read_color
from plugins.formats.shapes import drawn, outlined
from plugins.formats.values import BadValueError, exact_sum, is_true, read_class_name, read_number

#: The label file of one picture may be as large as ModelArts allows (modelarts-features MF-11).
LARGEST_XML_BYTES = 100 * 1024**2
SHAPES = ("bndbox", "polygon", "point", "line", "dashed", "polyline", "circle")
NOT_SAID = ("", "unspecified", "unknown", "none")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_COORDINATE = re.compile(r"([xy])(\d{0,7})")
_DECLARATION = re.compile(rb"""\s*<\?xml[^>]*encoding=["'](?P<encoding>[\w-]{1,40})["'][^>]*\?>""")
_LIKE_ASCII = (b"utf-8", b"us-ascii", b"iso-8859-1")
_CHINESE = (b"gb2312", b"gbk", b"gb18030")
#: Elements of an object that have a meaning of their own; every other one with a text is an attribute.
_KNOWN = frozenset(
    {*SHAPES, "name", "pose", "truncated", "occluded", "difficult", "confidence", "hard", "hard-coefficient", "hard-reasons", "mask_color",
     "box_quality", "rotate_angle", "tags", "part", "crowd", "annotated-by", "creation-time"}
)  # fmt: skip
#: What nearly all objects consist of.
_FLAGS = ("truncated", "occluded", "difficult")
_PLAIN = frozenset({"name", "pose", "bndbox", *_FLAGS})
_CORNER_TAGS = frozenset(_CORNERS)
_ATTRIBUTES = ("truncated", "occluded")
_ARE_FLAGS = frozenset({"0", "1"})
_LARGE = 1e6
_MARKS = frozenset({"cks", "image_quality", "hard", "hard-coefficient", "hard-reasons", "state"})
_NO_MARKS = Marks()
_MOST_REASONS = 64
_UNKNOWN_QUALITY = -1.0


@dataclass
class VocContent:
    """What one file says. ``size`` None: it does not say for which picture size; ``notes``: what could not be read."""

    annotations: tuple[Annotation, ...] = ()
    size: tuple[int, int] | None = None
    marks: Marks = Marks()
    notes: list[Skip] = field(default_factory=list)


@dataclass(frozen=True)
class PlainVoc:
    """One file read by itself, in whatever process: ``UnreadLabel.plainly``. ``picture`` is the name of the picture that it has to be about."""

    file: str
    picture: str

    def __call__(self) -> LabelContent | None:
        try:
            root = parse_xml(read_bytes(self.file, LARGEST_XML_BYTES))
        except UnreadableFileError as error:
            raise DatasetError(str(error)) from error
        named = (root.findtext("filename") or "").strip()
        if root.tag != "annotation" or root.find("mask_source") is not None or (named and named.lower() != self.picture.lower()):
            return None
        content = read_voc(root, "")
        return None if content.notes else LabelContent(content.annotations, content.size, content.marks)


def parse_xml(content: bytes) -> Element:
    """The root element. Raises ``UnreadableFileError``.

    SECURITY: entities and external references are refused by defusedxml. They need a document type, so that a file without one may go to the
    parser of the standard library, which is twice as fast; a file in another encoding than ASCII's relatives may hide one, and may not.
    """
    content = _in_utf8(content)
    try:
        root: Element = plain_fromstring(content) if _has_no_document_type(content) else fromstring(content)  # noqa: S314
    except DefusedXmlException as error:
        raise UnreadableFileError(f"is refused: {type(error).__name__} (an XML file that defines entities)") from error
    except (ParseError, ValueError, LookupError, RecursionError) as error:
        raise UnreadableFileError(f"is not readable XML: {error}") from error
    return root


def read_voc(
    root: Element, place: str, *, scored: bool = False, open_mask: OpenMask | None = None, numbers: Mask | None = None
) -> VocContent:
    """Everything an ``<annotation>`` says. ``scored``: its objects are predictions, their confidence the score.

    ``open_mask`` finds the mask that the file names; ``numbers`` is VOC's SegmentationObject, whose pixels number the objects.
    """
    outlines = _Outlines(root, place, open_mask, numbers)
    content = VocContent(size=_read_size(root), marks=_read_marks(root))
    found = []
    for number, element in enumerate(root.findall("object"), start=1):
        try:
            plain = None if scored or numbers else _read_plain_object(element)
            found.append(plain or _read_object(element, number, scored, outlines))
        except BadValueError as error:
            content.notes.append(Skip(f"{place}#object {number}", str(error), "box"))
    content.annotations = tuple(found)
    content.notes += outlines.notes
    if outlines.kept_address:
        content.marks = replace(content.marks, tags={**content.marks.tags, "mask_source": outlines.kept_address})
    return content


def _has_no_document_type(content: bytes) -> bool:
    declared = _DECLARATION.match(content)
    plain = b"\0" not in content and (not declared or declared["encoding"].lower() in _LIKE_ASCII)
    return plain and b"<!DOCTYPE" not in content and (bool(declared) or b"encoding" not in content[:200])


def _in_utf8(content: bytes) -> bytes:
    """The file in UTF-8 where it says that it is in a Chinese encoding, which the XML parser does not know."""
    declared = _DECLARATION.match(content)
    if declared and declared["encoding"].lower() in _CHINESE:
        return content[declared.end() :].decode("gb18030").encode()
    return content


# ---------------------------------------------------------------------------------------------------------------- objects


def _read_plain_object(element: Element) -> Annotation | None:
    """An object as nearly all of a million are: a name, a box of whole pixels, flags of 0 or 1. None for any other; equal to ``_read_object``."""
    said = {child.tag: child.text for child in element}
    box = element.find("bndbox")
    if box is None or len(said) != len(element) or not said.keys() <= _PLAIN:
        return None
    flags = [said.get(flag, "0") for flag in _FLAGS]
    corners = {child.tag: child.text for child in box}
    numbers = [corners.get(tag) or "" for tag in _CORNERS]
    if len(box) != 4 or len(corners) != 4 or "" in numbers or not _ARE_FLAGS.issuperset(flags) or not _are_digits("".join(numbers)):
        return None
    x1, y1, x2, y2 = map(float, numbers)
    if max(x1, y1, x2, y2) > _LARGE:
        return None
    name, pose = read_class_name((said.get("name") or "").strip()), said.get("pose")
    attributes: dict[str, Any] = {}
    if pose and (pose := pose.strip()).lower() not in NOT_SAID:
        attributes["pose"] = pose
    if "1" in flags:
        attributes |= {flag: True for flag, value in zip(_ATTRIBUTES, flags, strict=False) if value == "1"}
    return Annotation(name, x1, y1, x2 - x1 + 1, y2 - y1 + 1, difficult=flags[2] == "1", attributes=attributes)


def _are_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _read_object(element: Element, number: int, scored: bool, outlines: _Outlines) -> Annotation:
    said: dict[str, str] = {}
    for child in element:
        said.setdefault(child.tag, (child.text or "").strip())
    class_name = read_class_name(said.get("name"))
    try:
        shape = _read_shape(element, class_name, number, outlines)
        score = _read_score(said) if scored else None
    except BadValueError as error:
        raise BadValueError(f"{class_name}: {error}") from error
    return Annotation(
        class_name=class_name,
        x=shape.x,
        y=shape.y,
        width=shape.width,
        height=shape.height,
        score=score,
        segmentation=shape.segmentation,
        crowd=is_true(said.get("crowd")),
        difficult=is_true(said.get("difficult")),
        quality=_number_or(said.get("box_quality"), _UNKNOWN_QUALITY),
        angle=shape.angle or _number_or(said.get("rotate_angle"), 0.0),
        shape=shape.shape,
        points=shape.points,
        attributes=_read_attributes(element, said, scored) | dict(shape.attributes),
        annotated_by=said.get("annotated-by", ""),
    )


def _read_shape(element: Element, class_name: str, number: int, outlines: _Outlines) -> Annotation:
    shapes = [child for child in element if child.tag in SHAPES]
    tags = [shape.tag for shape in shapes]
    if sorted(tags) == ["bndbox", "polygon"]:  # as other tools write it: the box, and the outline in it
        box, polygon = (element.find(tag) for tag in ("bndbox", "polygon"))
        if box is not None and polygon is not None:
            return replace(_read_box(box, class_name), segmentation=outlined(class_name, _read_points(polygon)).segmentation)
    if len(shapes) > 1:
        raise BadValueError(f"there are several shapes: {', '.join(tags)}")
    if not shapes:
        return outlines.instead_of_shape(element, class_name)
    (shape,) = shapes
    if shape.tag == "bndbox":
        return outlines.add(_read_box(shape, class_name), element, number)
    if shape.tag == "polygon":
        return outlines.remember(outlined(class_name, _read_points(shape)), element)
    return drawn(class_name, shape.tag, _read_circle(shape) if shape.tag == "circle" else _read_points(shape))


def _read_box(box: Element, class_name: str) -> Annotation:
    """Corners are inclusive pixels. Two ``ymin`` and no ``ymax``, as some printed examples have it, is no box."""
    said: dict[str, str | None] = {}
    for child in box:
        if child.tag in said and child.tag in _CORNERS:
            raise BadValueError(f"there are {len(box.findall(child.tag))} {child.tag}")
        said[child.tag] = child.text
    x1, y1, x2, y2 = (read_number(said.get(tag), tag) for tag in _CORNERS)
    angle = _number_or(said.get("rotate_angle"), 0.0)
    return Annotation(class_name, x1, y1, _length(x1, x2, said["xmax"]), _length(y1, y2, said["ymax"]), angle=angle)


def _length(first: float, last: float, last_text: str | None) -> float:
    """Pixels from ``first`` to ``last``, both counted; exact in decimals, so that what ``voc_write`` wrote reads back equal."""
    if first.is_integer() and last.is_integer():
        return last - first + 1
    return float(exact_sum(exact_sum(Decimal((last_text or "").strip()), -first), 1))


def _read_points(shape: Element) -> list[float]:
    """``x1, y1, x2, y2, ...`` in the order of their numbers; a single ``x, y``, and ``<pt><x/><y/></pt>`` as LabelMe has it, too."""
    corners = [number for pt in shape.findall("pt") for number in (read_number(pt.findtext("x"), "x"), read_number(pt.findtext("y"), "y"))]
    if corners:
        return corners
    values: dict[tuple[int, str], float] = {}
    for child in shape:
        named = _COORDINATE.fullmatch(child.tag) if isinstance(child.tag, str) else None
        if named is None:
            continue
        key = (int(named[2] or 1), named[1])
        if key in values:
            raise BadValueError(f"there are two {child.tag}")
        values[key] = read_number(child.text, child.tag)
    numbers = sorted({number for number, _ in values})
    if not numbers:
        raise BadValueError(f"the {shape.tag} has no points")
    for number in numbers:
        for axis in "xy":
            if (number, axis) not in values:
                raise BadValueError(f"{axis}{number} is missing")
    return [values[number, axis] for number in numbers for axis in "xy"]


def _read_circle(shape: Element) -> list[float]:
    return [read_number(shape.findtext(tag), tag) for tag in ("cx", "cy", "r")]


def _read_score(said: Mapping[str, str]) -> float:
    score = read_number(said.get("confidence"), "confidence")
    if not 0 <= score <= 1:
        raise BadValueError(f"the confidence {score:g} is not between 0 and 1")
    return score


def _read_attributes(element: Element, said: Mapping[str, str], scored: bool) -> dict[str, Any]:
    """What the object says beyond its shape; what it does not say, or says as the format's default, is not there."""
    found: dict[str, Any] = {}
    if not said.keys() <= _KNOWN:
        found = {child.tag: read_typed(child) for child in element if _is_attribute(child)}
    if (pose := said.get("pose", "")).lower() not in NOT_SAID:
        found["pose"] = pose
    for flag in ("truncated", "occluded"):
        if said.get(flag, "0") != "0" and (is_true(said[flag]) or _number_or(said[flag], 0.0) > 0):
            found[flag] = True
    if not scored and (confidence := _number_or(said.get("confidence"), -1.0)) >= 0:
        found["confidence"] = confidence
    if "hard" in said:
        found["hard"] = is_true(said["hard"])
    if "hard-coefficient" in said:
        found["hard-coefficient"] = _number_or(said["hard-coefficient"], 0.0)
    found |= {name: said[name] for name in ("hard-reasons", "creation-time") if said.get(name)}
    return found | read_map(element.find("tags")) if "tags" in said else found


def _is_attribute(child: Element) -> bool:
    return isinstance(child.tag, str) and child.tag not in _KNOWN and not len(child) and bool((child.text or "").strip())


class _Outlines:
    """The outlines that masks beside the file hold; a mask that is not there is named once, and costs no box."""

    def __init__(self, root: Element, place: str, open_mask: OpenMask | None, numbers: Mask | None) -> None:
        self.notes: list[Skip] = []
        self.kept_address = ""
        self._address = (root.findtext("mask_source") or "").strip()
        self._place, self._open, self._numbers = place, open_mask, numbers
        self._opened: Mask | None = None
        self._missing = ""

    def add(self, annotation: Annotation, element: Element, number: int) -> Annotation:
        """The box with the outline of its colour, or of its number in SegmentationObject."""
        color, outline = element.findtext("mask_color"), None
        if color and self._address:
            mask = self._mask()
            outline = mask.of_color(read_color(color)) if mask else None
        elif self._numbers:
            outline = self._numbers.of_number(number)
        return replace(annotation, segmentation=outline) if outline else annotation

    def remember(self, annotation: Annotation, element: Element) -> Annotation:
        """A polygon is the outline itself; which colour it has in which mask is kept as the file says it, unless the mask says otherwise."""
        text = (element.findtext("mask_color") or "").strip()
        if not text or not self._address:
            return annotation
        color, mask = read_color(text), self._mask(needed=False)
        if mask and not mask.has_color(color):
            return annotation
        self.kept_address = self._address
        return replace(annotation, attributes={"mask_color": ",".join(map(str, color))})

    def instead_of_shape(self, element: Element, class_name: str) -> Annotation:
        if element.find("robndbox") is not None:
            raise BadValueError("rotated boxes (robndbox) are not read")
        color = element.findtext("mask_color")
        if not color or not self._address:
            raise BadValueError("there is no bndbox and no other shape")
        mask = self._mask()
        outline = mask.of_color(read_color(color)) if mask else None
        bounds = mask_bounds(outline) if outline else None
        if outline is None or bounds is None:
            raise BadValueError(f"there is no shape, and {self._missing or f'no pixel of its mask has the colour {color.strip()}'}")
        return Annotation(class_name, *bounds, segmentation=outline)

    def _mask(self, *, needed: bool = True) -> Mask | None:
        if self._opened is None and not self._missing:
            try:
                if self._open is None:
                    raise UnreadableFileError("is not looked for")
                self._opened = self._open(self._address)
            except UnreadableFileError as error:
                self._missing = f"its mask {self._address[:200]!r} {error}"
        if needed and self._missing and not self.notes:
            self.notes.append(Skip(self._place, f"boxes were kept without their outlines: {self._missing}", "mended"))
        return self._opened


# --------------------------------------------------------------------------------------------------------------- document


def _read_size(root: Element) -> tuple[int, int] | None:
    width, height = (int(_number_or(root.findtext(f"size/{side}"), 0)) for side in ("width", "height"))
    return (width, height) if width > 0 and height > 0 else None


def _read_marks(root: Element) -> Marks:
    """YMIR's ``cks`` and ``image_quality`` are tags; ``hard`` and its relatives may stand beside the objects, as in a manifest's line."""
    if _MARKS.isdisjoint([child.tag for child in root]):
        return _NO_MARKS
    tags = {name: value if isinstance(value, str) else json.dumps(value) for name, value in read_map(root.find("cks")).items()}
    quality = (root.findtext("image_quality") or "").strip()
    if quality and _number_or(quality, _UNKNOWN_QUALITY) != _UNKNOWN_QUALITY:
        tags.setdefault("image_quality", quality)
    coefficient = _number_or(root.findtext("hard-coefficient"), -1.0)
    return Marks(
        state="to_be_confirmed" if (root.findtext("state") or "").strip() == "to_be_confirmed" else "",
        hard=is_true(root.findtext("hard")),
        hard_coefficient=coefficient if 0 <= coefficient <= 1 else None,
        hard_reasons=read_reasons(root.findtext("hard-reasons")),
        tags=tags,
    )


def read_reasons(text: str | None) -> tuple[int, ...]:
    """``1-20-2`` as numbers, each once, in their order; what is no number is left out."""
    parts = [part.strip() for part in (text or "")[:1000].split("-")]
    found = dict.fromkeys(int(part) for part in parts if part.isascii() and part.isdigit() and len(part) <= 4)
    return tuple(found)[:_MOST_REASONS]


def read_map(element: Element | None) -> dict[str, Any]:
    """One child per key. ``name="..."`` is the key where XML could not have it as a tag."""
    children: Sequence[Element] = () if element is None else [child for child in element if isinstance(child.tag, str)]
    return {child.get("name", child.tag): read_typed(child) for child in children}


def read_typed(element: Element) -> Any:
    """The text, or with ``type="json"`` the value it writes."""
    text = (element.text or "").strip()
    if element.get("type") != "json":
        return text
    try:
        return json.loads(text, parse_constant=lambda _: text)
    except (ValueError, RecursionError):
        return text


def _number_or(text: str | None, default: float) -> float:
    if not text:
        return default
    try:
        return read_number(text, "")
    except BadValueError:
        return default
