"""A job's samples as columns are the same samples, and staging from them writes the same bytes."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.dataset import Annotation, Asset, JobInputs, Sample
from contracts.errors import DatasetError
from contracts.image import Kind, ObjectType
from contracts.seams import Store
from contracts.ymir import collect_mining
from plugins.stores.local import LocalStore
from runner import stored_samples as module
from runner.dataset_files import Entry, read_samples, tables_of
from runner.stored_samples import StoredSamples, stored_samples
from runner.tables import read_table, write_tables
from tests.contracts.samples import make_model, stage_tree

COUNT = 60


class _StoreWithoutFolder(LocalStore):
    """Finds each file by itself, as a store does whose files lie elsewhere."""

    def folder_of_all(self) -> Path | None:
        return None


@pytest.fixture(scope="module", params=[LocalStore, _StoreWithoutFolder])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    made: Store = request.param(tmp_path_factory.mktemp("home") / "assets")
    return made


@pytest.fixture(scope="module")
def version(store: LocalStore) -> Path:
    """Sixty pictures in two splits, some unlabelled, some with boxes, some without."""
    entries = []
    for number in range(COUNT):
        content = b"picture %d" % number
        asset = Asset(hashlib.sha1(content).hexdigest(), ("jpg", "png")[number % 2], 64, 48, len(content))
        store.add_bytes(content, asset.id, asset.extension)
        boxes = [Annotation(("cat", "dog")[i % 2], i, i, 5, 6, difficult=i == 1) for i in range(number % 4)]
        entries.append(Entry(asset, f"images/{number}.jpg", ("train", "val")[number % 3 == 0], None if number % 5 == 0 else boxes))
    folder = store.folder.parent / "V001"
    folder.mkdir()
    write_tables(folder, tables_of(entries, datetime.now(timezone.utc)))
    return folder


@pytest.mark.parametrize("split", [None, "train", "val", "none"])
@pytest.mark.parametrize("to_learn_from", [False, True])
def test_they_are_the_samples_of_the_version(version: Path, store: Store, split: str | None, to_learn_from: bool) -> None:
    samples = stored_samples(version, store, split, to_learn_from=to_learn_from)
    listed = read_samples(version, store, split, annotated_only=to_learn_from)
    assert (list(samples), len(samples), bool(samples)) == (listed, len(listed), bool(listed))
    assert list(samples.assets) == [sample.asset for sample in listed]
    assert [samples[place] for place in range(len(listed))] == listed
    assert samples[-3:] == listed[-3:]
    assert [path for paths in samples.relative_paths() for path in paths] == [sample.asset.relative_path for sample in listed]
    assert samples.annotation_count == sum(len(sample.annotations) for sample in listed)


def test_they_come_in_batches_too(version: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = list(stored_samples(version, store))
    monkeypatch.setattr(module, "_SAMPLES_AT_ONCE", 7)
    monkeypatch.setattr(module, "_BATCH", 7)
    samples = stored_samples(version, store)
    assert list(samples) == whole
    assert [len(paths) for paths in samples.relative_paths()] == [7] * 8 + [4]


def test_their_folders_hold_each_file_once(version: Path, store: Store) -> None:
    found = list(stored_samples(version, store).folders())
    assert [folder.name for folder in found] == sorted({folder.name for folder in found})
    for folder in found:
        for name, origin in zip(folder.file_names, folder.sources, strict=True):
            path = folder.source / folder.name / origin if folder.source else Path(origin)
            assert hashlib.sha1(path.read_bytes()).hexdigest() == name[:40]
            assert name[38:40] == folder.name
    assert sum(len(folder.file_names) for folder in found) == COUNT


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(keep=st.lists(st.booleans(), min_size=40, max_size=40), again=st.randoms())
def test_a_part_of_a_part_is_the_part_of_the_list(version: Path, store: Store, keep: list[bool], again: Any) -> None:
    samples = stored_samples(version, store, "train")
    listed = list(samples)
    part = samples.keep(np.array(keep))
    chosen = [sample for sample, kept in zip(listed, keep, strict=True) if kept]
    mask = [again.random() < 0.5 for _ in chosen]
    assert list(part) == chosen
    smaller = [sample for sample, kept in zip(chosen, mask, strict=True) if kept]
    assert list(part.keep(np.array(mask, bool))) == smaller
    assert part.names_of([sample.asset.id for sample in reversed(chosen)]) == [sample.name for sample in reversed(chosen)]


def test_one_is_found_by_its_id(version: Path, store: Store) -> None:
    samples = stored_samples(version, store)
    assert samples.get(samples[17].asset.id) == samples[17]
    assert samples.names_of(["0" * 40]) == [""]
    with pytest.raises(KeyError):
        samples.get("0" * 40)


@pytest.mark.parametrize("form", ["ark:raw", "voc:raw", "coco:raw", "none:raw"])
def test_a_training_is_staged_from_them_byte_for_byte_as_from_a_list(version: Path, store: Store, form: str, tmp_path: Path) -> None:
    train, val = (stored_samples(version, store, split) for split in ("train", "val"))

    def inputs(train: Any, val: Any) -> JobInputs:
        classes, parameters = ("cat", "dog"), {"export_format": form}
        return JobInputs("t1", Kind.TRAINING, ObjectType.DETECTION, classes, parameters, train=train, val=val)

    expected = stage_tree(inputs(list(train)[::-1], list(val)), tmp_path / "list")
    assert stage_tree(inputs(train, val), tmp_path / "table") == expected
    assert sum(name.startswith("in/assets/") for name in expected) == COUNT


def test_a_mining_is_staged_from_them_and_its_ranking_read(version: Path, store: Store, tmp_path: Path) -> None:
    samples = stored_samples(version, store, "val")

    def inputs(candidates: Any) -> JobInputs:
        model = make_model(tmp_path)
        return JobInputs("m1", Kind.MINING, ObjectType.DETECTION, ("cat",), {}, candidates=candidates, model=model)

    assert stage_tree(inputs(samples), tmp_path / "table") == stage_tree(inputs(list(samples)), tmp_path / "list")
    rows = (tmp_path / "table" / "in" / "candidate-index.tsv").read_text().split()
    (tmp_path / "table" / "out" / "result.tsv").write_text("".join(f"{row}\t{1 / (1 + i)}\n" for i, row in enumerate(rows)))
    result = collect_mining(tmp_path / "table" / "out", samples.assets)
    assert [asset_id for asset_id, _ in result.ranking] == [sample.asset.id for sample in samples]
    assert result.warnings == ()


def test_a_lost_picture_is_found_by_looking_at_the_folders(version: Path, store: LocalStore) -> None:
    samples = stored_samples(version, store)
    samples.refuse_missing()
    lost = samples[9]
    content = lost.path.read_bytes()
    lost.path.unlink()
    try:
        with pytest.raises(DatasetError, match=f"{lost.asset.file_name} \\({lost.name}\\) is not in the store"):
            samples.refuse_missing()
        stored_samples(version, store).keep(np.arange(COUNT) != 9).refuse_missing()
    finally:
        store.add_bytes(content, lost.asset.id, lost.asset.extension)


@pytest.mark.parametrize(
    ("column", "change"),
    [
        ("asset_id", lambda ids: ["../../../../../../../../../etc/passwd%00", *ids[1:]]),
        ("asset_id", lambda ids: [ids[0].upper(), *ids[1:]]),
        ("asset_id", lambda ids: [ids[0][:39], *ids[1:]]),
        ("asset_id", lambda ids: [None, *ids[1:]]),
        ("asset_id", lambda ids: [ids[1], ids[0], *ids[2:]]),
        ("asset_id", lambda ids: [ids[1], *ids[1:]]),
        ("extension", lambda words: ["../x", *words[1:]]),
        ("extension", lambda words: [None, *words[1:]]),
    ],
)
def test_a_table_whose_names_cannot_be_parts_of_a_path_is_refused(
    version: Path, store: Store, column: str, change: Any, tmp_path: Path
) -> None:
    images = read_table(version / "images.parquet")
    place = images.schema.get_field_index(column)
    values = pa.array(change(images[column].to_pylist()), pa.string())
    pq.write_table(images.set_column(place, column, values), tmp_path / "images.parquet")
    with pytest.raises(DatasetError, match="assets"):
        stored_samples(tmp_path, store)


def test_an_empty_split_is_empty(version: Path, store: Store) -> None:
    none = stored_samples(version, store, "none")
    assert (list(none), list(none.folders()), list(none.relative_paths()), none.annotation_count) == ([], [], [], 0)
    assert isinstance(none, StoredSamples)
    with pytest.raises(IndexError):
        none[0]


def test_samples_keep_to_what_a_sequence_does(version: Path, store: Store) -> None:
    samples = stored_samples(version, store)
    sample: Sample = samples[3]
    assert sample in samples
    assert (samples.index(sample), samples.assets[3]) == (3, sample.asset)
    assert samples.assets[1:3] == [samples[1].asset, samples[2].asset]
