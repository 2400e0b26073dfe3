"""Strategies that look at how pictures differ: core-set, TypiClust, BADGE, CDAL, PPAL, and the default's second stage."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mining import Boxes, Labelled, Pool, badge, cdal, kcenter, kmeans, ppal, seeding, select, typiclust

from tests.images.mining.pools import CLASSES, classification_pool, detection_pool


def _points(rows: list[list[float]], **more: object) -> Pool:
    points = np.array(rows, np.float32)
    return replace(Pool([f"{row:03d}" for row in range(len(points))], CLASSES, embeddings=points), **more)  # type: ignore[arg-type]


def _picked(pool: Pool, strategy: str, budget: int, **parameters: object) -> list[int]:
    return [int(pick.id.split(".")[0]) for pick in select(pool, strategy, budget=budget, parameters=parameters).selected]


def _plain_k_centre(points: np.ndarray, labelled: np.ndarray, budget: int) -> list[float]:  # type: ignore[type-arg]
    """The radii of greedy k-centre, written without any trick."""
    nearest = np.linalg.norm(points[:, None].astype(float) - labelled[None].astype(float), axis=2).min(axis=1)
    radii = []
    for _ in range(budget):
        row = int(nearest.argmax())
        radii.append(float(nearest[row]))
        nearest = np.minimum(nearest, np.linalg.norm(points.astype(float) - points[row].astype(float), axis=1))
    return radii


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 9), st.floats(0, 1000))
def test_core_set_takes_the_radii_of_plain_k_centre(seed: int, count: int, dimensions: int, offset: float) -> None:
    generator = np.random.default_rng(seed)
    points = (offset + generator.normal(size=(count, dimensions))).astype(np.float32)
    labelled = (offset + generator.normal(size=(3, dimensions))).astype(np.float32)
    pool = _points(points.tolist(), labelled=Labelled(embeddings=labelled))
    picks = select(pool, "core_set", budget=count).selected
    assert [pick.score for pick in picks] == pytest.approx(_plain_k_centre(points, labelled, count), rel=2e-3, abs=5e-3)


def test_core_set_goes_where_nothing_is_labelled() -> None:
    pool = _points([[0, 0], [1, 0], [9, 0], [0, 5]], labelled=Labelled(embeddings=np.zeros((1, 2), np.float32)))
    selection = select(pool, "core_set", budget=2)
    assert [pick.id for pick in selection.selected] == ["002", "003"]
    assert selection.picks[0].reasons == ("far from everything labelled and picked (distance 9.00)",)


def test_core_set_leaves_what_lies_alone_for_the_end() -> None:
    generator = np.random.default_rng(0)
    rows = np.vstack([generator.normal(size=(60, 4)), np.full((1, 4), 100.0)]).tolist()
    assert 60 in _picked(_points(rows), "core_set", 5)
    selection = select(_points(rows), "core_set", budget=5, parameters={"outliers": 0.02})
    assert "060" not in [pick.id for pick in selection.selected]
    assert selection.report["outliers"] == ["060"]


def test_core_set_reads_the_large_pool_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = detection_pool(150)
    whole = select(pool, "core_set", budget=40).picks
    monkeypatch.setattr(kcenter, "BLOCK", 7)
    assert [pick.id for pick in select(pool, "core_set", budget=40).picks] == [pick.id for pick in whole]


def test_k_means_finds_groups_that_are_there() -> None:
    generator = np.random.default_rng(0)
    centres = np.array([[0, 0], [20, 0], [0, 20], [20, 20]], float)
    points = (centres.repeat(25, axis=0) + generator.normal(size=(100, 2))).astype(np.float32)
    found = kmeans.cluster(points, 4, np.random.default_rng(1), runs=3)
    assert {tuple(np.bincount(found.labels[start : start + 25], minlength=4) > 0) for start in (0, 25, 50, 75)} == {
        tuple(row) for row in np.eye(4, dtype=bool).tolist()
    }
    assert found.inertia == pytest.approx(sum(((points[found.labels == k] - found.centres[k]) ** 2).sum() for k in range(4)), rel=1e-3)


def test_k_means_gives_an_emptied_cluster_another_point() -> None:
    points = np.array([[0.0], [0.0], [0.0], [7.0]], np.float32)
    found = kmeans.cluster(points, 3, np.random.default_rng(0))
    assert len(found.labels) == 4
    assert found.inertia == pytest.approx(0.0)


def test_typiclust_takes_the_middle_of_each_group_and_no_outlier() -> None:
    generator = np.random.default_rng(3)
    groups = [np.array([0.0, 0]), np.array([30.0, 0]), np.array([0.0, 30])]
    rows = [*(centre + generator.normal(size=2) for centre in groups for _ in range(20)), np.array([500.0, 500.0])]
    picked = _picked(_points(np.array(rows).tolist()), "typiclust", 4, runs=5)
    assert {row // 20 for row in picked[:3]} == {0, 1, 2}
    assert 60 not in picked[:3]
    for row in picked[:3]:
        group = np.array(rows[row // 20 * 20 : row // 20 * 20 + 20])
        distances = np.linalg.norm(group - group.mean(axis=0), axis=1)
        assert distances[row % 20] < np.median(distances)


def test_typiclust_covers_first_what_has_no_label() -> None:
    generator = np.random.default_rng(3)
    rows = np.vstack([generator.normal(size=(30, 2)), 40 + generator.normal(size=(10, 2))])
    pool = _points(rows.tolist(), labelled=Labelled(embeddings=np.zeros((1, 2), np.float32)))
    selection = select(pool, "typiclust", budget=1, parameters={"runs": 5})
    assert int(selection.picks[0].id) >= 30
    assert selection.picks[0].reasons[0].endswith("that has no label yet")


def test_typicality_is_one_over_the_mean_distance_to_the_neighbours_in_the_cluster() -> None:
    points = np.array([[0.0], [1], [3], [100], [104]], np.float32)
    found = typiclust.typicality(points, np.array([0, 0, 0, 1, 1]), 20)
    assert found == pytest.approx([1, 1, 1 / 2, 1 / 4, 1 / 4], rel=1e-3)


def test_seeds_follow_squared_distances() -> None:
    """Of two points at distances 1 and 3 from the first, the far one is drawn nine times in ten."""
    points = np.array([0.0, 1, -3])
    drawn = [seeding.draw(2, 0, lambda row: (points - points[row]) ** 2, np.random.default_rng(seed)).rows[1] for seed in range(600)]
    assert drawn.count(2) / 600 == pytest.approx(0.9, abs=0.04)


def test_seeds_of_equal_points_are_the_lowest_rows() -> None:
    assert seeding.draw(3, 4, lambda _: np.zeros(6), np.random.default_rng(0)).rows.tolist() == [4, 0, 1]


def test_badge_has_the_distances_of_gradients_it_never_builds() -> None:
    pool = classification_pool(30)
    p, z = pool.distributions, pool.points.astype(float)
    a = p - np.eye(3)[p.argmax(axis=1)]
    gradients = np.einsum("nc,nd->ncd", a, z).reshape(30, -1)
    factored = badge.Factored.of(pool)
    for row in range(30):
        assert factored.distances(row) == pytest.approx(((gradients - gradients[row]) ** 2).sum(axis=1), rel=1e-3, abs=1e-3)
    assert int(select(pool, "badge", budget=1).picks[0].id[:5]) == int((gradients**2).sum(axis=1).argmax())


def test_badge_of_boxes_has_about_the_distances_of_their_mean_gradients() -> None:
    pool = detection_pool(40)
    means = np.zeros((40, 18))
    for row, boxes in enumerate(pool.predictions or ()):
        if len(boxes):
            p = np.asarray(boxes.probabilities)
            means[row] = (
                np.einsum("nc,nd->ncd", p - np.eye(3)[p.argmax(axis=1)], np.asarray(boxes.features)).reshape(len(boxes), -1).mean(axis=0)
            )
    sketch = badge.sketched(pool, 4096).astype(float)
    assert sketch @ sketch.T == pytest.approx(means @ means.T, abs=0.15 * float((means**2).sum(axis=1).max()))


def test_cdal_compares_profiles_by_the_symmetric_divergence() -> None:
    generator = np.random.default_rng(0)
    profiles = cdal.smoothed(generator.dirichlet(np.ones(3), (20, 2)))
    rows, values, nearest = cdal.farthest(profiles, 4)

    def divergence(left: int, right: int) -> float:
        p, q = profiles[left], profiles[right]
        return float((p * np.log(p / q)).sum() + (q * np.log(q / p)).sum()) / 2

    for place in (1, 2, 3):
        assert values[place] == pytest.approx(min(divergence(int(rows[place]), int(before)) for before in rows[:place]))
        others = [min(divergence(other, int(before)) for before in rows[:place]) for other in range(20) if other not in rows[:place]]
        assert values[place] == pytest.approx(max(others))
    assert nearest[rows] == pytest.approx(0.0, abs=1e-9)


def test_cdal_takes_pictures_that_are_confused_in_different_ways() -> None:
    rows = [[0.98, 0.01, 0.01]] * 5 + [[0.01, 0.98, 0.01]] * 5 + [[0.34, 0.33, 0.33]]
    pool = Pool([f"{row:02d}" for row in range(11)], CLASSES, probabilities=np.array(rows))
    assert {row // 5 for row in _picked(pool, "cdal", 3)} == {0, 1, 2}


def test_ppal_weighs_difficult_classes_up() -> None:
    weights = ppal.difficulty_weights(np.array([0.0, 0.5, 1.0]))
    assert weights == pytest.approx([1, 1 + 0.06 * np.log(1 + (np.exp(1 / 0.3) - 1) * 0.5), 1.2])
    box = Boxes(np.array([[0.0, 0, 9, 9]]), np.array([0.6]), np.array([0]), features=np.ones((1, 2)))
    hard = replace(box, classes=np.array([2]))
    pool = Pool(["easy", "hard"], CLASSES, [box, hard], labelled=Labelled(class_difficulty=np.array([0.0, 0.5, 1.0])))
    assert [pick.id for pick in select(pool, "ppal", budget=1).picks] == ["hard", "easy"]


def test_class_difficulty_is_measured_on_labelled_pictures() -> None:
    truth = Boxes(np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]]), np.ones(2), np.array([0, 1]))
    found = Boxes(np.array([[0.0, 0, 10, 5]]), np.array([0.8]), np.array([0]))
    difficulty = ppal.class_difficulty([found, found], [truth, truth], 3)
    assert difficulty == pytest.approx([1 - 0.8**0.6 * 0.5**0.4, 1.0, 1.0])


def test_ppal_compares_pictures_box_by_box() -> None:
    """By hand: nearest box of the same class, 2 where there is none, weighted by score, mean of both directions."""

    def picture(*rows: tuple[float, int, list[float]]) -> Boxes:
        return Boxes(np.zeros((len(rows), 4)), np.array([row[0] for row in rows]), np.array([row[1] for row in rows], np.int64),
                     features=np.array([row[2] for row in rows], float).reshape(len(rows), 2))  # fmt: skip

    left = picture((0.5, 0, [1, 0]), (0.25, 1, [0, 1]))
    right = picture((0.9, 0, [0, 1]), (0.1, 0, [1, 0]))
    nothing = Boxes(features=np.zeros((0, 2)))
    distances = ppal.Objects([left, right, nothing, nothing]).distances
    forward = (0.5 * 0.0 + 0.25 * 2.0) / 0.75
    backward = (0.9 * 1.0 + 0.1 * 0.0) / 1.0
    assert distances(0) == pytest.approx([0.0, (forward + backward) / 2, 2.0, 2.0])
    assert distances(1)[0] == pytest.approx(distances(0)[1])
    assert distances(2) == pytest.approx([2.0, 2.0, 0.0, 0.0])


def _unsure_twins() -> Pool:
    """Ten almost equal pictures, the most unsure; three others, a little less unsure, each of its own kind."""
    generator = np.random.default_rng(0)
    points = np.vstack([np.array([[1.0, 0, 0, 0]]) + generator.normal(0, 1e-3, (10, 4)), np.eye(4)[1:]])
    doubts = np.concatenate([np.full(10, 0.5), np.full(3, 0.6)])
    probabilities = np.column_stack([doubts, 1 - doubts, np.zeros(13)])
    return _points(points.tolist(), probabilities=probabilities, labelled=Labelled(class_counts=np.array([50.0, 50, 50])))


def test_the_default_does_not_pick_the_same_picture_twice() -> None:
    pool = _unsure_twins()
    plain = _picked(pool, "margin", 4)
    assert plain == [0, 1, 2, 3]
    picked = _picked(pool, "default", 4)
    assert sum(row < 10 for row in picked) == 1
    assert select(pool, "default", budget=4).report["near_duplicates"] == 9


def test_the_default_weighs_rare_classes_up_and_says_so() -> None:
    box = Boxes(np.array([[0.0, 0, 9, 9]]), np.array([0.7]), np.array([0]))
    rare = replace(box, classes=np.array([2]))
    pool = Pool(["common", "rare"], ("RBC", "WBC", "Platelets"), [box, rare], labelled=Labelled(class_counts=np.array([400.0, 40, 40])))
    picks = select(pool, budget=2).picks
    assert picks[0].id == "rare"
    assert "rare class Platelets" in picks[0].reasons
    assert not any("rare class" in reason for reason in picks[1].reasons)


def test_the_default_picks_typical_pictures_while_hardly_anything_is_labelled() -> None:
    pool = replace(detection_pool(), labelled=Labelled(class_counts=np.array([2.0, 0, 0])))
    selection = select(pool, budget=5)
    assert selection.report["stage"] == "typical pictures, because little is labelled (0.7 a class)"
    assert selection.picks[0].reasons[0].startswith("typical of a group")
    assert select(pool, budget=5, parameters={"few_labels": 0.0}).report["stage"] == "two stages"
    blind = select(replace(pool, embeddings=None), budget=5)
    assert any(sentence.startswith("typicality: little is labelled (0.7 a class), but") for sentence in blind.skipped)
    poor = select(detection_pool(), budget=5, parameters={"model_quality": 0.1})
    assert poor.report["stage"] == "typical pictures, because the model is poor (quality 0.10)"


def test_the_default_with_embeddings_says_that_a_pick_is_far_from_the_others() -> None:
    reasons = select(detection_pool(), budget=3).picks[1].reasons
    assert any(reason.startswith("far from everything labelled and picked (distance ") for reason in reasons)
