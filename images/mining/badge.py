"""BADGE: pictures whose loss, if the model were right, would pull the last layer far and in different directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from mining import kcenter, seeding
from mining.boxes import Boxes, Floats
from mining.ordering import picks_then_rest
from mining.pool import Embeddings, Pool
from mining.selection import Ranking
from mining.strategy import CLASSIFICATION, Parameter, Request, Strategy


class Badge(Strategy):
    """k-means++ over the gradients g = (p - onehot(argmax p)) x z of the last layer; the first pick is the longest gradient.

    Classification: g is never built: |g - h|^2 = |a|^2 |z|^2 + |b|^2 |y|^2 - 2 (a.b)(z.y), O(n (C + d)) a pick. Detection (not in the paper): a gradient
    per box of its distribution (of a score alone: score - 1 at its class) and its features, the mean over the boxes of a picture, kept as a
    random sketch of ``sketch`` numbers whose dot products are those of the gradients on average; O(boxes x sketch x (C + d)), then n x sketch a pick.
    """

    name = "badge"
    needs = frozenset({"probabilities", "embeddings"})
    source = "Ash et al., ICLR 2020, arXiv 1906.03671"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "sketch": Parameter(512, "numbers per picture that stand for its gradient (detection)", least=16, most=8192)
    }

    def needs_of(self, kind: str) -> frozenset[str]:
        return self.needs if kind in (CLASSIFICATION, "") else frozenset({"predictions", "features"})

    def rank(self, request: Request) -> Ranking:
        gradients: Factored | Plain = (
            Factored.of(request.pool) if request.pool.predictions is None else Plain(sketched(request.pool, request.parameters["sketch"]))
        )
        generator = np.random.default_rng(request.seed)
        seeds = seeding.draw(request.budget, int(np.argmax(gradients.norms)), gradients.distances, generator)
        picked = seeds.rows[: request.budget]
        longest = np.sqrt(gradients.norms)
        return picks_then_rest(
            picked,
            seeding.falling_values(len(picked)),
            seeds.nearest,
            lambda row: (f"it would change the model much and in a way of its own (gradient {longest[row]:.2f})",),
        )


class Factored:
    """Gradients a x z by their factors: ``a`` (n, C), ``z`` (n, d) float32."""

    def __init__(self, a: Embeddings, z: Embeddings) -> None:
        self.a, self.z = a, z
        self.norms: Floats = kcenter.squared_norms(a) * kcenter.squared_norms(z)

    @classmethod
    def of(cls, pool: Pool) -> Factored:
        p = pool.distributions.astype(np.float32)
        a = p.copy()
        a[np.arange(len(a)), np.argmax(p, axis=1)] -= 1.0
        return cls(a, pool.points)

    def distances(self, row: int) -> Floats:
        """(n,) squared distances to the gradient of a row."""
        dots = (self.a @ self.a[row]).astype(float) * (self.z @ self.z[row])
        return _rounded(self.norms + self.norms[row], dots)


class Plain:
    """Vectors as they are, (n, k) float32."""

    def __init__(self, vectors: Embeddings) -> None:
        self.vectors = vectors
        self.norms: Floats = kcenter.squared_norms(vectors)

    def distances(self, row: int) -> Floats:
        """(n,) squared distances to a row."""
        return _rounded(self.norms + self.norms[row], self.vectors @ self.vectors[row])


def _rounded(norms: Floats, dots: Any) -> Floats:
    """Sums of two squared lengths less twice the dot products; 0 where that is rounding, so that equal gradients are equal."""
    squared: Floats = norms - 2.0 * dots
    squared[squared < 2 * kcenter.NOTHING * norms] = 0.0
    return squared


def sketched(pool: Pool, size: int) -> Embeddings:
    """(n, size) mean over the boxes of (R a) * (S z) / sqrt(size), R and S of +-1: dot products are those of mean a x z, on average."""
    assert pool.predictions is not None
    parts = [
        _factors(boxes, len(pool.class_names) or 1 + max((int(b.classes.max()) for b in pool.predictions if len(b)), default=0))
        for boxes in pool.predictions
    ]
    width = next((z.shape[1] for _, z in parts if len(z)), 1)
    classes = next((a.shape[1] for a, z in parts if len(z)), 1)
    signs = np.random.default_rng(0)  # the same sketch for every pool and seed
    left = signs.choice(np.array([-1.0, 1.0]), (classes, size))
    right = signs.choice(np.array([-1.0, 1.0]), (width, size))
    rows = [((a @ left) * (z @ right)).mean(axis=0) if len(z) else np.zeros(size) for a, z in parts]
    result: Embeddings = (np.array(rows).reshape(-1, size) / np.sqrt(size)).astype(np.float32)
    return result


def _factors(boxes: Boxes, class_count: int) -> tuple[Floats, Floats]:
    assert boxes.features is not None
    rows = np.arange(len(boxes))
    if boxes.probabilities is not None:
        a = np.array(boxes.probabilities, float)
        a[rows, np.argmax(a, axis=1) if len(a) else rows] -= 1.0
        return a, boxes.features
    a = np.zeros((len(boxes), class_count))
    a[rows, boxes.classes] = boxes.scores - 1.0
    return a, boxes.features
