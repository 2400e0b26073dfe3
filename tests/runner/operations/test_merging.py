"""Merge: every picture once, by the rule for conflicts."""

from __future__ import annotations

import pytest
from hypothesis import given as given_by
from hypothesis import settings
from hypothesis import strategies as st

from contracts.errors import ConflictError
from runner.dataset_files import Entry
from runner.operations.base import with_class_names
from runner.publishing import changes_since
from runner.tables import Tables
from tests.runner.operations.conftest import column, contents, entry, given, names, run, tables


def _merged(conflict: str, *parts: Tables) -> Tables:
    others = {f"o@V{number:03d}": part for number, part in enumerate(parts[1:], 1)}
    return run(given(parts[0], others=others), "merge", references=list(others), conflict=conflict).tables


def test_pictures_of_all_are_there_once_in_the_order_of_their_ids() -> None:
    result = _merged("first", tables(entry(3, "a"), entry(1, "b")), tables(entry(2, "c"), entry(3, "a")), tables(entry(9)))
    assert names(result) == [1, 2, 3, 9]
    assert result.asset_ids.to_pylist() == sorted(result.asset_ids.to_pylist())
    assert contents(result) == {1: ["b"], 2: ["c"], 3: ["a"], 9: []}


@pytest.mark.parametrize(
    ("conflict", "expected"), [("first", ["a", "b"]), ("last", ["c"]), ("union", ["a", "b", "c"])], ids=["first", "last", "union"]
)
def test_a_conflict_is_solved_as_asked(conflict: str, expected: list[str]) -> None:
    one, other = tables(entry(1, "a", "b", split="train")), tables(entry(1, "c", split="val"))
    result = _merged(conflict, one, other)
    assert contents(result) == {1: expected}
    assert column(result, "split") == {1: "val" if conflict == "last" else "train"}


def test_labels_count_more_than_none_and_a_proposal_less_than_a_label() -> None:
    one = tables(entry(1, annotated=False), entry(2, "proposed", state="to_be_confirmed"))
    other = tables(entry(1, "a"), entry(2, "b"))
    for conflict in ("first", "last"):
        assert contents(_merged(conflict, one, other)) == {1: ["a"], 2: ["b"]}
        assert contents(_merged(conflict, other, one)) == {1: ["a"], 2: ["b"]}
    assert set(column(_merged("union", one, other), "state").values()) == {"labeled"}


def test_equal_annotations_are_there_once_in_a_union_and_repeated_ones_of_one_picture_stay() -> None:
    one, other = tables(entry(1, "a", "b"), entry(2, "c")), tables(entry(1, "a"), entry(3, "d"))
    assert contents(_merged("union", one, other)) == {1: ["a", "b"], 2: ["c"], 3: ["d"]}


def test_a_picture_that_is_kept_for_tests_anywhere_stays_out_of_training() -> None:
    result = _merged("first", tables(entry(1, "a", split="train"), entry(2, split="train")), tables(entry(1, "a", split="test")))
    assert column(result, "split") == {1: "test", 2: "train"}


def test_refuse_names_a_picture_that_differs_and_lets_equal_ones_pass() -> None:
    one = tables(entry(1, "a"))
    assert names(_merged("refuse", one, tables(entry(1, "a"), entry(2)))) == [1, 2]
    with pytest.raises(ConflictError, match=r"1 pictures of o@V001 differ"):
        _merged("refuse", one, tables(entry(1, "b")))


def test_classes_come_under_the_names_of_the_dataset() -> None:
    one, other = tables(entry(1, "red cell")), tables(entry(2, "rbc"))
    where = given(one, others={"o@V001": with_class_names(other, {})}, aliases={"red cell": ("rbc",)})
    where = type(where)(where.tables, [known for known in where.classes if known.name != "rbc"], where.sources)
    assert contents(run(where, "merge", references=["o@V001"]).tables) == {1: ["red cell"], 2: ["red cell"]}


@st.composite
def parts(draw: st.DrawFn) -> list[list[Entry]]:
    def one(number: int) -> Entry:
        classes = draw(st.lists(st.sampled_from("abc"), max_size=3))
        state = draw(st.sampled_from(["labeled", "unlabeled", "to_be_confirmed"]))
        return entry(number, *(classes if state != "unlabeled" else ()), split=draw(st.sampled_from(["", "train", "test"])), state=state)

    numbers = st.lists(st.integers(0, 8), unique=True, min_size=1, max_size=6)
    return [[one(number) for number in draw(numbers)] for _ in range(draw(st.integers(2, 3)))]


@settings(max_examples=60, deadline=None)
@given_by(parts(), st.sampled_from(["first", "last", "union"]))
def test_a_merge_is_what_a_slow_one_makes(drawn: list[list[Entry]], conflict: str) -> None:
    result = _merged(conflict, *(tables(*part) for part in drawn))
    expected = _slowly(drawn, conflict)
    assert contents(result) == {number: [b.class_name for b in boxes] for number, (_, boxes, _) in expected.items()}
    assert column(result, "state") == {number: state for number, (state, _, _) in expected.items()}
    assert column(result, "split") == {number: split for number, (_, _, split) in expected.items()}


def _slowly(drawn: list[list[Entry]], conflict: str) -> dict[int, tuple[str, list[object], str]]:
    rank = {"labeled": 2, "to_be_confirmed": 1, "unlabeled": 0}
    found: dict[int, list[Entry]] = {}
    for part in drawn:
        for one in part:
            found.setdefault(int(one.name.partition(".")[0]), []).append(one)
    expected = {}
    for number, several in found.items():
        ordered = several[::-1] if conflict == "last" else several
        best = max(ordered, key=lambda e: rank[e.state])
        boxes = list(best.annotations or ())
        if conflict == "union":
            boxes = []
            for one in several:
                boxes += [box for box in one.annotations or () if len(several) == 1 or box not in boxes]
        split = "test" if any(one.split == "test" for one in several) else best.split
        expected[number] = (best.state, boxes, split)
    return expected


def test_the_changes_of_a_merge_are_counted(zoo: Tables) -> None:
    other = tables(entry(0, "dog"), entry(4, "cat", size=(100, 900)), entry(50), entry(51))
    outcome = run(given(zoo, others={"o@V001": other}), "merge", references=["o@V001"])
    assert changes_since(zoo, outcome.tables, outcome.touched) == {"added": 2, "changed": 1, "deleted": 0}
