"""Folder trees measured and removed without following a link or leaving their disk, whatever an image wrote into them.

A file with several names (hard links) frees its bytes with its last name: a stage that lies in its model's folder, too, frees nothing.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Removal:
    """What removing some things frees, or would free. ``problems``: paths that cannot be read or removed, each with the reason."""

    dry_run: bool
    problems: list[tuple[str, str]] = field(default_factory=list)
    _names_seen: Counter[tuple[int, int]] = field(default_factory=Counter)

    def remove_tree(self, top: Path) -> int:
        """The bytes that are freed. What cannot be removed stays, with the folders above it; the rest goes. May be repeated."""
        folders: list[str] = []
        freed = sum(self._remove_name(path, facts) for path, facts in self._walk(str(top), folders))
        for path in [] if self.dry_run else reversed(folders):
            self._remove_folder(path)
        return freed

    def remove_file(self, path: Path) -> int:
        """As ``remove_tree`` for what is no folder; of a link the link itself."""
        facts = self._facts(str(path))
        return self._remove_name(str(path), facts) if facts else 0

    def bytes_of(self, path: Path) -> int:
        """What the removal of this file, which somebody else does, frees."""
        facts = self._facts(str(path))
        return self._freed_bytes(facts) if facts else 0

    def _walk(self, top: str, folders: list[str]) -> Iterator[tuple[str, os.stat_result]]:
        """Everything that is no folder; the folders are added to ``folders``, each before those in it."""
        root = self._facts(top)
        waiting = [top] if root else []
        while waiting and root:
            folders.append(waiting.pop())
            for path in self._entries(folders[-1]):
                facts = self._facts(path)
                if facts and facts.st_dev != root.st_dev:
                    self.problems.append((path, "another disk is mounted there"))
                elif facts and stat.S_ISDIR(facts.st_mode):
                    waiting.append(path)
                elif facts:
                    yield path, facts

    def _facts(self, path: str) -> os.stat_result | None:
        try:
            return os.lstat(path)
        except FileNotFoundError:  # somebody else was quicker
            return None
        except OSError as error:
            self._note(path, error)
            return None

    def _entries(self, path: str) -> list[str]:
        try:
            if not self.dry_run:
                _open_up(path)
            return sorted(os.path.join(path, name) for name in os.listdir(path))  # noqa: PTH118, PTH208 - a million of them
        except FileNotFoundError:
            return []
        except OSError as error:
            self._note(path, error)
            return []

    def _remove_name(self, path: str, facts: os.stat_result) -> int:
        try:
            if not self.dry_run:
                os.unlink(path)  # noqa: PTH108
        except FileNotFoundError:
            return 0
        except OSError as error:
            self._note(path, error)
            return 0
        return self._freed_bytes(facts)

    def _freed_bytes(self, facts: os.stat_result) -> int:
        if not self.dry_run:
            return facts.st_size if facts.st_nlink == 1 else 0
        self._names_seen[facts.st_dev, facts.st_ino] += facts.st_nlink > 1
        return facts.st_size if facts.st_nlink == 1 or self._names_seen[facts.st_dev, facts.st_ino] == facts.st_nlink else 0

    def _remove_folder(self, path: str) -> None:
        try:
            os.rmdir(path)  # noqa: PTH106
        except FileNotFoundError:
            pass
        except OSError as error:
            if not any(Path(place).is_relative_to(path) for place, _ in self.problems):  # else it is not empty for a reason that is named
                self._note(path, error)

    def _note(self, path: str, error: OSError) -> None:
        self.problems.append((path, error.strerror or str(error)))


def newest_mtime(top: Path) -> float:
    """When something at or below ``top`` was last written, in Unix seconds; infinity when that cannot be told. Follows no link."""
    newest, waiting = 0.0, [str(top)]
    try:
        while waiting:
            facts = os.lstat(path := waiting.pop())
            newest = max(newest, facts.st_mtime)
            if stat.S_ISDIR(facts.st_mode):
                waiting += [os.path.join(path, name) for name in os.listdir(path)]  # noqa: PTH118, PTH208
    except OSError:
        return float("inf")
    return newest


def _open_up(path: str) -> None:
    """An image may have taken its own folder's rights away. Only a folder's, never a file's, which may have other names."""
    mode = stat.S_IMODE(os.lstat(path).st_mode)
    if mode & 0o700 != 0o700:
        Path(path).chmod(mode | 0o700)
