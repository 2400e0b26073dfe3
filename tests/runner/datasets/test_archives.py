"""Archives: the tidy and the hostile."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import DatasetError, NotFoundError, SluiceError
from contracts.seams import Skip
from runner.archives import Limits, unpacked

MakeZip = Callable[..., Path]


@pytest.fixture
def make_zip(tmp_path: Path) -> MakeZip:
    def make(*members: tuple[str | zipfile.ZipInfo, bytes], name: str = "a.zip") -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members:
                archive.writestr(member, content)
        return tmp_path / name

    return make


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _left(home: Path) -> list[Path]:
    return [*(home / "tmp").iterdir()] if (home / "tmp").exists() else []


def test_a_zip_is_unpacked_and_gone_afterwards(make_zip: MakeZip, home: Path) -> None:
    archive = make_zip(("top/", b""), ("top/a.txt", b"1"), ("b.txt", b"2"))
    with unpacked(archive, home) as folder:
        assert folder.is_relative_to(home)
        assert _files(folder) == {"top/a.txt": b"1", "b.txt": b"2"}
    assert _left(home) == []


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked_whatever_packed_it(tmp_path: Path, home: Path, mode: str) -> None:
    with tarfile.open(tmp_path / "a.tar", mode) as archive:  # type: ignore[call-overload]
        member = tarfile.TarInfo("top/a.txt")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"1"))
    with unpacked(tmp_path / "a.tar", home) as folder:
        assert _files(folder) == {"top/a.txt": b"1"}


def test_a_folder_is_given_as_it_is(tmp_path: Path, home: Path) -> None:
    with unpacked(tmp_path, home) as folder:
        assert folder == tmp_path


def test_it_is_gone_after_an_error_in_the_block(make_zip: MakeZip, home: Path) -> None:
    with pytest.raises(KeyError), unpacked(make_zip(("a", b"1")), home):
        raise KeyError
    assert _left(home) == []


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:\\evil.txt", "a/.."])
def test_a_name_that_leads_out_condemns_the_archive(make_zip: MakeZip, home: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="leads out"), unpacked(make_zip(("good.txt", b"1"), (name, b"2")), home):
        pass
    assert list(tmp_path.rglob("evil*")) == []
    assert _left(home) == []


def test_links_and_devices_are_left_out_by_name(make_zip: MakeZip, home: Path, tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    left_out: list[Skip] = []
    with unpacked(make_zip((link, b"/etc/passwd"), ("link/a.txt", b"1")), home, left_out=left_out) as folder:
        assert _files(folder) == {"link/a.txt": b"1"}
        assert not (folder / "link").is_symlink()
    assert [skip.place for skip in left_out] == ["link"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_a_tar_makes_no_link_device_or_pipe(tmp_path: Path, home: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("odd")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    left_out: list[Skip] = []
    with unpacked(tmp_path / "a.tar", home, left_out=left_out) as folder:
        assert list(folder.rglob("*")) == []
    assert [skip.place for skip in left_out] == ["odd"]


def test_a_bomb_is_refused_by_what_it_claims(make_zip: MakeZip, home: Path) -> None:
    archive = make_zip(("zeros", b"\0" * 5_000_000))
    with pytest.raises(DatasetError, match="unpacks to 5,000,000 bytes"), unpacked(archive, home, limits=Limits(ratio_floor_bytes=1000)):
        pass
    assert _left(home) == []


def test_a_bomb_that_lies_about_its_size_is_refused_by_what_comes_out(tmp_path: Path, home: Path) -> None:
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as archive:
        member = tarfile.TarInfo("zeros")
        member.size = 5_000_000
        archive.addfile(member, io.BytesIO(b"\0" * 5_000_000))
    with pytest.raises(DatasetError, match="more than"), unpacked(tmp_path / "a.tgz", home, limits=Limits(ratio_floor_bytes=1000)):
        pass
    assert _left(home) == []


def test_too_many_files_are_refused(make_zip: MakeZip, home: Path) -> None:
    archive = make_zip(*((f"{number}", b"") for number in range(20)))
    with pytest.raises(DatasetError, match="more than 10 files"), unpacked(archive, home, limits=Limits(files=10)):
        pass


def test_an_encrypted_zip_says_so(make_zip: MakeZip, home: Path) -> None:
    archive = make_zip(("a.txt", b"1"))
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    archive.write_bytes(content)
    with pytest.raises(DatasetError, match="encrypted"), unpacked(archive, home):
        pass


def test_what_is_no_archive_and_what_is_not_there_are_different_errors(tmp_path: Path, home: Path) -> None:
    (tmp_path / "a.zip").write_text("not a zip")
    with pytest.raises(DatasetError, match="no zip and no tar"), unpacked(tmp_path / "a.zip", home):
        pass
    with pytest.raises(NotFoundError), unpacked(tmp_path / "gone.zip", home):
        pass


@pytest.mark.parametrize("encoding", ["gbk", "utf-8"])
def test_names_in_an_encoding_the_zip_does_not_declare_are_read(tmp_path: Path, home: Path, encoding: str) -> None:
    raw = "测试图片.jpg".encode(encoding)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x" * len(raw), b"1")
    content = (tmp_path / "a.zip").read_bytes().replace(b"x" * len(raw), raw)
    (tmp_path / "a.zip").write_bytes(content)
    with unpacked(tmp_path / "a.zip", home) as folder:
        assert list(_files(folder)) == ["测试图片.jpg"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_collide_are_left_out_by_name(make_zip: MakeZip, home: Path) -> None:
    left_out: list[Skip] = []
    archive = make_zip(("a", b"first"), ("a", b"second"), ("a/b", b"third"), ("c/d", b"4"), ("c", b"5"), ("x" * 300, b"6"))
    with unpacked(archive, home, left_out=left_out) as folder:
        assert _files(folder) == {"a": b"first", "c/d": b"4"}
    assert [skip.place[:3] for skip in left_out] == ["a", "a/b", "c", "xxx"]


def test_what_a_killed_process_left_is_removed_by_the_next(make_zip: MakeZip, home: Path) -> None:
    orphan = home / "tmp" / "unpacked-0123"
    orphan.mkdir(parents=True)
    (orphan / "half").write_text("x")
    orphan.with_suffix(".lock").touch()
    archive = make_zip(("a", b"1"))
    with unpacked(archive, home) as first, unpacked(archive, home) as second:
        assert not orphan.exists()
        assert _files(first) == _files(second) == {"a": b"1"}
    assert _left(home) == []


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(at=st.integers(0, 10_000), junk=st.binary(min_size=1, max_size=12))
def test_any_damage_to_a_zip_is_harmless_or_named(make_zip: MakeZip, home: Path, at: int, junk: bytes) -> None:
    archive = make_zip(("a/b.txt", b"hello" * 50), ("c.txt", b"1"))
    content = archive.read_bytes()
    at %= len(content)
    archive.write_bytes(content[:at] + junk + content[at + len(junk) :])
    with suppress(SluiceError), unpacked(archive, home) as folder:
        assert all(path.resolve().is_relative_to(folder.resolve()) for path in folder.rglob("*"))
    assert _left(home) == []
