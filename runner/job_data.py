"""The data of one job: pinned to a version and split when it is submitted, read when it is staged."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from contracts.dataset import Sample
from contracts.errors import DatasetError
from registry import datasets
from registry.datasets import VersionRecord
from runner.dataset_files import read_samples
from runner.installation import Installation
from runner.references import DatasetReference, parse_dataset_reference


@dataclass(frozen=True)
class PinnedData:
    """A split of one version. ``fraction``: the data has no validation split, so this share of it is set aside for validation."""

    reference: DatasetReference
    version: VersionRecord

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

    Without a named split the ``test`` and ``pool`` splits never reach the training image.
    """
    train = pin(session, train_text)
    if not train.reference.split and train.version.splits.get("train"):
        train = PinnedData(replace(train.reference, split="train"), train.version)
    if val_text:
        return train, _with_default_split(pin(session, val_text), "val")
    if train.reference.split != "val" and train.version.splits.get("val"):
        return train, PinnedData(replace(train.reference, split="val"), train.version)
    return train, None


def _with_default_split(data: PinnedData, split: str) -> PinnedData:
    if data.reference.split or not data.version.splits.get(split):
        return data
    return PinnedData(replace(data.reference, split=split), data.version)


def read(installation: Installation, data: PinnedData, *, annotated_only: bool = False) -> list[Sample]:
    """The samples of the split, in the order of asset ids. Raises ``DatasetError`` for an empty one or a missing asset.

    ``annotated_only`` leaves out pictures that nobody has labelled: to a training they would say that there is nothing in them.
    """
    samples = _samples(installation, data, annotated_only)
    if not samples:
        what = "labelled images" if annotated_only else "images"
        raise DatasetError(f"{data} has no {what}", hint="Import some, or name another split.")
    return samples


_REMEMBERED_UP_TO = 5000


def _samples(installation: Installation, data: PinnedData, annotated_only: bool) -> list[Sample]:
    """A version never changes, and a job reads its data three times: those of a small split are remembered for a minute."""
    key = (data.version.folder, data.reference.split, annotated_only)
    samples: list[Sample] | None = installation.samples.get(key)
    if samples is None:
        folder = installation.folder(data.version.folder)
        samples = read_samples(folder, installation.store, data.reference.split or None, annotated_only=annotated_only)
        if len(samples) <= _REMEMBERED_UP_TO:
            installation.samples.put(key, samples)
    return samples


def read_training(
    installation: Installation, train: PinnedData, val: PinnedData | None, fraction: float, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Training and validation samples. Raises ``DatasetError`` when a picture is in both or when nothing is annotated."""
    samples = read(installation, train, annotated_only=True)
    if val is None:
        train_samples, val_samples = split_samples(samples, fraction, seed)
    else:
        train_samples, val_samples = samples, read(installation, val, annotated_only=True)
    _refuse_overlap(train_samples, val_samples)
    if not any(sample.annotations for sample in train_samples):
        raise DatasetError(f"{train} has no annotations to learn from", hint="Label some of its pictures and import them again.")
    return train_samples, val_samples


def _refuse_overlap(train: list[Sample], val: list[Sample]) -> None:
    both = {sample.asset.id for sample in train} & {sample.asset.id for sample in val}
    if both:
        names = sorted(sample.name or sample.asset.id for sample in val if sample.asset.id in both)
        raise DatasetError(
            f"{len(both)} pictures are in both training and validation data, e.g. {names[0]}",
            hint="Name splits that do not overlap: --data NAME:train --val NAME:val.",
            count=len(both),
        )


def split_samples(samples: Sequence[Sample], fraction: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Training and validation samples, about ``fraction`` of them for validation, both never empty and in the given order.

    A picture's place follows from its content and the seed alone: it stays where it is when others are added.
    Raises ``DatasetError`` for fewer than two samples or a fraction outside (0, 1).
    """
    if len(samples) < 2 or not 0 < fraction < 1:
        raise DatasetError(
            f"{len(samples)} images cannot be divided with a share of {fraction:g} for validation", hint="Name a validation dataset."
        )
    ranks = {s.asset.id: int(hashlib.sha256(f"{seed}:{s.asset.id}".encode()).hexdigest()[:13], 16) / 16**13 for s in samples}
    chosen = {asset for asset, rank in ranks.items() if rank < fraction} or {min(ranks, key=lambda asset: ranks[asset])}
    if len(chosen) == len(ranks):
        chosen.remove(max(ranks, key=lambda asset: ranks[asset]))
    return [s for s in samples if s.asset.id not in chosen], [s for s in samples if s.asset.id in chosen]
