"""Masks as PNG files: the outline that a colour or a number marks in one, and one drawn from outlines.

SECURITY: the size is read from the header and limited before a pixel is decoded; only PNG is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from PIL import Image, ImageChops
from PIL.PngImagePlugin import PngImageFile

from plugins.formats.listing import UnreadableFileError
from plugins.formats.run_length import compress, decompress
from plugins.formats.values import BadValueError

Color = tuple[int, int, int]
#: Opens the mask that a label file names. Raises ``UnreadableFileError``.
OpenMask = Callable[[str], "Mask"]

_MOST_PIXELS = 100_000_000
_MOST_COLORS = 1 << 16
_VOID = 255


class Mask:
    """A PNG whose pixels say which object they belong to. Raises ``UnreadableFileError`` for what is none."""

    def __init__(self, content: bytes) -> None:
        try:
            picture = PngImageFile(BytesIO(content))
            width, height = picture.size
            if width * height > _MOST_PIXELS:
                raise UnreadableFileError(f"is a mask of {width} x {height} pixels, more than are read")
            picture.load()
        except UnreadableFileError:
            raise
        except Exception as error:  # Pillow raises nearly everything for what is no PNG
            raise UnreadableFileError(f"is no readable PNG mask: {' '.join(str(error).split())[:200]}") from error
        self.size = (width, height)
        self._picture = picture
        self._bands: tuple[Image.Image, ...] | None = None
        self._colors: set[Any] | None = None

    def of_color(self, color: Color) -> dict[str, Any] | None:
        """The run-length mask of all pixels of this colour; None when there is none."""
        if self._bands is None:
            self._bands = self._picture.convert("RGB").split()
        red, green, blue = (_equal(band, value) for band, value in zip(self._bands, color, strict=True))
        return _run_lengths(ImageChops.multiply(ImageChops.multiply(red, green), blue))

    def has_color(self, color: Color) -> bool:
        """Whether any pixel has it; cheap to ask often."""
        if self._colors is None:
            counted = self._picture.convert("RGB").getcolors(_MOST_COLORS)
            self._colors = {found for _, found in counted} if counted else set()
        return color in self._colors if self._colors else self.of_color(color) is not None

    def of_number(self, number: int) -> dict[str, Any] | None:
        """The run-length mask of all pixels with this palette index, as VOC's SegmentationObject numbers objects; None when there is none."""
        if self._picture.mode not in ("P", "L") or not 0 < number < _VOID:
            return None
        return _run_lengths(_equal(self._picture, number))


def read_color(text: str) -> Color:
    """``R,G,B`` from 0 to 255 each. Raises ``BadValueError``."""
    parts = [part.strip() for part in text.strip().strip("()[]").split(",")]
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 3 and int(part) <= 255 for part in parts):
        raise BadValueError(f"mask_color is not R,G,B: {text.strip()[:40]!r}")
    return int(parts[0]), int(parts[1]), int(parts[2])


def voc_color(number: int) -> Color:
    """The colour that VOC's palette gives the number (VOC development kit, VOClabelcolormap.m)."""
    red = green = blue = 0
    for bit in range(8):
        red |= (number >> (3 * bit) & 1) << (7 - bit)
        green |= (number >> (3 * bit + 1) & 1) << (7 - bit)
        blue |= (number >> (3 * bit + 2) & 1) << (7 - bit)
    return red, green, blue


class MaskPainter:
    """Draws the run-length masks of one picture into one PNG, each in the colour of its number."""

    #: Objects that a palette can number; the last number means void in VOC.
    MOST = _VOID - 1

    def __init__(self, width: int, height: int) -> None:
        self._picture = Image.new("P", (width, height), 0)
        self._picture.putpalette([part for number in range(256) for part in voc_color(number)])
        self._painted = False

    def paint(self, number: int, outline: dict[str, Any]) -> str:
        """Why the outline could not be drawn whole; '' when it was. Nothing is drawn then."""
        shape = draw_mask(outline)
        if shape is None or shape.size != self._picture.size:
            return "masks do not fit their picture"
        taken = self._picture.point([0] + [255] * 255, "L")
        if ImageChops.multiply(taken, shape).getbbox():
            return "masks overlap others in the same picture"
        self._picture.paste(number, (0, 0), shape)
        self._painted = True
        return ""

    def png(self) -> bytes | None:
        """The file; None when nothing was drawn."""
        if not self._painted:
            return None
        buffer = BytesIO()
        self._picture.save(buffer, "PNG")
        return buffer.getvalue()


def draw_mask(outline: dict[str, Any]) -> Image.Image | None:
    """A run-length mask as a picture of 0 and 255; None when its runs do not fill its size."""
    try:
        height, width = outline["size"]
        runs = decompress(outline["counts"])
    except (BadValueError, KeyError, TypeError, ValueError):
        return None
    if sum(runs) != height * width or not 0 < height * width <= _MOST_PIXELS:
        return None
    columns = b"".join((b"\xff" if index % 2 else b"\0") * run for index, run in enumerate(runs))
    return Image.frombytes("L", (height, width), columns).transpose(Image.Transpose.TRANSPOSE)


def mask_bounds(outline: dict[str, Any]) -> tuple[float, float, float, float] | None:
    """x, y, width, height around the pixels of a run-length mask; None for an empty or broken one."""
    shape = draw_mask(outline)
    box = shape.getbbox() if shape else None
    return (float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])) if box else None


def _equal(band: Image.Image, value: int) -> Image.Image:
    table = [0] * 256
    table[value] = 255
    return band.point(table, "L")


def _run_lengths(shape: Image.Image) -> dict[str, Any] | None:
    """COCO's run-length text: column by column, beginning with a run of background."""
    if not shape.getbbox():
        return None
    width, height = shape.size
    columns = shape.transpose(Image.Transpose.TRANSPOSE).tobytes()
    return {"counts": compress(_runs(columns)), "size": [height, width]}


def _runs(columns: bytes) -> Sequence[int]:
    runs, at, wanted = [], 0, b"\xff"
    while at < len(columns):
        end = columns.find(wanted, at)
        end = len(columns) if end < 0 else end
        runs.append(end - at)
        at, wanted = end, b"\0" if wanted == b"\xff" else b"\xff"
    return runs
