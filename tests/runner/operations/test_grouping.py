"""Operations on how pictures look."""

from __future__ import annotations

import json
from typing import Any

import pytest

from contracts.errors import RequestError
from runner.operations.base import Given
from tests.runner.operations.conftest import column, entry, given, looking, names, run, tables

LEVELS = {0: 10, 1: 12, 2: 14, 3: 200, 4: 202}


def seen(levels: dict[int, int] = LEVELS, count: int = 5, **marks: Any) -> Given:
    return given(tables(*(entry(number, **marks) for number in range(count))), looks=lambda wanted: looking(levels, wanted))


def tags(outcome: Any) -> dict[int, Any]:
    return {number: json.loads(text) if text else {} for number, text in column(outcome.tables, "tags").items()}


def test_each_picture_gets_its_groups_number_and_keeps_its_other_tags() -> None:
    outcome = run(seen(tags={"weather": "rain", "group": "old"}), "group", groups=2)
    assert tags(outcome) == {number: {"weather": "rain", "group": "1" if number < 3 else "2"} for number in range(5)}
    assert outcome.facts == {"sizes": [3, 2]}


def test_a_picture_that_cannot_be_read_is_in_no_group_and_is_named() -> None:
    outcome = run(seen(count=6, tags={"look": "old"}), "group", groups=2, tag="look", features=["clarity", "colour"])
    assert tags(outcome)[5] == {}
    assert [(note.place, note.reason) for note in outcome.notes] == [("5.jpg", "cannot be read and is in no group: truncated")]


@pytest.mark.parametrize("op", ["group", "thin"])
@pytest.mark.parametrize(("groups", "said"), [(201, "200"), (6, "6 groups of 5 pictures"), (0, "greater"), ("many", "integer")])
def test_too_many_groups_are_refused(op: str, groups: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        run(seen(), op, groups=groups)


def test_one_group_is_none_and_a_feature_must_be_known() -> None:
    with pytest.raises(RequestError, match="group: groups"):
        run(seen(), "group", groups=1)
    with pytest.raises(RequestError, match="features"):
        run(seen(), "group", groups=2, features=["beauty"])


def test_thinning_keeps_a_share_of_every_group_and_what_cannot_be_read() -> None:
    outcome = run(seen({**LEVELS, 3: 200, 4: 255}, count=6), "thin", ratio=0.6, groups=2)
    assert len(names(outcome.tables)) == 4
    assert {5} < set(names(outcome.tables))
    assert set(names(outcome.tables)) & {3, 4}
    assert outcome.facts == {"dropped": 2}
    assert names(run(seen(), "thin", ratio=1).tables) == [0, 1, 2, 3, 4]
    assert names(run(seen(), "thin", groups="auto").tables) == names(run(seen(), "thin").tables)


@pytest.mark.parametrize("ratio", [0, 1.1, -1, float("nan")])
def test_a_share_that_is_none_is_refused(ratio: float) -> None:
    with pytest.raises(RequestError, match="thin: ratio"):
        run(seen(), "thin", ratio=ratio)
