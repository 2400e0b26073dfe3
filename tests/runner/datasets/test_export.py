"""A version written for other tools: whole or not at all, never over anything, and it comes back as it was."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConflictError, DatasetError, InternalError, NotFoundError, RequestError, UnavailableError
from plugins.formats.coco import CocoFormat
from runner.service import Runner
from runner.settings import load_settings
from tests.conformance.main_job import voc_folder

PETS = {"train": 4, "val": 2, "pool": 1}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return voc_folder(tmp_path / "pets", PETS)


@pytest.fixture
def runner(tmp_path: Path, source: Path) -> Iterator[Runner]:
    settings = load_settings({"home": str(tmp_path / "home"), "engine": "process", "gpus": "fake"}, environ={})
    with Runner.open(settings) as runner:
        runner.import_dataset("pets", source)
        yield runner


def _tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("format_name", ["coco", "csv", "yolo", "cvat", "label-studio"])
def test_what_is_exported_is_imported_again_as_it_was(runner: Runner, tmp_path: Path, format_name: str) -> None:
    report = runner.export_dataset("pets", tmp_path / "out", format=format_name)
    assert (report["dataset"], report["version"], report["images"], report["splits"]) == (
        "pets",
        "V001",
        7,
        {"pool": 1, "train": 4, "val": 2},
    )
    again = runner.import_dataset("again", tmp_path / "out")
    before = runner.get_dataset("pets")["report"]
    for key in ("images", "annotations", "classes", "splits", "unlabeled"):
        assert again[key] == before[key], key
    assert (again["format"], report["annotations"]) == (format_name, before["annotations"])


@pytest.mark.parametrize("format_name", ["coco", "csv"])
def test_formats_that_keep_every_bit_give_the_same_version(runner: Runner, tmp_path: Path, format_name: str) -> None:
    runner.export_dataset("pets", tmp_path / "out", format=format_name)
    assert runner.import_dataset("again", tmp_path / "out")["content_hash"] == runner.get_dataset("pets")["report"]["content_hash"]


def test_one_split_is_exported_named_in_either_place(runner: Runner, tmp_path: Path) -> None:
    first = runner.export_dataset("pets@V001:val", tmp_path / "a", format="coco")
    runner.export_dataset("pets", tmp_path / "b", format="coco", split="val")
    assert (first["images"], first["split"], first["splits"]) == (2, "val", {"val": 2})
    assert _tree(tmp_path / "a") == _tree(tmp_path / "b")
    with pytest.raises(DatasetError, match="names the split val, the request train"):
        runner.export_dataset("pets:val", tmp_path / "c", format="coco", split="train")


def test_a_zip_holds_the_same_files(runner: Runner, tmp_path: Path) -> None:
    runner.export_dataset("pets", tmp_path / "out", format="yolo")
    report = runner.export_dataset("pets", tmp_path / "out.zip", format="yolo")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            name: (tmp_path / "out" / name).read_bytes() for name in _tree(tmp_path / "out") if (tmp_path / "out" / name).is_file()
        }
    assert report["files"] == sum(path.is_file() for path in (tmp_path / "out").rglob("*"))
    assert runner.import_dataset("again", tmp_path / "out.zip")["images"] == 7


def test_links_share_the_files_of_the_store_and_no_pictures_means_none(runner: Runner, tmp_path: Path) -> None:
    runner.export_dataset("pets", tmp_path / "linked", format="coco", link=True)
    runner.export_dataset("pets", tmp_path / "none", format="coco", pictures=False)
    pictures = [path for path in (tmp_path / "linked").rglob("*") if path.suffix in (".png", ".jpg")]
    assert len(pictures) == 7
    assert all(path.stat().st_nlink > 1 for path in pictures)
    assert {path.suffix for path in (tmp_path / "none").rglob("*") if path.is_file()} == {".json"}


def test_an_empty_folder_is_taken_and_anything_else_is_left_alone(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    runner.export_dataset("pets", tmp_path / "empty", format="csv")
    assert (tmp_path / "empty" / "annotations.csv").exists()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "file.zip").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("empty", "file", "file.zip", "link"):
        with pytest.raises(ConflictError, match="exists"):
            runner.export_dataset("pets", tmp_path / name, format="csv")
    assert (tmp_path / "file").read_text() == (tmp_path / "file.zip").read_text() == "mine"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("home/out", "in the home of Sluice"),
        ("home/assets/out.zip", "in the home of Sluice"),
        ("pets/out", "which the dataset was imported from"),
        ("pets/JPEGImages/out.zip", "which the dataset was imported from"),
        ("way-in/out", "which the dataset was imported from"),
        ("nowhere/out", "is no folder"),
    ],
)
def test_places_where_it_would_be_mixed_with_its_origin_are_refused(runner: Runner, tmp_path: Path, place: str, words: str) -> None:
    (tmp_path / "way-in").symlink_to(tmp_path / "pets")
    before = _tree(tmp_path)
    with pytest.raises(RequestError, match=words):
        runner.export_dataset("pets", tmp_path / place, format="csv")
    assert _tree(tmp_path) == before


@pytest.mark.parametrize(
    ("reference", "options", "error", "words"),
    [
        ("dogs", {"format": "coco"}, NotFoundError, "dogs"),
        ("pets@V009", {"format": "coco"}, NotFoundError, "V009"),
        ("pets:holdout", {"format": "coco"}, DatasetError, "has no split holdout"),
        ("pets", {"format": "dxf"}, DatasetError, "no format 'dxf'"),
        ("pets", {"format": "images"}, DatasetError, "the format images is only read"),
        ("pets", {"format": ""}, DatasetError, "no format ''"),
        ("pets", {"format": "coco", "link": True}, RequestError, "a zip holds copies"),
    ],
)
def test_a_wrong_request_writes_nothing(
    runner: Runner, tmp_path: Path, reference: str, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    before = _tree(tmp_path)
    with pytest.raises(error, match=words):
        runner.export_dataset(reference, tmp_path / "out.zip", **options)
    assert _tree(tmp_path) == before


def test_an_export_that_fails_halfway_leaves_nothing(runner: Runner, tmp_path: Path) -> None:
    """An asset that is gone from the store is found while the pictures are placed."""
    (asset,) = [path for path in (tmp_path / "home" / "assets").rglob("*") if path.is_file()][:1]
    content = asset.read_bytes()
    asset.unlink()
    before = _tree(tmp_path)
    with pytest.raises(DatasetError, match="is not in the store"):
        runner.export_dataset("pets", tmp_path / "out", format="coco")
    assert _tree(tmp_path) == before
    asset.write_bytes(content)


@pytest.mark.parametrize(
    ("failure", "error", "words"),
    [
        (OSError(28, os.strerror(28)), UnavailableError, "No space left on device"),
        (TypeError("oops"), InternalError, "the format coco failed: TypeError: oops"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
    ],
)
def test_whatever_ends_an_export_its_target_does_not_appear(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException, error: type[BaseException], words: str | None
) -> None:
    write = CocoFormat.write

    def fail(self: CocoFormat, folder: Path, samples: Any, export: Any) -> Any:
        write(self, folder, samples, export)
        raise failure

    monkeypatch.setattr(CocoFormat, "write", fail)
    before = _tree(tmp_path)
    with pytest.raises(error, match=words):
        runner.export_dataset("pets", tmp_path / "out", format="coco")
    assert _tree(tmp_path) == before


def test_what_a_killed_export_left_goes_with_the_next_one_and_one_that_runs_is_let_alone(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = CocoFormat.write

    def look(self: CocoFormat, folder: Path, samples: Any, export: Any) -> Any:
        monkeypatch.setattr(CocoFormat, "write", write)
        runner.export_dataset("pets", tmp_path / "out.zip", format="coco")
        assert folder.is_dir()
        return write(self, folder, samples, export)

    left = tmp_path / ".out.zip.0123456789abcdef"
    (left / "images").mkdir(parents=True)
    (tmp_path / f"{left.name}.zip-part").write_bytes(b"cut")
    kept = [tmp_path / ".out.zip.notes", tmp_path / ".other.0123456789abcdef"]
    for folder in kept:
        folder.mkdir()
    monkeypatch.setattr(CocoFormat, "write", look)
    with pytest.raises(ConflictError, match="exists by now"):
        runner.export_dataset("pets", tmp_path / "out.zip", format="coco")
    assert sorted(tmp_path.glob(".*")) == sorted(kept)


def test_what_appears_at_the_target_meanwhile_is_not_replaced(runner: Runner, tmp_path: Path) -> None:
    for name in ("out", "out.zip"):

        def interfere(done: int, total: int | None, name: str = name) -> None:
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "mine").touch()

        with pytest.raises(ConflictError, match="exists by now"):
            runner.export_dataset("pets", tmp_path / name, format="csv", on_progress=interfere)
        assert _tree(tmp_path / name) == ["mine"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_progress_ends_with_all_samples(runner: Runner, tmp_path: Path) -> None:
    said: list[tuple[int, int | None]] = []
    runner.export_dataset("pets", tmp_path / "out", format="csv", on_progress=lambda *words: said.append(words))
    assert said == [(number, 7) for number in range(8)]


def test_the_report_says_what_the_format_cannot_hold(runner: Runner, tmp_path: Path) -> None:
    report = runner.export_dataset("pets", tmp_path / "out", format="class-folders")
    assert [warning["code"] for warning in report["warnings"]] == ["export_box"]
