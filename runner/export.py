"""What a Runner does to hand a dataset out: a version, or a split of one, in a format that other tools read."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contracts.dataset import Sample
from contracts.errors import ConflictError, DatasetError, InternalError, RequestError, SluiceError, UnavailableError
from contracts.job import JobWarning
from contracts.seams import Export, Format, Store
from registry import datasets
from registry.datasets import VersionRecord
from runner.installation import Installation
from runner.locks import try_lock
from runner.references import parse_dataset_reference

if TYPE_CHECKING:
    from runner.export_predictions import Predicted

Count = Callable[[int, "int | None"], None]
#: Pictures are compressed already.
_STORED = frozenset({".jpg", ".png"})
#: So many pictures are asked of the store at a time.
_HELD = 1000


def _quiet(*_: object) -> None:
    pass


class ExportVerbs:
    """Part of ``runner.service.Runner``."""

    _installation: Installation

    def export_dataset(
        self,
        reference: str,
        target: Path,
        *,
        format: str,  # noqa: A002 - the word of the domain
        split: str = "",
        hard: bool = False,
        link: bool = False,
        pictures: bool = True,
        predictions: str = "",
        on_progress: Count = _quiet,
    ) -> dict[str, Any]:
        """Write a version, or one split of it, into a new folder or a new ``.zip``; the report says what the format could not hold.

        1. The target appears whole or not at all: it is written beside its place under another name.
        2. What is there is never changed: a file or a folder with anything in it is refused, and so is a place in the home or in the source.
        3. ``link`` makes hard links to the store's files where the disk allows it: they must not be changed.
        4. ``predictions`` is an inference job, or the ``import-...`` of a source: what it found is written beside the labels, or instead of them
           where the format has one place only.
        """
        parts = self._installation
        wanted = parse_dataset_reference(reference)
        if split and wanted.split and split != wanted.split:
            raise DatasetError(f"{reference} names the split {wanted.split}, the request {split}", hint="Name it once.", split=split)
        writer = _writer(parts.formats, format)
        with parts.database.reading() as session:
            version = datasets.get_version(session, wanted.name, wanted.number)
        _check_target(target, link, parts, version)
        samples = _samples(parts, version, split or wanted.split)
        found = _predicted(parts, predictions, version, samples)
        export = Export(version.dataset, version.version, found.class_names, hard, bool(predictions), link, pictures)
        with _new_place(target) as place:
            given = _counted(_held(found.samples, parts.store if pictures else None), len(samples), on_progress)
            warnings = [*found.warnings, *_write(writer, place.folder, given, export)]
            files, size_bytes = _measure(place.folder)
            place.finish()
        report = _report(version, split or wanted.split, format, target, samples, warnings)
        return report | {"files": files, "size_bytes": size_bytes, "predictions": found.job, "predicted": found.seen}


def _predicted(parts: Installation, reference: str, version: VersionRecord, samples: list[Sample]) -> Predicted:
    from runner.export_predictions import Predicted, with_predictions

    return with_predictions(parts, reference, version, samples) if reference else Predicted("", samples, tuple(version.class_names), ())


def _report(
    version: VersionRecord, split: str, format_name: str, target: Path, samples: Sequence[Sample], warnings: Sequence[JobWarning]
) -> dict[str, Any]:
    counts = Counter(box.class_name for sample in samples for box in sample.annotations)
    splits = Counter(sample.split for sample in samples)
    return {
        "dataset": version.dataset,
        "version": version.version,
        "split": split,
        "format": format_name,
        "target": str(target),
        "images": len(samples),
        "annotations": counts.total(),
        "classes": {name: counts[name] for name in version.class_names if name in counts},
        "splits": {name: splits[name] for name in sorted(splits)},
        "warnings": [warning.to_dict() for warning in warnings],
    }


# --------------------------------------------------------------------------------------------------------- what is written


def _writer(formats: Mapping[str, Format], name: str) -> Format:
    """The format of that name. Raises ``DatasetError`` naming those that can write."""
    known = ", ".join(sorted(key for key, format_ in formats.items() if type(format_).write is not Format.write))
    if name not in formats:
        raise DatasetError(f"there is no format {name!r}", hint=f"Known: {known}.", format=name)
    format_: Format = formats[name]
    if type(format_).write is Format.write:
        raise DatasetError(f"the format {name} is only read", hint=f"Choose one that is written: {known}.", format=name)
    return format_


def _samples(parts: Installation, version: VersionRecord, split: str) -> list[Sample]:
    """The samples in the order of their asset ids."""
    from runner.dataset_files import read_samples

    folder = parts.folder(version.folder)
    if split and split not in version.splits:
        known = ", ".join(name for name in version.splits if name) or "none"
        raise DatasetError(f"{version.dataset}@{version.version} has no split {split}", hint=f"Its splits: {known}.", split=split)
    samples = read_samples(folder, parts.store, split or None)
    if not samples:
        raise DatasetError(f"{version.dataset}@{version.version} holds no pictures", hint="Name another version.")
    return samples


def _write(writer: Format, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
    """What the format said. A full disk is a reason to try again, a defect of the format one to report."""
    try:
        return writer.write(folder, samples, export)
    except (SluiceError, KeyboardInterrupt):
        raise
    except OSError as error:
        raise UnavailableError(f"the export cannot be written: {error.strerror or error}", hint="Is the disk full?") from error
    except Exception as error:
        reason = f"the format {writer.name} failed: {type(error).__name__}: {error}"
        raise InternalError(reason, hint="This is a defect of the format.") from error


def _held(samples: Sequence[Sample], store: Store | None) -> Iterator[Sample]:
    """Each while its picture is sure to be at its path: a store that is elsewhere has a small cache. None: nobody wants the pictures."""
    for start in range(0, len(samples), _HELD):
        part = samples[start : start + _HELD]
        with store.holding([sample.asset for sample in part]) if store else nullcontext():
            yield from part


def _counted(samples: Iterable[Sample], total: int, on_progress: Count) -> Iterator[Sample]:
    done = 0
    for done, sample in enumerate(samples, 1):
        on_progress(done - 1, total)
        yield sample
    on_progress(done, total)


def _measure(folder: Path) -> tuple[int, int]:
    sizes = [path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()]
    return len(sizes), sum(sizes)


# -------------------------------------------------------------------------------------------------------------- the target


def _check_target(target: Path, link: bool, parts: Installation, version: VersionRecord) -> None:
    """Refuses a place that is taken, that cannot be written, or in which it would be mixed with what it was made from."""
    place = target.resolve()
    if target.is_symlink() or (target.exists() and not (target.is_dir() and _is_empty(target))):
        raise ConflictError(f"{target} exists", hint="Name a new folder, an empty one, or a new .zip file.")
    if not target.parent.is_dir():
        raise RequestError(f"{target.parent} is no folder", hint="Name a place in a folder that exists.")
    if place.is_relative_to(parts.home.resolve()):
        raise RequestError(f"{target} lies in the home of Sluice", hint="Name a place outside of it.")
    source = Path(str(version.source or ""))  # words for a set that was drawn here, nothing for one made of others
    if source.is_absolute() and source.is_dir() and place.is_relative_to(source.resolve()):
        hint = "Name a place outside of it: a later import of the source would find the export."
        raise RequestError(f"{target} lies in {source}, which the dataset was imported from", hint=hint)
    if link and _is_zip(target):
        raise RequestError("a zip holds copies of the pictures, not links", hint="Leave the links out, or name a folder.")


def _is_zip(target: Path) -> bool:
    return target.suffix.lower() == ".zip"


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError as error:
        raise RequestError(f"{folder} cannot be read: {error.strerror}", hint="Name another place.") from error


@dataclass
class _Place:
    """Where an export is written before it gets its name."""

    folder: Path
    target: Path

    def finish(self) -> None:
        """Give it its name; what appeared there in the meantime is not replaced."""
        try:
            if _is_zip(self.target):
                packed = _packed(self.folder)
                _pack(self.folder, packed)
                os.link(packed, self.target)
            else:
                self.folder.rename(self.target)
        except (FileExistsError, NotADirectoryError) as error:
            raise ConflictError(f"{self.target} exists by now", hint="Name another place.") from error
        except OSError as error:
            if self.target.exists() and not _is_zip(self.target):
                raise ConflictError(f"{self.target} exists by now", hint="Name another place.") from error
            raise UnavailableError(f"{self.target} cannot be written: {error.strerror}", hint="Is the disk full?") from error


@contextmanager
def _new_place(target: Path) -> Iterator[_Place]:
    """An empty folder beside the target, on its disk; nothing of it stays but what was finished."""
    _remove_orphans(target)
    folder = target.parent / f".{target.name[:100]}.{secrets.token_hex(8)}"
    try:
        lock = _locked_folder(folder)
    except OSError as error:
        raise RequestError(f"{target.parent} cannot be written: {error.strerror}", hint="Name another place.") from error
    try:
        yield _Place(folder, target)
    finally:
        _remove(folder)
        os.close(lock)


def _locked_folder(folder: Path) -> int:
    """The descriptor of a new folder that nobody else has seen unlocked: it is locked under another name first."""
    hidden = folder.with_name(f"{folder.name}.new")
    hidden.mkdir()
    descriptor = os.open(hidden, os.O_RDONLY | os.O_CLOEXEC)
    with suppress(OSError):  # a disk without locks: what is left there is not removed either
        try_lock(descriptor)
    hidden.rename(folder)
    return descriptor


def _remove_orphans(target: Path) -> None:
    """What killed exports to this place left beside it: folders of their names that nobody has locked."""
    name = re.compile(re.escape(f".{target.name[:100]}.") + r"[0-9a-f]{16}")
    for folder in target.parent.glob(".*"):
        if name.fullmatch(folder.name) is None:
            continue
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            if try_lock(descriptor):
                _remove(folder)
            os.close(descriptor)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _packed(folder).unlink(missing_ok=True)


def _packed(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.zip-part")


def _pack(folder: Path, file: Path) -> None:
    """Names as UTF-8; pictures are stored as they are."""
    with zipfile.ZipFile(file, "x", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(_files(folder)):
            kind = zipfile.ZIP_STORED if path.suffix.lower() in _STORED else zipfile.ZIP_DEFLATED
            archive.write(path, path.relative_to(folder).as_posix(), compress_type=kind)
    with file.open("rb") as written:
        os.fsync(written.fileno())


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file())
