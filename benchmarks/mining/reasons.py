"""Are the reasons of hard examples true? Known changes to blood-cell pictures must give the reason that belongs to them (mining.md 6, T3).

Each of the 31 reasons has at least one change. Pictures are real (BCCD's test split; the reference is of its train and val splits), predictions are
the labels with full confidence, so that nothing but the change can be the cause; for the reasons 19 to 29 the model is one that fails at this
augmentation alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter

_ROOT = Path(__file__).resolve().parents[2]
if str(_ROOT / "images") not in sys.path:  # the mining core lies with the images that carry it
    sys.path.insert(0, str(_ROOT / "images"))

from mining.boxes import Boxes  # noqa: E402
from mining.hard_examples import REASONS, Answer, Parameters, Question, Training, find_hard_examples  # noqa: E402
from mining.hard_examples.pictures import EMBEDDER, Looks, describe_boxes, look, stack  # noqa: E402
from mining.hard_examples.reasons import OPERATION_CODES, OPERATIONS  # noqa: E402
from mining.hard_examples.views import make_view  # noqa: E402

BCCD = _ROOT.parent / "shared" / "data" / "bccd" / "BCCD"
CLASSES = ("RBC", "WBC", "Platelets")
_THREE_TIMES_THE_USUAL = 42
HIT_GOAL, CLEAN_GOAL = 0.95, 0.3


@dataclass(frozen=True)
class Case:
    """A picture with its predictions."""

    picture: Image.Image
    boxes: Boxes


@dataclass(frozen=True)
class Found:
    """By change: the ``expected`` reason, ``hit_rates``, the share of pictures that have it, and ``reasons``, the share that has any other one.

    ``codes_per_clean_picture``: how many reasons a picture has that nothing was done to; ``clean`` by reason.
    """

    expected: Mapping[str, int]
    hit_rates: Mapping[str, float]
    reasons: Mapping[str, Mapping[int, float]]
    codes_per_clean_picture: float
    clean: Mapping[int, float] = field(default_factory=dict)


def reasons_of_interventions(data: Path = BCCD, pictures: int = 72, references: int = 292) -> Found:
    """Applies every change to the first ``pictures`` of the test split; the reference are the first ``references`` of train and val."""
    training = _training(_read(data, "trainval", references))
    cases = _read(data, "test", pictures)
    clean = _shares(_ask(cases, training))
    expected, shares = {}, {}
    for name, code, change in _CHANGES:
        expected[name], shares[name] = code, _shares(_ask([change(case) for case in cases], training))
    for name, code, answer in _special(cases, training):
        expected[name], shares[name] = code, _shares(answer)
    hits = {name: shares[name].get(code, 0.0) for name, code in expected.items()}
    others = {name: {code: share for code, share in found.items() if code != expected[name]} for name, found in shares.items()}
    return Found(expected, hits, others, sum(clean.values()), clean)


def _read(folder: Path, split: str, count: int) -> list[Case]:
    names = (folder / "ImageSets" / "Main" / f"{split}.txt").read_text(encoding="utf-8").split()
    return [_case(folder, name) for name in sorted(names)[:count]]


def _case(folder: Path, name: str) -> Case:
    root = ElementTree.parse(folder / "Annotations" / f"{name}.xml").getroot()
    rows = [
        (
            *(float(found.findtext(f"bndbox/{side}", "0")) for side in ("xmin", "ymin", "xmax", "ymax")),
            CLASSES.index(found.findtext("name", "")),
        )
        for found in root.iter("object")
    ]
    table = np.array(rows, np.float64).reshape(-1, 5)
    table = table[(table[:, 2:4] > table[:, :2]).all(axis=1)]
    with Image.open(folder / "JPEGImages" / f"{name}.jpg") as picture:
        return Case(picture.convert("RGB"), Boxes(table[:, :4], np.full(len(table), 0.95), table[:, 4].astype(np.int64)))


def _training(cases: Sequence[Case]) -> Training:
    looks = stack([look(case.picture, case.boxes) for case in cases])
    boxes = [describe_boxes(case.picture, case.boxes) for case in cases]
    return Training(boxes=boxes, features=looks.features, box_features=looks.box_features, embeddings=looks.embeddings, embedder=EMBEDDER)


def _question(cases: Sequence[Case], training: Training) -> Question:
    """With names that are no sequence, and views in which everything is found again."""
    looks: Looks = stack([look(case.picture, case.boxes) for case in cases])
    found = [describe_boxes(case.picture, case.boxes) for case in cases]
    return Question(
        [f"{chr(97 + place // 26)}{chr(97 + place % 26)}" for place in range(len(cases))],
        CLASSES,
        found,
        features=looks.features,
        box_features=looks.box_features,
        embeddings=looks.embeddings,
        embedder=EMBEDDER,
        hashes=looks.hashes,
        views=dict.fromkeys(OPERATIONS, found),
        training=training,
    )


def _ask(cases: Sequence[Case], training: Training) -> Answer:
    return find_hard_examples(_question(cases, training), _PARAMETERS)


_PARAMETERS = Parameters(aug_op_config="+".join(f"{name}:0.1" for name in OPERATIONS))
_VIEWS_ONLY = replace(_PARAMETERS, comprehensive_algo_config="aug_consistent_mining:0.4265")


def _shares(answer: Answer) -> dict[int, float]:
    """Of each reason the share of the pictures that have it."""
    return {code: share for code in REASONS if (share := sum(code in row.codes for row in answer.rows) / len(answer.rows))}


# ------------------------------------------------------------------------------------- changes of the picture or of its boxes


def _to_pixels(change: Callable[[Image.Image], Image.Image]) -> Callable[[Case], Case]:
    return lambda case: replace(case, picture=change(case.picture))


def _to_boxes(change: Callable[[np.ndarray, Image.Image], np.ndarray]) -> Callable[[Case], Case]:
    """Changes the corners (n, 4)."""
    return lambda case: replace(case, boxes=replace(case.boxes, corners=change(case.boxes.corners, case.picture)))


def _noisy(picture: Image.Image) -> Image.Image:
    pixels = np.asarray(picture) + np.random.default_rng(0).normal(0, 25, (picture.height, picture.width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _resized(across: float, down: float) -> Callable[[Case], Case]:
    def change(case: Case) -> Case:
        size = (round(case.picture.width * across), round(case.picture.height * down))
        corners = case.boxes.corners * np.array([across, down, across, down])
        return Case(case.picture.resize(size), replace(case.boxes, corners=corners))

    return change


def _inside_boxes(change: Callable[[Image.Image], Image.Image]) -> Callable[[Case], Case]:
    """Changes the pixels inside of the boxes alone."""

    def changed(case: Case) -> Case:
        picture = case.picture.copy()
        for x1, y1, x2, y2 in np.rint(case.boxes.corners).astype(int).tolist():
            picture.paste(change(case.picture).crop((x1, y1, x2, y2)), (x1, y1))
        return replace(case, picture=picture)

    return changed


def _many(case: Case) -> Case:
    """Each box so often, shifted, that there are three times as many as usual: tripling two would still be few."""
    times = max(3, -(-_THREE_TIMES_THE_USUAL // len(case.boxes)))
    size = np.array([case.picture.width, case.picture.height] * 2)
    shifts = np.random.default_rng(0).uniform(-60, 60, (times, 2))
    corners = np.concatenate([(case.boxes.corners + np.tile(shift, 2)).clip(0, size) for shift in shifts])
    return replace(case, boxes=Boxes(corners, np.tile(case.boxes.scores, times), np.tile(case.boxes.classes, times)))


def _shrunk(corners: np.ndarray, across: float, down: float) -> np.ndarray:
    """Around the centre."""
    centre = (corners[:, :2] + corners[:, 2:]) / 2
    half = (corners[:, 2:] - corners[:, :2]) / 2 * np.array([across, down])
    return np.hstack([centre - half, centre + half])


def _to_corners(corners: np.ndarray, picture: Image.Image) -> np.ndarray:
    """Boxes of the same size in the four corners of the picture."""
    sides = corners[:, 2:] - corners[:, :2]
    place = np.arange(len(corners))[:, None]
    start = np.where(np.hstack([place % 2, place // 2 % 2]) == 1, np.array(picture.size) - sides, 0)
    return np.hstack([start, start + sides])


def _one_large(corners: np.ndarray, picture: Image.Image) -> np.ndarray:
    """Every other box over most of the picture."""
    large = np.array([0.05, 0.05, 0.95, 0.95]) * np.array([*picture.size, *picture.size])
    return np.where(np.arange(len(corners))[:, None] % 2 == 0, large, corners)


def _piled(corners: np.ndarray, picture: Image.Image) -> np.ndarray:
    """All boxes on the first two thirds of one another."""
    del picture
    sides = np.median(corners[:, 2:] - corners[:, :2], axis=0)
    start = corners[0, :2] * 0.5 + np.arange(len(corners))[:, None] * sides * 0.08
    return np.hstack([start, start + sides])


def _labelled(classes: int) -> Callable[[Case], Case]:
    return lambda case: replace(case, boxes=replace(case.boxes, classes=np.full(len(case.boxes), classes)))


def _foreign(case: Case) -> Case:
    """Something that is no blood."""
    across, down = np.meshgrid(np.arange(case.picture.width), np.arange(case.picture.height))
    pixels = np.stack([(across // 40 + down // 40) % 2 * 200, across * 255 // case.picture.width, np.full_like(across, 30)], axis=2)
    return replace(case, picture=Image.fromarray(pixels.astype(np.uint8)))


_CHANGES: tuple[tuple[str, int, Callable[[Case], Case]], ...] = (
    ("no boxes", 0, lambda case: replace(case, boxes=Boxes())),
    ("confidence 0.45", 1, lambda case: replace(case, boxes=replace(case.boxes, scores=np.full(len(case.boxes), 0.45)))),
    ("all called platelets (cluster)", 2, _labelled(2)),
    ("all called platelets (distance)", 3, _labelled(2)),
    ("half the size", 5, _resized(0.5, 0.5)),
    ("squeezed to 70 %", 6, _resized(0.7, 1.0)),
    ("half as bright", 7, _to_pixels(lambda picture: ImageEnhance.Brightness(picture).enhance(0.5))),
    ("a third brighter", 7, _to_pixels(lambda picture: ImageEnhance.Brightness(picture).enhance(1.35))),
    ("grey", 8, _to_pixels(lambda picture: picture.convert("L").convert("RGB"))),
    ("vivid", 9, _to_pixels(lambda picture: ImageEnhance.Color(picture).enhance(3.0))),
    ("blurred, radius 4", 10, _to_pixels(lambda picture: picture.filter(ImageFilter.GaussianBlur(4)))),
    ("noise of 25 levels", 10, _to_pixels(_noisy)),
    ("three times the usual boxes", 11, _many),
    ("every other box huge", 12, _to_boxes(_one_large)),
    ("boxes 3 x flatter", 13, _to_boxes(lambda corners, _: _shrunk(corners, 1.5, 0.4))),
    ("boxes a tenth in size", 14, _to_boxes(lambda corners, _: _shrunk(corners, 0.1, 0.1))),
    ("boxes in the corners", 15, _to_boxes(_to_corners)),
    ("dark inside the boxes", 16, _inside_boxes(lambda picture: ImageEnhance.Brightness(picture).enhance(0.4))),
    ("blurred inside the boxes", 17, _inside_boxes(lambda picture: picture.filter(ImageFilter.GaussianBlur(8)))),
    ("boxes piled up", 18, _to_boxes(_piled)),
    ("a foreign picture", 30, _foreign),
)


# ---------------------------------------------------------------------------------------------- changes of what the model does


def _special(cases: Sequence[Case], training: Training) -> list[tuple[str, int, Answer]]:
    question = _question(cases, training)
    return [_dropped_in_a_run(cases, training), *(_fails_at(cases, question, name) for name in OPERATIONS)]


def _fails_at(cases: Sequence[Case], question: Question, operation: str) -> tuple[str, int, Answer]:
    """A model that finds nothing where it should in the pictures changed by one operation, and everything in the others."""
    views: dict[str, list[Any]] = {name: [] for name in OPERATIONS}
    for case in cases:
        for name in OPERATIONS:
            view = make_view(case.picture, name) if name == operation else None
            off = case.boxes.corners if view is None else case.boxes.corners + np.array([70.0, 60, 70, 60])
            views[name].append(replace(case.boxes, corners=off))
    return f"a model that fails at {operation}", OPERATION_CODES[operation], find_hard_examples(replace(question, views=views), _VIEWS_ONLY)


def _dropped_in_a_run(cases: Sequence[Case], training: Training) -> tuple[str, int, Answer]:
    """Each picture as a film of five frames that shift by a pixel; in the third, four of five boxes are missing. Only those third frames count."""
    frames = [_shifted(case, frame) for case in cases for frame in range(5)]
    order = [(f"film {place}", float(frame)) for place in range(len(cases)) for frame in range(5)]
    question = _question_of_frames(frames, training, order)
    answer = find_hard_examples(question, _PARAMETERS)
    return "boxes dropped in one frame", 4, Answer(answer.rows[2::5], answer.report)


def _shifted(case: Case, frame: int) -> Case:
    picture = case.picture.transform(case.picture.size, Image.Transform.AFFINE, (1, 0, -frame, 0, 1, 0))
    boxes = replace(case.boxes, corners=case.boxes.corners + np.array([frame, 0, frame, 0]))
    return Case(picture, boxes.keep(np.arange(len(boxes)) % 5 == 0) if frame == 2 else boxes)


def _question_of_frames(frames: Sequence[Case], training: Training, order: Sequence[tuple[str, float]]) -> Question:
    looks = stack([look(frame.picture, frame.boxes) for frame in frames])
    return Question(
        [f"{place}" for place in range(len(frames))], CLASSES, [frame.boxes for frame in frames], embeddings=looks.embeddings,
        embedder=EMBEDDER, hashes=looks.hashes, order=order, training=replace(training, features=None),
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------------------------- tables


def table(found: Found) -> list[list[str]]:
    """A row per change: change, expected reason, its meaning, hit rate, other reasons with their shares."""
    return [
        [name, str(code), REASONS[code].meaning, f"{found.hit_rates[name]:.2f}", _listed(found.reasons[name])]
        for name, code in sorted(found.expected.items(), key=lambda item: (item[1], item[0]))
    ]


def notes(found: Found) -> list[str]:
    least = min(found.hit_rates.values())
    return [
        f"lowest hit rate {least:.2f} (goal {HIT_GOAL}: {'met' if least >= HIT_GOAL else 'NOT met'})",
        f"{found.codes_per_clean_picture:.2f} reasons per clean picture (goal < {CLEAN_GOAL}: "
        f"{'met' if found.codes_per_clean_picture < CLEAN_GOAL else 'NOT met'}); by reason: {_listed(found.clean)}",
    ]


def _listed(shares: Mapping[int, float]) -> str:
    return " ".join(f"{code}:{share:.2f}" for code, share in sorted(shares.items(), key=lambda item: -item[1]))


COLUMNS = ("change", "reason", "meaning", "hit rate", "other reasons")


def sheets(arguments: Sequence[str], *, quick: bool = False) -> list[Any]:
    """For ``scripts/bench mining.reasons``; ``quick`` takes 6 pictures."""
    from benchmarks.measure import Sheet

    del arguments
    found = reasons_of_interventions(pictures=6 if quick else 72, references=100 if quick else 292)
    return [Sheet("T3: reasons under known changes (BCCD)", COLUMNS, table(found), notes(found))]


def main() -> None:
    """``python -m benchmarks.mining.reasons``: the whole table."""
    found = reasons_of_interventions()
    for row in [list(COLUMNS), *table(found)]:
        print(f"{row[0]:34} {row[1]:>6} {row[3]:>8}  {row[4]}")
    print(*notes(found), sep="\n")


if __name__ == "__main__":
    main()
