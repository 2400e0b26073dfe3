"""sequential_mining (reason 4): the predictions for consecutive, nearly identical pictures differ.

Pictures are ordered by (video, frame). Two that are at most 2 places apart and look the same (64-bit dHashes at most 10 bits apart, or without
hashes a cosine of their embeddings from 0.95 on, which also is the guard against cuts) are compared: 1 - F1 of boxes (same class, IoU 0.5), of
classes 1 or their Jensen-Shannon divergence. s is the mean over such neighbours, one 2 places away counting half; fires from 0.5. A box that is
there before and after a picture but not in it goes into the details. O(N). Neighbours: temporal rules of ALDD (Aghdam et al., ICCV 2019), temporal
coherence (Bengar et al., ICCVW 2019).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from mining.boxes import Boxes, Floats, Ints, match
from mining.hard_examples.compare import box_disagreement, class_disagreement, complete
from mining.hard_examples.neighbours import normalised
from mining.hard_examples.parameters import Parameters
from mining.hard_examples.question import Question
from mining.hard_examples.verdict import MissingInputError, Verdict, of_one_code

CODE = 4
FARTHEST = 2
LEAST_COSINE = 0.95
MOST_BITS = 10
FIRES_FROM = 0.5
#: Pairs drawn to see what unrelated pictures look like to the embeddings, and how many rows (sorted by id) lie between them at the least.
_UNRELATED, _FAR_APART = 1000, 10


def judge(question: Question, parameters: Parameters) -> Verdict:
    if question.predictions is None and question.probabilities is None:
        raise MissingInputError("there are no predictions")
    if question.embeddings is None and question.hashes is None:
        raise MissingInputError("there is neither an embedding nor a hash, which say whether neighbours look the same")
    _check_embeddings(question, parameters.seed)
    sequences = _sequences(question)
    low = parameters.score_threshold_low
    sums, weights = np.zeros(len(question)), np.zeros(len(question))
    for left, right, apart in _alike_pairs(question, sequences):
        differ = _disagreement(question, left, right, low)
        for row in (left, right) if np.isfinite(differ) else ():
            sums[row] += differ / apart
            weights[row] += 1.0 / apart
    strengths: Floats = np.divide(sums, weights, out=np.full(len(question), np.nan), where=weights > 0)
    details = {row: {"missed": missed} for row, missed in _missed(question, sequences, low).items()}
    report = {"sequences": len(sequences), "pictures_with_alike_neighbours": int((weights > 0).sum()), "missed_boxes_in": len(details)}
    return of_one_code(CODE, strengths, strengths >= FIRES_FROM, details=details, report=report)


def frame_of(name: str) -> tuple[str, float] | None:
    """(video, frame) of a file name: its last number, and what stands around it; None of a name without a number.

    ``ride_001.mp4#t=1054.jpg`` is frame 1054 of ``ride_001.mp4#t=``.
    """
    stem = re.sub(r"\.[A-Za-z]{2,5}$", "", name)
    found = re.search(r"(\d+)(?=\D*$)", stem)
    if found is None:
        return None
    return f"{stem[: found.start()]}*{stem[found.end() :]}", float(found.group())


def _sequences(question: Question) -> list[list[int]]:
    """The rows of each video in the order of its frames, of those with at least two. Raises ``MissingInputError``."""
    names = question.names if question.names is not None else question.ids
    keys: Sequence[tuple[str, float] | None] = question.order if question.order is not None else [frame_of(name) for name in names]
    videos: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        if key is not None:
            videos.setdefault(key[0], []).append(row)
    frames = {row: key[1] for row, key in enumerate(keys) if key is not None}
    found = [sorted(rows, key=lambda row: (frames[row], question.ids[row])) for _, rows in sorted(videos.items()) if len(rows) > 1]
    if not found:
        raise MissingInputError("the pictures are no sequence: neither an order is given nor do names differ in their last number alone")
    return found


def _alike_pairs(question: Question, sequences: list[list[int]]) -> list[tuple[int, int, int]]:
    pairs = [
        (left, right, apart)
        for rows in sequences
        for apart in range(1, FARTHEST + 1)
        for left, right in zip(rows, rows[apart:], strict=False)
    ]
    alike = _alike(question, [(left, right) for left, right, _ in pairs])
    return [pair for pair, is_alike in zip(pairs, alike, strict=True) if is_alike]


def _alike(question: Question, pairs: list[tuple[int, int]]) -> np.ndarray:
    """(p,) True for the pairs that look the same. By hashes where there are any: what a network makes of two pictures may be alike without their being
    so.
    """
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    if question.hashes is not None:
        hashes = np.asarray(question.hashes, np.uint64)
        differing = np.unpackbits((hashes[left] ^ hashes[right]).view(np.uint8).reshape(-1, 8), axis=1)
        return np.asarray(differing.sum(axis=1) <= MOST_BITS)
    return _cosines(question, left, right) >= LEAST_COSINE


def _cosines(question: Question, left: Ints, right: Ints) -> Floats:
    vectors = normalised(np.zeros((0, 0)) if question.embeddings is None else question.embeddings)
    cosines: Floats = np.einsum("ij,ij->i", vectors[left], vectors[right]).astype(np.float64)
    return cosines


def _check_embeddings(question: Question, seed: int) -> None:
    """Raises ``MissingInputError`` where the embeddings call most pictures alike that are no neighbours: those of many networks never differ by much."""
    if question.hashes is not None or len(question) < 2:
        return
    left, right = np.random.default_rng(seed).integers(0, len(question), (2, _UNRELATED))
    apart = np.abs(left - right) > _FAR_APART
    cosines = _cosines(question, left[apart], right[apart])
    share = float((cosines[np.isfinite(cosines)] >= LEAST_COSINE).mean()) if np.isfinite(cosines).any() else 0.0
    if share > 0.5:
        raise MissingInputError(
            f"{share:.0%} of the pictures that are no neighbours have a cosine of at least {LEAST_COSINE}: these embeddings cannot say whether "
            "neighbours look the same; hashes can"
        )


def _disagreement(question: Question, left: int, right: int, low: float) -> float:
    if question.probabilities is not None:
        rows = complete(question.probabilities[[left, right]])
        return float(class_disagreement(rows[:1], rows[1:])[0])
    predictions = question.predictions or ()
    return box_disagreement(predictions[left], predictions[right], low)


def _missed(question: Question, sequences: list[list[int]], low: float) -> dict[int, list[dict[str, Any]]]:
    """By row, the boxes that are there in the picture before and in the one after, but not in it."""
    if question.predictions is None:
        return {}
    alike = {(left, right) for left, right, apart in _alike_pairs(question, sequences) if apart == 1}
    found: dict[int, list[dict[str, Any]]] = {}
    for rows in sequences:
        for (before, row), after in zip(pairwise(rows), rows[2:], strict=False):
            if (before, row) in alike and (row, after) in alike:
                missed = _between(question, before, row, after, low)
                found |= {row: missed} if missed else {}
    return found


def _between(question: Question, before: int, row: int, after: int, low: float) -> list[dict[str, Any]]:
    predictions = question.predictions or ()
    first, here, last = (boxes.at_least(low) if boxes is not None else Boxes() for boxes in (predictions[r] for r in (before, row, after)))
    if predictions[row] is None:
        return []
    both = match(first, last)
    steady = first.keep(np.array([left for left, _ in both], np.int64))
    steady = Boxes((steady.corners + last.corners[[right for _, right in both]]) / 2, steady.scores, steady.classes)
    there = {left for left, _ in match(steady, here)}
    return [_described(question, steady, place, before, after) for place in range(len(steady)) if place not in there]


def _described(question: Question, boxes: Boxes, place: int, before: int, after: int) -> dict[str, Any]:
    x1, y1, x2, y2 = (float(value) for value in boxes.corners[place])
    index = int(boxes.classes[place])
    name = question.class_names[index] if index < len(question.class_names) else str(index)
    return {"box": [x1, y1, x2 - x1, y2 - y1], "class_name": name, "between": [question.ids[before], question.ids[after]]}
