"""Filter, draw, exclude, top and deduplicate."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given as given_by
from hypothesis import settings
from hypothesis import strategies as st

from contracts.errors import RequestError
from contracts.results import MinedPicture
from runner.tables import Tables, content_hash
from tests.runner.operations.conftest import asset_id, contents, entry, given, names, run, tables


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"classes": ["cat"]}, [0, 1, 5, 6]),
        ({"classes": ["cat", "bird"]}, [0, 1, 5, 6, 7]),
        ({"classes": ["cat", "dog"], "all_classes": True}, [1, 6]),
        ({"classes": ["CAT "]}, [0, 1, 5, 6]),
        ({"without": ["cat"]}, [2, 3, 4, 7]),
        ({"classes": ["cat"], "without": ["dog"]}, [0, 5]),
        ({"splits": ["train", "val"]}, [0, 1, 2, 3]),
        ({"splits": [""]}, [4, 5]),
        ({"states": ["unlabeled", "to_be_confirmed"]}, [4, 5]),
        ({"hard": True}, [1]),
        ({"hard": False, "splits": ["train"]}, [0]),
        ({"tags": {"weather": "rain"}}, [2]),
        ({"tags": {"weather": "sun", "light": "day"}}, [5]),
        ({"names": ["[01].*", "7*"]}, [0, 1, 7]),
        ({"min_width": 641}, [7]),
        ({"max_width": 100, "min_height": 900}, [4]),
        ({"min_annotations": 2}, [1, 2, 6]),
        ({"max_annotations": 0}, [3, 4]),
        ({"assets": [asset_id(3), asset_id(4)]}, [3, 4]),
        ({"added_after": "2026-01-02"}, list(range(8))),
        ({"added_before": "2026-01-02T00:00:00+00:00"}, []),
        ({"where": "true"}, list(range(8))),
        ({"where": 'has("cat") and not hard'}, [0, 5, 6]),
        ({"where": 'count("dog") > 1 or aspect < 1'}, [2, 4]),
        ({"where": 'tag("weather") in ("rain", "sun")'}, [2, 5]),
        ({"where": 'tag("weather") not in ("rain", "sun") and split == "train"'}, [0, 1]),
        ({"where": "480 <= height <= 480 and annotations / 2 >= 1"}, [1, 2, 6]),
        ({"where": 'like(name, "[67].jpg") and width * height > 640 * 480'}, [7]),
        ({"where": "coefficient > 0.5"}, [1]),
        ({"where": '"train" == split'}, [0, 1]),
    ],
)
def test_a_filter_keeps_what_fits(zoo: Tables, asked: dict[str, Any], expected: list[int]) -> None:
    before = content_hash(zoo, [])
    result = run(given(zoo), "filter", **asked).tables
    assert names(result) == expected
    assert contents(result) == {number: contents(zoo)[number] for number in expected}
    assert content_hash(zoo, []) == before


def test_only_the_classes_asked_for_stay_when_so_said(zoo: Tables) -> None:
    outcome = run(given(zoo), "filter", classes=["cat"], only_classes=True)
    assert contents(outcome.tables) == {0: ["cat"], 1: ["cat"], 5: ["cat"], 6: ["cat"]}
    assert outcome.touched is not None
    assert int(outcome.touched.sum()) == 2


def test_a_class_may_be_named_by_an_alias(zoo: Tables) -> None:
    where = given(zoo, aliases={"cat": ("kitty",)})
    assert names(run(where, "filter", classes=["kitty"]).tables) == names(run(where, "filter", where='has("kitty")').tables) == [0, 1, 5, 6]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"classes": ["wolf"]}, "no class 'wolf'"),
        ({"assets": ["f" * 40]}, "1 of the assets are not in this version"),
        ({"added_after": "yesterday"}, "'yesterday' is no time"),
        ({"splits": ["../x"]}, "splits.0"),
        ({"colour": "red"}, "colour"),
        ({"min_width": -1}, "min_width"),
        ({"where": "wid > 3"}, "there is no 'wid'"),
        ({"where": "width >"}, "cannot be read"),
        ({"where": "width"}, "is not true or false"),
        ({"where": "width and hard"}, "'width' is not true or false"),
        ({"where": 'width == "a"'}, "compares a text with a number"),
        ({"where": "__import__('os').system('true')"}, "is not known"),
        ({"where": "(lambda: true)()"}, "is not known"),
        ({"where": "name.upper() == 'A'"}, "is not known"),
        ({"where": "split[0] == 't'"}, "is not known"),
        ({"where": "9 ** 9 ** 9 > 1"}, "cannot be calculated"),
        ({"where": 'has("wolf")'}, "no class 'wolf'"),
        ({"where": "has()"}, "is not known"),
        ({"where": "(" * 2000 + "true" + ")" * 2000}, "cannot be read"),
        ({"where": "not " * 5000 + "true"}, "longer than"),
        ({"where": "-" * 3000 + "1 > 0"}, "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(zoo: Tables, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        run(given(zoo), "filter", **asked)


# --------------------------------------------------------------------------------------------------------------------- draw


def _many(count: int = 300) -> Tables:
    return tables(*(entry(number, "rare" if number % 10 == 0 else "common") for number in range(count)))


@settings(max_examples=20, deadline=None)
@given_by(st.integers(1, 300), st.integers(-5, 5))
def test_a_draw_has_the_count_and_each_class_its_share(count: int, seed: int) -> None:
    many = _many()
    result = run(given(many), "draw", count=count, seed=seed).tables
    found = Counter(classes[0] for classes in contents(result).values())
    assert len(result) == count
    assert abs(found["rare"] - count / 10) <= 1
    assert names(run(given(many), "draw", count=count, seed=seed).tables) == names(result)


def test_another_seed_draws_others_and_a_share_is_rounded() -> None:
    many = _many()
    assert names(run(given(many), "draw", count=30, seed=1).tables) != names(run(given(many), "draw", count=30, seed=2).tables)
    assert len(run(given(many), "draw", fraction=0.1).tables) == 30
    assert len(run(given(many), "draw", fraction=0.0001).tables) == 1


@pytest.mark.parametrize("asked", [{}, {"count": 1, "fraction": 0.5}, {"count": 0}, {"fraction": 0}, {"fraction": 1.5}, {"count": 99}])
def test_a_draw_of_nothing_sensible_is_refused(zoo: Tables, asked: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="draw"):
        run(given(zoo), "draw", **asked)


# ------------------------------------------------------------------------------------------------------------------ exclude


def test_exclude_leaves_out_by_content_and_by_id(zoo: Tables) -> None:
    other = tables(entry(0, "other"), entry(6), entry(99))
    outcome = run(given(zoo, others={"o@V001": other}), "exclude", references=["o@V001"], assets=[asset_id(1)])
    assert names(outcome.tables) == [2, 3, 4, 5, 7]
    assert outcome.inputs == ("o@V001",)
    with pytest.raises(RequestError, match="nothing is named"):
        run(given(zoo), "exclude")


# ---------------------------------------------------------------------------------------------------------- top, deduplicate


def test_top_keeps_the_first_that_are_here(zoo: Tables) -> None:
    ranking = [asset_id(number) for number in (7, 99, 2, 5, 0)]
    assert names(run(given(zoo, ranking=ranking), "top", job="m", count=3).tables) == [2, 5, 7]
    with pytest.raises(RequestError, match="none of the pictures"):
        run(given(zoo, ranking=["f" * 40]), "top", job="m", count=3)


def test_top_marks_what_the_mining_said_of_the_pictures(zoo: Tables) -> None:
    ranking = [asset_id(number) for number in (1, 2, 0)]
    mined = {asset_id(0): MinedPicture(0.75, True, (1, 20, 3)), asset_id(2): MinedPicture(0.05, False)}
    result = run(given(zoo, ranking=ranking, mined=mined), "top", job="m", count=3)
    marks = {row["name"]: (row["hard"], row["hard_coefficient"], row["hard_reasons"]) for row in result.tables.images.to_pylist()}
    before = {row["name"]: (row["hard"], row["hard_coefficient"], row["hard_reasons"]) for row in zoo.images.to_pylist()}
    assert marks == {"0.jpg": (True, 0.75, "1-20-3"), "1.jpg": before["1.jpg"], "2.jpg": (False, 0.05, "")}
    assert result.facts["hard"] == 2
    assert result.touched is not None
    listed = result.tables.images["name"].to_pylist()
    assert sorted(name for name, touched in zip(listed, result.touched, strict=True) if touched) == ["0.jpg", "2.jpg"]


def test_of_near_duplicates_a_labelled_one_stays_then_the_larger() -> None:
    alike = tables(
        entry(0, annotated=False, size=(4000, 3000)), entry(1, "cat"), entry(2, "cat", size=(1000, 1000)), entry(3, "dog"), entry(4, "dog")
    )
    bits = {0: 0b0, 1: 0b1, 2: 0b11, 3: 0xFF << 30, 4: 0xFF << 40}

    def hashes(wanted: Tables) -> Any:
        return np.array([bits[int(name.partition(".")[0])] for name in wanted.images["name"].to_pylist()], np.uint64)

    assert names(run(given(alike, hashes=hashes), "deduplicate", distance=2).tables) == [2, 3, 4]
    assert names(run(given(alike, hashes=hashes), "deduplicate", distance=0).tables) == [0, 1, 2, 3, 4]
