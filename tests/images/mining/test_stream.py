"""A stream of batches picks what ``select`` picks, in bounded memory."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mining import STRATEGIES, Labelled, MiningError, Pool, Selection, Stream, holding, select

from tests.images.mining.pools import CLASSES, classification_pool, detection_pool

POOLS = {"detection": detection_pool, "classification": classification_pool}
ONE_STAGE = ["random", "least_confidence", "margin", "entropy", "csf", "aldd", "anti"]
TWO_STAGES = ["default", "cald", "ppal"]
CASES = [(name, kind) for name in [*ONE_STAGE, *TWO_STAGES] for kind in STRATEGIES[name].kinds]


def _streamed(pool: Pool, strategy: str, budget: int, batch: int, **parameters: Any) -> Selection:
    stream = Stream(strategy, budget=budget, seed=3, parameters=parameters, class_names=CLASSES, labelled=pool.labelled)
    for start in range(0, len(pool), batch):
        stream.add(pool.rows(np.arange(start, min(start + batch, len(pool)))))
    return stream.finish()


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 40), st.integers(0, 5), st.randoms(use_true_random=False), st.sampled_from([0.0, 0.3]))
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_batches_in_any_order_give_what_all_at_once_gives(name: str, kind: str, batch: int, seed: int, shuffle: Any, share: float) -> None:
    pool = POOLS[kind](150, seed)
    order = list(range(150))
    shuffle.shuffle(order)
    streamed = _streamed(pool.rows(np.array(order)), name, 7, batch, random_share=share)
    whole = select(pool, name, budget=7, seed=3, parameters={"random_share": share})
    compared = 150 if name in ONE_STAGE else 7
    assert [pick.id for pick in streamed.picks[:compared]] == [pick.id for pick in whole.picks[:compared]]
    assert [pick.score for pick in streamed.picks] == pytest.approx([pick.score for pick in whole.picks])
    assert [pick.reasons for pick in streamed.selected] == [pick.reasons for pick in whole.selected]
    assert streamed.skipped == whole.skipped


def test_core_set_of_few_candidates_is_the_same() -> None:
    pool = detection_pool(150)
    assert _streamed(pool, "core_set", 9, 20).picks == select(pool, "core_set", budget=9, seed=3).picks


def test_core_set_of_many_looks_at_representatives_and_covers_almost_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "HELD", 100)
    generator = np.random.default_rng(0)
    points = generator.normal(size=(3000, 4)).astype(np.float32)
    pool = Pool([f"{row:04d}" for row in range(3000)], CLASSES, embeddings=points, labelled=Labelled(embeddings=points[:2] + 0.5))
    streamed, whole = _streamed(pool, "core_set", 10, 130), select(pool, "core_set", budget=10)
    assert any("stand for all 3000" in sentence for sentence in streamed.skipped)
    assert sorted(pick.id for pick in streamed.picks) == list(pool.ids)
    assert [pick.score for pick in streamed.picks] == sorted((pick.score for pick in streamed.picks), reverse=True)

    def radius(selection: Selection) -> float:
        rows = [int(pick.id) for pick in selection.selected]
        centres = np.vstack([points[rows], pool.labelled.embeddings])  # type: ignore[list-item]
        return float(np.linalg.norm(points[:, None] - centres[None], axis=2).min(axis=1).max())

    assert radius(streamed) <= 1.3 * radius(whole)


def test_typicality_of_many_looks_at_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "HELD", 50)
    pool = replace(detection_pool(300), labelled=Labelled(class_counts=np.array([1.0, 0, 0])))
    streamed = _streamed(pool, "default", 2, 30)
    assert "typicality: looked at a random sample of 50 of 300 candidates" in streamed.skipped
    assert streamed.picks[0].reasons[0].startswith("typical of a group")
    assert sorted(pick.id for pick in streamed.picks) == sorted(pool.ids)


@pytest.mark.parametrize("name", ["typiclust", "badge", "cdal"])
def test_what_looks_at_all_pairs_cannot_stream(name: str) -> None:
    with pytest.raises(MiningError, match=f"strategy {name} looks at all pairs"):
        Stream(name, budget=3)


@pytest.mark.parametrize("parameters", [{"class_quotas": True}, {"near_duplicate_bits": 2}])
def test_what_needs_all_at_once_cannot_stream(parameters: dict[str, Any]) -> None:
    with pytest.raises(MiningError, match="need all candidates at once"):
        Stream("entropy", budget=3, parameters=parameters)


def test_an_id_in_two_batches_is_refused_and_a_broken_batch_takes_nothing() -> None:
    stream = Stream("random", budget=1)
    stream.add(Pool(["a"]))
    with pytest.raises(MiningError, match="2 are given twice"):
        stream.add(Pool(["b", "b", "b"]))
    assert len(stream) == 1
    stream.add(Pool(["a"]))
    with pytest.raises(MiningError, match="1 are given twice"):
        stream.finish()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"embeddings": None}, "embeddings: this batch has none, and the first had 8 numbers each"),
        ({"embeddings": np.zeros((5, 3), np.float32), "labelled": Labelled()}, "embeddings: this batch has 3 numbers each"),
        ({"hashes": None}, "hashes: this batch has none, and the first had one each"),
    ],
)
def test_a_batch_of_other_parts_is_refused(change: dict[str, Any], words: str) -> None:
    pool = classification_pool(5)
    stream = Stream("default", budget=2, class_names=CLASSES)
    stream.add(pool)
    with pytest.raises(MiningError, match=words):
        stream.add(replace(pool, ids=list("abcde"), **change))
    assert len(stream.finish().picks) == 5


@pytest.mark.parametrize("name", ["core_set", "default", "margin"])
def test_a_stream_without_budget_or_all_by_chance_ranks_all(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "HELD", 5)
    for budget, share in ((0, 0.0), (4, 1.0)):
        selection = _streamed(classification_pool(40), name, budget, 6, random_share=share)
        assert len({pick.id for pick in selection.picks}) == 40
        assert len(selection.selected) == budget


def test_broken_rows_of_a_stream_come_last_and_are_told() -> None:
    pool = classification_pool(30)
    probabilities = np.array(pool.probabilities)
    probabilities[4, 1] = np.nan
    streamed = _streamed(replace(pool, probabilities=probabilities), "margin", 5, 7)
    assert streamed.picks[-1].id == "00004.jpg"
    assert streamed.skipped == ("1 pictures: numbers that are not finite (first: '00004.jpg'); ranked last",)


def test_a_stream_of_nothing_selects_nothing() -> None:
    for name in ("default", "entropy", "core_set", "random"):
        selection = Stream(name, budget=3).finish()
        assert selection.picks == ()
        assert selection.selected == ()


@pytest.mark.parametrize("name", ["default", "core_set"])
def test_memory_does_not_grow_with_the_embeddings_that_came(name: str) -> None:
    """30,000 candidates with 512 numbers each are 61 MB; the stream holds a thousand or two of them."""
    held = 500
    generator = np.random.default_rng(0)
    labelled = Labelled(class_counts=np.array([50.0, 50, 50]))
    stream = Stream(name, budget=20, class_names=CLASSES, labelled=labelled)
    stream._holder.most = min(held, getattr(stream._holder, "most", held))  # type: ignore[attr-defined]
    tracemalloc.start()
    for start in range(0, 30_000, 1000):
        ids = [f"{row:06d}" for row in range(start, start + 1000)]
        points = generator.standard_normal((1000, 512), dtype=np.float32)
        stream.add(Pool(ids, CLASSES, probabilities=generator.dirichlet(np.ones(3), 1000), embeddings=points))
    selection = stream.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(selection.picks) == 30_000
    assert peak < 30e6
