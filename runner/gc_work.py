"""One run of gc: what the database knows, how far that can be trusted, and what was found so far."""

from __future__ import annotations

import json
import re
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from contracts.seams import StoredFile
from registry import references
from registry.references import JobEnd, VersionFolder
from runner.disk_tree import Removal, newest_mtime
from runner.installation import Installation

#: Everything that can be freed, and what is freed when nothing is named.
WHAT = ("runs", "records", "images", "built", "assets")
USUAL = ("runs", "images", "assets")
DAY_S = 86400.0
_VERSION = re.compile(r"V\d{3,}")


@dataclass(frozen=True)
class Books:
    """What the database knew when gc began. ``doubt``: why a row that is missing proves nothing; '' where it does."""

    ends: dict[str, JobEnd]
    doubt: str


def read_books(installation: Installation) -> Books:
    # The disk first: what appears between the two looks has a row that is seen.
    finished = [folder.name for folder in folders(installation.home / "runs") if (folder / "job.json").exists()]
    with installation.database.reading() as session:
        ends, versions = references.job_ends(session), references.version_folders(session)
    return Books(ends, _doubt(installation.home, finished, ends, versions))


def _doubt(home: Path, finished: Sequence[str], ends: dict[str, JobEnd], versions: Sequence[VersionFolder]) -> str:
    """The database may be another one than the home's, or an older state of it. Rows of jobs are never removed, which shows it."""
    strange = [job_id for job_id in finished if job_id not in ends]
    if strange:
        return f"the job {strange[0]} ended in this home and is not in the database, which is another one or was restored from a backup"
    on_disk = [*folders(home / "runs"), *version_folders(home), *folders(home / "models")]
    if on_disk and not any(_is_known(home, folder, ends, versions) for folder in on_disk):
        return "the database knows nothing of what lies in this home: it seems to be another home's"
    return ""


def _is_known(home: Path, folder: Path, ends: dict[str, JobEnd], versions: Sequence[VersionFolder]) -> bool:
    """By what no two homes have in common: a job's id, the content of a version."""
    if folder.parent == home / "runs":
        return folder.name in ends
    hashes = [version.content_hash for version in versions if version.folder == str(folder.relative_to(home))]
    return bool(hashes) and _content_hash(folder) == hashes[0] != ""


def _content_hash(version_folder: Path) -> str:
    try:
        return str(json.loads((version_folder / "manifest.json").read_text(encoding="utf-8"))["content_hash"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


@dataclass
class Work:
    """What is to be done, and its answer. ``what``: see ``runner.gc.collect``."""

    installation: Installation
    books: Books
    removal: Removal
    what: frozenset[str]
    items: list[dict[str, Any]] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)

    @property
    def home(self) -> Path:
        return self.installation.home

    @property
    def dry_run(self) -> bool:
        return self.removal.dry_run

    def free(self, what: str, paths: Iterable[Path], why: str, *, shown: Path) -> None:
        """Removes the paths as one item; whatever of them stays is named. ``{count}`` in ``why`` becomes their number."""
        before = len(self.removal.problems)
        freed = [self.removal.remove_tree(path) if is_folder(path) else self.removal.remove_file(path) for path in paths]
        problems = self.removal.problems[before:]
        for path_text, problem in problems:
            self.keep(what, path_text, problem)
        if sum(freed) or len(freed) > len(problems):
            self.items.append({"what": what, "path": str(shown), "bytes": sum(freed), "why": why.replace("{count}", str(len(freed)))})

    def free_stored(self, files: Iterable[StoredFile], why: str) -> None:
        """As ``free``, for files of the store."""
        store, freed, count = self.installation.store, 0, 0
        for some in _by_thousands(files):
            sizes = {file.file_name: self.removal.bytes_of(file.path) if file.path else file.size_bytes for file in some}
            gone = some if self.dry_run else store.remove(some, lambda place, reason: self.keep("assets", place, reason))
            freed += sum(sizes[file.file_name] for file in gone)
            count += len(gone)
        if count:
            self.items.append({"what": "assets", "path": store.place, "bytes": freed, "why": why.replace("{count}", str(count))})

    def keep(self, what: str, path: Path | str, why: str) -> None:
        self.kept.append({"what": what, "path": str(path), "why": why})

    def answer(self) -> dict[str, Any]:
        items, kept = (sorted(rows, key=_place) for rows in (self.items, self.kept))
        return {"dry_run": self.dry_run, "items": items, "freed_bytes": sum(item["bytes"] for item in items), "kept": kept}

    # ---- looking

    def subfolders(self, what: str, parent: Path) -> list[Path]:
        """Folders by name. A link is named among what is kept: it may be somebody's way to another disk."""
        found = []
        for path in self.children(what, parent):
            if path.is_symlink():
                self.keep(what, path, "it is a link, which is not followed")
            elif is_folder(path):
                found.append(path)
        return found

    def children(self, what: str, parent: Path) -> list[Path]:
        """Whatever is no hidden file, by name."""
        try:
            return sorted(path for path in parent.iterdir() if not path.name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            self.keep(what, parent, error.strerror or str(error))
            return []


def _by_thousands(files: Iterable[StoredFile]) -> Iterator[list[StoredFile]]:
    iterator = iter(files)
    while some := list(islice(iterator, 1000)):
        yield some


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    return WHAT.index(row["what"]), row.get("path", ""), row.get("reference", ""), row["why"]


def folders(parent: Path) -> list[Path]:
    """Folders that are neither links nor hidden, by name; [] where the parent cannot be read."""
    try:
        return sorted(path for path in parent.iterdir() if not path.name.startswith(".") and is_folder(path))
    except OSError:
        return []


def version_folders(home: Path) -> list[Path]:
    """``datasets/<name>/V001`` and so on, whether they have a row or not."""
    return [path for dataset in folders(home / "datasets") for path in folders(dataset) if _VERSION.fullmatch(path.name)]


def is_folder(path: Path) -> bool:
    """A link to a folder is none."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def is_old(path: Path) -> bool:
    """Nothing in it was written for a day: nobody is about to need it."""
    return newest_mtime(path) < time.time() - DAY_S
