"""Finding the asset that an image means by a path in its result: the full path, a base name or a stem (contract reference 5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from contracts.dataset import Asset, AssetTable


@dataclass(frozen=True)
class Match:
    """An asset by its id and its place among the candidates, and how it was named: ``path``, ``name`` or ``stem``."""

    asset_id: str
    place: int
    by: str


class Candidates:
    """The assets that a job was given. Any folder in front of ``ab/<sha1>.<ext>`` is taken for the assets folder."""

    def __init__(self, assets: Sequence[Asset]) -> None:
        self._assets = assets
        self._names = assets.file_names if isinstance(assets, AssetTable) else [asset.file_name for asset in assets]
        self._places = {name.partition(".")[0]: place for place, name in enumerate(self._names)}

    def __len__(self) -> int:
        return len(self._places)

    def find(self, text: str) -> Match | None:
        """The asset that a path, base name or stem means, or None."""
        name = text.rpartition("/")[2] or PurePosixPath(text).name
        asset_id = name if name in self._places else name.rpartition(".")[0]
        place = self._places.get(asset_id)
        if place is None:
            return None
        if self._names[place] != name:
            return Match(asset_id, place, "stem")
        return Match(asset_id, place, "path" if text.endswith(f"/{asset_id[-2:]}/{name}") else "name")

    def asset(self, match: Match) -> Asset:
        """The asset that was meant, with its size."""
        return self._assets[match.place]
