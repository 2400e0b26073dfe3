"""A picture file looked at before it becomes an asset: what it really is, whether it is whole, how large it is.

The format follows from the content, never from the name. A JPEG is decoded to its end at an eighth of its size (0.35 ms for 640x480 instead of
0.8 ms for all pixels; every cut and almost every damage shows); of a PNG every chunk's checksum is compared (0.1 ms instead of 8 ms);
a BMP is decoded. Not more: an image's own decoder meets the pixels soon enough, and a hundred thousand pictures must not take an hour.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from contracts.dataset import Asset
from contracts.errors import DatasetError

LARGEST_FILE_BYTES = 256 * 1024**2
#: Also Pillow's own limit against decompression bombs.
LARGEST_PIXELS = 178_956_970
_EXIF_ORIENTATION = 274
# The classes themselves, not Image.open: it warns about large pictures, and warnings cannot be caught in several threads at once.
_OPENERS: dict[str, type[ImageFile]] = {"jpg": JpegImageFile, "png": PngImageFile, "bmp": BmpImageFile}
_HEADS = {
    "jpg": (b"\xff\xd8\xff",),
    "png": (b"\x89PNG\r\n\x1a\n",),
    "bmp": (b"BM",),
}
_OTHERS = (
    (b"GIF8", "a GIF"), (b"II*\0", "a TIFF"), (b"MM\0*", "a TIFF"), (b"%PDF", "a PDF"), (b"PK\x03\x04", "a zip file"), (b"\x1f\x8b", "a gzip file"),
    (b"<", "HTML or XML text"), (b"{", "JSON text"), (b"version https://git-lfs", "a Git LFS pointer, not the picture itself"),
)  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A whole picture: the asset it is, its bytes, and its EXIF orientation (1: as stored; see ``is_turned``)."""

    asset: Asset
    content: bytes
    orientation: int = 1

    @property
    def is_turned(self) -> bool:
        """Viewers turn or mirror it. Width, height and boxes always mean the pixels as they are stored."""
        return self.orientation != 1


def read_picture(path: Path) -> Picture:
    """Read and check one file. Raises ``DatasetError`` whose message is the reason, without the file's name."""
    content = _read(path)
    extension = sniff_extension(content)
    try:
        width, height, orientation = _examine(content, extension)
    except DatasetError:
        raise
    except Exception as error:
        # Pillow's decoders raise nearly everything on broken input: OSError, SyntaxError, ValueError, struct.error, IndexError, ...
        raise DatasetError(f"is a broken {extension}: {_reason(error)}") from error
    asset = Asset(hashlib.sha1(content, usedforsecurity=False).hexdigest(), extension, width, height, len(content))
    return Picture(asset, content, orientation)


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Pillow's warnings about odd metadata go unseen in the block, also in the threads it starts. For one thread to enter, not for many."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


def sniff_extension(content: bytes) -> str:
    """``jpg``, ``png`` or ``bmp`` from the first bytes. Raises ``DatasetError`` saying what it is instead."""
    for extension, heads in _HEADS.items():
        if content.startswith(heads):
            return extension
    raise DatasetError(f"is not a jpg, png or bmp but {_kind(content)}")


def _kind(content: bytes) -> str:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "a WebP"
    if content[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file"
    for head, kind in _OTHERS:
        if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(head):
            return kind
    return "text" if content[:1024].isascii() and b"\0" not in content[:1024] else "something unknown"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise DatasetError(f"cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise DatasetError(f"is larger than {LARGEST_FILE_BYTES:,} bytes")
    if not content:
        raise DatasetError("is empty")
    return content


def _examine(content: bytes, extension: str) -> tuple[int, int, int]:
    """Width, height and EXIF orientation, after the whole file was looked through."""
    image = _OPENERS[extension](io.BytesIO(content))
    width, height = image.size
    _check_size(width, height, len(content), extension)
    orientation = _orientation(image)
    if extension == "png":
        _OPENERS[extension](io.BytesIO(content)).verify()  # opened anew: looking for EXIF may have decoded the other
    else:
        image.draft(None, (1, 1))
        image.load()
    return width, height, orientation


def _check_size(width: int, height: int, size_bytes: int, extension: str) -> None:
    if width < 1 or height < 1:
        raise DatasetError(f"is {width} x {height} pixels")
    if width * height > LARGEST_PIXELS:
        raise DatasetError(f"is {width} x {height}, more than {LARGEST_PIXELS:,} pixels")
    # SECURITY: decoding reserves memory for what the header claims; not even run-length coding makes a BMP this small.
    if extension == "bmp" and width * height > 1024 * size_bytes:
        raise DatasetError(f"is a broken bmp: {width} x {height} pixels in {size_bytes} bytes")


def _orientation(image: ImageFile) -> int:
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # broken metadata harms no pixel
        return 1
    return value if value in range(1, 9) else 1


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:160]
    return text or type(error).__name__
