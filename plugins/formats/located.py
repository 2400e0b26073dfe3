"""Where the files lie that a manifest or an index names by addresses of another machine: in the folder first, else behind the address."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from contracts.errors import DatasetError, UnavailableError
from contracts.seams import Locate
from plugins.formats.listing import Listing, UnreadableFileError

Fits = Callable[[PurePosixPath], bool]
_SCHEMES = ("s3", "obs", "http", "https", "file")


def any_file(path: PurePosixPath) -> bool:  # noqa: ARG001 - asked of every file
    """Whatever has the right name."""
    return True


class Places:
    """Looks addresses up for one file ``near`` in the listing, which names them.

    A path is taken below the folders of that file, the nearest first; of an address the longest end that exists there; else the only file of
    that name. ``obs://`` is read as ``s3://`` is (modelarts-spec, trap T9).
    """

    def __init__(self, listing: Listing, near: PurePosixPath, locate: Locate) -> None:
        self._listing, self._near, self._locate = listing, near, locate

    def here(self, address: str, fits: Fits = any_file) -> PurePosixPath | None:
        """The file in the folder that the address means, or None. One that only its name speaks for must be one that ``fits``.

        Raises ``UnreadableFileError`` when several fit equally well.
        """
        wanted = address.strip().replace("\\", "/")
        texts = (wanted, unquote(wanted)) if "%" in wanted else (wanted,)
        for text in texts:
            if found := next((path for path in self._candidates(text) if path in self._listing.file_set), None):
                return found
        for text in texts:
            if found := self._listing.find_file(text, self._near, fits):
                return found
        return None

    def fetch(self, address: str, fits: Fits = any_file) -> Path:
        """The file on this machine, fetched when it is not in the folder. Raises ``UnreadableFileError``."""
        if found := self.here(address, fits):
            return self._listing.host(found)
        try:
            return self._locate(address)
        except DatasetError as error:
            raise UnreadableFileError(f"is not there: {error.message}") from error
        except UnavailableError as error:
            raise UnreadableFileError(f"cannot be fetched: {error.message}") from error

    def read(self, address: str, limit_bytes: int, fits: Fits = any_file) -> bytes:
        """The content of the file. Raises ``UnreadableFileError``, also when it is larger than the limit."""
        path = self.fetch(address, fits)
        return Listing(path.parent).read_bytes(PurePosixPath(path.name), limit_bytes)

    def _candidates(self, text: str) -> Iterator[PurePosixPath]:
        scheme, mark, rest = text.partition("://")
        parts = _plain(rest if mark and scheme.lower() in _SCHEMES else text)
        if not parts:
            return
        shortest = len(parts) if not mark and not text.startswith("/") else 2
        for length in range(len(parts), min(shortest, len(parts)) - 1, -1):
            for base in self._near.parents:
                yield base.joinpath(*parts[-length:])


def is_address(text: str) -> bool:
    """Whether a text names a place of its own, and not a path below the file that says it."""
    scheme, mark, _ = text.partition("://")
    return text.startswith("/") or (bool(mark) and scheme.lower() in _SCHEMES)


def _plain(path: str) -> list[str]:
    """The parts without ``.``; ``..`` takes the part before it away, and nothing above the folder. SECURITY: never leads out of it."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part not in ("", ".", ".."):
            parts.append(part)
    return parts
