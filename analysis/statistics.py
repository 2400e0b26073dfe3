"""What the labels of a dataset version say, and how versions differ. Pure functions over ``Labels``; answers are JSON-ready."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.histograms import chart, summary

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
MEBIBYTE = 1 << 20

#: The lower ends of YMIR's bins (ymir_hel, histograms.go); its last bin is open, ours ends with the largest value.
_YMIR: Mapping[str, Sequence[float]] = {
    "asset_bytes": [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5],
    "asset_hw_ratio": [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
    "asset_area": [0, 100_000, 500_000, 1_000_000, 2_000_000, 4_000_000, 6_000_000, 8_000_000],
    "asset_quality": [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
    "anno_area_ratio": [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
}


@dataclass(frozen=True)
class Labels:
    """One dataset version as columns.

    Of the n pictures: ``assets`` (content ids), ``widths`` and ``heights`` in pixels, ``sizes`` in bytes, ``splits`` ('' for none), whether
    somebody has looked at them (``labeled``), and marks: ``hard``, ``hard_coefficients`` (NaN: none), ``hard_reasons`` (numbers of
    modelarts-spec 1.4), ``qualities`` 0..1 (NaN: unknown). Of the m annotations: ``image`` and ``label`` are indices into the pictures and into
    ``class_names``; ``boxes`` is (m, 4) x, y, width, height in pixels.
    """

    class_names: Sequence[str]
    assets: Sequence[str]
    widths: Ints
    heights: Ints
    sizes: Ints
    splits: Sequence[str]
    labeled: Flags
    image: Ints
    label: Ints
    boxes: Floats
    hard: Flags
    hard_coefficients: Floats
    hard_reasons: Sequence[Sequence[int]] = field(default_factory=list)
    qualities: Floats = field(default_factory=lambda: np.zeros(0))

    @cached_property
    def box_area_ratios(self) -> Floats:
        """(m,) box area / picture area."""
        areas: Floats = self.boxes[:, 2] * self.boxes[:, 3] / (self.widths * self.heights)[self.image]
        return areas

    @cached_property
    def presence(self) -> tuple[Ints, Ints]:
        """The distinct pairs (picture, class): each class counts once in a picture."""
        pairs = np.unique(self.image * len(self.class_names) + self.label) if len(self.image) else np.zeros(0, np.int64)
        return pairs // max(1, len(self.class_names)), pairs % max(1, len(self.class_names))


# ------------------------------------------------------------------------------------------------------------ one version


def totals(labels: Labels) -> dict[str, Any]:
    """The four totals of YMIR's analysis: size of the files, annotations, annotations per picture, labeled pictures of all."""
    images, annotations = len(labels.assets), len(labels.image)
    return {
        "size_bytes": int(labels.sizes.sum()),
        "annotations": annotations,
        "annotations_per_image": round(annotations / images, 4) if images else 0.0,
        "labeled_images": int(labels.labeled.sum()),
        "images": images,
    }


def label_statistics(labels: Labels) -> dict[str, Any]:
    """Per class, per split, what is hard, and which classes stand together."""
    return {
        "totals": totals(labels),
        "classes": class_statistics(labels),
        "splits": split_statistics(labels),
        "hard": hard_statistics(labels),
        "cooccurrence": {"classes": list(labels.class_names), "images": cooccurrence(labels).tolist()},
    }


def class_statistics(labels: Labels) -> list[dict[str, Any]]:
    """Per class in the order of their ids: annotations and their share, pictures that have it, box sizes, annotations by split."""
    count = len(labels.class_names)
    annotations = np.bincount(labels.label, minlength=count)
    images = np.bincount(labels.presence[1], minlength=count)
    split_names, split_of_image = _coded(labels.splits)
    by_split = np.zeros((count, len(split_names)), np.int64)
    np.add.at(by_split, (labels.label, split_of_image[labels.image]), 1)
    order = np.argsort(labels.label, kind="stable")
    of_class = np.split(order, np.cumsum(annotations)[:-1]) if count else []
    return [
        {
            "class": name,
            "annotations": int(annotations[index]),
            "share": _share(int(annotations[index]), len(labels.label)),
            "images": int(images[index]),
            "splits": {split: int(by_split[index, place]) for place, split in enumerate(split_names) if by_split[index, place]},
            "box_width": summary(labels.boxes[of_class[index], 2]),
            "box_height": summary(labels.boxes[of_class[index], 3]),
            "box_area_ratio": summary(labels.box_area_ratios[of_class[index]]),
        }
        for index, name in enumerate(labels.class_names)
    ]


def split_statistics(labels: Labels) -> list[dict[str, Any]]:
    """Per split: pictures, labeled ones, annotations, classes that occur."""
    names, split_of_image = _coded(labels.splits)
    split_of_box = split_of_image[labels.image]
    return [
        {
            "split": name,
            "images": int((split_of_image == place).sum()),
            "labeled_images": int((labels.labeled & (split_of_image == place)).sum()),
            "annotations": int((split_of_box == place).sum()),
            "classes": len(np.unique(labels.label[split_of_box == place])),
        }
        for place, name in enumerate(names)
    ]


