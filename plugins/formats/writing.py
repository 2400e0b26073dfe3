"""What every writer of a format needs: names that any disk takes, pictures placed whole, text that nothing can break out of."""

from __future__ import annotations

import errno
import os
import re
import shutil
from pathlib import Path, PurePosixPath

from contracts.dataset import Annotation, Sample
from contracts.errors import DatasetError
from contracts.seams import Export
from plugins.formats.left_out import LeftOut
from plugins.formats.listing import PICTURE_SUFFIXES

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


def is_unlabeled(sample: Sample) -> bool:
    """Whether nobody looked at the picture; one without annotations that somebody looked at has a label file that says so."""
    return sample.marks.state == "unlabeled" and not sample.annotations


def is_seen(sample: Sample, export: Export) -> bool:
    """Whether somebody looked: the model, where its predictions are written instead of the annotations."""
    return sample.predictions is not None if export.predictions else not is_unlabeled(sample)


def shown_annotations(sample: Sample, export: Export, left_out: LeftOut) -> tuple[Annotation, ...] | None:
    """What a format without a place for both writes: the annotations, or the predictions when those are asked for; None: nobody looked."""
    if export.predictions:
        return sample.predictions
    if sample.predictions is not None:
        left_out.add("predictions", "predictions of pictures were left out", sample.name or sample.asset.id)
    return None if is_unlabeled(sample) else sample.annotations


def warn_of_class_order(export: Export, left_out: LeftOut) -> None:
    """For formats that know no list of classes: those that are used come back in alphabetical order."""
    if list(export.class_names) != sorted(export.class_names):
        left_out.add("class_order", "the order of the classes is not written: they are read in alphabetical order", export.dataset)


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
    if PurePosixPath(safe).suffix.lower() in PICTURE_SUFFIXES:  # a.jpg of a.jpg.png would be taken for the picture a.jpg
        safe = safe.replace(".", "_")
    while len(safe.encode("utf-8", "replace")) > _LONGEST_STEM_BYTES:
        safe = safe[:-1]
    return f"_{safe}" if _RESERVED.fullmatch(safe) else safe
