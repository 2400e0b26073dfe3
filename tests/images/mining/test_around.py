"""What happens around every strategy: near-duplicates, the random share, class quotas."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mining import Boxes, Labelled, Pool, select
from mining.balance import class_weights, keep_quotas, quotas
from mining.duplicates import HashIndex, fresh_rows, spread_squared, twins

from tests.images.mining.pools import classification_pool, detection_pool


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.integers(0, 12), st.data())
def test_the_hash_index_finds_what_comparing_all_finds(kept: list[int], bits: int, data: st.DataObject) -> None:
    index = HashIndex(bits)
    for value in kept:
        index.add(value)
    flips = data.draw(st.sets(st.integers(0, 63), max_size=14))
    asked = data.draw(st.sampled_from(kept) if kept else st.just(0))
    for flip in flips:
        asked ^= 1 << flip
    assert index.near(asked) == any((value ^ asked).bit_count() <= bits for value in kept)


def test_of_pictures_that_look_the_same_the_first_id_stays_and_the_others_come_last() -> None:
    pool = Pool(["b", "a", "c"], hashes=np.array([0b111, 0b110, 1 << 60], np.uint64))
    selection = select(pool, "random", budget=3, parameters={"near_duplicate_bits": 1})
    assert {pick.id for pick in selection.picks[:2]} == {"a", "c"}
    assert selection.picks[2].id == "b"
    assert selection.picks[2].reasons == ("ranked last: it looks like another candidate or a labelled picture",)
    assert selection.report["near_duplicates"] == 1


def test_what_looks_like_a_labelled_picture_comes_last() -> None:
    labelled = Labelled(hashes=np.array([7], np.uint64), embeddings=np.array([[5.0, 0]], np.float32))
    pool = Pool(["a", "b"], embeddings=np.array([[5.0, 0.001], [-5, 0]], np.float32), labelled=labelled)
    picks = select(pool, "random", budget=1, parameters={"near_duplicate_distance": 0.05}).picks
    assert [pick.id for pick in picks] == ["b", "a"]
    pool = Pool(["a", "b"], hashes=np.array([6, 1 << 40], np.uint64), labelled=labelled)
    picks = select(pool, "random", budget=1, parameters={"near_duplicate_bits": 2}).picks
    assert [pick.id for pick in picks] == ["b", "a"]


def test_nothing_to_compare_is_told() -> None:
    selection = select(Pool(["a"]), "random", budget=1, parameters={"near_duplicate_bits": 2})
    assert selection.skipped == ("near-duplicates: the pool has no hashes or embeddings to compare",)


def test_near_duplicates_are_found_across_blocks() -> None:
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(400, 6)) * 10
    points = np.vstack([centres, centres + generator.normal(0, 1e-3, centres.shape)]).astype(np.float32)
    pool = Pool([f"{row:04d}" for row in range(800)], embeddings=points)
    finder = twins(pool, -1, 0.01, spread_squared(points))
    assert finder is not None
    assert fresh_rows(pool, finder, np.arange(800)).tolist() == list(range(400))


def test_a_random_share_is_drawn_from_all_and_reported() -> None:
    pool = detection_pool(80)
    selection = select(pool, "entropy", budget=20, parameters={"random_share": 0.25})
    drawn = selection.report["random"]
    assert len(drawn) == 5
    assert [pick.id for pick in selection.selected[15:]] == drawn
    assert all("by chance" in pick.reasons[0] for pick in selection.selected[15:])
    # The draw does not depend on the strategy, nor on what else is picked: that is what makes it unbiased.
    assert select(pool, "core_set", budget=20, parameters={"random_share": 0.25}).report["random"] == drawn
    assert select(pool, "entropy", budget=20).report.get("random") is None


def test_a_share_of_everything_is_all_random() -> None:
    pool = classification_pool(10)
    selection = select(pool, "margin", budget=10, parameters={"random_share": 1.0})
    assert sorted(selection.report["random"]) == sorted(pool.ids)


def test_weights_of_classes_grow_as_their_labels_get_fewer() -> None:
    assert class_weights(np.array([4.0, 1.0, 4.0])) == pytest.approx([(3 / 4) ** 0.5, 3**0.5, (3 / 4) ** 0.5])
    weights = class_weights(np.array([0.0, 0.0]))
    assert weights == pytest.approx([1, 1])
    assert class_weights(None) is None


@given(st.lists(st.floats(0.1, 9), min_size=1, max_size=6), st.integers(0, 50), st.data())
def test_quotas_fill_the_budget_with_classes_that_are_there(weights: list[float], budget: int, data: st.DataObject) -> None:
    shown = np.array(data.draw(st.lists(st.integers(0, len(weights) - 1), min_size=1)))
    places = quotas(shown, np.array(weights), budget)
    assert places.sum() == budget
    assert (places[np.setdiff1d(np.arange(len(weights)), shown)] == 0).all()


@given(st.lists(st.integers(-1, 2), min_size=1, max_size=40), st.integers(0, 40))
def test_an_order_with_quotas_loses_nobody(classes: list[int], budget: int) -> None:
    order = np.arange(len(classes))
    kept = keep_quotas(order, np.array(classes), np.ones(3), min(budget, len(classes)))
    assert sorted(kept.order.tolist()) == order.tolist()
    assert (kept.filled <= kept.places).all()


def _crowd() -> Pool:
    """Twenty unsure cats and five less unsure birds; birds are rare among what is labelled."""

    def box(score: float, kind: int) -> Boxes:
        return Boxes(np.array([[0.0, 0, 9, 9]]), np.array([score]), np.array([kind]))

    found = [box(0.5, 0)] * 20 + [box(0.8, 1)] * 5
    return Pool([f"{row:02d}" for row in range(25)], ("cat", "bird"), found, labelled=Labelled(class_counts=np.array([100.0, 25.0])))


def test_class_quotas_give_rare_classes_their_part() -> None:
    assert all(int(pick.id) < 20 for pick in select(_crowd(), "entropy", budget=6).selected)
    selection = select(_crowd(), "entropy", budget=6, parameters={"class_quotas": True})
    assert sum(int(pick.id) >= 20 for pick in selection.selected) == 4
    assert selection.report["quotas"] == {"cat": {"places": 2, "filled": 2}, "bird": {"places": 4, "filled": 4}}


def test_places_that_a_class_cannot_fill_go_to_the_best_of_the_rest() -> None:
    selection = select(_crowd(), "entropy", budget=12, parameters={"class_quotas": True})
    assert len(selection.selected) == 12
    assert sum(int(pick.id) >= 20 for pick in selection.selected) == 5


def test_quotas_without_counts_are_left_out_and_told() -> None:
    selection = select(replace(_crowd(), labelled=Labelled()), "entropy", budget=3, parameters={"class_quotas": True})
    assert any(sentence.startswith("class_quotas: need") for sentence in selection.skipped)
