"""Pictures as they really come: named wrongly, cut short, lying about themselves."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from contracts.errors import DatasetError
from runner.pictures import quiet_pillow, read_picture

MakePicture = Callable[..., Path]


@pytest.mark.parametrize(("format_", "extension"), [("JPEG", "jpg"), ("PNG", "png"), ("BMP", "bmp")])
def test_the_extension_follows_from_the_content_whatever_the_name(make_picture: MakePicture, format_: str, extension: str) -> None:
    path = make_picture("picture.wrong", 1, (30, 20), format=format_)
    asset = read_picture(path).asset
    assert (asset.extension, asset.width, asset.height) == (extension, 30, 20)
    assert (asset.id, asset.size_bytes) == (hashlib.sha1(path.read_bytes()).hexdigest(), path.stat().st_size)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_pixel_is_accepted(source: Path, mode: str) -> None:
    Image.new(mode, (16, 16)).save(source / "a", "JPEG" if mode == "CMYK" else "PNG")
    assert read_picture(source / "a").asset.width == 16


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.95])
def test_a_picture_cut_short_is_refused(make_picture: MakePicture, format_: str, share: float) -> None:
    path = make_picture("a", 1, (200, 150), format=format_)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DatasetError, match="broken"):
        read_picture(path)


def test_a_png_with_one_wrong_bit_is_refused(make_picture: MakePicture) -> None:
    path = make_picture("a.png", 1, (200, 150))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="broken png"):
        read_picture(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"This is text.", "but text"),
        (b"GIF89a....", "but a GIF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "but a WebP"),
        (b"\0\0\0\x18ftypheic", "but a HEIC"),
        (b"<!DOCTYPE html>", "but HTML"),
        (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        (b"\0\1\2\3", "something unknown"),
        (b"\xff\xd8\xff", "broken jpg"),
        (b"\x89PNG\r\n\x1a\n", "broken png"),
        (b"BM", "broken bmp"),
    ],
)
def test_what_is_no_picture_is_named_for_what_it_is(source: Path, content: bytes, reason: str) -> None:
    (source / "a.jpg").write_bytes(content)
    with pytest.raises(DatasetError, match=reason):
        read_picture(source / "a.jpg")


def _png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def _bmp_claiming(width: int, height: int) -> bytes:
    return (
        b"BM"
        + struct.pack("<IHHI", 1054, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
        + b"\0" * 1000
    )


@pytest.mark.parametrize("content", [_png_claiming(60_000, 60_000), _bmp_claiming(60_000, 60_000), _bmp_claiming(13_000, 13_000)])
def test_a_header_that_claims_a_giant_is_refused_before_memory_is_taken(source: Path, content: bytes) -> None:
    (source / "a").write_bytes(content)
    with pytest.raises(DatasetError, match="pixels"):
        read_picture(source / "a")


def test_a_picture_that_viewers_turn_says_so_and_keeps_its_stored_size(source: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (40, 20)).save(source / "a.jpg", exif=exif)
    picture = read_picture(source / "a.jpg")
    assert (picture.orientation, picture.is_turned, picture.asset.width) == (6, True, 40)


def test_broken_exif_harms_nothing(source: Path) -> None:
    Image.new("RGB", (40, 20)).save(source / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff\xff")
    with quiet_pillow():
        assert read_picture(source / "a.jpg").orientation == 1


_SEEDS = {}
for _format in ("JPEG", "PNG", "BMP"):
    _buffer = io.BytesIO()
    Image.radial_gradient("L").resize((24, 18)).save(_buffer, _format)
    _SEEDS[_format] = _buffer.getvalue()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(format_=st.sampled_from(sorted(_SEEDS)), at=st.integers(0, 2000), junk=st.binary(min_size=1, max_size=24))
def test_any_damage_is_either_harmless_or_a_dataset_error(source: Path, format_: str, at: int, junk: bytes) -> None:
    content = _SEEDS[format_]
    at %= len(content)
    (source / "a").write_bytes(content[:at] + junk + content[at + len(junk) :])
    with quiet_pillow(), suppress(DatasetError):
        assert read_picture(source / "a").asset.width > 0
