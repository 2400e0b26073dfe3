"""Tars that were made to do harm."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import EngineError, ImageError
from plugins.engines.archive import extract, read_folder


def tar_of(*members: tuple[str, bytes, str, str]) -> bytes:
    """Each member: type, content, name, link target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for kind, content, name, target in members:
            entry = tarfile.TarInfo(name)
            entry.type = kind if isinstance(kind, bytes) else kind.encode()
            entry.size, entry.linkname = len(content), target
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def pieces(content: bytes, size: int = 100) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


FILE, HARD, SOFT, DEVICE, FIFO = "0", "1", "2", "3", "6"
HOSTILE = tar_of(
    (FILE, b"good", "out/good.txt", ""),
    (FILE, b"bad", "/etc/absolute", ""),
    (FILE, b"bad", "out/../../climbed", ""),
    (SOFT, b"", "out/link", "/etc"),
    (FILE, b"bad", "out/link/through", ""),
    (SOFT, b"", "out/passwd", "/etc/passwd"),
    (HARD, b"", "out/same.txt", "out/good.txt"),
    (HARD, b"", "out/foreign.txt", "/etc/passwd"),
    (DEVICE, b"", "out/device", ""),
    (FIFO, b"", "out/fifo", ""),
)


def test_only_files_come_through_and_only_below_the_folder(tmp_path: Path) -> None:
    written = extract(pieces(HOSTILE), "out", tmp_path / "copy")
    assert [path.relative_to(tmp_path / "copy/out").as_posix() for path in written] == ["good.txt", "link/through", "same.txt"]
    assert not (tmp_path / "copy/out/link").is_symlink(), "the link was made, and written through"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy"]


def test_a_link_that_stands_in_the_folder_already_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "copy" / "out").symlink_to(tmp_path / "elsewhere")
    assert extract(pieces(HOSTILE), "out", tmp_path / "copy") == []
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_links_count_as_the_files_inside_that_they_lead_to(tmp_path: Path) -> None:
    tar = tar_of(
        (FILE, b"a", "img-man/a.yaml", ""),
        (SOFT, b"", "img-man/det/up.yaml", "../a.yaml"),
        (SOFT, b"", "img-man/absolute.yaml", "/img-man/a.yaml"),
        (SOFT, b"", "img-man/twice.yaml", "det/up.yaml"),
        (HARD, b"", "img-man/hard.yaml", "img-man/a.yaml"),
        (SOFT, b"", "img-man/out.yaml", "/etc/passwd"),
        (SOFT, b"", "img-man/loop.yaml", "loop.yaml"),
    )
    files = read_folder(pieces(tar), "/img-man", 1000)
    assert files == dict.fromkeys(("a.yaml", "det/up.yaml", "absolute.yaml", "twice.yaml", "hard.yaml"), b"a")


def test_files_that_are_too_large_together_are_refused_before_they_are_read() -> None:
    tar = tar_of((FILE, b"x" * 600, "m/a", ""), (FILE, b"x" * 600, "m/b", ""))
    assert len(read_folder(pieces(tar), "/m", 1200)) == 2
    with pytest.raises(ImageError, match="1199 bytes"):
        read_folder(pieces(tar), "/m", 1199)


def test_a_torn_archive_is_an_error_of_the_engine(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        extract(pieces(HOSTILE[:700]), "out", tmp_path)
    with pytest.raises(EngineError):
        read_folder(pieces(b"no tar at all" * 100), "/m", 1000)
