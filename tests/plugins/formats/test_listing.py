"""Finding files in a folder that somebody else made."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest

from contracts.errors import DatasetError
from contracts.sharing import sharing
from plugins.formats.listing import UnreadableFileError, folder_split_of, list_folder, shown, split_of


def test_hidden_files_and_the_litter_of_other_systems_are_not_listed(folder: Path) -> None:
    for name in ("a.jpg", ".b.jpg", "Thumbs.db", "__MACOSX/._a.jpg", ".git/c.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert [str(path) for path in list_folder(folder).files] == ["a.jpg"]


def test_names_that_are_no_utf_8_are_listed_and_can_be_shown(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xb2\xe2\xca\xd4.jpg")).write_bytes(b"x")
    (picture,) = list_folder(folder).pictures
    assert shown(picture) == "\\xb2\\xe2\\xca\\xd4.jpg"
    assert shown("a\nb") == "a\\nb"


def test_a_link_inside_the_folder_is_followed_to_a_file(folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"x")
    (folder / "b.jpg").symlink_to("a.jpg")
    listing = list_folder(folder)
    assert [str(path) for path in listing.files] == ["a.jpg", "b.jpg"]
    assert listing.skips == []


def test_pipes_are_named_and_never_opened(folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    listing = list_folder(folder)
    assert listing.files == []
    assert [(skip.place, skip.reason) for skip in listing.skips] == [("pipe.jpg", "not a regular file")]


def test_a_missing_folder_is_a_dataset_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="gone"):
        list_folder(tmp_path / "gone")


def test_two_pictures_that_fit_equally_well_are_not_guessed_between(folder: Path) -> None:
    for name in ("one/a.jpg", "two/a.jpg"):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(b"x")
    listing = list_folder(folder)
    with pytest.raises(UnreadableFileError, match=r"several pictures fit a: one/a\.jpg and two/a\.jpg"):
        listing.find_picture("a", PurePosixPath("labels/a.xml"))
    assert listing.find_picture("two/a.jpg", PurePosixPath("x.json")) == PurePosixPath("two/a.jpg")


def test_a_name_with_dots_is_not_mistaken_for_a_shorter_one(folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"x")
    assert list_folder(folder).find_picture("a.v2", PurePosixPath("a.v2.xml")) is None


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("annotations/instances_train2017.json", "train"),
        ("valid/_annotations.coco.json", "val"),
        ("test-images.json", "test"),
        ("trainval.json", ""),
        ("training_and_test.json", ""),
        ("contest/latest.json", ""),
    ],
)
def test_the_split_is_read_from_whole_words(path: str, split: str) -> None:
    assert split_of(PurePosixPath(path)) == split


def test_a_pictures_own_name_says_nothing_about_its_split() -> None:
    assert folder_split_of(PurePosixPath("images/train_00001.jpg")) == ""
    assert folder_split_of(PurePosixPath("val2017/train.jpg")) == "val"


def test_while_a_folder_is_read_it_is_listed_once_for_all_formats(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    with sharing():
        first = list_folder(tmp_path)
        (tmp_path / "b.jpg").write_bytes(b"x")
        assert list_folder(tmp_path) is first
        assert first.without_pictures(lambda _: True).pictures == []
        assert list_folder(tmp_path).pictures == [PurePosixPath("a.jpg")]
    assert list_folder(tmp_path).pictures == [PurePosixPath("a.jpg"), PurePosixPath("b.jpg")]
