"""Samples to write with a format, and what is read back, brought to one form so that both compare."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from contracts.dataset import Annotation, Asset, Marks, Sample
from contracts.job import JobWarning
from contracts.seams import Export, Format, Found, ImportedImage
from plugins.formats.masks import MaskPainter
from plugins.formats.shapes import drawn, outlined
from plugins.formats.writing import PictureNames

WIDTH, HEIGHT = 64, 48
CLASSES = ("cat", "dog", "red fox")


def make_sample(folder: Path, number: int, **others: Any) -> Sample:
    """A sample with a real picture of its own colour."""
    path = folder / f"{number}.png"
    Image.new("RGB", (WIDTH, HEIGHT), (number * 7 % 256, number % 256, 99)).save(path)
    content = path.read_bytes()
    asset = Asset(hashlib.sha1(content).hexdigest(), "png", WIDTH, HEIGHT, len(content))
    return Sample(asset, path, **{"name": f"folder/img {number}.png", **others})


def round_trip(format_: Format, samples: Iterable[Sample], **export: Any) -> tuple[list[Found], list[JobWarning], list[Sample]]:
    """What is read of what was written, the warnings, and the samples under the names that their pictures have now."""
    named = list(samples)
    names = PictureNames()
    with tempfile.TemporaryDirectory() as folder:
        options = {"dataset": "cells", "version": "V001", "class_names": CLASSES, "hard": True, **export}
        warnings = format_.write(Path(folder), named, Export(**options))
        found = list(format_.read(Path(folder)))
    return found, warnings, [replace(sample, name=names.name(sample)) for sample in named]


def by_name(found: Iterable[Found]) -> dict[str, ImportedImage]:
    return {PurePosixPath(image.name).name: image for image in found if isinstance(image, ImportedImage)}


def plain(annotations: Iterable[Annotation] | None) -> list[Annotation] | None:
    """Annotations with plain dictionaries, so that equal ones are equal."""
    return None if annotations is None else [replace(one, attributes=dict(one.attributes)) for one in annotations]


# ------------------------------------------------------------------------------------------------------------- strategies


def spans(size: int, whole: bool) -> st.SearchStrategy[tuple[float, float]]:
    """Start and length of something that lies inside ``size`` pixels and is longer than one."""
    if whole:
        starts = st.integers(0, size - 3)
        return starts.flatmap(lambda a: st.integers(2, size - a).map(lambda b: (float(a), float(b))))
    return st.floats(0, size - 3).flatmap(lambda a: st.floats(1.5, size - a - 1).map(lambda b: (a, b)))


def boxes(*, whole: bool = False, **others: Any) -> st.SearchStrategy[Annotation]:
    return st.builds(
        lambda name, x, y, more: Annotation(name, x[0], y[0], x[1], y[1], **more),
        st.sampled_from(CLASSES),
        spans(WIDTH, whole),
        spans(HEIGHT, whole),
        st.fixed_dictionaries(others) if others else st.just({}),
    )


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
values = texts | st.booleans() | st.integers(-(10**9), 10**9) | st.none() | st.lists(st.integers(0, 9), max_size=3)
attributes = st.fixed_dictionaries(
    {},
    optional={
        "truncated": st.just(True),
        "occluded": st.just(True),
        "pose": st.sampled_from(["Left", "Frontal"]),
        "confidence": st.floats(0, 1),
        "hard": st.booleans(),
        "hard-coefficient": st.floats(0, 1),
        "hard-reasons": st.sampled_from(["0", "1-20-2-19-21-3"]),
        "creation-time": st.just("2019-01-23 11:30:30"),
        "color": values,
        "一 <&'\"> two": values,
    },
)
facts = {
    "attributes": attributes,
    "difficult": st.booleans(),
    "crowd": st.booleans(),
    "quality": st.just(-1.0) | st.floats(0, 1),
    "angle": st.just(0.0) | st.floats(-3.2, 3.2),
    "annotated_by": st.sampled_from(["", "human", "tinydet@best", "modelarts/active-learning"]),
}
coordinates = st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT))


def _points(least: int, most: int) -> st.SearchStrategy[list[float]]:
    return st.lists(coordinates, min_size=least, max_size=most).map(lambda pairs: [value for pair in pairs for value in pair])


def _shape(shape: str, points: st.SearchStrategy[list[float]]) -> st.SearchStrategy[Annotation]:
    return st.builds(
        lambda name, found, more: drawn(name, shape, found, **more), st.sampled_from(CLASSES), points, st.fixed_dictionaries(facts)
    )


circles = st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT), st.floats(0.5, 40)).map(list)
polygons = _points(3, 8).filter(lambda points: points[:2] != points[-2:])
outlines = st.builds(
    lambda name, points, more: outlined(name, points, **more), st.sampled_from(CLASSES), polygons, st.fixed_dictionaries(facts)
)
shapes = st.one_of(
    boxes(**facts),
    outlines,
    _shape("point", _points(1, 1)),
    _shape("line", _points(2, 2)),
    _shape("dashed", _points(2, 4)),
    _shape("polyline", _points(2, 6)),
    _shape("circle", circles),
)
image_labels = st.builds(
    lambda name, more, by: Annotation(name, 0, 0, 0, 0, shape="image", attributes=more, annotated_by=by),
    st.sampled_from(CLASSES),
    attributes.map(lambda found: {key: value for key, value in found.items() if value is not None}),
    facts["annotated_by"],
)
marks = st.builds(
    Marks,
    state=st.sampled_from(["", "to_be_confirmed"]),
    hard=st.booleans(),
    hard_coefficient=st.none() | st.floats(0, 1),
    hard_reasons=st.lists(st.integers(0, 30), unique=True, max_size=4).map(tuple),
    tags=st.dictionaries(st.sampled_from(["weather", "图", "a b", "@modelarts:x", "image_quality"]), texts, max_size=3),
)


def mask(*rectangles: tuple[int, int, int, int]) -> dict[str, Any]:
    """A run-length mask of rectangles (x1, y1, x2, y2, the last pixel outside)."""
    from plugins.formats.masks import _run_lengths

    picture = Image.new("L", (WIDTH, HEIGHT), 0)
    for x1, y1, x2, y2 in rectangles:
        picture.paste(255, (x1, y1, x2, y2))
    found = _run_lengths(picture)
    assert found
    assert MaskPainter(WIDTH, HEIGHT).paint(1, found) == ""
    return found
