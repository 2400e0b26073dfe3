"""The local folder store: the conformance class, and what only a folder can promise."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Collection
from multiprocessing import get_context
from pathlib import Path

import pytest

from contracts.errors import DatasetError, UnavailableError
from plugins.stores.local import LocalStore
from plugins.stores.syncing import sync_disk
from tests.conformance.store import CONTENT, SHA1, StoreConformance


class TestLocalStore(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "assets")


def test_a_file_lies_below_the_last_two_hex_digits_and_is_read_only(tmp_path: Path) -> None:
    path = LocalStore(tmp_path).add_bytes(CONTENT, SHA1, "png")
    assert path == tmp_path / SHA1[-2:] / f"{SHA1}.png"
    assert path.stat().st_mode & 0o777 == 0o444


def test_nothing_stays_aside_after_adding_or_refusing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.add_bytes(CONTENT, SHA1, "jpg")
    with pytest.raises(DatasetError):
        store.add_bytes(b"other", hashlib.sha1(b"wanted").hexdigest(), "jpg")
    assert list((tmp_path / ".incoming").iterdir()) == []


def _many(count: int) -> list[tuple[bytes, str, str]]:
    contents = [f"picture {number}".encode() for number in range(count)]
    return [(content, hashlib.sha1(content).hexdigest(), "jpg") for content in contents]


@pytest.mark.parametrize("count", [1, 3, 40])
def test_nothing_stays_aside_after_adding_many(tmp_path: Path, count: int) -> None:
    LocalStore(tmp_path).add_many(_many(count))
    assert len(list(tmp_path.glob("[0-9a-f][0-9a-f]/*"))) == count
    assert list((tmp_path / ".incoming").iterdir()) == []


@pytest.mark.parametrize("count", [2, 40])
def test_no_file_has_its_name_before_all_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    def full(place: Path, paths: Collection[Path]) -> None:
        assert {path.read_bytes() for path in paths} == {content for content, _, _ in _many(count)}
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("plugins.stores.local.sync_disk", full)
    with pytest.raises(UnavailableError, match=f"{count} files cannot be stored.*No space"):
        LocalStore(tmp_path).add_many(_many(count))
    assert list(tmp_path.glob("[0-9a-f][0-9a-f]/*")) == []
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_a_disk_without_hard_links_gets_the_files_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", none)
    LocalStore(tmp_path).add_many(_many(6))
    assert len(list(tmp_path.glob("[0-9a-f][0-9a-f]/*"))) == 6


def test_a_system_without_syncfs_syncs_each_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.stores.syncing._SYNCFS", None)
    LocalStore(tmp_path).add_many(_many(8))
    assert len(list(tmp_path.glob("[0-9a-f][0-9a-f]/*"))) == 8


def test_what_cannot_be_synced_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        sync_disk(tmp_path / "gone", [tmp_path / str(number) for number in range(9)])


def test_a_folder_of_many_that_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    old = tmp_path / ".incoming" / "old"
    old.mkdir(parents=True)
    (old / f"{SHA1}.jpg").write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    LocalStore(tmp_path).add_many(_many(2))
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_making_a_store_touches_no_disk(tmp_path: Path) -> None:
    LocalStore(tmp_path / "assets")
    assert not (tmp_path / "assets").exists()


def test_what_a_killed_process_left_is_swept_a_day_later_and_not_before(tmp_path: Path) -> None:
    incoming = tmp_path / ".incoming"
    incoming.mkdir()
    for name, age_s in (("old", 2 * 24 * 3600), ("young", 60)):
        (incoming / name).write_bytes(b"half")
        os.utime(incoming / name, (time.time() - age_s,) * 2)
    LocalStore(tmp_path).add_bytes(CONTENT, SHA1, "jpg")
    assert [path.name for path in incoming.iterdir()] == ["young"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError, match="file"):
        LocalStore(tmp_path / "file").add_bytes(CONTENT, SHA1, "jpg")


def _add_many(folder: Path) -> None:
    for number in range(100):
        content = f"picture {number}".encode()
        LocalStore(folder).add_bytes(content, hashlib.sha1(content).hexdigest(), "jpg")


def test_several_processes_may_add_the_same_files_at_once(tmp_path: Path) -> None:
    processes = [get_context("spawn").Process(target=_add_many, args=(tmp_path,)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0, 0]
    files = [path for path in tmp_path.glob("??/*") if hashlib.sha1(path.read_bytes()).hexdigest() == path.stem]
    assert len(files) == 100
