"""T1, label-budget curves: what a model learns from the labels each strategy buys, from the same first pictures and the same training seeds.

Settings: digits (three pools), scenes of digits, BCCD. Every strategy is compared with ``random``; ``anti`` (the least
doubtful first) must lose, or the setting cannot tell strategies apart. Runs are kept and continued (``results``).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.measure import Sheet
from benchmarks.mining import paired, results
from benchmarks.mining.data import Digits, Scenes, bccd, digit_scenes, digits

OURS = (
    "random", "anti", "least_confidence", "entropy", "margin", "core_set", "typiclust", "badge", "csf", "cdal", "cald", "aldd", "ppal", "default",
)  # fmt: skip
CONTROLS = ("random", "anti")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Setting:
    """``first`` labels, then ``rounds`` times ``budget`` more; ``quality`` names the measure of the curve, ``rare`` the classes reported apart."""

    name: str
    first: int
    budget: int
    rounds: int
    seeds: int
    quality: str
    rare: tuple[int, ...]
    load: Callable[[int], Any]


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting("digits-balanced", 20, 20, 14, 20, "macro accuracy", (), lambda seed: digits("balanced", seed)),
        Setting("digits-imbalanced", 20, 20, 14, 20, "macro accuracy", (0, 1, 2, 3, 4), lambda seed: digits("imbalanced", seed)),
        Setting("digits-redundant", 20, 20, 14, 20, "macro accuracy", (), lambda seed: digits("redundant", seed)),
        Setting("scenes", 40, 30, 4, 12, "mAP50", (3,), digit_scenes),
        Setting("bccd", 20, 20, 4, 10, "mAP50", (2,), lambda _: bccd()),
    )
}


def sheets(arguments: Sequence[str], *, quick: bool = False) -> list[Sheet]:
    """``curves SETTING... [--seeds A-B] [--strategies a,b] [--report]``: runs what is missing, then one table per setting.

    ``--report`` only prints what is kept. ``quick`` runs two seeds of one small setting.
    """
    asked = _parse(arguments, quick)
    for name in asked.settings:
        if not asked.report:
            run(
                SETTINGS[name],
                asked.strategies.split(",") if asked.strategies else strategies_of(name),
                asked.seeds or range(SETTINGS[name].seeds),
            )
    return [sheet for name in asked.settings for sheet in report(SETTINGS[name])]


def _parse(arguments: Sequence[str], quick: bool) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench mining.curves", description=__doc__)
    parser.add_argument("settings", nargs="*", choices=[*SETTINGS, []], default=["digits-balanced"] if quick else list(SETTINGS))
    parser.add_argument("--seeds", type=_range, help="such as 0-9; default: as many as the setting asks for")
    parser.add_argument("--strategies", default="", help="names with commas between them; default: all that fit, and the peers")
    parser.add_argument("--report", action="store_true", help="only print what was run before")
    asked = parser.parse_args(list(arguments))
    if quick and not asked.seeds:
        asked.seeds, asked.strategies = range(2), asked.strategies or "random,anti,default"
    return asked


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    return range(int(first), int(last or first) + 1)


def strategies_of(setting: str) -> list[str]:
    """The strategies of ours that fit a setting, then the peers."""
    from mining import STRATEGIES

    from benchmarks.mining import peers

    kind = "classification" if setting.startswith("digits") else "detection"
    known = {"predictions", "probabilities", "embeddings"} | ({"features", "views", "class_maps"} if kind == "detection" else set())
    ours = [name for name in OURS if kind in STRATEGIES[name].kinds and STRATEGIES[name].needs <= known]
    return [*ours, *(peers.CLASSIFICATION if kind == "classification" else peers.DETECTION)]


def run(setting: Setting, strategies: Sequence[str], seeds: Sequence[int]) -> None:
    """Runs every strategy on the seeds it has not run yet, and keeps each run."""
    if setting.name.startswith("digits"):
        for strategy in strategies:
            todo = results.missing(setting.name, strategy, seeds)
            if todo:
                results.append(setting.name, digit_runs(setting, strategy, todo))
        return
    for seed in seeds:
        todo = [strategy for strategy in strategies if results.missing(setting.name, strategy, [seed])]
        if todo:
            course = SceneCourse(setting, seed)
            for strategy in todo:
                results.append(setting.name, [course.run(strategy)])


# ------------------------------------------------------------------------------------------------------------------ digits


def digit_runs(setting: Setting, strategy: str, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """The curves of one strategy for all seeds; the classifiers of a round are trained together."""
    from benchmarks.mining import models

    sets = [setting.load(seed) for seed in seeds]
    labelled = [
        np.random.default_rng([seed, 2]).permutation(len(one.pool_y))[: setting.first] for one, seed in zip(sets, seeds, strict=True)
    ]
    accuracies: list[list[Floats]] = [[] for _ in seeds]
    spent_s = 0.0
    for step in range(setting.rounds + 1):
        trained = models.train(
            [one.pool_x[rows] for one, rows in zip(sets, labelled, strict=True)],
            [one.pool_y[rows] for one, rows in zip(sets, labelled, strict=True)],
            seeds,
        )
        for number, one in enumerate(sets):
            accuracies[number].append(_accuracy_by_class(trained.answer(number, one.test_x)[0], one.test_y))
        if step < setting.rounds:
            begin = time.process_time()
            labelled = [
                np.concatenate([rows, _buy_digits(strategy, one, rows, trained, number, setting.budget, seeds[number], step)])
                for number, (one, rows) in enumerate(zip(sets, labelled, strict=True))
            ]
            spent_s += time.process_time() - begin
    costs = [setting.first + setting.budget * step for step in range(setting.rounds + 1)]
    return [
        _record(strategy, seed, costs, costs, np.stack(curve), setting, spent_s / len(seeds))
        for seed, curve in zip(seeds, accuracies, strict=True)
    ]


def _accuracy_by_class(probabilities: Floats, truth: Ints) -> Floats:
    right = probabilities.argmax(1) == truth
    return np.array([right[truth == label].mean() for label in range(probabilities.shape[1])])


def _buy_digits(strategy: str, one: Digits, rows: Ints, trained: Any, number: int, budget: int, seed: int, step: int) -> Ints:
    from benchmarks.mining import peers

    probabilities, hidden = trained.answer(number, one.pool_x)
    rest = np.setdiff1d(np.arange(len(one.pool_y)), rows)
    if strategy in peers.CLASSIFICATION:
        known = peers.Known(
            rows, one.pool_y[rows], rest, probabilities, hidden, one.pool_x, lambda: trained.sampled(number, one.pool_x), 100 * seed + step
        )
        return np.asarray(peers.CLASSIFICATION[strategy](known, budget), np.int64)
    vectors = one.pool_x if strategy == "typiclust" else hidden
    return buy_classified(strategy, probabilities, vectors, rows, one.pool_y[rows], rest, budget, seed)


def buy_classified(
    strategy: str, probabilities: Floats, vectors: npt.NDArray[np.float32], rows: Ints, labels: Ints, rest: Ints, budget: int, seed: int
) -> Ints:
    """Row numbers that the mining core picks out of ``rest``; ``rows`` have the ``labels``."""
    from mining import Labelled, Pool

    counts = np.bincount(labels, minlength=probabilities.shape[1]).astype(float)
    pool = Pool(
        [f"digit_{row:05d}" for row in rest],
        [str(label) for label in range(probabilities.shape[1])],
        probabilities=probabilities[rest],
        embeddings=vectors[rest],
        labelled=Labelled(counts, vectors[rows], labels, image_count=len(rows)),
    )
    return np.array([int(name.rpartition("_")[2]) for name in picked(pool, strategy, budget, seed)], np.int64)


def picked(pool: Any, strategy: str, budget: int, seed: int) -> list[str]:
    """The ids that the mining core selects."""
    from mining import select

    return [pick.id for pick in select(pool, strategy, budget=budget, seed=seed).selected]


# ------------------------------------------------------------------------------------------------------------------ scenes


class SceneCourse:
    """All strategies on one seed of a detection setting: they share the first labels, the base, and its answers."""

    def __init__(self, setting: Setting, seed: int) -> None:
        from benchmarks.mining import detector

        self.setting, self.seed = setting, seed
        self.pool, self.test = setting.load(seed)
        self.first = np.random.default_rng([seed, 2]).permutation(len(self.pool))[: setting.first]
        self.base = detector.train_base(self.pool.take(self.first), seed)
        self.hashes = hashes_of(self.pool)

    def run(self, strategy: str) -> dict[str, Any]:
        """The curve of a strategy."""
        from benchmarks.mining import detector

        rows, model, spent_s = self.first, self.base, 0.0
        curve = [self._judge(model)]
        images, boxes = [len(rows)], [self._boxes(rows)]
        for step in range(self.setting.rounds):
            begin = time.process_time()
            rows = np.concatenate([rows, self.buy(strategy, model, rows, step)])
            spent_s += time.process_time() - begin
            model = detector.tune(self.base, self.pool.take(rows), self.seed)
            curve.append(self._judge(model))
            images.append(len(rows))
            boxes.append(self._boxes(rows))
        return _record(strategy, self.seed, images, boxes, np.stack(curve), self.setting, spent_s)

    def _judge(self, model: Any) -> Floats:
        from benchmarks.mining import detector

        return detector.average_precisions(detector.detect(model, self.test.pictures).boxes, self.test.truths, len(self.pool.class_names))

    def _boxes(self, rows: Ints) -> int:
        return sum(len(self.pool.truths[row]) for row in rows)

    def buy(self, strategy: str, model: Any, rows: Ints, step: int) -> Ints:
        from benchmarks.mining import peers

        rest = np.setdiff1d(np.arange(len(self.pool)), rows)
        if strategy in peers.DETECTION:
            return np.asarray(peers.DETECTION[strategy](self._known(model, rows, rest, step), self.setting.budget), np.int64)
        by_name = {name: row for row, name in enumerate(self.pool.names)}
        pool = scene_pool(model, self.pool, rows, rest, self.hashes, strategy)
        return np.array([by_name[name] for name in picked(pool, strategy, self.setting.budget, self.seed)], np.int64)

    def _known(self, model: Any, rows: Ints, rest: Ints, step: int) -> Any:
        from benchmarks.mining import detector, peers

        found = detector.detect(model, self.pool.pictures)
        pooled = np.stack([pooled_probabilities(boxes, len(self.pool.class_names)) for boxes in found.boxes])
        labels = np.array(
            [truth.classes[0] if len(truth) else len(self.pool.class_names) for truth in (self.pool.truths[row] for row in rows)]
        )
        raw = small_pixels(self.pool)
        return peers.Known(rows, labels, rest, pooled, found.embeddings, raw, lambda: pooled[:, :, None], 100 * self.seed + step)


def scene_pool(model: Any, scenes: Scenes, rows: Ints, rest: Ints, hashes: npt.NDArray[np.uint64], strategy: str) -> Any:
    """What the mining core is told of the candidates ``rest``; ``rows`` are labelled. Views are made for the strategies that look at them."""
    from mining import STRATEGIES, Labelled, Pool

    from benchmarks.mining import detector

    found = detector.detect(model, scenes.pictures)
    candidates = scenes.pictures[rest]
    wants = STRATEGIES[strategy].needs if strategy in STRATEGIES else frozenset()
    views = (
        {"fliplr": detector.mirrored(model, candidates), "gaussianblur": detector.smoothed(model, candidates)} if "views" in wants else None
    )
    counts = np.bincount(np.concatenate([scenes.truths[row].classes for row in rows]), minlength=len(scenes.class_names)).astype(float)
    vectors = small_pixels(scenes) if strategy == "typiclust" else found.embeddings
    return Pool(
        [scenes.names[row] for row in rest],
        list(scenes.class_names),
        predictions=[found.boxes[row] for row in rest],
        embeddings=vectors[rest],
        views=views,
        hashes=hashes[rest],
        class_maps=lambda row: detector.class_map(model, candidates[row]),
        labelled=Labelled(counts, vectors[rows], hashes=hashes[rows], image_count=len(rows)),
    )


def pooled_probabilities(boxes: Any, class_count: int) -> Floats:
    """(C + 1,) one distribution for a picture: its boxes' class distributions weighted by their scores, and what is left for "nothing"."""
    nothing = float(np.prod(1 - boxes.scores)) if len(boxes) else 1.0
    if not len(boxes):
        return np.append(np.zeros(class_count), 1.0)
    weighted = (boxes.probabilities * boxes.scores[:, None]).sum(0)
    return np.append((1 - nothing) * weighted / weighted.sum(), nothing)


