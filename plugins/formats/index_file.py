"""Index files: one row per picture, its path in the first column, columns divided by tabs (contract reference 4.3, YMIR's index import)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from contracts.seams import Locate, Skip
from plugins.formats.listing import PICTURE_SUFFIXES, Listing, UnreadableFileError, shown
from plugins.formats.located import Places, is_address

_LARGEST_INDEX_BYTES = 1024**3
_HEAD_BYTES = 65536


@dataclass(frozen=True)
class Row:
    """``path`` is what formats look a picture up by: its path in the folder, or the address without its scheme; ``target`` where it is."""

    place: str
    path: PurePosixPath
    target: Path | str
    others: tuple[str, ...] = ()


def first_row(listing: Listing, file: PurePosixPath) -> list[str]:
    """The columns of the first row when it names a picture, else []."""
    text = listing.head(file, _HEAD_BYTES).decode("utf-8-sig", "replace")
    columns = next((line.split("\t") for line in text.splitlines() if line.strip()), [""])
    return columns if PurePosixPath(columns[0].strip().replace("\\", "/")).suffix.lower() in PICTURE_SUFFIXES else []


def read_index(listing: Listing, file: PurePosixPath, locate: Locate) -> Iterator[Row | Skip]:
    """The pictures of an index, each once; a row whose picture is not there is named with its line."""
    places, seen = Places(listing, file, locate), set[PurePosixPath]()
    try:
        lines = listing.read_text(file, _LARGEST_INDEX_BYTES).splitlines()
    except UnreadableFileError as error:
        if "is empty" not in str(error):
            yield Skip(shown(file), str(error), "file")
        return
    for number, line in enumerate(lines, start=1):
        columns = [column.strip() for column in line.split("\t")]
        if not columns[0]:
            continue
        row = _read_row(listing, places, f"{shown(file)}:{number}", columns)
        if isinstance(row, Row) and row.path in seen:
            row = Skip(row.place, f"{shown(row.path)} is there twice", "image")
        if isinstance(row, Row):
            seen.add(row.path)
        yield row


def _read_row(listing: Listing, places: Places, place: str, columns: list[str]) -> Row | Skip:
    address = columns[0]
    try:
        here = places.here(address)
    except UnreadableFileError as error:
        return Skip(place, str(error), "image")
    if here is not None:
        return Row(place, here, listing.host(here), tuple(columns[1:]))
    if is_address(address):
        below = PurePosixPath(address.partition("://")[2] or address.lstrip("/"))
        return Row(place, below, address, tuple(columns[1:]))
    return Skip(place, f"there is no picture {shown(address)[:200]}", "image")
