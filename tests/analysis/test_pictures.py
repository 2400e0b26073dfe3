"""Pictures of every kind that a store may hold, and hostile ones: taken, or refused by name."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from analysis.features import measure_file, measure_files
from analysis.pictures import MAX_PIXELS, PictureError, in_threads, open_picture
from tests.analysis.conftest import Save, scene


def _png_head(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_sixteen_bits_become_eight(save: Save) -> None:
    grey = (np.arange(64, dtype=np.uint16).reshape(8, 8) * 1024).astype(np.uint16)
    assert np.asarray(open_picture(save(grey, "a.png")))[..., 0].tolist() == (grey >> 8).tolist()


def test_a_palette_with_transparency_is_taken_by_its_colours(save: Save) -> None:
    palette = Image.new("P", (10, 10), 1)
    palette.putpalette([0, 0, 0, 200, 100, 50])
    assert open_picture(save(palette, "a.png", transparency=1)).getpixel((3, 3)) == (200, 100, 50)


@pytest.mark.parametrize(
    ("mode", "name"), [("CMYK", "a.jpg"), ("L", "a.png"), ("LA", "a.png"), ("RGBA", "a.png"), ("1", "a.png"), ("P", "a.bmp")]
)
def test_every_mode_is_measured(mode: str, name: str, save: Save) -> None:
    measured = measure_file(save(scene(2).convert(mode), name))
    assert (measured.width, measured.height) == (320, 240)
    assert 0 < measured.picture["image_brightness"] < 255


def test_the_orientation_of_exif_is_not_applied(save: Save) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_picture(save(scene(2), "a.jpg", exif=exif)).size == (320, 240)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.jpg", b"", "cannot be read: cannot identify"),
        ("text.png", b"<html>404</html>", "cannot be read: cannot identify"),
        ("giant.png", _png_head(60_000, 60_000), "is too large"),
        ("large.png", _png_head(MAX_PIXELS + 1, 1), "is too large"),
        ("cut.png", _png_head(100, 100), "cannot be"),
    ],
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_picture_is_refused_by_name(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PictureError, match=reason) as refused:
        measure_file(tmp_path / name)
    assert str(refused.value).startswith(str(tmp_path / name))


def test_a_truncated_jpeg_is_refused(save: Save) -> None:
    file = save(scene(1), "a.jpg", quality=95)
    file.write_bytes(file.read_bytes()[:4000])
    with pytest.raises(PictureError, match="truncated"):
        open_picture(file)


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(PictureError, match="cannot be read"):
            open_picture(path)


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_broken_bytes_never_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, seed: int, changes: int) -> None:
    random = np.random.default_rng(seed)
    file = tmp_path_factory.getbasetemp() / f"fuzz.{['png', 'jpg', 'bmp'][seed % 3]}"
    scene(1, 70, 70).save(file)
    content = bytearray(file.read_bytes())
    for at in random.integers(0, len(content), changes):
        content[at] = random.integers(0, 256)
    file.write_bytes(bytes(content))
    (found,) = measure_files([(file, [(0, 0, 10, 10)])])  # anything but a PictureError would come out of here
    assert not isinstance(found, PictureError) or str(file) in str(found)


def test_work_on_threads_keeps_the_order_and_its_queue_short() -> None:
    begun: list[int] = []

    def double(value: int) -> int:
        begun.append(value)
        return 2 * value

    results = in_threads(double, iter(range(1000)), workers=2)
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    assert len(begun) <= 3 + 4 * 2 + 1
    results.close()
    assert len(begun) < 30