def hard_statistics(labels: Labels) -> dict[str, Any]:
    """How many pictures are marked as hard, how hard they are, and for which reasons (a picture may have several)."""
    reasons: dict[int, int] = {}
    for of_image in labels.hard_reasons:
        for reason in of_image:
            reasons[reason] = reasons.get(reason, 0) + 1
    return {
        "images": int(labels.hard.sum()),
        "share": _share(int(labels.hard.sum()), len(labels.assets)),
        "coefficient": summary(labels.hard_coefficients[labels.hard]),
        "reasons": {str(reason): reasons[reason] for reason in sorted(reasons)},
    }


def cooccurrence(labels: Labels) -> Ints:
    """(k, k): in how many pictures two classes stand together; on the diagonal, how many pictures have the class."""
    count = len(labels.class_names)
    together = np.zeros((count, count), np.int64)
    images, classes = labels.presence
    starts = np.flatnonzero(np.diff(images, prepend=-1))
    sizes = np.diff(np.append(starts, len(images)))
    for apart in range(int(sizes.max(initial=0))):  # pairs of classes of one picture that stand ``apart`` places apart in its sorted list
        first = np.flatnonzero(np.repeat(sizes, sizes) - _place_in_run(starts, sizes) > apart)
        np.add.at(together, (classes[first], classes[first + apart]), 1)
    both_ways: Ints = together + np.triu(together, 1).T
    return both_ways


def _place_in_run(starts: Ints, sizes: Ints) -> Ints:
    places: Ints = np.arange(int(sizes.sum())) - np.repeat(starts, sizes)
    return places


def _coded(names: Sequence[str]) -> tuple[list[str], Ints]:
    """The distinct names, those that are not '' first, and the number of each one's."""
    known = sorted(set(names), key=lambda name: (name == "", name))
    place = {name: index for index, name in enumerate(known)}
    return known, np.fromiter((place[name] for name in names), np.int64, len(names))


