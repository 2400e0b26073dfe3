"""The mining benchmarks: their data is what it claims, their statistics are right, and a short curve shows that mining pays. No torch, nothing timed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.__main__ import names
from benchmarks.mining import data, paired, redundancy, results, short


@pytest.mark.parametrize("setting", ["balanced", "imbalanced"])
def test_the_default_beats_random_on_digits_and_the_control_loses(setting: str) -> None:
    areas = {name: paired.area(np.stack([short.curve(setting, name, seed) for seed in range(4)])) for name in ("random", "anti", "default")}
    assert areas["default"].mean() > areas["random"].mean() + 0.02
    assert (areas["anti"] < areas["random"]).all()


def test_the_same_seed_gives_the_same_curve() -> None:
    assert short.curve("redundant", "default", 4).tolist() == short.curve("redundant", "default", 4).tolist()


def test_default_picks_fewer_copies_than_entropy() -> None:
    found = [redundancy.of_digits(seed, ("entropy", "default")) for seed in range(3)]
    assert np.mean([one["default"][0] for one in found]) < np.mean([one["entropy"][0] for one in found])


def test_needless_picks_are_those_that_show_nothing_new() -> None:
    groups = np.array([0, 0, 1, 1, 2, 3])
    assert redundancy.needless(groups, np.array([1, 2, 3, 4]), np.array([0])) == (0.5, 3)


def test_digits_are_dealt_out_without_overlap_and_as_named() -> None:
    balanced, imbalanced, redundant = (data.digits(setting, 0) for setting in data.DIGIT_SETTINGS)
    pool = {row.tobytes() for row in balanced.pool_x}
    assert not pool & {row.tobytes() for row in balanced.test_x}
    assert np.bincount(imbalanced.pool_y)[:5].max() < 0.25 * np.bincount(balanced.pool_y)[:5].min()
    assert (imbalanced.test_y == balanced.test_y).all()
    assert len(redundant.pool_y) == len(set(redundant.groups)) * 2 == len(balanced.pool_y) // 2 * 2


def test_scenes_have_the_shares_the_empties_and_the_near_duplicates_they_claim() -> None:
    pool, test = data.digit_scenes(0, pool=600, test=100)
    counts = np.bincount(np.concatenate([truth.classes for truth in pool.truths]), minlength=4)
    assert (np.diff(counts) < 0).all()
    assert counts[3] < 0.1 * counts[0]
    assert 0.1 < np.mean([len(truth) == 0 for truth in pool.truths]) < 0.35
    assert max(np.bincount(pool.groups)) in range(4, 12)
    tested = np.bincount(np.concatenate([truth.classes for truth in test.truths]), minlength=4)
    assert tested.max() < 2 * tested.min()


def test_near_duplicate_scenes_look_more_alike_than_others() -> None:
    pool, _ = data.digit_scenes(1, pool=200, test=1)
    pixels = pool.pictures.reshape(len(pool), -1).astype(float)
    first = int(np.flatnonzero(pool.groups == np.bincount(pool.groups).argmax())[0])
    away = np.sqrt(((pixels - pixels[first]) ** 2).mean(1))
    same = pool.groups == pool.groups[first]
    same[first] = False
    assert away[same].max() < np.median(away[pool.groups != pool.groups[first]])


def test_boxes_of_scenes_hold_the_ink() -> None:
    pool, _ = data.digit_scenes(2, pool=50, test=1)
    for picture, truth in zip(pool.pictures[:, 0], pool.truths, strict=True):
        for x1, y1, x2, y2 in truth.corners.astype(int):
            assert picture[y1:y2, x1:x2].max() > np.median(picture) + 20


def test_bccd_is_read_with_its_published_splits(shared_data: Path) -> None:
    folder = shared_data / "BCCD" if (shared_data / "BCCD").is_dir() else shared_data
    pool, test = data.bccd(folder)
    assert (len(pool), len(test)) == (292, 72)
    assert pool.pictures.shape[1:] == (3, 120, 160)
    assert np.bincount(np.concatenate([truth.classes for truth in test.truths])).tolist() == [805, 71, 69]


def test_planted_errors_are_where_they_are_said_to_be() -> None:
    truths = [data.Truth(np.array([[0.0, 0, 10, 10], [20, 20, 40, 40]]), np.array([0, 1])) for _ in range(50)]
    spoilt, kinds = data.plant_errors(truths, 3, seed=0)
    changed = [
        not (np.array_equal(a.corners, b.corners) and np.array_equal(a.classes, b.classes)) for a, b in zip(truths, spoilt, strict=True)
    ]
    assert changed == [bool(kind) for kind in kinds]
    assert sum(changed) == 5


def test_holm_corrects_as_published() -> None:
    assert paired.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert paired.holm([0.9, 0.8]) == [1.0, 1.0]


def test_an_interval_holds_the_mean_and_narrows_to_a_constant() -> None:
    low, high = paired.interval(np.array([0.01, 0.02, 0.03, 0.02]))
    assert low < 0.02 < high
    assert paired.interval(np.full(5, 0.5)) == (0.5, 0.5)


def test_cost_is_read_between_rounds_and_never_reached_is_said() -> None:
    cost, quality = np.array([10.0, 20, 30]), np.array([0.5, 0.7, 0.6])
    assert paired.cost_to_reach(cost, quality, 0.575) == pytest.approx(15)
    assert paired.cost_to_reach(cost, quality, 0.9) is None


def test_curves_are_compared_where_both_have_paid_as_much() -> None:
    ours, theirs = (np.array([10.0, 20, 30]), np.array([0.5, 0.7, 0.9])), (np.array([10.0, 40]), np.array([0.5, 0.5]))
    assert paired.at_equal_cost(*ours, *theirs) == pytest.approx(0.204, abs=0.001)
    assert np.isnan(paired.at_equal_cost(np.array([10.0, 20]), np.zeros(2), np.array([30.0, 40]), np.zeros(2)))


def test_runs_are_continued_and_merged_and_a_cut_off_line_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_BENCH_RESULTS", str(tmp_path))
    results.append("scenes", [{"strategy": "random", "seed": 0, "x": 1}, {"strategy": "random", "seed": 1, "x": 2}])
    (tmp_path / "scenes.other-machine.jsonl").write_text(
        json.dumps({"strategy": "random", "seed": 2}) + "\n" + '{"strategy": "ran', encoding="utf-8"
    )
    assert results.missing("scenes", "random", range(5)) == [3, 4]
    assert [run["seed"] for run in results.read("scenes")] == [0, 1, 2]


def test_the_mining_benchmarks_are_known_by_name() -> None:
    assert {"mining.curves", "mining.errors", "mining.label_errors", "mining.parity", "mining.redundancy", "mining.short"} <= set(names())
