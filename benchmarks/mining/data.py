"""Pictures with known answers: digits to classify, scenes of digits with known near-duplicates, blood cells, and planted label errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

BCCD = Path(__file__).resolve().parents[3] / "shared" / "data" / "bccd" / "BCCD"
BCCD_CLASSES = ("RBC", "WBC", "Platelets")
BCCD_SIZE = (120, 160)  # height, width that the tiny detector sees; the pictures are 480 x 640
DIGIT_SETTINGS = ("balanced", "imbalanced", "redundant")
SCENE_CLASSES = ("zero", "three", "four", "seven")
SCENE_SHARES = (0.62, 0.25, 0.09, 0.04)
_SCENE_DIGITS = (0, 3, 4, 7)
_SCENE_SIZE = 96
_EMPTY_SHARE = 0.2
_RUN_SHARE = 0.4
_RUN_LENGTHS = (4, 11)


@dataclass(frozen=True)
class Digits:
    """Pictures of 8 x 8 as rows in [0, 1]: ``pool_x`` (n, 64) and ``pool_y`` (n,) to buy labels for, a balanced test set apart.

    ``groups`` (n,): pictures of the pool with the same number are copies of one.
    """

    pool_x: npt.NDArray[np.float32]
    pool_y: Ints
    test_x: npt.NDArray[np.float32]
    test_y: Ints
    groups: Ints


@dataclass(frozen=True)
class Truth:
    """The objects of one picture: ``corners`` (n, 4) x1 y1 x2 y2 in pixels of the arrays, ``classes`` (n,)."""

    corners: Floats = field(default_factory=lambda: np.zeros((0, 4)))
    classes: Ints = field(default_factory=lambda: np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.classes)


@dataclass(frozen=True)
class Scenes:
    """A set to detect in. ``pictures`` (n, channels, height, width) uint8 and ``truths`` in the same order; ``groups`` (n,) near-duplicate groups."""

    names: Sequence[str]
    pictures: Bytes
    truths: Sequence[Truth]
    groups: Ints
    class_names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: npt.ArrayLike) -> Scenes:
        chosen = np.asarray(rows, np.int64)
        return Scenes(
            [self.names[row] for row in chosen],
            self.pictures[chosen],
            [self.truths[row] for row in chosen],
            self.groups[chosen],
            self.class_names,
        )


# ------------------------------------------------------------------------------------------------------ digits to classify


def digits(setting: str, seed: int) -> Digits:
    """scikit-learn's digits, 60 to 40, stratified, dealt out by the seed.

    ``imbalanced``: a tenth of the classes 0 to 4 stays in the pool. ``redundant``: half of the pool, and as many shifted and noisy copies
    of a tenth of it. The test set is never changed.
    """
    x, y = load_digits(return_X_y=True)
    pool_x, test_x, pool_y, test_y = train_test_split(
        (x / 16).astype(np.float32), y.astype(np.int64), test_size=0.4, stratify=y, random_state=seed
    )
    dice = np.random.default_rng([seed, 1])
    if setting == "imbalanced":
        kept = (pool_y > 4) | (dice.random(len(pool_y)) < 0.1)
        pool_x, pool_y = pool_x[kept], pool_y[kept]
    elif setting == "redundant":
        copied_x, copied_y, groups = _with_copies(pool_x, pool_y, dice)
        return Digits(copied_x, copied_y, test_x, test_y, groups)
    elif setting != "balanced":
        raise ValueError(f"setting {setting!r}: known are {', '.join(DIGIT_SETTINGS)}")
    return Digits(pool_x, pool_y, test_x, test_y, np.arange(len(pool_y)))


def _with_copies(x: npt.NDArray[np.float32], y: Ints, dice: np.random.Generator) -> tuple[npt.NDArray[np.float32], Ints, Ints]:
    half = dice.permutation(len(x))[: len(x) // 2]
    sources = dice.choice(half[: len(x) // 10], len(half))
    copies = np.stack([np.roll(x[row].reshape(8, 8), dice.integers(-1, 2), axis=1).ravel() for row in sources])
    copies = np.clip(copies + dice.normal(0, 0.05, copies.shape), 0, 1).astype(np.float32)
    return np.concatenate([x[half], copies]), np.concatenate([y[half], y[sources]]), np.concatenate([half, sources])


# ------------------------------------------------------------------------------------------------------------ digit scenes


def digit_scenes(seed: int, pool: int = 600, test: int = 200) -> tuple[Scenes, Scenes]:
    """A pool as production sees it, and a test set in which all classes are as frequent.

    Grey scenes of 96 x 96 with up to four digits of four classes (62, 25, 9 and 4 %), a fifth without any; four of ten draws become a run of
    4 to 11 near-duplicates: the same digits a pixel or two further, other noise. Digits of the test set are shown in no pool.
    """
    x, y = load_digits(return_X_y=True)
    shown, held = train_test_split(np.arange(len(y)), test_size=0.35, stratify=y, random_state=seed)
    makers = [
        _SceneMaker(x.reshape(-1, 8, 8) / 16, y, rows, np.random.default_rng([seed, number])) for number, rows in enumerate((shown, held))
    ]
    return makers[0].pool(pool), makers[1].balanced(test)


class _SceneMaker:
    """Draws scenes out of the digits ``rows``."""

    def __init__(self, digit_pictures: Floats, labels: Ints, rows: Ints, dice: np.random.Generator) -> None:
        self.dice, self.digit_pictures = dice, digit_pictures
        self.instances = [rows[labels[rows] == digit] for digit in _SCENE_DIGITS]
        self.others = rows[~np.isin(labels[rows], _SCENE_DIGITS)]

    def pool(self, count: int) -> Scenes:
        plans: list[tuple[int, Any]] = []
        group = 0
        while len(plans) < count:
            length = int(self.dice.integers(_RUN_LENGTHS[0], _RUN_LENGTHS[1] + 1)) if self.dice.random() < _RUN_SHARE else 1
            plan = self._plan(SCENE_SHARES, _EMPTY_SHARE)
            plans += [(group, self._shifted(plan) if step else plan) for step in range(length)]
            group += 1
        chosen = [plans[index] for index in self.dice.permutation(min(count, len(plans)))]
        return self._scenes("pool", [plan for _, plan in chosen], [number for number, _ in chosen])

    def balanced(self, count: int) -> Scenes:
        return self._scenes("test", [self._plan((0.25,) * 4, 0.1) for _ in range(count)], list(range(count)))

    def _plan(self, shares: Sequence[float], empty_share: float) -> Any:
        """Where which digit stands: a background, then (class or -1 for one that is not asked for, instance, x, y, side) each."""
        dice = self.dice
        background = (dice.uniform(30, 110), dice.uniform(-40, 40, 2))
        count = 0 if dice.random() < empty_share else int(dice.integers(1, 5))
        wanted = [int(label) for label in dice.choice(4, count, p=shares)] + [-1] * int(dice.integers(0, 3))
        placed: list[tuple[int, int, int, int, int]] = []
        for label in wanted:
            instance = int(dice.choice(self.others if label < 0 else self.instances[label]))
            side = int(dice.integers(18, 34))
            place = self._free_place([(x, y, s) for _, _, x, y, s in placed], side)
            if place is not None:
                placed.append((label, instance, *place, side))
        return background, placed, dice.uniform(0.5, 1.0)

    def _free_place(self, taken: Sequence[tuple[int, int, int]], side: int) -> tuple[int, int] | None:
        for _ in range(20):
            x, y = (int(value) for value in self.dice.integers(0, _SCENE_SIZE - side, 2))
            if all(
                abs(x - a) > (side + s) // 2 - 4 + (s - side) // 2 or abs(y - b) > (side + s) // 2 - 4 + (s - side) // 2
                for a, b, s in taken
            ):
                return x, y
        return None

    def _shifted(self, plan: Any) -> Any:
        background, placed, ink = plan
        step = self.dice.integers(-2, 3, (len(placed), 2))
        moved = [
            (label, instance, *(int(value) for value in np.clip([x + step[row, 0], y + step[row, 1]], 0, _SCENE_SIZE - side)), side)
            for row, (label, instance, x, y, side) in enumerate(placed)
        ]
        return background, moved, ink

    def _scenes(self, prefix: str, plans: Sequence[Any], groups: Sequence[int]) -> Scenes:
        drawn = [self._draw(plan) for plan in plans]
        names = [f"{prefix}_{index:04d}" for index in range(len(plans))]
        return Scenes(
            names,
            np.stack([picture for picture, _ in drawn])[:, None],
            [truth for _, truth in drawn],
            np.asarray(groups, np.int64),
            SCENE_CLASSES,
        )

    def _draw(self, plan: Any) -> tuple[Bytes, Truth]:
        (level, slope), placed, ink = plan
        ramp = np.linspace(-1, 1, _SCENE_SIZE)
        canvas = level + slope[0] * ramp[None, :] + slope[1] * ramp[:, None] + self.dice.normal(0, 14, (_SCENE_SIZE, _SCENE_SIZE))
        corners, classes = [], []
        for label, instance, x, y, side in placed:
            digit = Image.fromarray((self.digit_pictures[instance] * 255).astype(np.uint8)).resize((side, side), Image.Resampling.BILINEAR)
            strength = np.asarray(digit, float) / 255
            canvas[y : y + side, x : x + side] += strength * ink * 150
            if label >= 0:
                corners.append(_ink_bounds(strength, x, y))
                classes.append(label)
        truth = Truth(np.asarray(corners, float).reshape(-1, 4), np.asarray(classes, np.int64))
        return np.clip(canvas, 0, 255).astype(np.uint8), truth


def _ink_bounds(strength: Floats, x: int, y: int) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(strength.max(1) > 0.25), np.flatnonzero(strength.max(0) > 0.25)
    return float(x + columns[0]), float(y + rows[0]), float(x + columns[-1] + 1), float(y + rows[-1] + 1)


# --------------------------------------------------------------------------------------------------------------- blood cells


def bccd(folder: Path = BCCD) -> tuple[Scenes, Scenes]:
    """The published splits of BCCD at a quarter of its size: trainval (292) as the pool, test (72). Raises ``FileNotFoundError`` where it is not."""
    return _read_bccd(folder, "trainval"), _read_bccd(folder, "test")


def _read_bccd(folder: Path, split: str) -> Scenes:
    names = (folder / "ImageSets" / "Main" / f"{split}.txt").read_text(encoding="utf-8").split()
    pictures = [_read_picture(folder / "JPEGImages" / f"{name}.jpg") for name in names]
    truths = [_read_voc(folder / "Annotations" / f"{name}.xml") for name in names]
    return Scenes(names, np.stack(pictures), truths, np.arange(len(names)), BCCD_CLASSES)


def _read_picture(path: Path) -> Bytes:
    with Image.open(path) as picture:
        small = picture.convert("RGB").resize(BCCD_SIZE[::-1], Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))


def _read_voc(path: Path) -> Truth:
    corners, classes = [], []
    for thing in ElementTree.parse(path).getroot().iter("object"):
        box = [float(thing.findtext(f"bndbox/{side}", "0")) / 4 for side in ("xmin", "ymin", "xmax", "ymax")]
        if box[2] > box[0] and box[3] > box[1]:  # two boxes of BCCD are single pixels
            corners.append(box)
            classes.append(BCCD_CLASSES.index(thing.findtext("name", "")))
    return Truth(np.asarray(corners, float).reshape(-1, 4), np.asarray(classes, np.int64))


# ------------------------------------------------------------------------------------------------------ planted label errors


def plant_errors(truths: Sequence[Truth], class_count: int, seed: int, share: float = 0.1) -> tuple[list[Truth], list[str]]:
    """Labels of which a share of the pictures has one wrong: dropped, of another class, or shifted by 0.4 of its sides. And what was done to each."""
    dice = np.random.default_rng([seed, 7])
    candidates = [row for row, truth in enumerate(truths) if len(truth)]
    chosen = set(dice.choice(candidates, round(share * len(truths)), replace=False).tolist())
    spoiled, kinds = [], []
    for row, truth in enumerate(truths):
        kind = ("drop", "swap", "shift")[int(dice.integers(3))] if row in chosen else ""
        spoiled.append(_spoil(truth, kind, class_count, dice) if kind else truth)
        kinds.append(kind)
    return spoiled, kinds


def _spoil(truth: Truth, kind: str, class_count: int, dice: np.random.Generator) -> Truth:
    victim = int(dice.integers(len(truth)))
    corners, classes = truth.corners.copy(), truth.classes.copy()
    if kind == "drop":
        return Truth(np.delete(corners, victim, 0), np.delete(classes, victim))
    if kind == "swap":
        classes[victim] = (classes[victim] + dice.integers(1, class_count)) % class_count
    else:
        sides = corners[victim, 2:] - corners[victim, :2]
        corners[victim] += np.tile(0.4 * sides * dice.choice([-1, 1], 2), 2)
    return Truth(corners, classes)
