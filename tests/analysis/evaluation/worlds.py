"""Pictures with objects and predictions, made by chance, near the edges of the rules: ties, crowds, empty pictures, the same box twice."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from analysis.evaluation.objects import Objects, make_predictions, make_truths


def world(seed: int, *, images: int, classes: int, truths: int, predictions: int, grid: int = 0) -> tuple[Objects, Objects]:
    """``grid`` > 0 puts every number on a coarse grid: many equal overlaps, equal scores and boxes that only touch."""
    random = np.random.default_rng(seed)
    box = _boxes(random, truths, grid)
    truth = make_truths(
        random.integers(0, images, truths) if images else [],
        random.integers(0, classes, truths),
        box,
        crowd=random.random(truths) < 0.15,
        difficult=random.random(truths) < 0.15,
        area=box[:, 2] * box[:, 3] * random.uniform(0.3, 1.0, truths).round(1),
    )
    near = (random.random(predictions) < 0.7) & (truths > 0)
    of = random.integers(0, max(truths, 1), predictions)
    image, label, found = (
        random.integers(0, images, predictions),
        random.integers(0, classes, predictions),
        _boxes(random, predictions, grid),
    )
    if truths:
        image, label = np.where(near, truth.image[of], image), np.where(near & (random.random(predictions) < 0.9), truth.label[of], label)
        shift = random.normal(0, 3, (predictions, 4)) * (random.random((predictions, 1)) < 0.8)
        found = np.where(near[:, None], np.maximum(truth.box[of] + (shift.round(0) if grid else shift), 0), found)
    score = random.random(predictions)
    return truth, make_predictions(image, label, found, score.round(1) if grid else score)


def _boxes(random: np.random.Generator, count: int, grid: int) -> Any:
    corner, size = random.uniform(0, 200, (count, 2)), random.choice([4.0, 20.0, 32.0, 60.0, 96.0, 150.0], (count, 2))
    boxes = np.concatenate([corner, size * random.uniform(0.5, 1.5, (count, 2))], axis=1)
    return (boxes // grid * grid) if grid else boxes


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Objects, Objects, int, int]:
    """Truths, predictions, number of images and of classes."""
    images, classes = draw(st.integers(1, 12)), draw(st.sampled_from([1, 2, 3, 20]))
    made = world(
        draw(st.integers(0, 2**32 - 1)),
        images=images,
        classes=classes,
        truths=draw(st.sampled_from([0, 1, 2, 5, 30, 120])),
        predictions=draw(st.sampled_from([0, 1, 2, 5, 40, 300])),
        grid=draw(st.sampled_from([0, 1, 10])),
    )
    return *made, images, classes
