"""What every format must do. Subclass ``FormatConformance`` and give it a ``format_`` and a ``folder`` that it recognises.

The folder holds at least two pictures, at least one with a box, and no links.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from contracts.seams import ClassNames, Format, ImportedImage, Skip

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}
Found = list[ImportedImage | Skip | ClassNames]


def images(found: Found) -> list[ImportedImage]:
    return [item for item in found if isinstance(item, ImportedImage)]


def skips(found: Found) -> list[Skip]:
    return [item for item in found if isinstance(item, Skip)]


class FormatConformance:
    """Inherit, and provide the fixtures ``format_`` and ``folder``."""

    def test_it_has_a_name_and_says_in_one_line_what_it_looks_for(self, format_: Format) -> None:
        assert format_.name
        assert (type(format_).__doc__ or "").strip().splitlines()[0]

    def test_it_says_why_it_recognises_its_folder(self, format_: Format, folder: Path) -> None:
        assert format_.detect(folder)

    def test_it_recognises_neither_an_empty_folder_nor_one_of_prose(self, format_: Format, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        assert format_.detect(other) == ""
        (other / "README.txt").write_text("Nothing to see here.")
        assert format_.detect(other) == ""

    def test_every_picture_lies_in_the_folder_and_has_a_printable_name(self, format_: Format, folder: Path) -> None:
        found = images(list(format_.read(folder)))
        assert len(found) >= 2
        assert all(image.path.resolve().is_relative_to(folder.resolve()) and image.path.is_file() for image in found)
        assert all(image.name.isprintable() and image.name for image in found)

    def test_reading_twice_gives_the_same(self, format_: Format, folder: Path) -> None:
        assert list(format_.read(folder)) == list(format_.read(folder))

    def test_class_names_are_stripped_and_lower_case(self, format_: Format, folder: Path) -> None:
        names = [box.class_name for image in images(list(format_.read(folder))) for box in image.annotations or ()]
        assert all(name == name.strip().lower() and name for name in names)

    def test_nothing_is_written_into_the_folder(self, format_: Format, folder: Path) -> None:
        before = _snapshot(folder)
        format_.detect(folder)
        list(format_.read(folder))
        assert _snapshot(folder) == before

    def test_everything_it_skips_can_be_written_as_json(self, format_: Format, folder: Path) -> None:
        (folder / "links").symlink_to("/nowhere")
        for skip in skips(list(format_.read(folder))):
            json.dumps(asdict(skip)).encode("utf-8")

    def test_links_out_of_the_folder_and_loops_are_named_and_not_followed(self, format_: Format, folder: Path, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        shutil.copytree(folder, outside)
        count = len(images(list(format_.read(folder))))
        (folder / "away").symlink_to(outside)
        (folder / "around").symlink_to(folder)
        picture = next(path for path in sorted(outside.rglob("*")) if path.suffix in PICTURE_SUFFIXES)
        (folder / f"link{picture.suffix}").symlink_to(picture)
        found = list(format_.read(folder))
        assert len(images(found)) == count
        assert {"away", "around", f"link{picture.suffix}"} <= {skip.place for skip in skips(found)}

    @pytest.mark.parametrize("seed", range(8))
    def test_damaged_files_never_crash_it(self, format_: Format, folder: Path, seed: int) -> None:
        dice = random.Random(seed)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and dice.random() < 0.7:
                path.write_bytes(_damaged(path.read_bytes(), dice))
        format_.detect(folder)
        for skip in skips(list(format_.read(folder))):
            assert skip.place
            assert skip.reason


def _damaged(content: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(content) + 1)
    kinds = (
        b"",
        content[:at],
        dice.randbytes(64),
        content[:at] + dice.randbytes(8) + content[at + 8 :],
        content * 2,
        b"\0" * len(content),
        b"[" * 100_000,
        content.replace(b"1", b"-99999999999999999999999999999"),
    )
    return dice.choice(kinds)


def _snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in [folder, *folder.rglob("*")]}
