"""The lines of a text file that may be larger than memory, in whatever encoding it is."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from plugins.formats.listing import Listing, UnreadableFileError

_CHUNK_BYTES = 1024**2
_LONGEST_LINE = 128 * 1024


def read_lines(listing: Listing, path: PurePosixPath, limit_bytes: int) -> Iterator[tuple[int, str | None]]:
    """Numbers from 1 and lines with their ends; None for one that is too long to be read. Raises ``UnreadableFileError``, also halfway.

    Lines end at ``\\n``, ``\\r\\n`` or ``\\r``.
    """
    file = listing.host(path)
    try:
        if file.stat().st_size > limit_bytes:
            raise UnreadableFileError(f"is larger than the limit of {limit_bytes:,} bytes")
        with file.open(encoding=_encoding(file), newline=None) as opened:
            number = 0
            while line := opened.readline(_LONGEST_LINE):
                number += 1
                whole = line.endswith("\n") or len(line) < _LONGEST_LINE
                yield number, line if whole else None
                while not (line.endswith("\n") or len(line) < _LONGEST_LINE):
                    line = opened.readline(_LONGEST_LINE)
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}") from error
    except UnicodeError as error:
        raise UnreadableFileError("is not text (neither UTF-8, UTF-16 nor GB18030)") from error


def _encoding(file: Path) -> str:
    """UTF-8 when the whole file is, else GB18030; UTF-16 by its mark."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with file.open("rb") as opened:
        if opened.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            return "utf-16"
        opened.seek(0)
        try:
            while chunk := opened.read(_CHUNK_BYTES):
                decoder.decode(chunk)
            decoder.decode(b"", True)
        except UnicodeDecodeError:
            return "gb18030"
    return "utf-8-sig"
