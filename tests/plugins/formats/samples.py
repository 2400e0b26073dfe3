"""Samples to write with a format and read back: real pictures, annotations of every kind that formats know."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from PIL import Image

from contracts.dataset import Annotation, Asset, Marks, Sample
from contracts.job import JobWarning
from contracts.seams import Export, Format, Found, ImportedImage

WIDTH, HEIGHT = 60, 40
CLASS_NAMES = ("cat", "dog and bone", "猫", "=evil", "a,b;c|d\"e'f<g>&h", "12")


@cache
def picture(seed: int) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (seed * 7 % 256, seed // 30, 90)).save(buffer, "PNG")
    return buffer.getvalue()


def make_sample(folder: Path, seed: int, annotations: Iterable[Annotation] = (), **facts: Any) -> Sample:
    """A sample with a picture of its own in the folder."""
    content = picture(seed)
    asset = Asset(hashlib.sha1(content, usedforsecurity=False).hexdigest(), "png", WIDTH, HEIGHT, len(content))
    path = folder / asset.file_name
    path.write_bytes(content)
    return Sample(asset, path, tuple(annotations), **{"name": f"pictures/p{seed}.png", **facts})


def write(format_: Format, folder: Path, samples: Sequence[Sample], **options: Any) -> list[JobWarning]:
    """The samples in a new folder, as a runner has it written."""
    folder.mkdir()
    names = tuple(dict.fromkeys(box.class_name for sample in samples for box in (*sample.annotations, *(sample.predictions or ()))))
    export = Export("set", "V001", names, **options)
    return format_.write(folder, sorted(samples, key=lambda sample: sample.asset.id), export)


def read_back(format_: Format, folder: Path) -> tuple[dict[str, ImportedImage], list[Found]]:
    """Pictures by the sha1 of their bytes, and everything else."""
    found = list(format_.read(folder))
    images = [item for item in found if isinstance(item, ImportedImage)]
    by_content = {hashlib.sha1(Path(image.path).read_bytes(), usedforsecurity=False).hexdigest(): image for image in images}
    return by_content, [item for item in found if not isinstance(item, ImportedImage)]


def same(here: Sequence[Annotation] | None, there: Sequence[Annotation] | None, precision_px: float = 0.0) -> None:
    """Equal in every fact, numbers to the precision; the order is that of classes and corners."""
    assert (here is None) == (there is None)
    ours, theirs = sorted(here or (), key=_key), sorted(there or (), key=_key)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        near = pytest.approx(_numbers(a), abs=precision_px or 1e-12, rel=0)
        assert _numbers(b) == near
        assert _words(a) == _words(b)


def _key(box: Annotation) -> Any:
    return box.class_name, *(round(value, 2) for value in _numbers(box))


def _numbers(box: Annotation) -> list[float]:
    polygons = box.segmentation if isinstance(box.segmentation, list) else []
    flat = [value for polygon in polygons for value in polygon]
    score = [] if box.score is None else [box.score]
    return [box.x, box.y, box.width, box.height, box.quality, box.angle, *box.points, *flat, *score]


def _words(box: Annotation) -> Any:
    mask = box.segmentation if isinstance(box.segmentation, dict) else None
    return box.class_name, box.crowd, box.difficult, box.shape, dict(box.attributes), box.annotated_by, mask


# -------------------------------------------------------------------------------------------------------------- strategies

_SIDE = st.floats(1, 20, allow_nan=False).map(lambda value: round(value, 3))


@st.composite
def boxes(draw: st.DrawFn) -> Annotation:
    x, y = draw(st.floats(0, 35)), draw(st.floats(0, 18))
    return Annotation(draw(st.sampled_from(CLASS_NAMES)), x, y, draw(_SIDE), draw(_SIDE))


@st.composite
def outlines(draw: st.DrawFn, most_parts: int = 1) -> Annotation:
    """With the bounds of its polygons as its box."""
    polygons = []
    for _ in range(draw(st.integers(1, most_parts))):
        x, y, width, height = draw(st.floats(0, 30)), draw(st.floats(0, 15)), draw(_SIDE), draw(_SIDE)
        middle = draw(st.floats(0.2, 0.8))
        polygons.append([x, y, x + width, y + height * middle, x + width * middle, y + height])
    xs = [value for polygon in polygons for value in polygon[::2]]
    ys = [value for polygon in polygons for value in polygon[1::2]]
    box = (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    return Annotation(draw(st.sampled_from(CLASS_NAMES)), *box, segmentation=polygons)


@st.composite
def masks(draw: st.DrawFn) -> Annotation:
    """A mask of a few columns with the bounds of its pixels as its box."""
    from plugins.formats.mask_runs import mask_bounds, mask_of

    width, height = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rows = bytes(draw(st.lists(st.sampled_from([0, 1]), min_size=width * height, max_size=width * height)))
    rows = b"\x01" + rows[1:]
    mask = mask_of(rows, (draw(st.integers(0, 50)), draw(st.integers(0, 30)), width, height), (WIDTH, HEIGHT))
    return Annotation(draw(st.sampled_from(CLASS_NAMES)), *map(float, mask_bounds(mask)), segmentation=mask)


def labels() -> st.SearchStrategy[Annotation]:
    return st.sampled_from(CLASS_NAMES).map(lambda name: Annotation(name, 0.0, 0.0, 0.0, 0.0, shape="image"))


def with_facts(strategy: st.SearchStrategy[Annotation], **facts: st.SearchStrategy[Any]) -> st.SearchStrategy[Annotation]:
    """Annotations with further facts."""
    return st.builds(lambda box, said: replace(box, **said), strategy, st.fixed_dictionaries(facts))


def annotation_lists(strategy: st.SearchStrategy[Annotation], most: int = 4) -> st.SearchStrategy[list[Annotation]]:
    return st.lists(strategy, max_size=most)


SPLITS = st.sampled_from(["train", "val", "test", "pool", ""])
TEXTS: Mapping[str, Any] = {"occluded": True, "colour": "light blue"}
UNLABELED = Marks(state="unlabeled")
