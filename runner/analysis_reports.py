"""The report of an analysis: one document for the page, the pictures and ``--json``, made of versions that were read and measured."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from analysis.features import CLASSIFICATION_KEYS, FEATURES, KEYS, Feature
from analysis.histograms import chart, shift
from analysis.statistics import Labels, compare, distributions, label_statistics, overlap, totals
from contracts.dataset import Sample
from runner.analysis_files import Features

#: Failures that a document names; all are in the page.
SHOWN_FAILURES = 20


@dataclass(frozen=True)
class VersionData:
    """One version, or a split of it, as it is analysed. ``features`` None: only its labels are."""

    name: str
    samples: Sequence[Sample]
    labels: Labels
    features: Features | None


def labels_of(samples: Sequence[Sample], class_names: Sequence[str], labeled: Collection[str]) -> Labels:
    """The samples as columns. ``labeled``: the asset ids of pictures that somebody has looked at."""
    names = list(dict.fromkeys([*class_names, *(a.class_name for sample in samples for a in sample.annotations)]))
    place = {name: index for index, name in enumerate(names)}
    found = [(at, a) for at, sample in enumerate(samples) for a in sample.annotations]
    coefficients = [sample.marks.hard_coefficient for sample in samples]
    return Labels(
        class_names=names,
        assets=[sample.asset.id for sample in samples],
        widths=np.array([sample.asset.width for sample in samples], np.int64),
        heights=np.array([sample.asset.height for sample in samples], np.int64),
        sizes=np.array([sample.asset.size_bytes for sample in samples], np.int64),
        splits=[sample.split for sample in samples],
        labeled=np.array([bool(sample.annotations) or sample.asset.id in labeled for sample in samples], np.bool_),
        image=np.array([at for at, _ in found], np.int64),
        label=np.array([place[a.class_name] for _, a in found], np.int64),
        boxes=np.array([(a.x, a.y, a.width, a.height) for _, a in found], np.float64).reshape(-1, 4),
        hard=np.array([sample.marks.hard for sample in samples], np.bool_),
        hard_coefficients=np.array([math.nan if c is None else c for c in coefficients], np.float64),
        hard_reasons=[sample.marks.hard_reasons for sample in samples],
        qualities=np.array([_quality(sample) for sample in samples], np.float64),
    )


def _quality(sample: Sample) -> float:
    """The picture's own quality (YMIR's ``image_quality``), else the mean of its annotations'; NaN when nobody said."""
    try:
        return float(sample.marks.tags["image_quality"])
    except (KeyError, ValueError):
        known = [a.quality for a in sample.annotations if a.quality >= 0]
        return sum(known) / len(known) if known else math.nan


def make_report(title: str, created_at: str, versions: Sequence[VersionData], keys: Collection[str]) -> dict[str, Any]:
    """Everything that the page shows, JSON-ready; docs/notes/analysis.md describes its keys."""
    labels = {version.name: version.labels for version in versions}
    return {
        "title": title,
        "created_at": created_at,
        "versions": [_version(version) for version in versions],
        "features": feature_charts(versions, keys),
        "distributions": distributions(labels),
        "comparison": [_changes(before, after, keys) for before, after in pairwise(versions)],
        "overlap": overlap(labels),
        "failures": [failure for version in versions for failure in failures_of(version)],
    }


def default_keys(versions: Sequence[VersionData]) -> tuple[str, ...]:
    """All 14; the first six where nothing has a box, as in classification."""
    has_boxes = any(version.features is None or len(version.features.boxes) for version in versions)
    return KEYS if has_boxes else CLASSIFICATION_KEYS


def feature_charts(versions: Sequence[VersionData], keys: Collection[str]) -> list[dict[str, Any]]:
    """A histogram for each feature, the versions laid over each other."""
    measured = [version for version in versions if version.features is not None]
    chosen = [feature for feature in FEATURES if feature.key in keys] if measured else []
    return [_feature_chart(feature, {version.name: values_of(version, feature) for version in measured}) for feature in chosen]


def values_of(version: VersionData, feature: Feature) -> Any:
    """The values of a feature; the numbers of boxes leave out pictures that nobody has looked at."""
    assert version.features is not None  # noqa: S101 - the caller's filter
    values = version.features.column(feature.key)
    if feature.key != "bbox_num":
        return values
    labeled = {asset for asset, known in zip(version.labels.assets, version.labels.labeled, strict=True) if known}
    seen = np.fromiter((asset in labeled for asset in version.features.pictures["asset_id"].to_pylist()), np.bool_, len(values))
    return np.where(seen, values, np.nan)


def _feature_chart(feature: Feature, columns: Mapping[str, Any]) -> dict[str, Any]:
    y = "boxes" if feature.of == "box" else "pictures"
    note = f"{feature.key}: {feature.formula}"
    return chart(feature.key, feature.title, columns, x=feature.unit, y=y, whole=feature.key == "bbox_num", note=note)


def failures_of(version: VersionData) -> list[dict[str, str]]:
    failures = {} if version.features is None else version.features.failures
    return [
        {"name": f"{version.name} {s.name or s.asset.file_name}", "reason": failures[s.asset.id]}
        for s in version.samples
        if s.asset.id in failures
    ]


def _version(version: VersionData) -> dict[str, Any]:
    statistics = label_statistics(version.labels)
    classes = sum(1 for entry in statistics["classes"] if entry["annotations"])
    return {"name": version.name, **totals(version.labels), "classes": classes, "statistics": statistics}


def _changes(before: VersionData, after: VersionData, keys: Collection[str]) -> dict[str, Any]:
    shifts = []
    for feature in FEATURES:
        if feature.key in keys and before.features is not None and after.features is not None:
            distance = shift(values_of(before, feature), values_of(after, feature))
            shifts.append({"key": feature.key, "title": feature.title, "distance": distance})
    return {"from": before.name, "to": after.name, **compare(before.labels, after.labels), "shifts": shifts}
