"""The Parquet files of versions and predictions."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.dataset import Annotation, Asset
from contracts.errors import DatasetError
from plugins.stores.local import LocalStore
from runner.dataset_files import Entry, content_hash, read_predictions, read_samples, write_predictions, write_tables

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
@given(st.lists(st.none() | st.lists(annotations, max_size=4), max_size=6))
def test_samples_are_read_as_they_were_written(tmp_path: Path, store: LocalStore, drawn: list[list[Annotation] | None]) -> None:
    entries = [_entry(store, number, boxes) for number, boxes in enumerate(drawn)]
    write_tables(tmp_path, entries)
    samples = read_samples(tmp_path, store)
    assert [sample.asset for sample in samples] == sorted((e.asset for e in entries), key=lambda asset: asset.id)
    by_id = {sample.asset.id: sample for sample in samples}
    for entry in entries:
        assert by_id[entry.asset.id].annotations == tuple(entry.annotations or ())
        assert by_id[entry.asset.id].name == entry.name


@keep_fixtures
@given(st.dictionaries(st.text("0123456789abcdef", min_size=40, max_size=40), st.lists(predicted, max_size=3).map(tuple), max_size=5))
def test_predictions_are_read_as_they_were_written(tmp_path: Path, predictions: dict[str, tuple[Annotation, ...]]) -> None:
    write_predictions(tmp_path / "deep" / "p.parquet", predictions)
    assert read_predictions(tmp_path / "deep" / "p.parquet") == predictions


def test_a_split_or_the_annotated_ones_alone_can_be_read(tmp_path: Path, store: LocalStore) -> None:
    box = Annotation("cat", 1, 2, 3, 4)
    write_tables(tmp_path, [_entry(store, 1, [box]), _entry(store, 2, [box], "val"), _entry(store, 3, None, ""), _entry(store, 4, [])])
    assert sorted(s.name for s in read_samples(tmp_path, store, "train")) == ["images/1.jpg", "images/4.jpg"]
    assert [s.annotations for s in read_samples(tmp_path, store, "val")] == [(box,)]
    assert [s.name for s in read_samples(tmp_path, store, "")] == ["images/3.jpg"]
    assert len(read_samples(tmp_path, store, annotated_only=True)) == 3


def test_an_asset_that_is_not_in_the_store_is_named(tmp_path: Path, store: LocalStore) -> None:
    entry = _entry(store, 1, [])
    write_tables(tmp_path, [entry])
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
    expected = content_hash([first, second], ["cat"])
    second.name = "other.jpg"
    assert content_hash([second, first], ["cat"]) == expected
    second.annotations = []
    assert content_hash([first, second], ["cat"]) != expected


def test_other_tools_can_read_the_tables(tmp_path: Path, store: LocalStore) -> None:
    write_tables(tmp_path, [_entry(store, 1, [Annotation("cat", 1, 2, 3, 4)])])
    assert pq.read_table(tmp_path / "annotations.parquet").to_pylist()[0]["class_name"] == "cat"
    assert pq.read_table(tmp_path / "images.parquet").to_pylist()[0]["split"] == "train"