def small_pixels(scenes: Scenes) -> npt.NDArray[np.float32]:
    """(n, d) pictures shrunk to cells of 8 x 8 pixels: what can be said of them without any model."""
    n, channels, height, width = scenes.pictures.shape
    cells = scenes.pictures.reshape(n, channels, height // 8, 8, width // 8, 8).mean((3, 5), dtype=np.float32)
    return (cells.reshape(n, -1) / 255).astype(np.float32)


def hashes_of(scenes: Scenes) -> npt.NDArray[np.uint64]:
    """(n,) perceptual hashes, as Sluice gives them to mining."""
    from analysis.near_duplicates import hash_picture

    as_pictures = (Image.fromarray(one.transpose(1, 2, 0).squeeze()) for one in scenes.pictures)
    return np.array([hash_picture(picture) for picture in as_pictures], np.uint64)


def _record(
    strategy: str, seed: int, images: Sequence[int], boxes: Sequence[int], by_class: Floats, setting: Setting, mining_s: float
) -> dict[str, Any]:
    return {
        "strategy": strategy,
        "seed": int(seed),
        "images": [int(count) for count in images],
        "boxes": [int(count) for count in boxes],
        "quality": by_class.mean(1).round(6).tolist(),
        "rare": by_class[:, list(setting.rare)].mean(1).round(6).tolist() if setting.rare else None,
        "mining_s": round(mining_s, 3),
    }


# ------------------------------------------------------------------------------------------------------------------ report


@dataclass(frozen=True)
class Curves:
    """The kept runs of one strategy: seeds (S,), and per seed and round images, boxes, quality and quality of the rare classes (S, R)."""

    seeds: Ints
    images: Floats
    boxes: Floats
    quality: Floats
    rare: Floats | None
    mining_s: float

    def on(self, seeds: Ints) -> Curves:
        rows = np.searchsorted(self.seeds, seeds)
        return Curves(
            seeds, self.images[rows], self.boxes[rows], self.quality[rows], None if self.rare is None else self.rare[rows], self.mining_s
        )


def read_curves(name: str) -> dict[str, Curves]:
    """What is kept of a setting, by strategy."""
    runs = results.read(name)
    found = {}
    for strategy in dict.fromkeys(run["strategy"] for run in runs):
        mine = [run for run in runs if run["strategy"] == strategy]
        images, boxes, quality = (np.array([run[key] for run in mine], float) for key in ("images", "boxes", "quality"))
        rare = np.array([run["rare"] for run in mine], float) if mine[0]["rare"] else None
        found[strategy] = Curves(
            np.array([run["seed"] for run in mine]), images, boxes, quality, rare, float(np.mean([run["mining_s"] for run in mine]))
        )
    return found


def report(setting: Setting) -> list[Sheet]:
    """Every strategy against random on the seeds both ran, the default against the best peer, and whether the setting can tell."""
    curves = read_curves(setting.name)
    if "random" not in curves:
        return [Sheet(f"{setting.name}: nothing has been run", [], [])]
    others = [name for name in curves if name != "random"]
    lines = {name: _against_random(curves[name], curves["random"]) for name in others}
    corrected = dict(zip(others, paired.holm([lines[name]["p"] for name in others]), strict=True))
    ordered = sorted(others, key=lambda name: -lines[name]["d"])
    rows = [_line(name, lines[name], corrected[name]) for name in ordered]
    first = curves["random"]
    rows.append(["random", str(len(first.seeds)), f"{paired.area(first.quality).mean():.4f}", "-", "-", "-", f"{first.quality[:, -1].mean():.3f}",
                 "-", f"{first.boxes[:, -1].mean():.0f}", "-", "-", f"{first.mining_s:.2f}"])  # fmt: skip
    columns = ["strategy", "seeds", "AULC", "against random (95 %)", "wins", "p (Holm)", "at the end", "rare classes",
               "boxes at the end", "at equal boxes (wins)", "saved: images, boxes", "mining s"]  # fmt: skip
    title = f"{setting.name}: {setting.first} + {setting.rounds} x {setting.budget}, {setting.quality}"
    return [Sheet(title, columns, rows, [*_power(lines), *_against_peers(curves)])]


def _against_random(curves: Curves, random: Curves) -> dict[str, Any]:
    seeds = np.intersect1d(curves.seeds, random.seeds)
    mine, theirs = curves.on(seeds), random.on(seeds)
    differences = paired.area(mine.quality) - paired.area(theirs.quality)
    equal = np.array([paired.at_equal_cost(*pair) for pair in zip(mine.boxes, mine.quality, theirs.boxes, theirs.quality, strict=True)])
    return {
        "seeds": len(seeds),
        "aulc": float(paired.area(mine.quality).mean()),
        "d": float(differences.mean()),
        "interval": paired.interval(differences),
        "wins": int((differences > 0).sum()),
        "p": paired.chance(differences),
        "end": float(mine.quality[:, -1].mean()),
        "rare": None if mine.rare is None or theirs.rare is None else float((paired.area(mine.rare) - paired.area(theirs.rare)).mean()),
        "boxes": float(mine.boxes[:, -1].mean()),
        "equal": (float(np.nanmean(equal)), int((equal > 0).sum()), int((~np.isnan(equal)).sum())) if not np.isnan(equal).all() else None,
        "saved": tuple(_saved(getattr(mine, cost), mine.quality, getattr(theirs, cost), theirs.quality) for cost in ("images", "boxes")),
        "mining_s": curves.mining_s,
    }


def _saved(cost: Floats, quality: Floats, random_cost: Floats, random_quality: Floats) -> float | None:
    """The share of random's last cost that the strategy did without when it was as good as random at the end; None: it never was."""
    reached = paired.cost_to_reach(cost.mean(0), quality.mean(0), float(random_quality.mean(0)[-1]))
    return None if reached is None else 1 - reached / float(random_cost.mean(0)[-1])


def _line(name: str, found: dict[str, Any], p: float) -> list[str]:
    low, high = found["interval"]
    saved = ", ".join("never" if part is None else f"{part:.0%}" for part in found["saved"])
    equal = found["equal"]
    return [
        name,
        str(found["seeds"]),
        f"{found['aulc']:.4f}",
        f"{found['d']:+.4f} ({low:+.4f}..{high:+.4f})",
        f"{found['wins']}/{found['seeds']}",
        f"{p:.2g}",
        f"{found['end']:.3f}",
        "-" if found["rare"] is None else f"{found['rare']:+.3f}",
        f"{found['boxes']:.0f}",
        "-" if equal is None else f"{equal[0]:+.4f} ({equal[1]}/{equal[2]})",
        saved,
        f"{found['mining_s']:.2f}",
    ]


def _power(lines: dict[str, dict[str, Any]]) -> list[str]:
    if "anti" not in lines:
        return ["The control anti was not run: nothing is said about the power of this setting."]
    low, high = lines["anti"]["interval"]
    if high < 0:
        return [f"The control anti loses ({low:+.4f}..{high:+.4f}): the setting can tell strategies apart."]
    return [f"NO POWER: the control anti does not lose ({low:+.4f}..{high:+.4f}); nothing here counts as a win."]


def _against_peers(curves: dict[str, Curves]) -> list[str]:
    peers = {name: curve for name, curve in curves.items() if name not in OURS}
    if "default" not in curves or not peers:
        return []
    best = max(peers, key=lambda name: float(paired.area(peers[name].quality).mean()))
    seeds = np.intersect1d(curves["default"].seeds, peers[best].seeds)
    difference = paired.area(curves["default"].on(seeds).quality) - paired.area(peers[best].on(seeds).quality)
    low, high = paired.interval(difference)
    verdict = "WORSE beyond the interval" if high < 0 else "better beyond the interval" if low > 0 else "no difference beyond the interval"
    return [f"default against the best peer ({best}): {difference.mean():+.4f} ({low:+.4f}..{high:+.4f}), {len(seeds)} seeds: {verdict}."]
