"""Pools with every part, made of a seed."""

from __future__ import annotations

import numpy as np
from mining import Boxes, Labelled, Pool

CLASSES = ("cat", "dog", "bird")


def some_boxes(generator: np.random.Generator, count: int) -> Boxes:
    corners = generator.uniform(0, 80, (count, 2))
    sizes = generator.uniform(5, 20, (count, 2))
    return Boxes(
        np.hstack([corners, corners + sizes]),
        generator.uniform(0.06, 0.99, count),
        generator.integers(0, 3, count),
        generator.dirichlet(np.ones(3), count).reshape(-1, 3),
        generator.normal(size=(count, 6)),
    )


def shaken(boxes: Boxes, generator: np.random.Generator) -> Boxes:
    """The same boxes, moved a little, a few lost."""
    moved = Boxes(
        boxes.corners + generator.normal(0, 2, boxes.corners.shape), boxes.scores, boxes.classes, boxes.probabilities, boxes.features
    )
    return moved.keep(generator.random(len(boxes)) > 0.1)


def labelled(generator: np.random.Generator, count: int = 40) -> Labelled:
    return Labelled(
        class_counts=np.array([60.0, 30.0, 3.0]),
        embeddings=generator.normal(size=(count, 8)).astype(np.float32),
        labels=generator.integers(0, 3, count),
        hashes=generator.integers(0, 2**63, count).astype(np.uint64),
        class_difficulty=np.array([0.2, 0.5, 0.9]),
        image_count=count,
    )


def detection_pool(count: int = 60, seed: int = 0) -> Pool:
    """Every part that a detection strategy may ask for; about a fifth of the pictures without boxes."""
    generator = np.random.default_rng(seed)
    found = [some_boxes(generator, int(size)) for size in generator.integers(0, 5, count)]
    maps = generator.uniform(0, 1, (count, 3, 7, 9))
    return Pool(
        ids=[f"{number:05d}.jpg" for number in range(count)],
        class_names=CLASSES,
        predictions=found,
        embeddings=generator.normal(size=(count, 8)).astype(np.float32),
        views={"flip": [shaken(boxes, generator) for boxes in found], "blur": [shaken(boxes, generator) for boxes in found]},
        hashes=generator.integers(0, 2**63, count).astype(np.uint64),
        class_maps=lambda row: maps[row],
        order=[("video", float(number)) for number in range(count)],
        labelled=labelled(generator),
    )


def classification_pool(count: int = 60, seed: int = 0) -> Pool:
    """Every part that a classification strategy may ask for."""
    generator = np.random.default_rng(seed)
    return Pool(
        ids=[f"{number:05d}.jpg" for number in range(count)],
        class_names=CLASSES,
        probabilities=generator.dirichlet(np.ones(3), count),
        embeddings=generator.normal(size=(count, 8)).astype(np.float32),
        views={"flip": generator.dirichlet(np.ones(3), count)},
        hashes=generator.integers(0, 2**63, count).astype(np.uint64),
        order=[("video", float(number)) for number in range(count)],
        labelled=labelled(generator),
    )
