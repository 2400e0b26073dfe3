"""clustering_mining (reason 2): the cluster that a prediction falls into, learnt on the training data, is of another class.

k-means on the training items with K = 3 x classes, at most a tenth of the items; q is the smoothed histogram of a cluster's labels. The raw value
of an item is ``1 - sum_c p_c q_c``; it fires where the cluster's class is not the predicted one and the cluster is pure enough. O(rounds n K d)
once, O(N K d).
"""

from __future__ import annotations

import numpy as np

from mining.boxes import Floats, Ints
from mining.hard_examples.compare import complete
from mining.hard_examples.items import Items, box_codes, mean_by_row, paired_items
from mining.hard_examples.neighbours import LEAST_REFERENCES, centroids, nearest_centre
from mining.hard_examples.parameters import Parameters
from mining.hard_examples.question import Question
from mining.hard_examples.verdict import MissingInputError, Verdict, of_one_code

CODE = 2
PURE = 0.6
_LARGEST_SAMPLE = 50_000


def judge(question: Question, parameters: Parameters) -> Verdict:
    asked, known = paired_items(question, parameters.score_threshold_low)
    if len(known) < LEAST_REFERENCES:
        raise MissingInputError(f"the training data has {len(known)} items with a class; {LEAST_REFERENCES} are needed")
    classes = _class_count(question, asked, known)
    centres = _learn(known, parameters.seed)
    histograms = _histograms(nearest_centre(known.vectors, centres), known.classes, len(centres), classes)
    of_items = histograms[nearest_centre(asked.vectors, centres)]
    raw = 1.0 - (_weights(question, asked, classes) * of_items).sum(axis=1)
    fired = (of_items.argmax(axis=1) != asked.classes) & (of_items.max(axis=1, initial=0) >= PURE)
    return _verdict(question, asked, raw.clip(0, 1), fired, histograms)


def _class_count(question: Question, asked: Items, known: Items) -> int:
    return max(len(question.class_names), int(asked.classes.max(initial=-1)) + 1, int(known.classes.max(initial=-1)) + 1)


def _learn(known: Items, seed: int) -> np.ndarray:
    vectors = known.vectors
    if len(vectors) > _LARGEST_SAMPLE:
        vectors = vectors[np.sort(np.random.default_rng(seed).choice(len(vectors), _LARGEST_SAMPLE, replace=False))]
    count = max(2, min(3 * len(np.unique(known.classes)), len(vectors) // 10))
    return centroids(vectors, count, seed)


def _histograms(clusters: Ints, classes: Ints, cluster_count: int, class_count: int) -> Floats:
    """(K, C) rows sum to 1; one label is added to each cluster, spread over all classes."""
    pairs = np.bincount(clusters * class_count + classes, minlength=cluster_count * class_count)
    counts = pairs.reshape(cluster_count, class_count) + 1.0 / class_count
    shares: Floats = counts / counts.sum(axis=1, keepdims=True)
    return shares


def _weights(question: Question, asked: Items, classes: int) -> Floats:
    """(q, C) p of each item; 1 for the predicted class where the model gave only a score."""
    if question.probabilities is not None:
        given = complete(question.probabilities)[asked.rows, :-1]
    elif asked.weights is not None:
        given = asked.weights
    else:
        return np.eye(classes)[asked.classes]
    return np.pad(given, ((0, 0), (0, classes - given.shape[1])))


def _verdict(question: Question, asked: Items, raw: Floats, fired: np.ndarray, histograms: Floats) -> Verdict:
    """A picture has the mean of its items, and fires with any of them."""
    strengths = mean_by_row(raw, asked.rows, len(question))
    of_pictures = np.zeros(len(question), bool)
    of_pictures[asked.rows[fired]] = True
    boxes = None if question.predictions is None else box_codes(CODE, raw, fired, asked, question.predictions)
    report = {"clusters": len(histograms), "pure_clusters": int((histograms.max(axis=1) >= PURE).sum())}
    return of_one_code(CODE, strengths, of_pictures, boxes, report=report)
