"""What every store must do. Subclass ``StoreConformance`` and give it a ``store`` fixture."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from contracts.errors import DatasetError
from contracts.seams import Store

CONTENT = b"a picture, as far as a store is concerned"
SHA1 = hashlib.sha1(CONTENT).hexdigest()


class StoreConformance:
    """Inherit, and provide the fixture ``store``: an empty store of the kind."""

    def test_it_has_a_name(self, store: Store) -> None:
        assert isinstance(store.name, str)
        assert store.name

    def test_what_was_added_as_bytes_is_found_with_the_same_content(self, store: Store) -> None:
        path = store.add_bytes(CONTENT, SHA1, "jpg")
        assert path.read_bytes() == CONTENT
        assert store.find(SHA1, "jpg") == path

    def test_what_was_added_as_a_file_is_copied_and_the_file_left_alone(self, store: Store, tmp_path: Path) -> None:
        source = tmp_path / "source.jpg"
        source.write_bytes(CONTENT)
        path = store.add_file(source, SHA1, "jpg")
        source.write_bytes(b"changed later")
        assert path.read_bytes() == CONTENT

    def test_adding_again_changes_nothing(self, store: Store) -> None:
        first = store.add_bytes(CONTENT, SHA1, "jpg")
        before = first.stat()
        assert store.add_bytes(CONTENT, SHA1, "jpg") == first
        assert (first.stat().st_ino, first.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)

    def test_a_stored_file_cannot_be_written_by_accident(self, store: Store) -> None:
        assert store.add_bytes(CONTENT, SHA1, "jpg").stat().st_mode & 0o222 == 0

    def test_an_unknown_hash_is_not_found(self, store: Store) -> None:
        assert store.find("0" * 40, "jpg") is None

    def test_what_is_missing_is_found_among_few_and_among_many(self, store: Store) -> None:
        folder = SHA1[-2:]
        store.add_bytes(CONTENT, SHA1, "jpg")
        strangers = [f"{number:038x}{folder}.jpg" for number in range(200)]
        assert store.missing(folder, [f"{SHA1}.jpg"]) == []
        assert store.missing(folder, [strangers[0], f"{SHA1}.jpg", f"{SHA1}.png"]) == [strangers[0], f"{SHA1}.png"]
        assert store.missing(folder, [*strangers, f"{SHA1}.jpg"]) == strangers
        nowhere = next(f"{number:02x}" for number in range(256) if f"{number:02x}" != folder)
        assert store.missing(nowhere, [f"{'0' * 38}{nowhere}.jpg"]) == [f"{'0' * 38}{nowhere}.jpg"]

    def test_a_folder_of_all_holds_each_file_under_its_last_two_digits(self, store: Store) -> None:
        store.add_bytes(CONTENT, SHA1, "jpg")
        folder = store.folder_of_all()
        if folder is not None:
            assert (folder / SHA1[-2:] / f"{SHA1}.jpg").read_bytes() == CONTENT

    def test_the_extension_belongs_to_the_name(self, store: Store) -> None:
        store.add_bytes(CONTENT, SHA1, "jpg")
        assert store.find(SHA1, "png") is None

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
    def test_a_name_that_is_no_hash_is_refused(self, store: Store, sha1: str, extension: str) -> None:
        with pytest.raises(DatasetError):
            store.add_bytes(CONTENT, sha1, extension)

    def test_many_threads_may_add_the_same_content_at_once(self, store: Store) -> None:
        start = threading.Barrier(8)
        found: list[Path] = []

        def add() -> None:
            start.wait()
            found.append(store.add_bytes(CONTENT, SHA1, "jpg"))

        threads = [threading.Thread(target=add) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert {path.read_bytes() for path in found} == {CONTENT}
