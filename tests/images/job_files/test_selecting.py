"""From what a model says of candidates to the files of a mining job, through the mining core: read back by the contract without a tolerance."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from job_files.contract import Env, ImageError, check_object_type
from job_files.selecting import (
    HARD_EXAMPLES,
    OPERATOR_VIEWS,
    STRATEGY_VIEWS,
    choose_strategy,
    find_hard,
    labelled_counts,
    offered,
    rank,
    views_for,
    write_hard,
    write_selection,
)
from mining import Boxes, Pool
from mining.hard_examples import Question
from mining.hard_examples.views import make_view
from PIL import Image

from contracts.dataset import Asset
from contracts.ymir import collect_mining

COUNT = 20
NAMES = ("cat", "dog")
ASSETS = [Asset(hashlib.sha1(str(number).encode()).hexdigest(), "jpg", 64, 48, 1) for number in range(COUNT)]
PATHS = {asset.file_name: Path("/in/assets", asset.relative_path) for asset in ASSETS}


def env(folder: Path) -> Env:
    return Env("t1234567", False, True, False, {}, {"mining_result_file": str(folder / "result.tsv")})


def pool() -> Pool:
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(3), COUNT)
    return Pool([*PATHS], ("a", "b", "c"), probabilities=probabilities, embeddings=random.normal(size=(COUNT, 4)).astype(np.float32))


def question() -> Question:
    """Boxes of which every second picture's are unsure; one picture is empty."""
    corners = np.array([[4.0, 4, 20, 20], [30, 10, 50, 40]])
    sure, unsure = Boxes(corners, np.array([0.95, 0.9]), np.array([0, 1])), Boxes(corners, np.array([0.4, 0.35]), np.array([0, 1]))
    return Question([*PATHS], NAMES, predictions=[Boxes(), *(unsure if number % 2 else sure for number in range(1, COUNT))])


def test_a_selection_is_read_as_ranking_with_words_for_the_chosen_ones(tmp_path: Path) -> None:
    selection = rank(pool(), "default", budget=5, seed=0)
    write_selection(env(tmp_path), selection, PATHS)
    result = collect_mining(tmp_path, ASSETS)
    assert [asset for asset, _ in result.ranking] == [pick.id.partition(".")[0] for pick in selection.picks]
    assert result.warnings == ()
    assert [asset for asset, picture in result.pictures.items() if picture.hard] == [asset for asset, _ in result.ranking[:5]]
    assert [picture.coefficient for picture in result.pictures.values()] == [1.0, 0.95, 0.9, 0.85, 0.8]
    assert all(picture.texts for picture in result.pictures.values())


def test_without_a_budget_a_tenth_is_chosen(tmp_path: Path) -> None:
    assert len(rank(pool(), "margin", budget=0, seed=0).selected) == COUNT // 10
    assert len(rank(Pool(["a.jpg"], probabilities=np.array([[0.5, 0.5]])), "random", budget=0, seed=0).selected) == 1


def test_hard_examples_are_read_with_their_numbers_sentences_and_boxes(tmp_path: Path) -> None:
    write_hard(env(tmp_path), find_hard(question()), PATHS, NAMES)
    result = collect_mining(tmp_path, ASSETS)
    assert (len(result.ranking), result.warnings) == (COUNT, ())
    assert result.ranking[0] == (ASSETS[0].id, 1.0)
    assert result.pictures[ASSETS[0].id].reasons == (0,)
    unsure = result.pictures[ASSETS[1].id]
    assert (unsure.reasons, unsure.texts) == ((1,), ("the confidence is low",))
    assert [(box.class_name, box.x, box.width) for box in unsure.boxes] == [("cat", 4.0, 16.0), ("dog", 30.0, 20.0)]
    assert ASSETS[2].id not in result.pictures


def test_what_is_offered_goes_by_what_a_model_can_give() -> None:
    assert "cald" not in offered("classification", frozenset({"predictions"}))
    assert "cald" in offered("classification", frozenset({"predictions", "probabilities", "views"}))
    assert "anti" not in offered("detection", frozenset({"predictions"}))  # a control, for nobody's use
    assert choose_strategy(HARD_EXAMPLES, "detection", frozenset()) is None


def test_a_model_looks_at_changed_pictures_only_where_the_strategy_asks_for_them() -> None:
    gives = frozenset({"predictions", "probabilities", "embeddings", "views"})
    cald, margin = (choose_strategy(name, "detection", gives) for name in ("cald", "margin"))
    assert [views_for(each, "detection") for each in (cald, margin, None)] == [STRATEGY_VIEWS, (), OPERATOR_VIEWS]
    assert all(make_view(Image.new("RGB", (8, 8)), name).size == (8, 8) for name in {*STRATEGY_VIEWS, *OPERATOR_VIEWS})


def test_labelled_classes_are_counted_in_the_order_of_the_models_classes(tmp_path: Path) -> None:
    for name, text in (("a", "0\n1\n"), ("b", "1\n"), ("c", "")):
        (tmp_path / f"{name}.txt").write_text(text)
    (tmp_path / "train-index.tsv").write_text("".join(f"/in/assets/{name}.jpg\t{tmp_path}/{name}.txt\n" for name in "abc"))
    given = Env("t1", False, True, False, {"training_index_file": str(tmp_path / "train-index.tsv")}, {})
    labelled = labelled_counts(
        given, lambda _, file: [int(line) for line in file.read_text().split()], ["dog", "cat"], ["cat", "hen", "dog"]
    )
    assert labelled.class_counts is not None
    assert (labelled.class_counts.tolist(), labelled.image_count) == ([2, 0, 1], 3)
    assert labelled_counts(env(tmp_path), lambda *_: [], ["dog"], ["dog"]).class_counts is None


@pytest.mark.parametrize("old", ["random", "entropy", "least_confidence", "core_set"])
def test_the_names_that_tinydet_had_are_kept(old: str) -> None:
    strategy = choose_strategy(old, "detection", frozenset({"predictions", "probabilities", "embeddings"}))
    assert strategy is not None
    assert strategy.name == old


def test_what_cannot_be_ranked_is_refused_with_the_contracts_code() -> None:
    with pytest.raises(ImageError, match=r"mining_algorithm 'magic': choose one of default, random.*, hard_examples") as unknown:
        choose_strategy("magic", "detection", frozenset({"predictions", "embeddings"}))
    with pytest.raises(ImageError, match="none of the candidates can be read") as empty:
        rank(Pool(()), "random", budget=1, seed=0)
    with pytest.raises(ImageError, match="core_set needs embeddings") as lacking:
        rank(Pool(["a.jpg"], probabilities=np.array([[0.5, 0.5]])), "core_set", budget=1, seed=0)
    assert [error.value.code for error in (unknown, empty, lacking)] == [300001, 300003, 300001]


@pytest.mark.parametrize(("given", "own", "meant"), [({}, (2, 1), 2), ({"object_type": 1}, (2, 1), 1), ({"object_type": 4}, (4,), 4)])
def test_a_job_is_about_what_it_says_or_the_usual_thing(given: dict[str, int], own: tuple[int, ...], meant: int) -> None:
    assert check_object_type(given, *own) == meant


@pytest.mark.parametrize("wanted", [3, "x", 2.5])
def test_a_job_about_something_else_is_refused_in_words(wanted: object) -> None:
    words = rf"object_type {wanted}: this image does detection \(2\) and classification \(1\) only"
    with pytest.raises(ImageError, match=words) as refused:
        check_object_type({"object_type": wanted}, 2, 1)
    assert refused.value.code == 300005
