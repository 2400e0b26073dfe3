"""Assets and model files in a local folder (``plugins.stores.shelf``)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import ClassVar

from contracts.dataset import Asset
from contracts.errors import UnavailableError
from contracts.seams import NewFile, OnProblem, Store, StoredFile, StoreSite
from plugins.stores.shelf import Shelf

#: About what a name takes in a folder's own size, on the usual disks, and how many names are listed in the time that one look at a file takes.
_ENTRY_BYTES = 64
_LOOKS_FOR_A_FILE = 10


class LocalStore(Store):
    """A folder on a local or network disk, ``<home>/assets``."""

    name: ClassVar[str] = "local"

    def __init__(self, folder: Path) -> None:
        """Touches no disk; the folder is made with the first file."""
        self.folder = folder
        self._shelf = Shelf(folder)

    @classmethod
    def open(cls, site: StoreSite) -> LocalStore:
        return cls(site.home / "assets")

    @property
    def place(self) -> str:
        return str(self.folder)

    def add_many(self, files: Sequence[NewFile]) -> None:
        self._shelf.add_many(files)

    def path(self, sha1: str, extension: str) -> Path | None:
        target = self._shelf.target(sha1, extension)
        return target if target.is_file() else None

    def find(self, sha1: str, extension: str) -> Path | None:
        return self.path(sha1, extension)

    def folder_of_all(self) -> Path | None:
        return self.folder

    def missing(self, folder: str, file_names: Sequence[str]) -> list[str]:
        """As the seam says. One listing of the folder instead of a look at each file, where the job needs a fair part of it."""
        place = self.folder / folder
        try:
            entries = place.stat().st_size // _ENTRY_BYTES
        except FileNotFoundError:
            return list(file_names)
        if entries > len(file_names) * _LOOKS_FOR_A_FILE:
            return super().missing(folder, file_names)
        there = set(os.listdir(place))  # noqa: PTH208 - thousands of them
        return [name for name in file_names if name not in there]

    def holding(self, files: Sequence[Asset]) -> AbstractContextManager[None]:  # noqa: ARG002 - a look at each would take seconds for a million
        """Nothing is fetched and nothing goes: gc takes only what no dataset version refers to. A missing one is noticed by who opens it."""
        return nullcontext()

    def list_files(self, on_problem: OnProblem) -> Iterator[StoredFile]:
        return self._shelf.list_files(on_problem)

    def remove(self, files: Sequence[StoredFile], on_problem: OnProblem) -> list[StoredFile]:
        return self._shelf.remove(files, on_problem)

    def other_homes(self) -> tuple[str, ...]:
        return ()

    def check(self) -> str:
        if not os.access(self.folder if self.folder.exists() else self.folder.parent, os.W_OK | os.X_OK):
            raise UnavailableError(f"the store {self.folder} cannot be written", hint="Give this user the right to, or name another home.")
        return str(self.folder)
