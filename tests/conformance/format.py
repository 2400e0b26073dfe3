"""What every format must do. Subclass ``FormatConformance`` and give it a ``format_`` and a ``folder`` that it recognises.

The folder holds at least two pictures, at least one with a box, and no links.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import struct
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from contracts.dataset import Annotation, Asset, Sample
from contracts.errors import DatasetError, RequestError
from contracts.seams import Export, Format, Found, ImportedImage, Skip

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp"}
WIDTH, HEIGHT = 64, 48
CLASSES = ("cat", "dog", "red fox")
_HOSTILE_NAMES = (
    b"a\nb",
    b"-rf",
    b"..%2f..%2fetc",
    b"<b>&amp;'\"",
    b"$(true);x",
    "\u202egnp".encode(),
    "\u56fe\u7247".encode("gbk"),
    "\u56fe\u7247".encode(),
)
_HOSTILE_TEXTS: dict[str, bytes] = {
    "entity bomb": b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (97 + n, b"&%c;" % (96 + n) * 10) for n in range(1, 9))
    + b"]><annotation><filename>&i;</filename></annotation>",
    "external entity": b'<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]><annotation><filename>&f;</filename></annotation>',
    "deep XML": b"<annotation>" + b"<a>" * 100_000,
    "deep JSON": b'{"images": [' + b"[" * 100_000,
    "deep YAML": b"names: " + b"[" * 5_000,
    "YAML aliases": b"names: &a [x, x]\nb: &b [*a, *a, *a]\nc: [*b, *b, *b]\n",
    "endless line": b"7" * 3_000_000,
    "no text": bytes(range(256)) * 10,
}
_NUMBERS = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e308", b"9" * 5000, b"0", b"-1", b"1e-320", b"0x10", b"\xd9\xa3")


def images(found: Iterable[Found]) -> list[ImportedImage]:
    return [item for item in found if isinstance(item, ImportedImage)]


def skips(found: Iterable[Found]) -> list[Skip]:
    return [item for item in found if isinstance(item, Skip)]


def make_samples(folder: Path, count: int = 3, box_count: int = 3, seed: int = 0) -> list[Sample]:
    """Samples with pictures of their own, boxes in whole pixels, and the same boxes with scores as predictions."""
    dice = random.Random(seed)
    return [_make_sample(folder, number, box_count, dice) for number in range(count)]


def _make_sample(folder: Path, number: int, box_count: int, dice: random.Random) -> Sample:
    path = folder / f"{number}.png"
    Image.new("RGB", (WIDTH, HEIGHT), (number * 7 % 256, number % 256, 99)).save(path)
    content = path.read_bytes()
    asset = Asset(hashlib.sha1(content).hexdigest(), "png", WIDTH, HEIGHT, len(content))
    drawn = [_make_box(dice) for _ in range(box_count)]
    scored = tuple(replace(box, score=dice.randrange(101) / 100) for box in drawn)
    return Sample(asset, path, tuple(drawn), name=f"shelf {number}/\u56fe {number}.png", predictions=scored)


def _make_box(dice: random.Random) -> Annotation:
    x, y = dice.randrange(WIDTH - 3), dice.randrange(HEIGHT - 3)
    return Annotation(dice.choice(CLASSES), x, y, dice.randrange(2, WIDTH - x), dice.randrange(2, HEIGHT - y))


class FormatConformance:
    """Inherit, and provide the fixtures ``format_`` and ``folder``. ``holds``: what a format that writes keeps, annotations or predictions."""

    holds: ClassVar[str] = "annotations"

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

    @pytest.mark.parametrize("kind", sorted(_HOSTILE_TEXTS))
    def test_hostile_label_files_never_crash_it(self, format_: Format, folder: Path, kind: str) -> None:
        for path in _label_files(folder):
            path.write_bytes(_HOSTILE_TEXTS[kind])
        _survives(format_, folder)

    @pytest.mark.parametrize("number", _NUMBERS)
    def test_impossible_numbers_never_crash_it_and_become_no_box(self, format_: Format, folder: Path, number: bytes) -> None:
        for path in _label_files(folder):
            path.write_bytes(_with_number(path.read_bytes(), number))
        for image in images(_survives(format_, folder)):
            for box in (*(image.annotations or ()), *(image.predictions or ())):
                assert all(abs(value) < 1e8 for value in (box.x, box.y, box.width, box.height, *box.points))
                assert box.score is None or 0 <= box.score <= 1

    @pytest.mark.parametrize("name", _HOSTILE_NAMES)
    def test_hostile_names_are_shown_escaped_and_lead_nowhere(self, format_: Format, folder: Path, name: bytes) -> None:
        for path in [path for path in sorted(folder.rglob("*")) if path.is_file()]:
            own = name + b"_" + os.fsencode(path.name)
            os.rename(path, os.path.join(os.fsencode(path.parent), own))  # noqa: PTH104, PTH118 (the name is no text)
        for item in _survives(format_, folder):
            shown_as = item.name if isinstance(item, ImportedImage) else item.place if isinstance(item, Skip) else ""
            assert shown_as.isprintable()
            shown_as.encode()

    def test_a_picture_that_promises_to_be_giant_is_not_decoded(self, format_: Format, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if path.suffix in PICTURE_SUFFIXES:
                path.write_bytes(_giant_png())
        _survives(format_, folder)

    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors])
    @given(st.data())
    def test_mutated_files_never_crash_it(self, format_: Format, folder: Path, data: st.DataObject) -> None:
        with tempfile.TemporaryDirectory() as aside:
            copy = Path(shutil.copytree(folder, Path(aside) / "copy"))
            path = data.draw(st.sampled_from(_label_files(copy)) if _label_files(copy) else st.just(None))
            if path:
                path.write_bytes(_mutated(path.read_bytes(), data))
            _survives(format_, copy)

    def test_what_it_writes_reads_back_equal(self, format_: Format, tmp_path: Path) -> None:
        found = self._written_and_read(format_, tmp_path, make_samples(tmp_path))
        assert len(found) == 3
        for image, boxes in found:
            assert image.path.read_bytes()
            assert [replace(box, attributes=dict(box.attributes), annotated_by="") for box in getattr(image, self.holds)] == list(boxes)

    def test_a_hundred_thousand_objects_in_one_picture_are_written_and_read(self, format_: Format, tmp_path: Path) -> None:
        _skip_unless_it_writes(format_)
        (sample,) = make_samples(tmp_path, 1, 1000)
        many: dict[str, Any] = {"annotations": (), "predictions": None, self.holds: getattr(sample, self.holds) * 100}
        ((image, boxes),) = self._written_and_read(format_, tmp_path, [replace(sample, **many)])
        assert len(getattr(image, self.holds)) == len(boxes) == 100_000

    def test_pictures_are_linked_or_left_out_when_that_is_asked_for(self, format_: Format, tmp_path: Path) -> None:
        for links, options in ((2, {"link": True}), (0, {"pictures": False})):
            samples = make_samples(tmp_path, 1)
            target = tmp_path / f"target{links}"
            target.mkdir()
            _write(format_, target, samples, **options)
            pictures = [path for path in target.rglob("*") if path.suffix == ".png"]
            assert [path.stat().st_nlink for path in pictures] == [links] * bool(links)

    def _written_and_read(self, format_: Format, tmp_path: Path, samples: list[Sample]) -> list[tuple[Any, tuple[Annotation, ...]]]:
        """Each picture that was read with the boxes that it should have; by content, for names may change."""
        target = tmp_path / "target"
        target.mkdir()
        _write(format_, target, samples)
        assert format_.detect(target)
        wanted = {sample.asset.id: getattr(sample, self.holds) for sample in samples}
        found = images(format_.read(target))
        return [(image, wanted[hashlib.sha1(Path(image.path).read_bytes()).hexdigest()]) for image in found]


def _write(format_: Format, target: Path, samples: list[Sample], **options: Any) -> None:
    _skip_unless_it_writes(format_)
    format_.write(target, samples, Export("cells", "V001", CLASSES, **options))


def _skip_unless_it_writes(format_: Format) -> None:
    if type(format_).write is not Format.write:
        return
    with pytest.raises(RequestError, match="is only read") as refused:
        format_.write(Path("nowhere"), [], Export("cells", "V001", CLASSES))
    pytest.skip(refused.value.message)


def _survives(format_: Format, folder: Path) -> list[Found]:
    """What is read; only a folder of which nothing at all can be read may be refused."""
    format_.detect(folder)
    try:
        found = list(format_.read(folder))
    except DatasetError:
        return []
    for skip in skips(found):
        assert skip.place
        assert skip.reason
        json.dumps(asdict(skip)).encode("utf-8")
    return found


def _label_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in PICTURE_SUFFIXES]


def _with_number(content: bytes, number: bytes) -> bytes:
    """Every number that stands alone replaced, as far as it is no part of a word."""
    for old in (
        b">1<",
        b">5<",
        b">10<",
        b">20<",
        b">30<",
        b">50<",
        b" 10,",
        b" 20,",
        b"[10",
        b", 10",
        b", 20",
        b" 0.5",
        b" 0.25",
        b"0.518",
    ):
        content = content.replace(old, old[:1] + (b" " if old[1:2] == b" " else b"") + number + (old[-1:] if old[-1:] in b"<," else b""))
    return content


def _mutated(content: bytes, data: st.DataObject) -> bytes:
    """A few bytes deleted, doubled, or replaced by something that means something to a parser."""
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content)))
        end = min(len(content), at + data.draw(st.integers(0, 40)))
        pieces = (
            b"",
            b"<",
            b">",
            b'"',
            b"{",
            b"]",
            b"\0",
            b"\xff",
            b"-",
            b"1e999",
            b"NaN",
            b",",
            b"\t",
            b"\n",
            b"\\ud800",
            content[at:end] * 2,
        )
        content = content[:at] + data.draw(st.sampled_from(pieces) | st.binary(max_size=8)) + content[end:]
    return content


def _giant_png() -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", 65_000, 65_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + b"\0\0\0\0IEND\xaeB`\x82"


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
