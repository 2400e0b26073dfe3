"""The Parquet files of versions and predictions."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.dataset import SHAPES, STATES, Annotation, Asset, Marks
from contracts.errors import DatasetError
from plugins.stores.local import LocalStore
from runner.dataset_files import Entry, read_predictions, read_samples, tables_of, write_predictions
from runner.tables import Tables, content_hash, id_order, image_digests, read_tables, replaced, write_tables

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)

coordinates = st.floats(0, 1e6, allow_nan=False)
shapes = (
    st.none() | st.lists(st.lists(coordinates, min_size=6, max_size=6), min_size=1, max_size=2) | st.just({"counts": "04", "size": [2, 2]})
)
annotations = st.builds(
    Annotation,
    class_name=st.text("abcü猫 -", min_size=1),
    x=coordinates,
    y=coordinates,
    width=coordinates,
    height=coordinates,
    segmentation=shapes,
    crowd=st.booleans(),
    difficult=st.booleans(),
    quality=st.floats(-1, 1, width=32),
    angle=st.floats(-4, 4, width=32),
    shape=st.sampled_from(SHAPES),
    points=st.lists(coordinates, max_size=4).map(tuple),
    attributes=st.dictionaries(st.text("abü", min_size=1), st.text() | st.integers(-9, 9) | st.booleans() | st.none(), max_size=2),
    annotated_by=st.sampled_from(["", "human", "model@best"]),
    score=st.none() | st.floats(0, 1),
)
marks = st.builds(
    Marks,
    state=st.sampled_from(STATES),
    hard=st.booleans(),
    hard_coefficient=st.none() | st.floats(0, 1),
    hard_reasons=st.lists(st.integers(0, 30), max_size=3).map(tuple),
    tags=st.dictionaries(st.text("abü", min_size=1), st.text("xyz"), max_size=2),
)
predicted = st.builds(
    Annotation,
    class_name=st.text("abc", min_size=1),
    x=coordinates,
    y=coordinates,
    width=coordinates,
    height=coordinates,
    score=st.floats(0, 1),
    segmentation=shapes,
)
keep_fixtures = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def _entry(store: LocalStore, number: int, boxes: list[Annotation] | None, split: str = "train") -> Entry:
    content = f"picture {number}".encode()
    sha1 = hashlib.sha1(content).hexdigest()
    store.add_bytes(content, sha1, "jpg")
    return Entry(Asset(sha1, "jpg", 640, 480, len(content)), f"images/{number}.jpg", split, boxes)


@keep_fixtures
@given(st.lists(st.tuples(st.none() | st.lists(annotations, max_size=4), marks), max_size=6))
def test_samples_are_read_as_they_were_written(
    tmp_path: Path, store: LocalStore, drawn: list[tuple[list[Annotation] | None, Marks]]
) -> None:
    entries = [replace(_entry(store, number, boxes), marks=marks) for number, (boxes, marks) in enumerate(drawn)]
    write_tables(tmp_path, tables_of(entries, NOW))
    samples = read_samples(tmp_path, store)
    assert [sample.asset for sample in samples] == sorted((e.asset for e in entries), key=lambda asset: asset.id)
    by_id = {sample.asset.id: sample for sample in samples}
    for entry in entries:
        assert by_id[entry.asset.id].annotations == tuple(entry.annotations or ())
        assert by_id[entry.asset.id].name == entry.name
        assert by_id[entry.asset.id].marks == entry.marks
        assert by_id[entry.asset.id].split == "train"


@keep_fixtures
@given(st.dictionaries(st.text("0123456789abcdef", min_size=40, max_size=40), st.lists(predicted, max_size=3).map(tuple), max_size=5))
def test_predictions_are_read_as_they_were_written(tmp_path: Path, predictions: dict[str, tuple[Annotation, ...]]) -> None:
    write_predictions(tmp_path / "deep" / "p.parquet", predictions)
    assert read_predictions(tmp_path / "deep" / "p.parquet") == predictions


def test_a_split_or_the_annotated_ones_alone_can_be_read(tmp_path: Path, store: LocalStore) -> None:
    box = Annotation("cat", 1, 2, 3, 4)
    entries = [_entry(store, 1, [box]), _entry(store, 2, [box], "val"), _entry(store, 3, None, ""), _entry(store, 4, [])]
    write_tables(tmp_path, tables_of(entries, NOW))
    assert sorted(s.name for s in read_samples(tmp_path, store, "train")) == ["images/1.jpg", "images/4.jpg"]
    assert [s.annotations for s in read_samples(tmp_path, store, "val")] == [(box,)]
    assert [s.name for s in read_samples(tmp_path, store, "")] == ["images/3.jpg"]
    assert len(read_samples(tmp_path, store, annotated_only=True)) == 3


def test_an_asset_that_is_not_in_the_store_is_named(tmp_path: Path, store: LocalStore) -> None:
    entry = _entry(store, 1, [])
    write_tables(tmp_path, tables_of([entry], NOW))
    (path,) = store.folder.glob("??/*")
    path.unlink()
    with pytest.raises(DatasetError, match=r"images/1\.jpg"):
        read_samples(tmp_path, store)


@pytest.mark.parametrize("content", [None, b"", b"PAR1 not really PAR1"])
def test_a_missing_or_broken_table_is_a_dataset_error(tmp_path: Path, store: LocalStore, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "images.parquet").write_bytes(content)
    with pytest.raises(DatasetError, match=r"images\.parquet"):
        read_samples(tmp_path, store)


def test_the_hash_follows_the_content_and_not_the_names_or_the_order(store: LocalStore) -> None:
    box = Annotation("cat", 1, 2, 3, 4)
    first, second = _entry(store, 1, [box]), _entry(store, 2, None)
    expected = content_hash(tables_of([first, second], NOW), ["cat"])
    second.name = "other.jpg"
    assert content_hash(tables_of([second, first], NOW + timedelta(1)), ["cat"]) == expected
    assert content_hash(tables_of([first, second], NOW), ["cat", "dog"]) != expected
    second.annotations = []
    assert content_hash(tables_of([first, second], NOW), ["cat"]) != expected


@pytest.mark.parametrize(
    "change",
    [{"split": "val"}, {"marks": Marks(hard=True)}, {"marks": Marks(tags={"a": "b"})}, {"annotations": [Annotation("dog", 1, 2, 3, 4)]}],
)
def test_whatever_differs_in_a_picture_changes_the_hash_and_its_digest_alone(store: LocalStore, change: dict[str, Any]) -> None:
    entries = [_entry(store, number, [Annotation("cat", 1, 2, 3, 4)]) for number in range(3)]
    before, after = tables_of(entries, NOW), tables_of([replace(entries[0], **change), *entries[1:]], NOW)
    assert content_hash(before, ["cat"]) != content_hash(after, ["cat"])
    changed = [
        asset for asset, same in zip(before.asset_ids.to_pylist(), image_digests(before) == image_digests(after), strict=True) if not same
    ]
    assert changed == [entries[0].asset.id]


def test_the_order_of_the_boxes_of_a_picture_counts(store: LocalStore) -> None:
    boxes = [Annotation("cat", 1, 2, 3, 4), Annotation("cat", 5, 6, 7, 8)]
    one, other = (tables_of([_entry(store, 1, order)], NOW) for order in (boxes, boxes[::-1]))
    assert content_hash(one, ["cat"]) != content_hash(other, ["cat"])
    assert (image_digests(one) != image_digests(other)).all()


def test_the_hash_is_the_same_after_the_files_and_however_the_rows_are_divided(tmp_path: Path, store: LocalStore) -> None:
    entries = [_entry(store, number, [Annotation(name, 1, 2, 3, 4)]) for number, name in enumerate("abcabcab")]
    tables = tables_of(entries, NOW)
    write_tables(tmp_path, tables)
    parted = Tables(*(pa.concat_tables([table.slice(0, 3), table.slice(3)]) for table in (tables.images, tables.annotations)))
    expected = content_hash(tables, ["a", "b", "c"])
    assert content_hash(read_tables(tmp_path), ["a", "b", "c"]) == expected
    assert content_hash(parted, ["a", "b", "c"]) == expected


def test_ids_that_begin_alike_are_still_put_in_order() -> None:
    ids = ["0" * 39 + digit for digit in "3120"]
    assert id_order(pa.chunked_array([ids])).tolist() == [3, 1, 2, 0]


def test_versions_of_the_first_schema_are_read(tmp_path: Path, store: LocalStore) -> None:
    entries = sorted(
        (_entry(store, number, None if number == 1 else [Annotation("cat", 1, 2, 3, 4)]) for number in range(3)), key=lambda e: e.asset.id
    )
    words = ("extension", "split")
    images = pa.table(
        {
            "asset_id": [e.asset.id for e in entries],
            **{name: [getattr(e.asset, name) for e in entries] for name in ("extension", "width", "height", "size_bytes")},
            "name": [e.name for e in entries], "split": [e.split for e in entries], "annotated": [e.annotations is not None for e in entries],
        }
    )  # fmt: skip
    for word in words:
        images = replaced(images, word, images[word].dictionary_encode())
    boxes = [(e.asset.id, box) for e in entries for box in e.annotations or ()]
    annotations = pa.table(
        {
            "asset_id": [asset for asset, _ in boxes], "class_name": pa.array([b.class_name for _, b in boxes]).dictionary_encode(),
            **{name: [getattr(b, name) for _, b in boxes] for name in ("x", "y", "width", "height", "crowd", "difficult", "quality", "angle")},
            "segmentation": pa.nulls(len(boxes), pa.string()),
        }
    )  # fmt: skip
    pq.write_table(images, tmp_path / "images.parquet")
    pq.write_table(annotations, tmp_path / "annotations.parquet")
    assert content_hash(read_tables(tmp_path), ["cat"]) == content_hash(tables_of(entries, NOW), ["cat"])


def test_other_tools_can_read_the_tables(tmp_path: Path, store: LocalStore) -> None:
    write_tables(tmp_path, tables_of([_entry(store, 1, [Annotation("cat", 1, 2, 3, 4)])], NOW))
    assert pq.read_table(tmp_path / "annotations.parquet").to_pylist()[0]["class_name"] == "cat"
    assert pq.read_table(tmp_path / "images.parquet").to_pylist()[0]["split"] == "train"
