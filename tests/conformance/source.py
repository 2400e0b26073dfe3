"""What every source must do. Subclass ``SourceConformance`` and give it ``source``, ``address`` and ``files``."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from contracts.errors import DatasetError, SluiceError
from contracts.seams import RemoteFile, Source


class SourceConformance:
    """``address``: where ``files`` (their contents by name) lie; ``missing``: an address of the same scheme where there is nothing."""

    def test_it_lists_every_file_under_its_name(self, source: Source, address: str, files: dict[str, bytes]) -> None:
        found = {file.name: file for file in source.list_files(address)}
        assert set(found) == set(files)
        assert all(file.size_bytes in (None, len(files[name])) for name, file in found.items())

    def test_it_fetches_what_it_lists(self, source: Source, address: str, files: dict[str, bytes], tmp_path: Path) -> None:
        for number, file in enumerate(source.list_files(address)):
            target = tmp_path / str(number)
            assert source.fetch(file, target, 10**6) == len(files[file.name])
            assert target.read_bytes() == files[file.name]

    def test_it_fetches_an_address_that_was_not_listed(self, source: Source, address: str, files: dict[str, bytes], tmp_path: Path) -> None:
        first = next(iter(source.list_files(address)))
        source.fetch(RemoteFile(first.address, "x"), tmp_path / "x", 10**6)
        assert (tmp_path / "x").read_bytes() == files[first.name]

    def test_more_than_is_allowed_is_refused_and_leaves_nothing(
        self, source: Source, address: str, files: dict[str, bytes], tmp_path: Path
    ) -> None:
        file = next(file for file in source.list_files(address) if len(files[file.name]) > 1)
        for listed in (file, RemoteFile(file.address, file.name)):
            with pytest.raises(DatasetError, match="1 bytes allowed"):
                source.fetch(listed, tmp_path / "x", 1)
            assert list(tmp_path.iterdir()) == []

    def test_what_is_missing_is_an_error_with_its_address_and_what_to_do(self, source: Source, missing: str, tmp_path: Path) -> None:
        with pytest.raises(SluiceError) as refused:
            source.fetch(RemoteFile(missing, "x"), tmp_path / "x", 10**6)
        assert missing in refused.value.message
        assert refused.value.hint
        assert list(tmp_path.iterdir()) == []

    def test_it_says_what_answers(self, source: Source, address: str) -> None:
        assert source.check(address)

    def test_threads_use_it_at_once(self, source: Source, address: str, files: dict[str, bytes], tmp_path: Path) -> None:
        first = next(iter(source.list_files(address)))
        targets = [tmp_path / str(number) for number in range(6)]
        threads = [threading.Thread(target=source.fetch, args=(first, target, 10**6)) for target in targets]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {target.read_bytes() for target in targets} == {files[first.name]}
