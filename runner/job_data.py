"""The data of one job: pinned to a version and split when it is submitted, read when it is staged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow.compute as pc
from sqlalchemy.orm import Session

from contracts.errors import DatasetError
from registry import datasets
from registry.datasets import VersionRecord
from runner.installation import Installation
from runner.references import DatasetReference, parse_dataset_reference
from runner.stored_samples import StoredSamples, stored_samples
from runner.tables import Mask

#: What a job sees of the store: links to its own pictures, or all of it, with an index that names its own.
ISOLATED, INDEX = "isolated", "index"


@dataclass(frozen=True)
class PinnedData:
    """A split of one version. ``fraction``: the data has no validation split, so this share of it is set aside for validation."""

    reference: DatasetReference
    version: VersionRecord

    @property
    def image_count(self) -> int:
        """Pictures that were named, but for those of ``test``, which no training is given."""
        splits = self.version.splits
        return splits[self.reference.split] if self.reference.split else self.version.image_count - splits.get("test", 0)

    def __str__(self) -> str:
        split = f":{self.reference.split}" if self.reference.split else ""
        return f"{self.version.dataset}@{self.version.version}{split}"


def pin(session: Session, text: str) -> PinnedData:
    """The version that the reference means now. Raises ``NotFoundError`` and, for a split it does not have, ``DatasetError``."""
    reference = parse_dataset_reference(text)
    version = datasets.get_version(session, reference.name, reference.number)
    if reference.split and not version.splits.get(reference.split):
        known = ", ".join(f"{name} ({count})" for name, count in version.splits.items() if name) or "none"
        raise DatasetError(f"{version.dataset}@{version.version} has no split {reference.split!r}", hint=f"Its splits: {known}.")
    return PinnedData(replace(reference, number=version.number), version)


def pin_training(session: Session, train_text: str, val_text: str | None) -> tuple[PinnedData, PinnedData | None]:
    """Training and validation data. A dataset with splits gives its ``train`` and ``val``; None means that a share is to be set aside.

    Without a named split ``pool`` does not reach the training image, and ``test`` never does. Raises ``DatasetError`` where it is named.
    """
    train = pin(session, train_text)
    _refuse_test(train)
    if not train.reference.split and train.version.splits.get("train"):
        train = PinnedData(replace(train.reference, split="train"), train.version)
    if val_text:
        val = _with_default_split(pin(session, val_text), "val")
        _refuse_test(val)
        return train, val
    if train.reference.split != "val" and train.version.splits.get("val"):
        return train, PinnedData(replace(train.reference, split="val"), train.version)
    return train, None


def _refuse_test(data: PinnedData) -> None:
    """What a training has seen, also to choose its best stage by, measures nothing any more."""
    if data.reference.split == "test":
        raise DatasetError(
            f"{data} is kept for a last measurement: a training image is never shown it",
            hint=f"Name another split, or put its pictures into one: sluice dataset split {data.version.dataset} train=0.8 val=0.2 --keep ''.",
        )


def _with_default_split(data: PinnedData, split: str) -> PinnedData:
    if data.reference.split or not data.version.splits.get(split):
        return data
    return PinnedData(replace(data.reference, split=split), data.version)


def read(installation: Installation, data: PinnedData, *, to_learn_from: bool = False) -> StoredSamples:
    """The samples of the split, in the order of asset ids. Raises ``DatasetError`` for an empty one or a missing asset.

    ``to_learn_from`` leaves out pictures that nobody has labelled: to a training they would say that there is nothing in them; and those of
    the split ``test``, whatever was named.
    """
    samples = _samples(installation, data, to_learn_from)
    if not samples:
        what = "labelled images" if to_learn_from else "images"
        raise DatasetError(f"{data} has no {what}", hint="Import some, or name another split.")
    return samples


_REMEMBERED_UP_TO = 5000


def _samples(installation: Installation, data: PinnedData, to_learn_from: bool) -> StoredSamples:
    """A version never changes, and a job reads its data three times: those of a small split are remembered for a minute."""
    key = (data.version.folder, data.reference.split, to_learn_from)
    samples: StoredSamples | None = installation.samples.get(key)
    if samples is None:
        folder = installation.folder(data.version.folder)
        samples = stored_samples(folder, installation.store, data.reference.split or None, to_learn_from=to_learn_from)
        samples.refuse_missing()
        if len(samples) <= _REMEMBERED_UP_TO:
            installation.samples.put(key, samples)
    return samples


def read_training(
    installation: Installation, train: PinnedData, val: PinnedData | None, fraction: float, seed: int
) -> tuple[StoredSamples, StoredSamples]:
    """Training and validation samples. Raises ``DatasetError`` when a picture is in both or when nothing is annotated."""
    samples = read(installation, train, to_learn_from=True)
    if val is None:
        chosen = choose_validation(samples.ids.to_pylist(), fraction, seed)
        train_samples, val_samples = samples.keep(~chosen), samples.keep(chosen)
    else:
        train_samples, val_samples = samples, read(installation, val, to_learn_from=True)
        _refuse_overlap(train_samples, val_samples)
    if not train_samples.annotation_count:
        raise DatasetError(f"{train} has no annotations to learn from", hint="Label some of its pictures and import them again.")
    return train_samples, val_samples


def _refuse_overlap(train: StoredSamples, val: StoredSamples) -> None:
    both = pc.filter(val.ids, pc.is_in(val.ids, value_set=train.ids)).to_pylist()
    if both:
        names = sorted(name or asset_id for name, asset_id in zip(val.names_of(both), both, strict=True))
        raise DatasetError(
            f"{len(both)} pictures are in both training and validation data, e.g. {names[0]}",
            hint="Name splits that do not overlap: --data NAME:train --val NAME:val.",
            count=len(both),
        )


def choose_validation(asset_ids: Sequence[str], fraction: float, seed: int) -> Mask:
    """Which of the pictures validate, about ``fraction`` of them, neither all nor none.

    A picture's place follows from its content and the seed alone: it stays where it is when others are added.
    Raises ``DatasetError`` for fewer than two pictures or a fraction outside (0, 1).
    """
    if len(asset_ids) < 2 or not 0 < fraction < 1:
        raise DatasetError(
            f"{len(asset_ids)} images cannot be divided with a share of {fraction:g} for validation", hint="Name a validation dataset."
        )
    ranks = np.array([_rank(asset_id, seed) for asset_id in asset_ids])
    chosen: Mask = ranks < fraction
    if not chosen.any():
        chosen[ranks.argmin()] = True
    if chosen.all():
        chosen[ranks.argmax()] = False
    return chosen


def _rank(asset_id: str, seed: int) -> float:
    return int(hashlib.sha256(f"{seed}:{asset_id}".encode()).hexdigest()[:13], 16) / 16**13
