"""The cheap look at a picture: what it lets pass can be decoded, and what was cut or spoilt does not pass where that can be seen."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from contracts.errors import DatasetError
from runner.picture_structure import well_formed
from runner.pictures import quiet_pillow, read_picture


def _saved(kind: str, mode: str, size: tuple[int, int] = (160, 120), **options: object) -> bytes:
    pixels = random.Random(7).randbytes(12 * 9 * 3)
    picture = Image.frombytes("RGB", (12, 9), pixels).resize(size).convert(mode)
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


#: Pictures of the common kinds, by name: extension and content.
SOUND = {
    "baseline": ("jpg", _saved("JPEG", "RGB")),
    "progressive": ("jpg", _saved("JPEG", "RGB", progressive=True)),
    "all pixels of colour": ("jpg", _saved("JPEG", "RGB", subsampling=0, optimize=True)),
    "half of the colour": ("jpg", _saved("JPEG", "RGB", subsampling=1)),
    "grey": ("jpg", _saved("JPEG", "L")),
    "inks": ("jpg", _saved("JPEG", "CMYK")),
    "restarts": ("jpg", _saved("JPEG", "RGB", restart_marker_blocks=4)),
    "one pixel": ("jpg", _saved("JPEG", "RGB", (1, 1))),
    "comment": ("jpg", _saved("JPEG", "RGB", comment=b"\xff\xd9 no end")),
    "true colours": ("png", _saved("PNG", "RGB")),
    "palette": ("png", _saved("PNG", "P")),
    "black and white": ("png", _saved("PNG", "1")),
    "see-through": ("png", _saved("PNG", "RGBA")),
    "one colour": ("png", _saved("PNG", "L", (3000, 1))),
    "bitmap": ("bmp", _saved("BMP", "RGB")),
    "grey bitmap": ("bmp", _saved("BMP", "L")),
}
NAMES = sorted(SOUND)


def _decodes(content: bytes) -> bool:
    try:
        with quiet_pillow(), Image.open(io.BytesIO(content)) as picture:
            picture.load()
    except Exception:  # whatever a decoder raises
        return False
    return True


@pytest.mark.parametrize("name", NAMES)
def test_a_sound_picture_passes_with_its_size(name: str) -> None:
    extension, content = SOUND[name]
    with Image.open(io.BytesIO(content)) as picture:
        assert well_formed(content, extension) == (*picture.size, False)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_cut_at_any_byte_never_passes(name: str) -> None:
    extension, content = SOUND[name]
    assert [length for length in range(len(content)) if well_formed(content[:length], extension)] == []


@pytest.mark.parametrize("name", [name for name in NAMES if SOUND[name][0] == "png"])
def test_a_png_with_any_bit_flipped_behind_its_first_bytes_never_passes(name: str) -> None:
    extension, content = SOUND[name]
    for at in random.Random(3).sample(range(8, len(content)), min(400, len(content) - 8)):
        assert well_formed(_flipped(content, at, 1 << at % 8), extension) is None


@pytest.mark.parametrize("name", [name for name in NAMES if SOUND[name][0] != "png"])
def test_of_flipped_headers_nearly_all_that_no_decoder_takes_are_seen(name: str) -> None:
    """What is missed has Huffman codes of other lengths, as a rule: only reading all of the data shows that."""
    extension, content = SOUND[name]
    header = content.find(b"\xff\xda") + 12 if extension == "jpg" else 54
    rng = random.Random(5)
    flips = [(rng.randrange(2, min(header, len(content))), 1 << rng.randrange(8)) for _ in range(500)]
    damaged = [_flipped(content, at, bit) for at, bit in flips]
    refused = [content for content in damaged if not _decodes(content)]
    missed = [content for content in refused if well_formed(content, extension)]
    assert len(missed) <= 0.3 * len(refused)
    assert extension == "jpg" or missed == []


def _flipped(content: bytes, at: int, bits: int) -> bytes:
    damaged = bytearray(content)
    damaged[at] ^= bits
    return bytes(damaged)


@given(name=st.sampled_from(NAMES), at=st.integers(0, 5000), junk=st.binary(max_size=40), cut=st.integers(0, 5000))
@settings(max_examples=300, deadline=None)
def test_no_damage_makes_it_fail(name: str, at: int, junk: bytes, cut: int) -> None:
    extension, content = SOUND[name]
    at %= len(content)
    found = well_formed(content[:at] + junk + content[at + cut % 100 :], extension)
    assert found is None or (found[0] > 0 and found[1] > 0)


def _with_size(content: bytes, height: int, width: int) -> bytes:
    at = content.find(b"\xff\xc0") + 5
    return content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]


def test_a_jpeg_that_claims_to_be_a_giant_does_not_pass() -> None:
    assert well_formed(_with_size(SOUND["baseline"][1], 9000, 9000), "jpg") is None
    assert well_formed(_with_size(SOUND["baseline"][1], 0, 160), "jpg") is None


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.replace(b"\xff\xc4", b"\xff\xfe"),  # no Huffman tables
        lambda content: content.replace(b"\xff\xdb", b"\xff\xfe"),  # no quantisation tables
        lambda content: content.replace(b"\xff\xc0", b"\xff\xc9"),  # arithmetic coding
        lambda content: content.replace(b"\xff\xc0", b"\xff\xfe"),  # no frame
        lambda content: content[:2] + b"\0\0" + content[2:],
    ],
)
def test_what_is_odd_is_left_to_a_decoder(spoil: Callable[[bytes], bytes]) -> None:
    assert well_formed(spoil(SOUND["baseline"][1]), "jpg") is None


def test_what_follows_the_end_and_fill_bytes_harm_nothing() -> None:
    content = SOUND["baseline"][1]
    assert well_formed(content + b"a video, as telephones append it", "jpg") == (160, 120, False)
    assert well_formed(content[:2] + b"\xff\xff" + content[2:], "jpg") == (160, 120, False)


def test_damage_that_only_a_decoder_sees_is_found_when_it_is_asked_for(tmp_path: Path) -> None:
    content = SOUND["progressive"][1]
    table = content.find(b"\xff\xc4") + 5
    damaged = [_flipped(content, at, 1 << bit) for at in range(table, table + 16) for bit in range(3)]
    spoilt = next(content for content in damaged if well_formed(content, "jpg") and not _decodes(content))
    (tmp_path / "a.jpg").write_bytes(spoilt)
    assert read_picture(tmp_path / "a.jpg").asset.width == 160
    with pytest.raises(DatasetError, match="broken jpg"):
        read_picture(tmp_path / "a.jpg", verify=True)


def test_a_png_whose_pixels_are_not_what_its_header_says_is_found_when_it_is_asked_for(tmp_path: Path) -> None:
    content = _saved("PNG", "RGB", (20, 20))
    at = content.find(b"IDAT")
    (length,) = struct.unpack(">I", content[at - 4 : at])
    data = b"IDAT" + zlib.compress(b"\0" * 30)
    spoilt = content[: at - 4] + struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data)) + content[at + length + 8 :]
    (tmp_path / "a.png").write_bytes(spoilt)
    assert read_picture(tmp_path / "a.png").asset.width == 20
    with pytest.raises(DatasetError, match="broken png"):
        read_picture(tmp_path / "a.png", verify=True)


def test_a_picture_larger_than_the_limit_is_refused_with_the_limit_named(tmp_path: Path) -> None:
    content = SOUND["baseline"][1]
    (tmp_path / "a.jpg").write_bytes(content)
    assert read_picture(tmp_path / "a.jpg", largest_bytes=len(content)).asset.size_bytes == len(content)
    with pytest.raises(DatasetError, match=f"is larger than {len(content) - 1:,} bytes, the limit max_picture_bytes"):
        read_picture(tmp_path / "a.jpg", largest_bytes=len(content) - 1)


@pytest.mark.parametrize("note", ["exif", "xmp"])
def test_what_may_be_turned_is_asked_of_the_decoder(tmp_path: Path, note: str) -> None:
    exif = Image.Exif()
    exif[274] = 8
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    options = {"exif": exif} if note == "exif" else {"xmp": xmp}
    (tmp_path / "a.jpg").write_bytes(_saved("JPEG", "RGB", **options))
    assert read_picture(tmp_path / "a.jpg").orientation == 8
