"""The local folder store: the conformance class, and what only a folder can promise."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Collection
from multiprocessing import get_context
from pathlib import Path

import pytest

from contracts.errors import DatasetError, UnavailableError
from contracts.seams import NewFile
from plugins.stores import durable, shelf
from plugins.stores.local import LocalStore
from tests.conformance.store import CONTENT, SHA1, StoreConformance, new_files


class TestLocalStore(StoreConformance):
    @pytest.fixture
    def store(self, tmp_path: Path) -> LocalStore:
        return LocalStore(tmp_path / "assets")


def test_a_file_lies_below_the_last_two_hex_digits_and_is_read_only(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.add_bytes(CONTENT, SHA1, "png")
    path = store.find(SHA1, "png")
    assert path is not None
    assert path == tmp_path / SHA1[-2:] / f"{SHA1}.png"
    assert path.stat().st_mode & 0o777 == 0o444


def test_nothing_stays_aside_after_adding_or_refusing(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.add_bytes(CONTENT, SHA1, "jpg")
    with pytest.raises(DatasetError):
        store.add_bytes(b"other", hashlib.sha1(b"wanted").hexdigest(), "jpg")
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


# ---------------------------------------------------------------------------------------------------------------- many at once


def test_every_file_is_on_the_disk_before_one_has_its_name_and_the_names_are_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    bring, give = shelf.bring_to_disk, shelf._give_name
    monkeypatch.setattr(shelf, "bring_to_disk", lambda folder, paths: [bring(folder, paths), events.append(_kind(paths))])
    monkeypatch.setattr(shelf, "_give_name", lambda aside: [give(aside), events.append("name")])
    LocalStore(tmp_path).add_many(new_files(10))
    assert events == ["10 files", *["name"] * 10, "folders"]


def _kind(paths: Collection[Path]) -> str:
    return "folders" if all(path.is_dir() for path in paths) else f"{len(paths)} files"


@pytest.mark.parametrize(("file_system", "count"), [("ext4", 0), ("fuse.sshfs", 20), ("", 20)])
def test_where_one_sync_is_not_trusted_each_file_has_its_own(
    file_system: str, count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(durable, "_file_system", lambda device: file_system)
    monkeypatch.setattr(durable.os, "fsync", synced.append)
    durable.bring_to_disk(tmp_path, _written(tmp_path, 20))
    assert len(synced) == count


def _written(folder: Path, count: int) -> list[Path]:
    paths = [folder / str(number) for number in range(count)]
    for path in paths:
        path.write_bytes(b"x")
    return paths


def test_the_file_system_of_the_tests_is_known() -> None:
    assert durable._file_system(Path("/proc").stat().st_dev) == "proc"
    assert durable._file_system(os.makedev(4000, 4000)) == ""


def _add_for_ever(folder: Path) -> None:
    for number in range(10**6):
        contents = [f"{number}-{each}".encode() * 500 for each in range(50)]
        LocalStore(folder).add_many([NewFile(hashlib.sha1(content).hexdigest(), "jpg", content) for content in contents])


def test_a_process_that_is_killed_leaves_whole_files_only(tmp_path: Path) -> None:
    process = get_context("spawn").Process(target=_add_for_ever, args=(tmp_path,))
    process.start()
    while len(list(tmp_path.glob("??/*"))) < 100:
        time.sleep(0.01)
    process.kill()
    process.join()
    found = list(tmp_path.glob("??/*"))
    assert [path for path in found if hashlib.sha1(path.read_bytes()).hexdigest() != path.stem] == []


def test_a_file_that_was_cut_is_replaced_by_the_next_who_brings_it_whole(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "assets")
    store.add_bytes(CONTENT, SHA1, "jpg")
    path = store.find(SHA1, "jpg")
    assert path is not None
    given_to_a_job = tmp_path / "link"
    given_to_a_job.hardlink_to(path)
    path.chmod(0o644)
    path.write_bytes(CONTENT[:3])
    store.add_bytes(CONTENT, SHA1, "jpg")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (CONTENT, 0o444)
    path.chmod(0o644)
    path.write_bytes(b"")
    (tmp_path / "source").write_bytes(CONTENT)
    store.add_file(tmp_path / "source", SHA1, "jpg")
    assert path.read_bytes() == CONTENT
    assert not list((store.folder / ".incoming").iterdir())
