"""What every store must do. Subclass ``StoreConformance`` and give it a ``store`` fixture."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import pytest

from contracts.dataset import Asset
from contracts.errors import DatasetError
from contracts.seams import NewFile, Store, StoredFile

CONTENT = b"a picture, as far as a store is concerned"
SHA1 = hashlib.sha1(CONTENT).hexdigest()


def new_files(count: int) -> list[NewFile]:
    """Different small contents."""
    contents = [f"content {number}".encode() for number in range(count)]
    return [NewFile(hashlib.sha1(content).hexdigest(), "jpg", content) for content in contents]


def assets_of(files: list[NewFile]) -> list[Asset]:
    return [Asset(file.sha1, file.extension, 1, 1, len(file.content)) for file in files if isinstance(file.content, bytes)]


def listed(store: Store) -> list[StoredFile]:
    """Everything in the store by hash; a problem fails the test."""
    return sorted(store.list_files(lambda place, reason: pytest.fail(f"{place}: {reason}")), key=lambda file: file.sha1)


class StoreConformance:
    """Inherit, and provide the fixture ``store``: an empty store of the kind."""

    def test_it_has_a_name_and_a_place(self, store: Store) -> None:
        assert isinstance(store.name, str)
        assert store.name
        assert store.place

    def test_it_answers(self, store: Store) -> None:
        assert store.place.rstrip("/") in store.check()
        assert listed(store) == []

    def test_what_was_added_as_bytes_is_found_with_the_same_content(self, store: Store) -> None:
        store.add_bytes(CONTENT, SHA1, "jpg")
        path = store.find(SHA1, "jpg")
        assert path is not None
        assert path.read_bytes() == CONTENT
        assert store.path(SHA1, "jpg") == path

    def test_what_was_added_as_a_file_is_copied_and_the_file_left_alone(self, store: Store, tmp_path: Path) -> None:
        source = tmp_path / "source.jpg"
        source.write_bytes(CONTENT)
        store.add_file(source, SHA1, "jpg")
        source.write_bytes(b"changed later")
        path = store.find(SHA1, "jpg")
        assert path is not None
        assert path.read_bytes() == CONTENT

    def test_many_are_added_at_once_and_each_is_there(self, store: Store) -> None:
        files = new_files(40)
        store.add_many(files)
        store.add_many([])
        assert [file.sha1 for file in listed(store)] == sorted(file.sha1 for file in files)
        found = [store.find(file.sha1, "jpg") for file in files]
        assert [path and path.read_bytes() for path in found] == [file.content for file in files]

    def test_one_wrong_file_among_many_is_named_and_not_stored(self, store: Store, tmp_path: Path) -> None:
        files = [*new_files(3), NewFile(SHA1, "jpg", tmp_path / "gone.jpg")]
        with pytest.raises(DatasetError, match=r"gone\.jpg"):
            store.add_many(files)
        assert store.find(SHA1, "jpg") is None
        store.add_many(files[:3])
        assert len(listed(store)) == 3

    def test_adding_again_changes_nothing(self, store: Store) -> None:
        store.add_bytes(CONTENT, SHA1, "jpg")
        before = listed(store)
        store.add_bytes(CONTENT, SHA1, "jpg")
        assert listed(store) == before

    def test_a_stored_file_cannot_be_written_by_accident(self, store: Store) -> None:
        store.add_bytes(CONTENT, SHA1, "jpg")
        path = store.find(SHA1, "jpg")
        assert path is not None
        assert path.stat().st_mode & 0o222 == 0

    def test_an_unknown_hash_is_not_found(self, store: Store) -> None:
        assert store.find("0" * 40, "jpg") is None

    def test_what_is_missing_is_found_among_few_and_among_many(self, store: Store) -> None:
        folder = SHA1[-2:]
        store.add_bytes(CONTENT, SHA1, "jpg")
        strangers = [f"{number:038x}{folder}.jpg" for number in range(200)]
        assert store.missing(folder, [f"{SHA1}.jpg"]) == []
        nowhere = next(f"{number:02x}" for number in range(256) if f"{number:02x}" != folder)
        lost = f"{'0' * 38}{nowhere}.jpg"
        asked = {
            (folder, (strangers[0], f"{SHA1}.jpg", f"{SHA1}.png")): [strangers[0], f"{SHA1}.png"],
            (folder, (*strangers, f"{SHA1}.jpg")): strangers,
            (nowhere, (lost,)): [lost],
        }
        for (place, names), expected in asked.items():
            found = store.missing(place, names)
            assert found == expected if store.folder_of_all() else set(found) <= set(expected)

    def test_a_folder_of_all_holds_each_file_under_its_last_two_digits(self, store: Store) -> None:
        store.add_bytes(CONTENT, SHA1, "jpg")
        folder = store.folder_of_all()
        if folder is not None:
            assert (folder / SHA1[-2:] / f"{SHA1}.jpg").read_bytes() == CONTENT

    def test_the_extension_belongs_to_the_name(self, store: Store) -> None:
        store.add_bytes(CONTENT, SHA1, "jpg")
        assert store.find(SHA1, "png") is None

    def test_bytes_of_another_content_are_refused(self, store: Store) -> None:
        with pytest.raises(DatasetError, match=SHA1):
            store.add_bytes(b"something else", SHA1, "jpg")
        assert listed(store) == []

    def test_a_file_of_another_content_is_refused_and_nothing_is_stored(self, store: Store, tmp_path: Path) -> None:
        source = tmp_path / "source.jpg"
        source.write_bytes(b"something else")
        with pytest.raises(DatasetError, match=SHA1):
            store.add_file(source, SHA1, "jpg")
        assert store.find(SHA1, "jpg") is None

    def test_a_missing_file_is_refused_by_name(self, store: Store, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match=r"gone\.jpg"):
            store.add_file(tmp_path / "gone.jpg", SHA1, "jpg")

    @pytest.mark.parametrize(("sha1", "extension"), [("../../etc/passwd", "jpg"), (SHA1, "../x"), (SHA1.upper(), "jpg"), (SHA1, "")])
    def test_a_name_that_is_no_hash_is_refused_everywhere(self, store: Store, sha1: str, extension: str) -> None:
        for use in (store.path, store.find):
            with pytest.raises(DatasetError):
                use(sha1, extension)
        with pytest.raises(DatasetError):
            store.add_many([NewFile(sha1, extension, CONTENT)])

    def test_what_is_held_lies_at_its_path_and_a_link_to_it_outlives_the_store(self, store: Store, tmp_path: Path) -> None:
        files = new_files(5)
        store.add_many(files)
        with store.holding(assets_of(files)):
            for file in files:
                path = store.path(file.sha1, file.extension)
                assert path is not None
                os.link(path, tmp_path / file.sha1)
        assert store.remove(listed(store), lambda place, reason: pytest.fail(reason))
        assert all((tmp_path / file.sha1).read_bytes() == file.content for file in files)

    def test_what_is_listed_has_its_size_and_time(self, store: Store) -> None:
        begin = time.time()
        store.add_bytes(CONTENT, SHA1, "png")
        (file,) = listed(store)
        assert (file.sha1, file.extension, file.size_bytes) == (SHA1, "png", len(CONTENT))
        assert begin - 2 <= file.stored_at <= time.time() + 2  # some stores know whole seconds only

    def test_what_is_removed_is_gone_and_the_rest_stays(self, store: Store) -> None:
        store.add_many(new_files(4))
        first, *rest = listed(store)
        assert store.find(first.sha1, "jpg")
        assert store.remove([first], lambda place, reason: pytest.fail(reason)) == [first]
        assert store.find(first.sha1, "jpg") is None
        assert listed(store) == rest
        assert store.remove([first], lambda place, reason: pytest.fail(reason)) == [first]  # somebody else was quicker

    def test_no_other_home_uses_it(self, store: Store) -> None:
        store.add_bytes(CONTENT, SHA1, "jpg")
        assert store.other_homes() == ()

    def test_many_threads_may_add_the_same_content_at_once(self, store: Store) -> None:
        start = threading.Barrier(8)
        failed: list[BaseException] = []

        def add() -> None:
            start.wait()
            try:
                store.add_bytes(CONTENT, SHA1, "jpg")
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=add) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert [file.sha1 for file in listed(store)] == [SHA1]
