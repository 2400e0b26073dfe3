"""What an import is told to do with unknown classes, with what is there already, and with what is too long or too large."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from contracts.dataset import Annotation, Marks
from contracts.errors import DatasetError
from contracts.seams import ClassNames, Format, Found, ImportedImage, Locate, not_located
from plugins.stores.local import LocalStore
from registry import datasets
from registry.database import Database
from registry.dataset_classes import DatasetClass, list_classes, put_classes
from runner.dataset_files import read_predictions, read_samples
from runner.datasets import Rules
from runner.intake import PictureRules

RunImport = Callable[..., dict[str, Any]]
MakePicture = Callable[..., Path]
WriteVoc = Callable[..., Path]


@pytest.fixture
def cells(source: Path, make_picture: MakePicture, write_voc: WriteVoc) -> Path:
    """Two pictures of two classes and one without labels."""
    for number in range(3):
        make_picture(f"{number}.png", number)
    write_voc("0", ("rbc", 1, 1, 20, 20), ("wbc", 30, 30, 60, 60))
    write_voc("1", ("rbc", 5, 5, 50, 50))
    return source


def _names(report: dict[str, Any], store: LocalStore) -> list[str]:
    return sorted(sample.name for sample in read_samples(Path(report["folder"]), store))


# -------------------------------------------------------------------------------------------- chosen classes, hard examples


def test_only_chosen_classes_come_with_the_pictures_that_have_them(cells: Path, run_import: RunImport, store: LocalStore) -> None:
    report = run_import(cells, rules=Rules(class_names=("WBC",)))
    assert (_names(report, store), report["classes"], report["annotations"]) == (["0.png"], {"wbc": 1}, 1)
    assert [skip["reason"] for skip in report["skipped"]] == ["pictures without an annotation of wbc were left out, as asked: 2"]
    both = run_import(cells, rules=Rules(class_names=("wbc", "rbc", "owl")))
    assert (both["images"], both["classes"]) == (2, {"rbc": 2, "wbc": 1})
    assert both["skipped"][-1]["reason"] == "no picture that was taken has an annotation of the class 'owl'"


def test_a_class_may_be_chosen_by_any_of_its_names(cells: Path, run_import: RunImport, database: Database) -> None:
    run_import(cells)
    with database.writing() as session:
        put_classes(session, "cells", [DatasetClass("erythrocyte", ("rbc",)), DatasetClass("wbc")])
    for name in ("rbc", "erythrocyte"):
        report = run_import(cells, rules=Rules("stop", class_names=(name,)))
        assert (report["images"], report["classes"]) == (2, {"erythrocyte": 2})


def test_nothing_of_a_class_and_no_name_of_one_are_refused(cells: Path, run_import: RunImport) -> None:
    with pytest.raises(DatasetError, match="pictures without an annotation of owl were left out, as asked: 3"):
        run_import(cells, rules=Rules(class_names=("owl",)))
    with pytest.raises(DatasetError, match="cannot be the name of a class"):
        run_import(cells, rules=Rules(class_names=(" ",)))


class _OneHard(Format):
    """Two pictures, one of them hard, with classes that are declared."""

    name = "marked"

    def detect(self, folder: Path) -> str:
        return "it is told"

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
        yield ClassNames(("wbc", "rbc", "owl"))
        for number, hard in enumerate((True, False)):
            boxes = (Annotation("rbc", 1, 1, 9, 9), Annotation("wbc", 1, 1, 9, 9))
            found = (Annotation("wbc", 1, 1, 9, 9, score=0.5), Annotation("rbc", 1, 1, 9, 9, score=0.5))
            yield ImportedImage(folder / f"{number}.png", f"{number}.png", boxes, marks=Marks(hard=hard), predictions=found)


def test_hard_examples_alone_and_predictions_of_the_chosen_classes(
    cells: Path, run_import: RunImport, store: LocalStore, home: Path
) -> None:
    report = run_import(cells, formats={"marked": _OneHard()}, rules=Rules(class_names=("rbc",), hard_only=True))
    assert (_names(report, store), report["classes"], report["hard"]) == (["0.png"], {"rbc": 1}, 1)
    assert [skip["reason"] for skip in report["skipped"]] == ["pictures that are not marked as hard were left out, as asked: 1"]
    (found,) = read_predictions(home / "predictions" / f"{report['predictions']}.parquet").values()
    assert [box.class_name for box in found] == ["rbc"]
    with pytest.raises(DatasetError, match="not marked as hard were left out, as asked: 3"):
        run_import(cells, rules=Rules(hard_only=True))


# --------------------------------------------------------------------------------------------------------- unknown classes


def test_unknown_classes_are_taken_up_when_nothing_else_is_said(cells: Path, run_import: RunImport, write_voc: WriteVoc) -> None:
    run_import(cells)
    write_voc("2", ("platelet", 1, 1, 9, 9))
    assert run_import(cells)["classes"] == {"platelet": 1, "rbc": 2, "wbc": 1}


def test_annotations_of_unknown_classes_are_left_out_and_counted_by_class(cells: Path, run_import: RunImport, write_voc: WriteVoc) -> None:
    run_import(cells)
    write_voc("2", ("platelet", 1, 1, 9, 9), ("rbc", 20, 20, 40, 40), ("platelet", 50, 1, 59, 9), ("dust", 70, 1, 79, 9))
    report = run_import(cells, rules=Rules(unknown_classes="ignore"))
    assert report["classes"] == {"rbc": 3, "wbc": 1}
    assert [(skip["what"], skip["reason"]) for skip in report["skipped"]] == [
        ("box", "the dataset does not know the class 'dust'; its 1 annotations were left out"),
        ("box", "the dataset does not know the class 'platelet'; its 2 annotations were left out"),
    ]


def test_an_import_that_is_to_stop_at_unknown_classes_names_them_all_and_makes_nothing(
    cells: Path, run_import: RunImport, write_voc: WriteVoc, database: Database
) -> None:
    run_import(cells)
    write_voc("2", ("platelet", 1, 1, 9, 9), ("dust", 20, 20, 40, 40))
    with pytest.raises(DatasetError, match=r"2 classes that the dataset does not know: dust \(1\), platelet \(1\)"):
        run_import(cells, rules=Rules(unknown_classes="stop"))
    with database.reading() as session:
        assert [version.number for version in datasets.list_versions(session, "cells")] == [1]


def test_a_class_is_known_under_its_other_names(cells: Path, run_import: RunImport, write_voc: WriteVoc, database: Database) -> None:
    run_import(cells)
    with database.writing() as session:
        known = [DatasetClass("red", ("rbc", "erythrocyte")), *[c for c in list_classes(session, "cells") if c.name != "rbc"]]
        put_classes(session, "cells", known)
    write_voc("2", ("Erythrocyte", 1, 1, 9, 9))
    assert run_import(cells, rules=Rules(unknown_classes="stop"))["classes"] == {"red": 3, "wbc": 1}


@pytest.mark.parametrize("rule", ["ignore", "stop"])
def test_a_dataset_that_knows_no_class_cannot_be_asked_which_it_knows(cells: Path, run_import: RunImport, rule: str) -> None:
    with pytest.raises(DatasetError, match="knows no classes yet"):
        run_import(cells, rules=Rules(unknown_classes=rule))


def test_an_unknown_rule_is_answered_with_the_known_ones(cells: Path, run_import: RunImport) -> None:
    with pytest.raises(DatasetError, match="Known: add, ignore, stop"):
        run_import(cells, rules=Rules(unknown_classes="drop"))


# -------------------------------------------------------------------------------------------------------------- adding


def test_three_new_files_are_three_pictures_more_and_what_was_there_is_untouched(
    cells: Path, run_import: RunImport, make_picture: MakePicture, write_voc: WriteVoc, store: LocalStore
) -> None:
    first = run_import(cells)
    before = {sample.asset.id: sample for sample in read_samples(Path(first["folder"]), store)}
    for number in range(3, 6):
        make_picture(f"{number}.png", number)
    write_voc("4", ("platelet", 1, 1, 9, 9))
    report = run_import(cells, rules=Rules(add=True))
    assert (report["version"], report["images"], report["changes"]) == ("V002", 6, {"added": 3, "changed": 0, "deleted": 0})
    assert list(report["classes"]) == ["rbc", "wbc", "platelet"]
    after = {sample.asset.id: sample for sample in read_samples(Path(report["folder"]), store)}
    assert {asset_id: after[asset_id] for asset_id in before} == before


def test_what_has_left_the_source_stays(cells: Path, run_import: RunImport, store: LocalStore) -> None:
    run_import(cells)
    (cells / "0.png").unlink()
    (cells / "0.xml").unlink()
    again = run_import(cells, rules=Rules(add=True))
    assert (again["unchanged"], again["version"]) == (True, "V001")
    assert run_import(cells)["images"] == 2


def test_what_the_source_has_no_labels_of_any_more_makes_no_new_version(cells: Path, run_import: RunImport) -> None:
    run_import(cells)
    (cells / "2.png").unlink()  # the only one without labels: a word that no row has must not count
    (cells / "0.xml").unlink()
    assert run_import(cells, rules=Rules(add=True))["unchanged"]


def test_labels_that_changed_in_the_source_are_taken_and_labels_it_does_not_have_are_kept(
    cells: Path, run_import: RunImport, write_voc: WriteVoc, store: LocalStore
) -> None:
    run_import(cells)
    write_voc("1", ("wbc", 2, 2, 30, 30))
    (cells / "0.xml").unlink()
    report = run_import(cells, rules=Rules(add=True))
    assert report["changes"] == {"added": 0, "changed": 1, "deleted": 0}
    boxes = {sample.name: [box.class_name for box in sample.annotations] for sample in read_samples(Path(report["folder"]), store)}
    assert boxes == {"0.png": ["rbc", "wbc"], "1.png": ["wbc"], "2.png": []}


def test_a_picture_stays_in_its_split_unless_the_source_names_one(
    cells: Path, run_import: RunImport, make_picture: MakePicture, store: LocalStore
) -> None:
    run_import(cells, split="train")
    make_picture("3.png", 3)
    assert run_import(cells, rules=Rules(add=True))["splits"] == {"train": 3, "": 1}
    assert run_import(cells, split="test", rules=Rules(add=True))["splits"] == {"test": 4}


def test_adding_to_nothing_is_an_import(cells: Path, run_import: RunImport) -> None:
    assert (run_import(cells, rules=Rules(add=True))["version"], run_import(cells)["unchanged"]) == ("V001", True)


def test_another_source_is_added_to_the_same_dataset(
    cells: Path, run_import: RunImport, tmp_path: Path, make_picture: MakePicture, store: LocalStore
) -> None:
    run_import(cells)
    other = tmp_path / "other"
    other.mkdir()
    make_picture("9.png", 9).rename(other / "0.png")
    report = run_import(other, rules=Rules(add=True))
    assert (report["images"], report["annotations"]) == (4, 3)
    assert _names(report, store) == ["0.png", "0.png", "1.png", "2.png"]


def test_what_is_added_by_several_at_once_is_all_there_in_the_end(
    cells: Path, run_import: RunImport, tmp_path: Path, make_picture: MakePicture
) -> None:
    run_import(cells)
    folders = []
    for number in range(4):
        folders.append(tmp_path / f"more{number}")
        folders[-1].mkdir()
        make_picture("new.png", 100 + number).rename(folders[-1] / "new.png")
    start, reports = threading.Barrier(4), []

    def add(folder: Path) -> None:
        start.wait()
        reports.append(run_import(folder, rules=Rules(add=True)))

    threads = [threading.Thread(target=add, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report["images"] for report in reports) == [4, 5, 6, 7]


class _Marked(Format):
    """One picture, marked as hard and not annotated."""

    name = "marked"

    def detect(self, folder: Path) -> str:
        return "always"

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
        yield ImportedImage(folder / "2.png", "2.png", None, marks=Marks(hard=True))
        yield ImportedImage(folder / "1.png", "x" * 256, (Annotation("rbc", 1, 1, 5, 5),))


def test_marks_of_the_source_are_taken(cells: Path, run_import: RunImport, store: LocalStore) -> None:
    run_import(cells)
    report = run_import(cells, formats={"marked": _Marked()}, rules=Rules(add=True))
    assert (report["images"], report["hard"]) == (3, 1)


# --------------------------------------------------------------------------------------------------- too long, too large


def test_a_name_over_255_characters_is_left_out_by_name(cells: Path, run_import: RunImport) -> None:
    report = run_import(cells, formats={"marked": _Marked()})
    assert report["images"] == 1
    assert [(skip["place"], skip["reason"]) for skip in report["skipped"]] == [("x" * 256, "its file name is longer than 255 characters")]


def _zip_of(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number, name in enumerate(names):
            content = io.BytesIO()
            Image.new("RGB", (30, 20), (number, 0, 0)).save(content, "PNG")
            archive.writestr(name, content.getvalue())
    return path


def test_in_an_archive_too_and_the_rest_is_imported(tmp_path: Path, run_import: RunImport) -> None:
    report = run_import(_zip_of(tmp_path / "a.zip", "a.png", "b" * 252 + ".png"))
    assert report["images"] == 1
    assert ["its name is longer than 255 bytes" in skip["reason"] for skip in report["skipped"]] == [True]


def test_when_all_names_are_too_long_that_is_the_reason(tmp_path: Path, run_import: RunImport) -> None:
    with pytest.raises(DatasetError, match=r"nothing in it could be unpacked .*its name is longer than 255 bytes"):
        run_import(_zip_of(tmp_path / "a.zip", "b" * 252 + ".png", "c" * 252 + ".png"))


def test_a_picture_over_the_limit_is_left_out_with_the_limit_named(cells: Path, run_import: RunImport, make_picture: MakePicture) -> None:
    large = make_picture("large.png", 8, (400, 400)).stat().st_size
    report = run_import(cells, rules=Rules(pictures=PictureRules(largest_bytes=large - 1)))
    assert report["images"] == 3
    assert [(skip["place"], skip["reason"]) for skip in report["skipped"]] == [
        ("large.png", f"is larger than {large - 1:,} bytes, the limit max_picture_bytes")
    ]
