"""States, marks, tags and classes: the transitions of a sample, and names that go on meaning the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from contracts.dataset import Annotation
from contracts.errors import ConflictError, DatasetError, RequestError
from runner.dataset_files import write_predictions
from runner.tables import Tables, content_hash
from tests.runner.operations.conftest import asset_id, column, contents, entry, given, names, run, tables


@pytest.fixture
def predictions(tmp_path: Path) -> Any:
    """Of pictures 0 (labelled), 4 (unlabelled), 5 (to be confirmed), and 99, which is of another dataset."""
    found = {
        asset_id(0): (Annotation("dog", 1, 2, 3, 4, score=0.9),),
        asset_id(4): (Annotation("dog", 1, 2, 3, 4, score=0.9), Annotation("cat", 5, 2, 3, 4, score=0.2)),
        asset_id(5): (),
        asset_id(99): (Annotation("dog", 1, 2, 3, 4, score=0.9),),
    }
    write_predictions(tmp_path / "p.parquet", found)
    return pq.read_table(tmp_path / "p.parquet")


def test_predictions_become_proposals_and_labels_stay(zoo: Tables, predictions: Any) -> None:
    outcome = run(given(zoo, predictions=predictions), "label-from", job="i", min_score=0.5)
    assert contents(outcome.tables) == {**contents(zoo), 4: ["dog"], 5: []}
    assert column(outcome.tables, "state")[4] == column(outcome.tables, "state")[5] == "to_be_confirmed"
    proposed = [row for row in outcome.tables.annotations.to_pylist() if row["score"] is not None]
    assert [(row["class_name"], row["score"], row["annotated_by"]) for row in proposed] == [("dog", 0.9, "model@best")]
    assert outcome.facts["proposed"] == 2


def test_doubtful_predictions_make_hard_examples(zoo: Tables, predictions: Any) -> None:
    outcome = run(given(zoo, predictions=predictions), "label-from", job="i", hard_below=0.3)
    assert [number for number, hard in column(outcome.tables, "hard").items() if hard] in ([1, 4], [4, 1])


def test_a_sample_goes_from_unlabelled_over_proposed_to_labelled_and_back(zoo: Tables, predictions: Any) -> None:
    proposed = run(given(zoo, predictions=predictions), "label-from", job="i").tables
    confirmed = run(given(proposed), "confirm", assets=[asset_id(4)]).tables
    assert column(confirmed, "state")[4] == "labeled"
    assert {row["score"] for row in confirmed.annotations.to_pylist()} == {None}
    rejected = run(given(proposed), "reject", assets=[asset_id(4)]).tables
    assert (column(rejected, "state")[4], contents(rejected)[4]) == ("unlabeled", [])
    unlabelled = run(given(confirmed), "unlabel", where='has("dog")').tables
    assert {number for number, state in column(unlabelled, "state").items() if state == "unlabeled"} == {1, 2, 4, 6}


@pytest.mark.parametrize("op", ["confirm", "reject"])
def test_what_does_not_wait_is_neither_confirmed_nor_rejected(zoo: Tables, op: str) -> None:
    result = run(given(zoo), op, where="true").tables
    expected = {**column(zoo, "state"), 5: "labeled" if op == "confirm" else "unlabeled"}
    assert column(result, "state") == expected


def test_marks_are_set_and_taken_back_whatever_the_state(zoo: Tables) -> None:
    marked = run(given(zoo), "mark", where='state == "unlabeled"', coefficient=0.7, reasons=[1, 30]).tables
    assert (column(marked, "hard")[4], column(marked, "hard_coefficient")[4], column(marked, "hard_reasons")[4]) == (True, 0.7, "1-30")
    assert column(marked, "state") == column(zoo, "state")
    cleared = run(given(marked), "mark", where="hard", hard=False).tables
    assert set(column(cleared, "hard").values()) == {False}
    assert set(column(cleared, "hard_coefficient").values()) == {None}


def test_tags_are_set_and_an_empty_one_removes(zoo: Tables) -> None:
    tagged = run(given(zoo), "tag", tags={"weather": "snow"}, where="true").tables
    assert names(run(given(tagged), "filter", tags={"weather": "snow", "light": "day"}).tables) == [5]
    untagged = run(given(tagged), "tag", tags={"weather": "", "light": ""}, where="true").tables
    assert set(column(untagged, "tags").values()) == {None}


@pytest.mark.parametrize(("op", "fields"), [("confirm", {}), ("mark", {"reasons": [31], "where": "true"}), ("tag", {"where": "true"})])
def test_a_choice_of_nothing_is_refused(zoo: Tables, op: str, fields: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=op):
        run(given(zoo), op, **fields)


# ------------------------------------------------------------------------------------------------------------------ classes


def test_a_renamed_class_keeps_its_annotations_and_its_old_name_as_an_alias(zoo: Tables) -> None:
    before = content_hash(zoo, [])
    outcome = run(given(zoo, aliases={"cat": ("kitty",)}), "rename-class", old="kitty", new="Feline")
    assert contents(outcome.tables)[1] == ["feline", "dog"]
    assert [(known.name, known.aliases) for known in outcome.classes or ()] == [("bird", ()), ("feline", ("cat", "kitty")), ("dog", ())]
    assert content_hash(zoo, []) == before


def test_a_name_that_another_class_has_is_refused(zoo: Tables) -> None:
    with pytest.raises(ConflictError, match="'dog' is called 'dog'"):
        run(given(zoo), "rename-class", old="cat", new="dog")
    with pytest.raises(DatasetError, match="cannot be the name"):
        run(given(zoo), "rename-class", old="cat", new="a\nb")
    with pytest.raises(RequestError, match="no class 'wolf'"):
        run(given(zoo), "rename-class", old="wolf", new="fox")


@pytest.mark.parametrize("into", ["pet", "dog", "cat"])
def test_merged_classes_are_one_and_go_by_all_their_names(zoo: Tables, into: str) -> None:
    outcome = run(given(zoo), "merge-classes", classes=["cat", "dog"], into=into)
    assert contents(outcome.tables)[6] == ["bird", into, into]
    (united,) = [known for known in outcome.classes or () if known.name == into]
    assert set(united.aliases) | {into} >= {"cat", "dog"}
    assert len(outcome.classes or ()) == 2


def test_removed_classes_take_their_annotations_and_if_asked_their_pictures(zoo: Tables) -> None:
    outcome = run(given(zoo), "remove-classes", classes=["cat"])
    assert contents(outcome.tables) == {number: [c for c in classes if c != "cat"] for number, classes in contents(zoo).items()}
    assert {number for number, state in column(outcome.tables, "state").items() if state == "unlabeled"} == {0, 4, 5}
    assert names(run(given(zoo), "remove-classes", classes=["cat"], images=True).tables) == [1, 2, 3, 4, 6, 7]


def test_every_operation_has_its_command_and_every_field_its_option() -> None:
    from contracts.operations import OPERATIONS
    from runner.cli import dataset
    from runner.cli.dataset_operations import operation_command

    assert tuple(OPERATIONS) == dataset.OPERATIONS
    for name, model in OPERATIONS.items():
        command = operation_command(name)
        assert set(model.model_fields) - {"op"} <= {parameter.name for parameter in command.params}


def test_an_empty_version_has_no_annotations_to_stumble_over() -> None:
    bare = tables(entry(1, annotated=False))
    for op, fields in (("filter", {"where": "annotations == 0"}), ("split", {"ratios": {"train": 1}}), ("draw", {"count": 1})):
        assert len(run(given(bare), op, **fields).tables) == 1
