"""JSON files larger than memory: the elements of a document's lists one after the other, each with its place in the file.

Only one piece (an element of the top list, or of a list that is a value of the top object) is in memory at a time, parsed by the
standard library's scanner, which also knows ``NaN`` as tools write it (docs/notes/export.md says why; ``scripts/bench coco_reading`` measures).
"""

from __future__ import annotations

import codecs
import json
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from plugins.formats.listing import Listing, UnreadableFileError

_CHUNK_BYTES = 1024**2
#: One annotation with a very detailed outline has a few megabytes; one task of a labelling tool with its masks some more.
_LARGEST_PIECE_BYTES = 256 * 1024**2
_SPACE = re.compile(r"[ \t\n\r]*")
_SCAN = json.JSONDecoder().raw_decode
#: What is cut at the end of the text may be a literal: ``-Infinity`` has nine letters, an escaped character twelve.
_LITERAL_LENGTH = 16


class Piece(NamedTuple):
    """An element of a list, ``number`` from 0, or with ``number`` -1 another value of the top object, or the mere beginning of a list (None).

    ``key`` is '' in a document that is a list itself. ``start`` and ``end`` are bytes for ``JsonFile.value_at``.
    """

    key: str
    number: int
    value: Any
    start: int
    end: int


class JsonFile:
    """One JSON file of a source. Use it as a context manager; raises ``UnreadableFileError`` for a file that is none, wherever that shows."""

    def __init__(self, listing: Listing, path: PurePosixPath, limit_bytes: int) -> None:
        self._file = _open_utf8(listing.host(path), limit_bytes)
        self._restart()

    def __enter__(self) -> JsonFile:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def value_at(self, start: int, end: int) -> Any:
        """The value of a piece again. Raises ``UnreadableFileError`` when the file was changed in between."""
        try:
            return json.loads(os.pread(self._file.fileno(), end - start, start).decode("utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise UnreadableFileError("was changed while it was read") from error

    def pieces(self) -> Iterator[Piece]:
        """Everything in the document, in its order."""
        self._restart()
        if self._peek() == "[":
            yield from self._elements("")
        elif self._peek() == "{":
            yield from self._members()
        else:
            raise UnreadableFileError(f"is not readable JSON: it begins with {self._peek()[:1]!r}")
        if self._peek():
            raise UnreadableFileError(f"is not readable JSON: more text follows its end at byte {self._base + self._at}")

    def _members(self) -> Iterator[Piece]:
        self._at += 1
        while self._peek() != "}":
            key, _, _ = self._value()
            if not isinstance(key, str) or self._peek() != ":":
                raise self._broken("a key is expected")
            self._at += 1
            if self._peek() == "[":
                yield from self._elements(key)
            else:
                yield Piece(key, -1, *self._value())
            self._comma("}")
        self._at += 1

    def _elements(self, key: str) -> Iterator[Piece]:
        yield Piece(key, -1, None, 0, 0)
        self._at += 1
        index = 0
        while self._peek() != "]":
            yield Piece(key, index, *self._value())
            index += 1
            self._comma("]")
        self._at += 1

    def _comma(self, end: str) -> None:
        if self._peek() == ",":
            self._at += 1
            if self._peek() == end:
                raise self._broken("a value is expected")
        elif self._peek() != end:
            raise self._broken(f"a comma or {end} is expected")

    # ------------------------------------------------------------------------------------------------------------ the text

    def _restart(self) -> None:
        self._base, self._at, self._text, self._ascii = 0, 0, "", True
        self._ended = False

    def _peek(self) -> str:
        """The next character that is no white space; '' at the end of the file."""
        while True:
            found = _SPACE.match(self._text, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if self._ended:
                return ""
            self._more()

    def _value(self) -> tuple[Any, int, int]:
        """The value that begins here, and its place. The text is Latin-1 while it is scanned, so that characters are bytes."""
        self._peek()
        while True:
            try:
                value, end = _SCAN(self._text, self._at)
            except RecursionError as error:
                raise UnreadableFileError(f"is nested too deeply at byte {self._base + self._at}") from error
            except ValueError as error:
                if self._ended or not self._may_be_cut(error):
                    raise self._broken(error) from error
                self._more()
                continue
            if self._ended or not self._may_go_on(end):
                break
            self._more()
        start = self._base + self._at
        if not self._ascii:
            text = self._text[self._at : end]
            value = value if text.isascii() else json.loads(text.encode("latin-1").decode("utf-8"))
        self._at = end
        return value, start, self._base + end

    def _may_go_on(self, end: int) -> bool:
        """Whether what ends here may be the beginning of a longer number: ``0`` of ``0.5``, or ``1`` of ``1e5``."""
        return end == len(self._text) or (self._text[end] in ".eE+-" and end > len(self._text) - _LITERAL_LENGTH)

    def _may_be_cut(self, error: ValueError) -> bool:
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.msg.startswith("Unterminated") or error.pos > len(self._text) - _LITERAL_LENGTH

    def _more(self) -> None:
        """Twice as much text as is left, so that a long value is not scanned more often than a few times."""
        rest = self._text[self._at :]
        if len(rest) > _LARGEST_PIECE_BYTES:
            raise UnreadableFileError(f"has a value of more than {_LARGEST_PIECE_BYTES:,} bytes at byte {self._base + self._at}")
        self._base += self._at
        size = max(_CHUNK_BYTES, len(rest))
        chunk = os.pread(self._file.fileno(), size, self._base + len(rest)).decode("latin-1")
        if self._base == 0 and not rest and chunk.startswith("\xef\xbb\xbf"):
            self._base, chunk = 3, chunk[3:]
        self._ended = not chunk
        self._text, self._at = rest + chunk, 0
        self._ascii = self._text.isascii()

    def _broken(self, reason: Exception | str) -> UnreadableFileError:
        """With the byte where it went wrong."""
        if isinstance(reason, json.JSONDecodeError):
            return UnreadableFileError(f"is not readable JSON: {reason.msg} at byte {self._base + reason.pos}")
        return UnreadableFileError(f"is not readable JSON: {' '.join(str(reason).split())[:200]} at byte {self._base + self._at}")


def _open_utf8(path: Path, limit_bytes: int) -> IO[bytes]:
    """The file, or a copy of it in UTF-8 when it is in UTF-16 or GB18030."""
    try:
        file = path.open("rb")
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}") from error
    try:
        size = os.fstat(file.fileno()).st_size
        if size > limit_bytes:
            raise UnreadableFileError(f"is larger than the limit of {limit_bytes:,} bytes")
        if not file.read(_CHUNK_BYTES).strip():
            raise UnreadableFileError("is empty")
        if _is_utf8(file):
            return file
        copy = _recoded(file)
    except BaseException:
        file.close()
        raise
    file.close()
    return copy


def _is_utf8(file: IO[bytes]) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    file.seek(0)
    try:
        while chunk := file.read(_CHUNK_BYTES):
            if not (chunk.isascii() and not decoder.getstate()[0]):
                decoder.decode(chunk)
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return False
    return True


def _recoded(file: IO[bytes]) -> IO[bytes]:
    file.seek(0)
    encoding = "utf-16" if file.read(2) in (b"\xff\xfe", b"\xfe\xff") else "gb18030"
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)()
    copy = tempfile.TemporaryFile()  # noqa: SIM115 - the reader closes it
    try:
        while chunk := file.read(_CHUNK_BYTES):
            copy.write(decoder.decode(chunk).encode("utf-8"))
        copy.write(decoder.decode(b"", True).encode("utf-8"))
        copy.flush()
    except UnicodeError as error:
        copy.close()
        raise UnreadableFileError("is not text (neither UTF-8, UTF-16 nor GB18030)") from error
    return copy
