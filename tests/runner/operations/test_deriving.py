"""Operations from end to end, in a home: new versions with their lineage, whole or not at all."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from contracts.errors import ConflictError, DatasetError, NotFoundError, RequestError
from runner.dataset_files import read_samples
from runner.service import Runner
from runner.settings import load_settings
from runner.tables import content_hash, read_tables


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    with Runner.open(load_settings({"home": str(tmp_path / "home"), "engine": "process", "gpus": "fake"})) as runner:
        yield runner


def make_source(folder: Path, *names: str, classes: str = "cat") -> Path:
    """A VOC folder; a picture's content follows from its name, so that the same name is the same asset everywhere."""
    folder.mkdir(exist_ok=True)
    for name in names:
        pixels = np.random.RandomState(sum(map(ord, name))).randint(0, 255, (40, 60, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        box = f"<object><name>{classes}</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>20</xmax><ymax>30</ymax></bndbox></object>"
        (folder / f"{name}.xml").write_text(f"<annotation>{box}</annotation>")
    return folder


@pytest.fixture
def pets(runner: Runner, tmp_path: Path) -> dict[str, Any]:
    return runner.import_dataset("pets", make_source(tmp_path / "pets", "a", "b", "c", "d"))


def files(runner: Runner, reference: str) -> dict[str, bytes]:
    folder = Path(runner.get_dataset(reference)["folder"])
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_operation_makes_the_next_version_and_says_where_it_comes_from(runner: Runner, pets: dict[str, Any]) -> None:
    before = files(runner, "pets@V001")
    report = runner.derive_dataset("pets", {"op": "filter", "names": ["a.*", "b.*"]})
    assert (report["version"], report["images"], report["inputs"]) == ("V002", 2, ["pets@V001"])
    assert report["operation"] == {"op": "filter", "names": ["a.*", "b.*"]}
    assert report["changes"] == {"added": 0, "changed": 0, "deleted": 2}
    shown = runner.get_dataset("pets")
    assert (shown["version"], shown["current"], shown["inputs"], shown["operation"]) == (
        "V002",
        True,
        report["inputs"],
        report["operation"],
    )
    assert json.loads(files(runner, "pets")["report.json"]) == report
    assert files(runner, "pets@V001") == before


def test_it_may_make_another_dataset(runner: Runner, pets: dict[str, Any]) -> None:
    report = runner.derive_dataset("pets@V001", {"op": "draw", "count": 3}, into="few")
    assert (report["dataset"], report["version"], report["images"]) == ("few", "V001", 3)
    assert [known["name"] for known in runner.list_dataset_classes("few")] == ["cat"]
    assert runner.get_dataset("pets")["version"] == "V001"


def test_what_changes_nothing_makes_no_version(runner: Runner, pets: dict[str, Any]) -> None:
    assert runner.derive_dataset("pets", {"op": "filter", "where": "true"})["unchanged"]
    assert len(runner.list_dataset_versions("pets")) == 1


def test_a_split_alone_can_be_taken(runner: Runner, pets: dict[str, Any]) -> None:
    runner.derive_dataset("pets", {"op": "split", "ratios": {"train": 0.5, "val": 0.5}})
    assert runner.derive_dataset("pets:val", {"op": "filter", "where": "true"}, into="held")["splits"] == {"val": 2}
    with pytest.raises(DatasetError, match=r"pets@V002 has no split 'test'"):
        runner.derive_dataset("pets:test", {"op": "filter", "where": "true"})


def test_unchanged_annotations_are_one_file_in_both_versions(runner: Runner, pets: dict[str, Any]) -> None:
    report = runner.derive_dataset("pets", {"op": "split", "ratios": {"train": 0.5, "val": 0.5}})
    one, other = (Path(runner.get_dataset(name)["folder"]) / "annotations.parquet" for name in ("pets@V001", "pets@V002"))
    assert one.samefile(other)
    tables = read_tables(other.parent)
    assert content_hash(tables, list(report["classes"])) == report["content_hash"]


@pytest.mark.parametrize(
    ("operation", "error", "message"),
    [
        ({"op": "explode"}, RequestError, "no operation 'explode'"),
        ({}, RequestError, "no operation None"),
        ({"op": "filter", "where": 'name == "z"'}, DatasetError, "leaves no picture"),
        ({"op": "merge", "references": ["nobody"]}, NotFoundError, "nobody"),
        ({"op": "merge", "references": ["../x"]}, DatasetError, "no reference"),
        ({"op": "top", "job": "none", "count": 2}, NotFoundError, "none"),
        ({"op": "label-from", "job": "import-0000000000000000"}, NotFoundError, "left no prediction"),
        ({"op": "split", "ratios": {"train": 0.9, "val": 0.2}}, RequestError, "add up to 1.1"),
    ],
)
def test_what_is_refused_changes_nothing(
    runner: Runner, pets: dict[str, Any], operation: dict[str, Any], error: type[Exception], message: str
) -> None:
    before = set(Path(pets["folder"]).parent.rglob("*"))
    with pytest.raises(error, match=message):
        runner.derive_dataset("pets", operation)
    assert set(Path(pets["folder"]).parent.rglob("*")) == before
    assert len(runner.list_dataset_versions("pets")) == 1


def test_a_version_that_cannot_be_entered_leaves_no_folder(runner: Runner, pets: dict[str, Any]) -> None:
    with closing(sqlite3.connect(runner._installation.home / "sluice.db")) as database:
        database.execute("CREATE TRIGGER refuse BEFORE INSERT ON dataset_versions BEGIN SELECT RAISE(ABORT, 'not today'); END")
        database.commit()
        with pytest.raises(Exception, match="not today"):
            runner.derive_dataset("pets", {"op": "draw", "count": 2})
        assert [path.name for path in Path(pets["folder"]).parent.iterdir()] == ["V001"]
        database.execute("DROP TRIGGER refuse")
        database.commit()
    assert runner.derive_dataset("pets", {"op": "draw", "count": 2})["version"] == "V002"


# --------------------------------------------------------------------------------------------- current, removed, classes


def test_the_current_version_can_be_an_older_one_until_a_new_one_is_made(runner: Runner, pets: dict[str, Any]) -> None:
    runner.derive_dataset("pets", {"op": "draw", "count": 2})
    assert runner.set_current_version("pets@V001")["current"]
    assert runner.get_dataset("pets")["version"] == "V001"
    assert [(v["version"], v["current"]) for v in runner.list_dataset_versions("pets")] == [("V002", False), ("V001", True)]
    report = runner.derive_dataset("pets", {"op": "draw", "count": 3})
    assert (report["version"], report["inputs"]) == ("V003", ["pets@V001"])
    assert runner.get_dataset("pets")["version"] == "V003"
    with pytest.raises(NotFoundError):
        runner.set_current_version("pets@V009")
    with pytest.raises(RequestError, match="names no version"):
        runner.set_current_version("pets")


def test_a_removed_version_leaves_its_files_and_its_number_to_nobody(runner: Runner, pets: dict[str, Any]) -> None:
    report = runner.derive_dataset("pets", {"op": "draw", "count": 2})
    assert runner.remove_dataset("pets@V002") == {"removed": ["pets@V002"]}
    assert (Path(report["folder"]) / "images.parquet").exists()
    assert runner.get_dataset("pets")["version"] == "V001"
    assert runner.derive_dataset("pets", {"op": "draw", "count": 3})["version"] == "V003"
    runner.remove_dataset("pets@V003")
    with pytest.raises(ConflictError, match="the only version"):
        runner.remove_dataset("pets@V001")
    assert runner.remove_dataset("pets") == {"removed": ["pets@V001"]}
    with pytest.raises(NotFoundError):
        runner.get_dataset("pets")


def test_a_class_keeps_its_meaning_over_renames_and_imports(runner: Runner, pets: dict[str, Any], tmp_path: Path) -> None:
    runner.derive_dataset("pets", {"op": "rename-class", "old": "cat", "new": "feline"})
    assert runner.get_dataset("pets@V001")["classes"] == ["cat"]
    assert runner.get_dataset("pets")["classes"] == ["feline"]
    runner.set_dataset_class("pets", "feline", aliases=["Kitty"], color="#FF0000")
    assert runner.list_dataset_classes("pets") == [{"name": "feline", "aliases": ["cat", "kitty"], "attributes": {"color": "#ff0000"}}]
    again = runner.import_dataset("pets", make_source(tmp_path / "more", "e", "f", classes="Kitty"))
    assert again["classes"] == {"feline": 2}
    old = runner.derive_dataset("pets@V001", {"op": "filter", "classes": ["cat"]})
    assert old["classes"] == {"feline": 4}
    with pytest.raises(ConflictError, match="called 'cat'"):
        runner.set_dataset_class("pets", "dog", aliases=["cat"])
    with pytest.raises(DatasetError, match="no colour"):
        runner.set_dataset_class("pets", "feline", color="red")


def test_an_import_counts_what_changed_and_dates_what_was_there(runner: Runner, pets: dict[str, Any], tmp_path: Path) -> None:
    source = make_source(tmp_path / "again", "a", "b", "e")
    (source / "b.xml").write_text("<annotation></annotation>")
    first = read_tables(Path(pets["folder"])).images
    report = runner.import_dataset("pets", source)
    assert report["changes"] == {"added": 1, "changed": 1, "deleted": 2}
    assert report["inputs"] == ["pets@V001"]
    second = read_tables(Path(report["folder"])).images
    dates = [dict(zip(table["name"].to_pylist(), table["added_at"].to_pylist(), strict=True)) for table in (first, second)]
    assert dates[0]["a.png"] == dates[1]["a.png"] < dates[1]["e.png"]


def test_an_import_goes_on_after_the_files_of_the_former_version_were_lost(runner: Runner, pets: dict[str, Any], tmp_path: Path) -> None:
    (Path(pets["folder"]) / "images.parquet").unlink()
    report = runner.import_dataset("pets", make_source(tmp_path / "again", "a"))
    assert report["images"] == 1
    assert "could not be compared" in report["mended"][0]["reason"]


def test_merged_versions_give_samples_with_every_picture(runner: Runner, pets: dict[str, Any], tmp_path: Path) -> None:
    runner.import_dataset("more", make_source(tmp_path / "more", "c", "x", classes="dog"))
    report = runner.derive_dataset("pets", {"op": "merge", "references": ["more"], "conflict": "union"})
    assert report["classes"] == {"cat": 4, "dog": 2}
    assert report["changes"] == {"added": 1, "changed": 1, "deleted": 0}
    samples = read_samples(Path(report["folder"]), runner._installation.store)
    assert {s.name: [a.class_name for a in s.annotations] for s in samples}["c.png"] == ["cat", "dog"]


def test_pictures_that_lost_their_bytes_are_not_each_others_duplicates(runner: Runner, pets: dict[str, Any]) -> None:
    stored = {path: path.read_bytes() for path in (runner._installation.home / "assets").glob("*/*")}
    for path in stored:
        path.chmod(0o644)
        path.write_bytes(b"")
    asked = {"op": "deduplicate", "distance": 2}
    assert runner.derive_dataset("pets@V001", asked, into="all")["images"] == pets["images"] == len(stored)
    assert runner.find_near_duplicates("pets")["images_to_drop"] == 0
    for path, content in stored.items():  # what was mended is looked at again
        path.write_bytes(content)
    runner.derive_dataset("pets@V001", asked, into="all")
    kept = (runner._installation.home / "analysis" / "pictures").glob("*.parquet")
    assert sum(len(pq.read_table(file)) for file in kept) == len(stored)


def test_near_duplicates_are_hashed_once(runner: Runner, pets: dict[str, Any]) -> None:
    kept = runner._installation.home / "analysis" / "pictures"
    runner.derive_dataset("pets", {"op": "split", "ratios": {"train": 0.5}, "group_distance": 2})
    (file,) = kept.glob("*.parquet")
    runner.derive_dataset("pets@V001", {"op": "deduplicate", "distance": 2})
    assert list(kept.glob("*.parquet")) == [file]
    file.write_bytes(b"broken")
    runner.derive_dataset("pets@V001", {"op": "deduplicate", "distance": 2})
    assert len(list(kept.glob("*.parquet"))) == 2


def test_groups_and_thinning_share_what_was_measured_with_an_analysis(runner: Runner, pets: dict[str, Any], tmp_path: Path) -> None:
    source = tmp_path / "plain"
    source.mkdir()
    for number, level in enumerate((10, 12, 14, 240, 242)):
        Image.new("RGB", (30, 20), (level,) * 3).save(source / f"{number}.png")
    runner.import_dataset("plain", source)
    runner.analyse_dataset("plain")
    kept = set((runner._installation.home / "analysis" / "pictures").glob("*.parquet"))
    report = runner.derive_dataset("plain", {"op": "group", "groups": 2, "features": ["brightness"], "tag": "look"})
    samples = read_samples(Path(report["folder"]), runner._installation.store)
    assert {sample.name: sample.marks.tags for sample in samples} == {
        f"{number}.png": {"look": "1" if number < 3 else "2"} for number in range(5)
    }
    assert report["operation"]["sizes"] == [3, 2]
    thinned = runner.derive_dataset("plain", {"op": "thin", "ratio": 0.4, "groups": 2})
    assert (thinned["images"], thinned["operation"]["dropped"]) == (2, 3)
    assert set((runner._installation.home / "analysis" / "pictures").glob("*.parquet")) == kept
