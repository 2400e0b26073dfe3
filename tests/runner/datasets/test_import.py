"""A folder or archive becomes a version: whole or not at all, and everything left out is named."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from contracts.dataset import Annotation
from contracts.errors import DatasetError, InternalError, NotFoundError, RequestError
from contracts.seams import ClassNames, Format, Found, ImportedImage, Locate, not_located
from plugins.formats.voc import VocFormat
from plugins.stores.local import LocalStore
from registry import datasets
from registry.database import Database
from runner.dataset_files import read_samples

RunImport = Callable[..., dict[str, Any]]
MakePicture = Callable[..., Path]
WriteVoc = Callable[..., Path]


@pytest.fixture
def cells(source: Path, make_picture: MakePicture, write_voc: WriteVoc) -> Path:
    """Four pictures: two annotated and in train, one annotated and in val, one without labels."""
    for number in range(4):
        make_picture(f"JPEGImages/{number}.png", number)
    write_voc("Annotations/0", ("RBC", 1, 1, 20, 20), (" wbc ", 30, 30, 60, 60), size=(100, 80))
    write_voc("Annotations/1")
    write_voc("Annotations/2", ("RBC", 5, 5, 50, 50))
    for split, names in (("train", "0\n1\n"), ("val", "2\n")):
        path = source / "ImageSets" / "Main" / f"{split}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(names)
    return source


def _versions(database: Database, name: str = "cells") -> list[datasets.VersionRecord]:
    with database.reading() as session:
        return datasets.list_versions(session, name) if datasets.find_version(session, name) else []


def _nothing_remains(home: Path, database: Database) -> bool:
    folders = list((home / "datasets").rglob("V*")) if (home / "datasets").exists() else []
    left = list((home / "tmp").iterdir()) if (home / "tmp").exists() else []
    return not folders and not left and not _versions(database)


def test_an_import_makes_a_version_and_reports_what_is_in_it(cells: Path, run_import: RunImport, home: Path, database: Database) -> None:
    report = run_import(cells)
    assert (report["dataset"], report["version"], report["format"], report["unchanged"]) == ("cells", "V001", "voc", False)
    assert (report["images"], report["annotations"], report["unlabeled"]) == (4, 3, 1)
    assert report["classes"] == {"rbc": 2, "wbc": 1}
    assert report["splits"] == {"train": 2, "val": 1, "": 1}
    assert json.loads(Path(report["report_file"]).read_text(encoding="utf-8")) == report
    (version,) = _versions(database)
    assert (version.folder, version.image_count, version.class_names) == ("datasets/cells/V001", 4, ("rbc", "wbc"))
    assert report["folder"] == str(home / version.folder)


def test_its_samples_can_be_read(cells: Path, run_import: RunImport, store: LocalStore) -> None:
    folder = Path(run_import(cells)["folder"])
    (sample,) = read_samples(folder, store, "val")
    assert sample.annotations == (Annotation("rbc", 5, 5, 46, 46),)
    assert sample.path.read_bytes() == (cells / "JPEGImages" / "2.png").read_bytes()
    assert sample.name == "JPEGImages/2.png"


def test_the_files_of_a_version_are_read_only_and_its_source_is_untouched(cells: Path, run_import: RunImport) -> None:
    before = {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in [cells, *cells.rglob("*")]}
    folder = Path(run_import(cells)["folder"])
    assert {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in [cells, *cells.rglob("*")]} == before
    assert sorted(path.name for path in folder.iterdir()) == ["annotations.parquet", "images.parquet", "manifest.json", "report.json"]
    assert all(path.stat().st_mode & 0o222 == 0 for path in folder.iterdir())


def test_the_same_content_again_makes_no_new_version(cells: Path, run_import: RunImport, home: Path, database: Database) -> None:
    first = run_import(cells)
    renamed = cells.with_name("renamed")
    shutil.copytree(cells, renamed)
    again = run_import(renamed)
    assert (again["unchanged"], again["version"], again["folder"]) == (True, "V001", first["folder"])
    assert len(_versions(database)) == 1
    assert list((home / "tmp").iterdir()) == []


def test_another_content_is_the_next_version_with_the_former_as_its_parent(
    cells: Path, run_import: RunImport, write_voc: WriteVoc, database: Database
) -> None:
    run_import(cells)
    write_voc("Annotations/1", ("wbc", 2, 2, 30, 30))
    assert run_import(cells)["version"] == "V002"
    assert [(v.number, v.parent) for v in _versions(database)] == [(1, None), (2, 1)]


def test_a_zip_is_imported_like_its_folder(cells: Path, run_import: RunImport, home: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "cells"), "zip", cells.parent, cells.name)
    by_folder, by_archive = run_import(cells), run_import(Path(archive))
    assert by_archive["unchanged"]
    assert by_archive["content_hash"] == by_folder["content_hash"]
    assert list((home / "tmp").iterdir()) == []


def test_what_an_archive_left_out_is_in_the_report(make_picture: MakePicture, tmp_path: Path, run_import: RunImport) -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(make_picture("a.png", 1), "a.png")
        archive.writestr(link, "/etc/passwd")
    assert [skip["place"] for skip in run_import(tmp_path / "a.zip")["skipped"]] == ["link.jpg"]


def test_progress_is_told_up_to_the_end(cells: Path, run_import: RunImport) -> None:
    told: list[tuple[int, int | None]] = []
    run_import(cells, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4), (4, 4)]


def test_a_split_that_is_asked_for_counts_for_every_picture(cells: Path, run_import: RunImport) -> None:
    assert run_import(cells, split="test")["splits"] == {"test": 4}


# ------------------------------------------------------------------------------------------------------ what is left out


def test_files_that_are_no_pictures_are_named_with_what_they_are(source: Path, make_picture: MakePicture, run_import: RunImport) -> None:
    make_picture("good.jpg", 1, format="PNG")
    (source / "text.jpg").write_text("this is not a picture")
    (source / "empty.png").write_bytes(b"")
    cut = make_picture("cut.jpg", 2)
    cut.write_bytes(cut.read_bytes()[:500])
    report = run_import(source)
    assert report["images"] == 1
    assert {skip["place"]: skip["what"] for skip in report["skipped"]} == {"text.jpg": "image", "empty.png": "image", "cut.jpg": "image"}
    assert next(skip["reason"] for skip in report["skipped"] if skip["place"] == "text.jpg") == "is not a jpg, png or bmp but text"


def test_boxes_are_checked_against_their_picture(
    source: Path, make_picture: MakePicture, write_voc: WriteVoc, run_import: RunImport
) -> None:
    make_picture("a.png", 1)
    write_voc("a", ("x", 5, 5, 5, 5), ("x", 90, 70, 120, 90), ("x", 1, 1, 100, 80), ("x", 9, 9, 40, 40), ("x", 9, 9, 40, 40))
    report = run_import(source)
    assert report["annotations"] == 3
    assert [skip["place"] for skip in report["skipped"]] == ["a.png#box 1", "a.png#box 5"]
    assert [(skip["place"], skip["what"]) for skip in report["mended"]] == [("a.png#box 2", "mended"), (".", "mended")]


def test_the_same_picture_twice_is_one_asset(make_picture: MakePicture, write_voc: WriteVoc, source: Path, run_import: RunImport) -> None:
    make_picture("a.png", 1)
    make_picture("b.png", 1)
    write_voc("b", ("cat", 1, 1, 20, 20))
    report = run_import(source)
    assert (report["images"], report["annotations"]) == (1, 1)
    assert [(skip["place"], skip["reason"]) for skip in report["skipped"]] == [("b.png", "is the same picture as a.png")]


def test_a_picture_in_two_splits_stays_in_the_first_and_both_are_named(
    source: Path, make_picture: MakePicture, write_voc: WriteVoc, run_import: RunImport
) -> None:
    for part in ("train", "val"):
        make_picture(f"{part}/{part}.png", 1)
        write_voc(f"{part}/{part}", ("cat", 1, 1, 20, 20))
    report = run_import(source)
    assert report["splits"] == {"train": 1}
    (skip,) = report["skipped"]
    assert skip["place"] == "val/val.png"
    assert "train/train.png" in skip["reason"]
    assert "refused for val" in skip["reason"]


def test_a_picture_listed_in_two_splits_stays_in_the_first(cells: Path, run_import: RunImport) -> None:
    (cells / "ImageSets" / "Main" / "val.txt").write_text("0\n2\n")
    report = run_import(cells)
    assert report["splits"] == {"train": 2, "val": 1, "": 1}
    assert [skip["reason"] for skip in report["skipped"]] == ["is listed in train and in val; it was kept in train only"]


def test_boxes_drawn_for_another_size_are_left_out_when_they_do_not_fit(
    source: Path, make_picture: MakePicture, write_voc: WriteVoc, run_import: RunImport
) -> None:
    for name in ("large", "small"):
        make_picture(f"{name}.png", len(name) + ord(name[0]))
    write_voc("large", ("cat", 150, 20, 190, 40), size=(200, 160))
    write_voc("small", ("cat", 15, 20, 19, 40), size=(200, 160))
    report = run_import(source)
    assert [(skip["place"], skip["what"]) for skip in report["skipped"]] == [("large.png", "image")]
    assert [skip["place"] for skip in report["mended"]] == ["small.png"]


def test_boxes_drawn_on_the_turned_view_are_left_out_and_others_reported(source: Path, write_voc: WriteVoc, run_import: RunImport) -> None:
    exif = Image.Exif()
    exif[274] = 6
    for number, name in enumerate(("stored", "turned")):
        Image.new("RGB", (100, 80), (number, 0, 0)).save(source / f"{name}.jpg", exif=exif)
    write_voc("stored", ("cat", 5, 5, 20, 40), size=(100, 80))
    write_voc("turned", ("cat", 5, 5, 20, 40), size=(80, 100))
    report = run_import(source)
    assert [skip["place"] for skip in report["skipped"]] == ["turned.jpg"]
    assert [skip["place"] for skip in report["mended"]] == ["stored.jpg"]


@pytest.mark.parametrize("name", [b"\xb2\xe2.png", "名前.png".encode(), b"a b'\".png", b"tab\there.png", b"--help.png"])
def test_odd_file_names_are_imported(
    source: Path, make_picture: MakePicture, run_import: RunImport, store: LocalStore, name: bytes
) -> None:
    make_picture("plain.png", 1).rename(os.fsdecode(os.fsencode(source) + b"/" + name))
    report = run_import(source)
    assert (report["images"], report["skipped"]) == (1, [])
    (sample,) = read_samples(Path(report["folder"]), store)
    assert sample.name.isprintable()


# ------------------------------------------------------------------------------------------------------ refused altogether


@pytest.mark.parametrize("name", ["", "a/b", "a b", "a@V001", "a:train", "../x", "-a", "ä", "a" * 65])
def test_a_name_that_cannot_be_one_is_refused(cells: Path, run_import: RunImport, name: str) -> None:
    with pytest.raises(RequestError, match="cannot be the name"):
        run_import(cells, name=name)


def test_a_missing_path_an_empty_folder_and_an_unknown_one_are_different_errors(source: Path, run_import: RunImport) -> None:
    with pytest.raises(NotFoundError, match="gone"):
        run_import(source / "gone")
    with pytest.raises(DatasetError, match="empty"):
        run_import(source)
    (source / "notes.txt").write_text("nothing")
    with pytest.raises(DatasetError, match="Looked for coco, images, voc, yolo; --format NAME"):
        run_import(source)


def test_a_folder_that_fits_two_formats_must_be_told(cells: Path, run_import: RunImport) -> None:
    (cells / "labels").mkdir()
    (cells / "labels" / "0.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(DatasetError, match="--format voc or --format yolo"):
        run_import(cells)
    assert run_import(cells, format_name="voc")["format"] == "voc"


def test_an_unknown_format_is_answered_with_the_known_ones(cells: Path, run_import: RunImport) -> None:
    with pytest.raises(DatasetError, match="coco, images, voc, yolo"):
        run_import(cells, format_name="csv")


def test_when_not_one_picture_is_usable_nothing_is_made(source: Path, run_import: RunImport, home: Path, database: Database) -> None:
    (source / "a.jpg").write_text("no picture")
    with pytest.raises(DatasetError, match=r"a\.jpg: is not a jpg"):
        run_import(source)
    assert _nothing_remains(home, database)


class _Failing(Format):
    """Gives one picture, then fails as a plugin with a defect does."""

    name = "failing"

    def detect(self, folder: Path) -> str:
        return "always"

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
        yield ImportedImage(next(folder.rglob("*.png")), "a", None)
        raise KeyError("oops")


def test_a_defect_of_a_format_is_named_and_leaves_nothing(cells: Path, run_import: RunImport, home: Path, database: Database) -> None:
    with pytest.raises(InternalError, match="the format failing failed: KeyError"):
        run_import(cells, formats={"failing": _Failing()})
    assert _nothing_remains(home, database)


def test_an_interrupt_leaves_nothing(cells: Path, run_import: RunImport, home: Path, database: Database) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_import(cells, on_progress=interrupt)
    assert _nothing_remains(home, database)


def test_a_full_or_read_only_store_is_an_error_and_leaves_nothing(
    cells: Path, run_import: RunImport, home: Path, database: Database
) -> None:
    (home / "assets").write_text("a file where the folder should be")
    with pytest.raises(Exception, match="assets"):
        run_import(cells)
    assert _nothing_remains(home, database)


def test_a_folder_left_by_a_killed_import_is_replaced(cells: Path, run_import: RunImport, home: Path) -> None:
    orphan = home / "datasets" / "cells" / "V001"
    orphan.mkdir(parents=True)
    (orphan / "half").write_text("x")
    report = run_import(cells)
    assert report["version"] == "V001"
    assert not (orphan / "half").exists()


def test_a_foreign_formats_classes_and_splits_are_brought_into_shape(cells: Path, run_import: RunImport) -> None:
    class Foreign(Format):
        name = "foreign"

        def detect(self, folder: Path) -> str:
            return VocFormat().detect(folder)

        def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
            yield ClassNames(("wbc", "unused", "rbc"))
            for item in VocFormat().read(folder):
                if isinstance(item, ImportedImage):
                    yield ImportedImage(item.path, item.name, item.annotations, ("Not A Split!", *item.splits))

    report = run_import(cells, formats={"foreign": Foreign()})
    assert list(report["classes"]) == ["wbc", "rbc"]
    assert report["splits"] == {"train": 2, "val": 1, "": 1}
