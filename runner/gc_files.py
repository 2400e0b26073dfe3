"""Files that nothing refers to: assets of no version, what has no row, and what killed processes left."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from contracts.errors import SluiceError
from contracts.seams import StoredFile
from registry import jobs, references
from runner.aside import aside_folder
from runner.asset_lock import freeing_assets
from runner.dropped import FOLDER
from runner.gc_work import DAY_S, Work, folders, is_old, version_folders
from runner.locks import try_lock
from runner.model_files import plain_folder

_KILLED = "left by a process that was killed"
_UNOWNED = "nothing refers to it"
#: What is made for a while outside ``tmp``: a sample's pictures, the installation's id, an image's build, pieces of assets, models, predictions.
_LEFTOVERS = {
    ".": r"sluice-[a-z0-9_]{8}|\.installation\.[0-9a-f]{8}",
    "cache": r"sluice-(build|base)-[a-z0-9_]{8}",
    "assets/.incoming": r"[0-9a-f]{32}",
    "cache/assets/.incoming": r"[0-9a-f]{32}",
    "models": r"\..+\.new",
    "predictions": r"\..+\.new",
}


# --------------------------------------------------------------------------------------------------------------------- assets


def free_assets(work: Work) -> None:
    """Every asset that no version refers to, as one item: there may be a million of them."""
    with freeing_assets(work.home) as free:
        refusal = work.books.doubt if free else "an import adds assets at this moment"
        needed = frozenset[str]()
        try:
            refusal = refusal or _shared_with(work)
            needed = needed if refusal else _referenced(work)
        except (OSError, SluiceError) as error:
            refusal = f"which assets are needed is not known: {error}"
        if refusal:
            work.keep("assets", work.installation.store.place, refusal)
        else:
            work.free_stored(_unreferenced(work, needed), "{count} that no dataset version refers to")


def _shared_with(work: Work) -> str:
    """Why nothing may go from a store that other homes use; '' where none does."""
    others = work.installation.store.other_homes()
    return f"other homes keep assets in the same place, and what they need is not known here: {', '.join(others[:3])}" if others else ""


def _referenced(work: Work) -> frozenset[str]:
    """The assets of every version there is now. Raises ``OSError`` when the table of one cannot be read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with work.installation.database.reading() as session:
        versions = references.version_folders(session)
    found: set[str] = set()
    for version in versions:
        file = work.installation.folder(version.folder) / "images.parquet"
        try:
            found.update(pq.read_table(file, columns=["asset_id"])["asset_id"].to_pylist())
        except (OSError, pa.ArrowException, KeyError) as error:
            raise OSError(f"{version.reference} cannot be read: {str(error).splitlines()[0]}") from error
    return frozenset(found)


def _unreferenced(work: Work, needed: frozenset[str]) -> Iterator[StoredFile]:
    newest = time.time() - DAY_S
    for file in work.installation.store.list_files(lambda place, reason: work.keep("assets", place, reason)):
        if file.sha1 not in needed and file.stored_at < newest:
            yield file


# ------------------------------------------------------------------------------------------------- what killed processes left


def free_leftovers(work: Work) -> None:
    """Folders that were needed for a while. Those in ``tmp`` have a lock as long as somebody uses them; the others are given a day."""
    if work.installation.settings.store == "local" and (cache := work.home / "cache" / "assets").is_dir() and is_old(cache):
        work.free("assets", [cache], "the cache of a store that this home no longer uses", shown=cache)
    for path in work.children("assets", work.home / "tmp"):
        if path.suffix == ".lock":
            _free_aside(work, path)
        elif not path.with_suffix(".lock").exists() and is_old(path):
            work.free("assets", [path], _KILLED, shown=path)
    for path in work.children("assets", work.home / FOLDER):
        work.free("assets", [path], "the input of a job that ended; it was about to go", shown=path)
    for parent, pattern in _LEFTOVERS.items():
        for path in _matching(work.home / parent, pattern):
            if is_old(path):
                work.free("assets", [path], _KILLED, shown=path)


def _matching(parent: Path, pattern: str) -> list[Path]:
    try:
        return sorted(path for path in parent.iterdir() if re.fullmatch(pattern, path.name) and not path.is_symlink())
    except OSError:
        return []


def _free_aside(work: Work, lock: Path) -> None:
    """A folder of ``runner.aside``, unless its lock is held."""
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # gone: its owner has just ended
        return
    try:
        if try_lock(descriptor):
            found = [path for path in (lock.with_suffix(""), lock.with_suffix(".orphan"), lock) if os.path.lexists(path)]
            work.free("assets", found, _KILLED, shown=lock.with_suffix(""))
    finally:
        os.close(descriptor)


# -------------------------------------------------------------------------------------------------------------- without a row


def free_unowned(work: Work) -> None:
    """Versions, models, predictions and evaluations without a row: somebody was killed between the file and the row."""
    found = [path for path in _unowned(work) if is_old(path)]
    if work.books.doubt:
        for path in found:
            work.keep("assets", path, f"{_UNOWNED}, but {work.books.doubt}")
    elif work.dry_run:
        for path in found:
            work.free("assets", [path], _UNOWNED, shown=path)
    elif found:
        _free_for_good(work)


def _free_for_good(work: Work) -> None:
    """Out of their places in one step each, while nobody can write a row for them; then they are only leftovers."""
    moved = {}
    with aside_folder(work.home, "gc") as aside:
        with work.installation.database.writing():
            for number, path in enumerate(path for path in _unowned(work) if is_old(path)):
                try:
                    moved[path.rename(aside / str(number))] = path
                except OSError as error:
                    work.keep("assets", path, error.strerror or str(error))
        for place, path in moved.items():
            work.free("assets", [place], _UNOWNED, shown=path)


def _unowned(work: Work) -> list[Path]:
    with work.installation.database.reading() as session:
        ends, unfinished = references.job_ends(session), jobs.list_unfinished(session)
        owned = {version.folder for version in references.version_folders(session)}
        owned |= references.model_folders(session) | references.prediction_files(session)
        owned |= references.evaluation_folders(session)
    # A job that was killed while it stored its model will do so again.
    names = {job.id: plain_folder(str(job.plan.get("output_name")), job.version or 1) for job in unfinished}
    coming = {f"{folder}{end}" for job_id, folder in names.items() for end in ("", f"-{job_id}")}
    results = {job_id for job_id, end in ends.items() if end.has_result or end.ended_at is None}
    predictions = [path for path in _matching(work.home / "predictions", r"[^.].*\.parquet") if path.name.partition(".")[0] not in results]
    present = [*version_folders(work.home), *folders(work.home / "models"), *folders(work.home / "evaluations"), *predictions]
    return [path for path in present if str(path.relative_to(work.home)) not in owned | coming]
