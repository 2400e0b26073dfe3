"""A folder of pictures without annotations: the last resort, when no other format recognises the folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from contracts.seams import Format, Found, ImportedImage, Locate, Skip, not_located
from plugins.formats.listing import folder_split_of, list_folder, shown

_PERHAPS_LABELS = (".xml", ".json", ".csv", ".txt", ".yaml", ".yml", ".tsv", ".parquet", ".jsonl")


class ImagesFormat(Format):
    """Pictures without annotations, in any folders."""

    name: ClassVar[str] = "images"

    def detect(self, folder: Path) -> str:
        pictures = list_folder(folder).pictures
        return f"{len(pictures)} pictures, no annotations of a known format" if pictures else ""

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:  # noqa: ARG002 - it names no addresses
        """Files that might hold labels are named: whoever has them should know that they were not read."""
        listing = list_folder(folder)
        yield from listing.skips
        for file in listing.with_suffix(*_PERHAPS_LABELS):
            yield Skip(shown(file), "is neither a picture nor an annotation file of a known format", "file")
        for picture in listing.pictures:
            split = folder_split_of(picture)
            yield ImportedImage(listing.host(picture), shown(picture), None, (split,) if split else ())