def _share(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0


# -------------------------------------------------------------------------------------------- distributions of versions


def distributions(versions: Mapping[str, Labels]) -> list[dict[str, Any]]:
    """The six distributions of YMIR's analysis over its own bins, one series a version.

    File size in MiB, height to width, pixels, quality, box area to picture area, share of the classes.
    """
    columns = {name: _ymir_columns(labels) for name, labels in versions.items()}
    titles = {
        "asset_bytes": ("File size", "MiB", "pictures"),
        "asset_hw_ratio": ("Height to width", "height / width", "pictures"),
        "asset_area": ("Resolution", "pixels", "pictures"),
        "asset_quality": ("Quality", "0 to 1", "pictures"),
        "anno_area_ratio": ("Box area to picture area", "share", "annotations"),
    }
    charts = [
        chart(
            key,
            title,
            {name: of[key] for name, of in columns.items()},
            x=x,
            y=y,
            edges=_ymir_edges(key, [of[key] for of in columns.values()]),
        )
        for key, (title, x, y) in titles.items()
    ]
    return [*charts, class_share(versions)]


def _ymir_columns(labels: Labels) -> dict[str, Floats]:
    return {
        "asset_bytes": labels.sizes / MEBIBYTE,
        "asset_hw_ratio": labels.heights / labels.widths,
        "asset_area": (labels.widths * labels.heights).astype(np.float64),
        "asset_quality": labels.qualities,
        "anno_area_ratio": labels.box_area_ratios,
    }


def _ymir_edges(key: str, columns: Sequence[Floats]) -> list[float]:
    """YMIR's lower ends and one upper end above everything: its last bin holds all that is larger."""
    edges = [float(edge) for edge in _YMIR[key]]
    most = max((float(np.nanmax(column)) for column in columns if np.isfinite(column).any()), default=0.0)
    return [*edges, max(most, edges[-1] + (edges[-1] - edges[-2]))]


def class_share(versions: Mapping[str, Labels]) -> dict[str, Any]:
    """Annotations by class, the classes of all versions in the order in which they first come."""
    names = list(dict.fromkeys(name for labels in versions.values() for name in labels.class_names))
    series: list[dict[str, Any]] = []
    for version, labels in versions.items():
        found = dict(zip(labels.class_names, np.bincount(labels.label, minlength=len(labels.class_names)).tolist(), strict=True))
        series.append({"name": version, "values": [found.get(name, 0) for name in names]})
    return {
        "key": "class_share",
        "kind": "bars",
        "title": "Classes",
        "x": "class",
        "y": "annotations",
        "note": "",
        "labels": names,
        "series": series,
    }


# -------------------------------------------------------------------------------------------------- versions compared


def compare(before: Labels, after: Labels) -> dict[str, Any]:
    """What changed from one version to another: pictures by content, annotations by class, picture and box.

    A picture is added, removed, or in both; of those in both, ``relabeled`` have other annotations and ``moved`` another split. An
    annotation whose class or box changed counts as one removed and one added. Boxes are the same to a thousandth of a pixel.
    """
    ids = {asset: index for index, asset in enumerate(dict.fromkeys([*before.assets, *after.assets]))}
    old, new = (np.fromiter((ids[asset] for asset in labels.assets), np.int64, len(labels.assets)) for labels in (before, after))
    kept = np.intersect1d(old, new)
    names = list(dict.fromkeys([*before.class_names, *after.class_names]))
    gone, come = _difference(_rows(before, old, names), _rows(after, new, names))
    touched = np.unique(np.concatenate([gone[:, 0], come[:, 0]]))
    split_before = dict(zip(old.tolist(), before.splits, strict=True))
    return {
        "images": {
            "before": len(old),
            "after": len(new),
            "added": len(new) - len(kept),
            "removed": len(old) - len(kept),
            "unchanged": len(kept) - len(np.intersect1d(kept, touched)),
            "relabeled": len(np.intersect1d(kept, touched)),
            "moved": sum(split_before.get(asset, split) != split for asset, split in zip(new.tolist(), after.splits, strict=True)),
        },
        "annotations": {"before": len(before.image), "after": len(after.image), "added": len(come), "removed": len(gone)},
        "classes": _class_changes(before, after, names, gone, come),
    }


def _rows(labels: Labels, ids: Ints, names: Sequence[str]) -> Ints:
    """(m, 6) whole numbers: picture, class, box in thousandths of a pixel; comparable between versions."""
    place = {name: index for index, name in enumerate(names)}
    classes = np.array([place[name] for name in labels.class_names], np.int64)
    boxes = np.rint(labels.boxes * 1000).astype(np.int64)
    return np.column_stack([ids[labels.image], classes[labels.label] if len(labels.label) else labels.label, boxes])


def _difference(old: Ints, new: Ints) -> tuple[Ints, Ints]:
    """The rows that only one of two lists has, as multisets."""
    rows = np.concatenate([old, new])
    sign = np.repeat([-1, 1], [len(old), len(new)])
    order = np.lexsort(_packed(rows))
    rows, sign = rows[order], sign[order]
    first = np.flatnonzero(np.append(True, (rows[1:] != rows[:-1]).any(axis=1))) if len(rows) else np.zeros(0, np.int64)
    balance = np.add.reduceat(sign, first) if len(first) else np.zeros(0, np.int64)
    rows = rows[first]
    return np.repeat(rows, np.maximum(-balance, 0), axis=0), np.repeat(rows, np.maximum(balance, 0), axis=0)


def _packed(rows: Ints) -> list[npt.NDArray[np.uint64]]:
    """The columns in as few 64-bit words as hold them, least telling first: sorting takes as long as there are words."""
    words: list[npt.NDArray[np.uint64]] = []
    room = 0
    for column in rows.T if len(rows) else ():
        offset = (column - column.min()).astype(np.uint64)
        width = max(1, int(offset.max()).bit_length())
        if width > room:
            words.append(np.zeros(len(rows), np.uint64))
            room = 64
        words[-1] = words[-1] << np.uint64(width % 64) | offset
        room -= width
    return words[::-1] or [np.zeros(len(rows), np.uint64)]


def _class_changes(before: Labels, after: Labels, names: Sequence[str], gone: Ints, come: Ints) -> list[dict[str, Any]]:
    def by_name(labels: Labels, index: Ints) -> dict[str, int]:
        return dict(zip(labels.class_names, np.bincount(index, minlength=len(labels.class_names)).tolist(), strict=True))

    boxes = [by_name(labels, labels.label) for labels in (before, after)]
    images = [by_name(labels, labels.presence[1]) for labels in (before, after)]
    removed, added = (np.bincount(rows[:, 1], minlength=len(names)).tolist() for rows in (gone, come))
    return [
        {
            "class": name,
            "annotations": {
                "before": boxes[0].get(name, 0),
                "after": boxes[1].get(name, 0),
                "added": added[index],
                "removed": removed[index],
            },
            "images": {"before": images[0].get(name, 0), "after": images[1].get(name, 0)},
        }
        for index, name in enumerate(names)
    ]


def overlap(versions: Mapping[str, Labels]) -> dict[str, Any]:
    """Which pictures, by content, stand in more than one split or version: for each pair of parts that share some, how many.

    A part is a split of a version. Test pictures that are also in a training split are the ones to look for.
    """
    parts: dict[tuple[str, str], set[str]] = {}
    for version, labels in versions.items():
        for asset, split in zip(labels.assets, labels.splits, strict=True):
            parts.setdefault((version, split), set()).add(asset)
    keys = sorted(parts)
    pairs = [(first, second, len(parts[first] & parts[second])) for at, first in enumerate(keys) for second in keys[at + 1 :]]
    return {
        "parts": [{"version": version, "split": split, "images": len(parts[version, split])} for version, split in keys],
        "shared": [
            {"a": {"version": a[0], "split": a[1]}, "b": {"version": b[0], "split": b[1]}, "images": count}
            for a, b, count in pairs
            if count
        ],
    }
