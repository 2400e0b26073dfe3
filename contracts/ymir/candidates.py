"""Finding the asset that an image means by a path in its result: the full path, a base name or a stem (contract reference 5.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from contracts.dataset import Asset


@dataclass(frozen=True)
class Match:
    """An asset and how it was named: ``path``, ``name`` or ``stem``."""

    asset: Asset
    by: str


class Candidates:
    """The assets that a job was given. Any folder in front of ``ab/<sha1>.<ext>`` is taken for the assets folder."""

    def __init__(self, assets: Sequence[Asset]) -> None:
        self._by_name = {asset.file_name: asset for asset in assets}
        self._by_stem = {asset.id: asset for asset in assets}

    def __len__(self) -> int:
        return len(self._by_stem)

    def find(self, text: str) -> Match | None:
        """The asset that a path, base name or stem means, or None."""
        name = PurePosixPath(text).name
        asset = self._by_name.get(name)
        if asset is not None:
            return Match(asset, "path" if text.endswith("/" + asset.relative_path) else "name")
        asset = self._by_stem.get(name) or self._by_stem.get(PurePosixPath(name).stem)
        return Match(asset, "stem") if asset else None
