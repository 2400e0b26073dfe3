"""What every writer of a format needs: names that any disk takes, pictures placed whole, text that nothing can break out of."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path, PurePosixPath

from contracts.dataset import Sample
from contracts.errors import DatasetError
from contracts.seams import Export

_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\s]+')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
_LONGEST_STEM_BYTES = 180
_CANNOT_LINK = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS)


class PictureNames:
    """One file name for each sample, in the order they are asked for: its own where that is safe and free, else made unique by its asset id.

    Names differ also without their extension and on disks that know no case, so that a label file beside each fits.
    """

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def name(self, sample: Sample) -> str:
        stem = _safe_stem(PurePosixPath(sample.name).stem) or sample.asset.id
        if stem.lower() in self._taken:
            stem = f"{stem}_{sample.asset.id[:12]}"
        if stem.lower() in self._taken:
            stem = sample.asset.id
        self._taken.add(stem.lower())
        return f"{stem}.{sample.asset.extension}"


def place_picture(sample: Sample, target: Path, export: Export) -> None:
    """The sample's picture under its new name, linked or copied as ``export`` says; nothing when it says no pictures. Raises ``DatasetError``."""
    if not export.pictures:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if export.link and _linked(sample.path, target):
            return
        shutil.copyfile(sample.path, target)
    except FileNotFoundError as error:
        raise DatasetError(
            f"the picture {sample.name or sample.asset.id} is not at {sample.path}", hint="Import its dataset again."
        ) from error


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        return False
    return True


def _safe_stem(stem: str) -> str:
    """Without path parts, control characters, white space and what Windows refuses; '' when nothing is left."""
    safe = _UNSAFE.sub("_", stem).strip(". ")
    while len(safe.encode("utf-8", "replace")) > _LONGEST_STEM_BYTES:
        safe = safe[:-1]
    return f"_{safe}" if _RESERVED.fullmatch(safe) else safe
