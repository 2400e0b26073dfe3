"""Frees what nothing needs any more: folders of jobs that ended long ago, images, assets, and what killed processes left.

What you can rely on:

1. What something refers to stays: the files of a job that has not ended or that somebody drives, an asset of any dataset version, an image that
   is registered or that an unfinished job is pinned to. Models and predictions lie elsewhere than the run directory that they came from.
2. What has no row in the database goes only when the database is sure to be this home's (``gc_work.Books.doubt``), and only after a day.
3. No link is followed, no other disk is entered, and nothing is touched that Sluice did not make.
4. It may be killed at any moment: what was begun is taken up the next time. Of two at once the second waits.
5. What cannot be read or removed is named in ``kept``, and the rest goes on.
"""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contracts.errors import RequestError, UnavailableError
from registry.references import JobEnd
from runner.disk_tree import Removal
from runner.gc_files import free_assets, free_leftovers, free_unowned
from runner.gc_images import free_images
from runner.gc_work import DAY_S, USUAL, WHAT, Work, is_old, read_books
from runner.installation import Installation
from runner.run_dir import RunDir


def collect(installation: Installation, *, dry_run: bool = True, older_than_days: float = 30.0, what: Sequence[str] = ()) -> dict[str, Any]:
    """Frees, or with ``dry_run`` only names, what is not needed: ``{"dry_run", "items": [{what, path or reference, bytes, why}], "freed_bytes",
    "kept": [{what, path or reference, why}]}``, in a fixed order. Bytes of an image are at most that many in a dry run.

    ``what``, () for the three usual ones: ``runs`` (folders of run directories), ``images``, ``assets`` (and leftovers); only when named: ``records``
    (run directories as a whole, so logs and job.json, too) and ``built`` (images that Sluice built but nothing in this home ever used).
    ``older_than_days`` is about jobs: since their end. Raises ``RequestError``.
    """
    _check(older_than_days, what)
    with _alone(installation.home, dry_run):
        work = Work(installation, read_books(installation), Removal(dry_run), frozenset(what or USUAL))
        if work.what & {"runs", "records"}:
            _free_runs(work, time.time() - older_than_days * DAY_S)
        if work.what & {"images", "built"}:
            free_images(work)
        if "assets" in work.what:
            free_leftovers(work)
            free_assets(work)
            free_unowned(work)
    return work.answer()


def _check(older_than_days: float, what: Sequence[str]) -> None:
    unknown = [name for name in what if name not in WHAT]
    if unknown:
        raise RequestError(f"gc knows no {unknown[0]!r}", hint=f"Known: {', '.join(WHAT)}.", what=unknown[0])
    if not (math.isfinite(older_than_days) and older_than_days >= 0):
        raise RequestError(f"no job can have ended {older_than_days} days ago", hint="Give a number of days, 0 or more.")


@contextmanager
def _alone(home: Path, dry_run: bool) -> Iterator[None]:
    if dry_run:
        yield
        return
    try:
        descriptor = os.open(home / "gc.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UnavailableError(f"{home / 'gc.lock'} cannot be written: {error.strerror}", hint="Is the home read-only?") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _free_runs(work: Work, ended_before: float) -> None:
    for path in work.subfolders("runs", work.home / "runs"):
        end = work.books.ends.get(path.name)
        if end is None:
            _free_without_job(work, path)
        elif end.ended_at and end.cleaned and end.ended_at.timestamp() < ended_before:
            _free_ended(work, path, end)


def _free_ended(work: Work, path: Path, end: JobEnd) -> None:
    """The folders of the run directory: its files are the record of the job, and small."""
    ended = f"the job ended on {end.ended_at:%Y-%m-%d}"
    if "records" in work.what:
        _free_undriven(work, "records", path, [path], f"{ended}: everything goes")
    elif chosen := work.subfolders("runs", path):
        names = ", ".join(f"{folder.name}/" for folder in chosen)
        _free_undriven(work, "runs", path, chosen, f"{ended}: {names} go, its log and job.json stay")


def _free_without_job(work: Work, path: Path) -> None:
    what = "runs" if "runs" in work.what else "records"
    if not is_old(path):
        return
    if work.books.doubt:
        work.keep(what, path, f"it belongs to no job, but {work.books.doubt}")
    else:
        _free_undriven(work, what, path, [path], "it belongs to no job")


def _free_undriven(work: Work, what: str, path: Path, chosen: Sequence[Path], why: str) -> None:
    """Unless somebody drives the job; and while it is freed nobody can."""
    run_dir = RunDir(path)
    try:
        if work.dry_run:
            _free_if(work, not run_dir.is_driven(), what, path, chosen, why)
            return
        with run_dir.driving() as taken:
            _free_if(work, taken, what, path, chosen, why)
    except OSError as error:
        work.keep(what, path, error.strerror or str(error))


def _free_if(work: Work, undriven: bool, what: str, path: Path, chosen: Sequence[Path], why: str) -> None:
    if undriven:
        work.free(what, chosen, why, shown=path)
    else:
        work.keep(what, path, "somebody drives its job at this moment")
