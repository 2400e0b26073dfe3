"""Label Studio: exports in its own JSON (a list of tasks, or a file for each task), and files for its import (labelstud.io, "Task format").

Read are rectangles (also turned ones), polygons, ellipses, key points, brush masks and choices, of people (``annotations``) and of models
(``predictions``). Of several annotations of a task the one marked as ground truth counts, else the newest; skipped tasks are unannotated.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from contracts.dataset import Annotation, Marks, Sample
from contracts.job import JobWarning
from contracts.seams import Export, Format, Found, ImportedImage, Locate, PredictedBy, Skip, not_located
from plugins.formats.attributes import read_attributes
from plugins.formats.coco import read_marks
from plugins.formats.json_stream import JsonFile
from plugins.formats.labelstudio_regions import read_regions
from plugins.formats.labelstudio_writer import PROPOSED, write_labelstudio
from plugins.formats.listing import Listing, UnreadableFileError, folder_split_of, list_folder, shown, split_of
from plugins.formats.values import BadValueError

_LARGEST_JSON_BYTES = 16 * 1024**3
_HEAD_BYTES = 64 * 1024
_TASKS = re.compile(rb"(\xef\xbb\xbf)?\s*(\[\s*)?\{")
_KEYS = re.compile(rb'"(annotations|completions|predictions)"\s*:\s*\[')
_DATA = re.compile(rb'"data"\s*:\s*\{')
#: What an upload puts before the name of a file.
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
_IMAGE_KEYS = ("image", "img", "picture", "photo", "image_url", "url", "captioning", "ocr")
_FETCHED = ("s3", "obs")


@dataclass
class _Tasks:
    """What was read so far. ``pictures`` were given already; ``unscored`` counts predictions without a score."""

    listing: Listing
    pictures: set[PurePosixPath] = field(default_factory=set)
    model: str = ""
    other_models: int = 0
    unscored: int = 0
    unreadable: bool = False


class LabelStudioFormat(Format):
    """Label Studio's JSON: tasks with annotations and predictions, and the pictures they name."""

    name: ClassVar[str] = "label-studio"

    def detect(self, folder: Path) -> str:
        files = _documents(list_folder(folder))
        return f"{len(files)} JSON files of tasks, such as {shown(files[0])}" if files else ""

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:  # noqa: ARG002 - the importer fetches the pictures
        """A task that nobody has annotated is unannotated; pictures that no task names are too. Pictures at an ``s3://`` address are fetched
        from there when they do not lie in the folder.
        """
        listing = list_folder(folder)
        yield from listing.skips
        tasks = _Tasks(listing)
        for file in _documents(listing):
            yield from _read_file(tasks, file)
        if tasks.model:
            yield PredictedBy(tasks.model)
        if tasks.other_models:
            yield Skip(".", f"{tasks.other_models} predictions of other models than {tasks.model} were left out", "box")
        if tasks.unscored:
            yield Skip(".", f"{tasks.unscored} predictions have no score; 1 was taken", "mended")
        for picture in listing.pictures:
            if picture in tasks.pictures:
                continue
            if tasks.unreadable:
                yield Skip(shown(picture), "it may belong to the file that cannot be read", "image")
                continue
            split = folder_split_of(picture)
            yield ImportedImage(listing.host(picture), shown(picture), None, (split,) if split else ())

    def write(self, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
        """``tasks.json`` to import, ``label_config.xml`` for the project, and the pictures in ``images/``.

        Annotations that are to be confirmed and predictions become pre-annotations. Pictures are named as local files: let Label Studio serve
        the folder (``LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT``). Coordinates are percents: exact to a millionth of a pixel.
        """
        return write_labelstudio(folder, samples, export)


def _documents(listing: Listing) -> list[PurePosixPath]:
    """JSON files whose head looks like a task: data, and annotations or predictions."""
    found = []
    for path in listing.with_suffix(".json"):
        head = listing.head(path, _HEAD_BYTES)
        if _TASKS.match(head) and _KEYS.search(head) and (_DATA.search(head) or _ends_with_data(listing, path)):
            found.append(path)
    return found


def _ends_with_data(listing: Listing, path: PurePosixPath) -> bool:
    """A first task with many regions has its data far behind: a region of Label Studio is told by its fields then."""
    head = listing.head(path, _HEAD_BYTES)
    return b'"from_name"' in head and b'"to_name"' in head and b'"original_width"' in head


def _read_file(tasks: _Tasks, file: PurePosixPath) -> Iterator[Found]:
    try:
        with JsonFile(tasks.listing, file, _LARGEST_JSON_BYTES) as document:
            whole: dict[str, Any] = {}
            for piece in document.pieces():
                if piece.key == "" and piece.number >= 0:
                    yield from _read_task(tasks, file, f"{shown(file)}#[{piece.number}]", piece.value)
                elif piece.key and piece.number >= 0:
                    whole.setdefault(piece.key, []).append(piece.value)
                elif piece.key:
                    whole[piece.key] = [] if piece.value is None else piece.value
            if whole:
                yield from _read_task(tasks, file, shown(file), whole)
    except UnreadableFileError as error:
        tasks.unreadable = True
        yield Skip(shown(file), str(error), "file")


def _read_task(tasks: _Tasks, file: PurePosixPath, place: str, task: Any) -> Iterator[Found]:
    try:
        if not isinstance(task, dict):
            raise BadValueError("is no task")
        path, name = _picture(tasks, file, task)
    except (BadValueError, UnreadableFileError) as error:
        yield Skip(place, str(error), "image")
        return
    notes: list[Skip] = []
    meta = task.get("meta") if isinstance(task.get("meta"), dict) else {}
    marks = read_marks(meta or {})
    annotations, size, more = _annotated(place, task)
    notes += more
    if annotations is not None and marks.state != "labeled":
        marks = Marks("", marks.hard, marks.hard_coefficient, marks.hard_reasons, marks.tags)
    elif marks.state == "to_be_confirmed":
        annotations, size, more = _proposed(place, task)
        notes += more
    predictions, predicted_size, more = _predicted(tasks, place, task)
    notes += more
    yield from notes
    yield ImportedImage(path, name, annotations, _splits(tasks, file, task, path), size or predicted_size, marks, predictions)


def _splits(tasks: _Tasks, file: PurePosixPath, task: Mapping[str, Any], path: Path | str) -> tuple[str, ...]:
    data = task.get("data")
    said = data.get("split") if isinstance(data, dict) else None
    split = split_of(PurePosixPath(said)) if isinstance(said, str) and len(said) < 40 else ""
    if not split and isinstance(path, Path):
        split = folder_split_of(PurePosixPath(path.relative_to(tasks.listing.root)))
    split = split or split_of(PurePosixPath(file.name))
    return (split,) if split else ()


# --------------------------------------------------------------------------------------------------------------- picture


def _picture(tasks: _Tasks, file: PurePosixPath, task: Mapping[str, Any]) -> tuple[Path | str, str]:
    """The picture of a task and its name, or its address when it lies in a bucket."""
    data = task.get("data")
    if not isinstance(data, dict):
        raise BadValueError("the task has no data")
    address = next((data[key] for key in _IMAGE_KEYS if isinstance(data.get(key), str)), None)
    address = address or next((value for value in data.values() if isinstance(value, str) and _looks_like_picture(value)), None)
    if not address or not address.strip():
        raise BadValueError("the data of the task names no picture")
    upload = task.get("file_upload")
    for wanted in _names(address, upload if isinstance(upload, str) else ""):
        picture = tasks.listing.find_picture(wanted, file)
        if picture is not None:
            if picture in tasks.pictures:
                raise BadValueError(f"{shown(picture)} is there twice")
            tasks.pictures.add(picture)
            return tasks.listing.host(picture), shown(picture)
    if address.partition("://")[0] in _FETCHED:
        return address, shown(address)
    raise BadValueError(f"there is no picture {shown(address)[:200]}")


def _looks_like_picture(value: str) -> bool:
    return bool(re.search(r"(?i)\.(jpe?g|png|bmp)(\?|$)", value[-300:]))


def _names(address: str, upload: str) -> Iterator[str]:
    """What the file may be called here: by its address, by ``d=`` of local files, with and without the prefix of an upload."""
    try:
        parts = urlsplit(address.strip())
        local = parse_qs(parts.query).get("d", [""])[0]
    except ValueError:
        return
    paths = [local, unquote(parts.path), unquote(upload), parts.path]
    for path in dict.fromkeys(path for path in paths if path and "\0" not in path):
        yield path.lstrip("/")
        folder, _, name = path.rpartition("/")
        if _UPLOAD_PREFIX.match(name):
            yield f"{folder}/{name[9:]}".lstrip("/")


# ------------------------------------------------------------------------------------------------- people's and models' answers


def _annotated(place: str, task: Mapping[str, Any]) -> tuple[tuple[Annotation, ...] | None, tuple[int, int] | None, list[Skip]]:
    """What a person said; None when nobody did."""
    key = "annotations" if isinstance(task.get("annotations"), list) else "completions"
    entries = _entries(task, key)
    done = [entry for entry in entries if not (entry.get("was_cancelled") or entry.get("skipped"))]
    notes = []
    if entries and not done:
        notes.append(Skip(place, "the task was skipped by its annotator; its picture is not annotated", "mended"))
    if not done:
        return None, None, notes
    chosen = _chosen(done)
    if len(done) > 1:
        reason = (
            f"{len(done) - 1} other annotations of the task were left out; the {'ground truth' if _is_truth(chosen) else 'newest'} was read"
        )
        notes.append(Skip(place, reason, "box"))
    boxes, size, more = read_regions(
        f"{place}/{key}[{entries.index(chosen)}]", chosen.get("result"), scored=False, author=_author(chosen, "human")
    )
    return boxes, size, [*notes, *more]


def _chosen(entries: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    truths = [entry for entry in entries if _is_truth(entry)]
    return max(truths or entries, key=lambda entry: (str(entry.get("updated_at") or entry.get("created_at") or ""), entries.index(entry)))


def _is_truth(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("ground_truth"))


def _author(entry: Mapping[str, Any], otherwise: str) -> str:
    """As our own writer says it. People are not named: the address of an annotator is nobody's business but theirs."""
    said = entry.get("annotated_by")
    return said[:200] if isinstance(said, str) and (said.isprintable() or not said) else otherwise


def _proposed(place: str, task: Mapping[str, Any]) -> tuple[tuple[Annotation, ...] | None, tuple[int, int] | None, list[Skip]]:
    """What our own writer handed out to be confirmed, of a task that nobody has answered."""
    for index, entry in enumerate(_entries(task, "predictions")):
        if entry.get("model_version") == PROPOSED:
            at = f"{place}/predictions[{index}]"
            return read_regions(at, entry.get("result"), scored=False, author=_author(entry, ""))
    return None, None, []


def _entries(task: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    given = task.get(key)
    return [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []


def _predicted(
    tasks: _Tasks, place: str, task: Mapping[str, Any]
) -> tuple[tuple[Annotation, ...] | None, tuple[int, int] | None, list[Skip]]:
    """What a model found; the model of the first task's newest prediction is the one whose predictions are read."""
    entries = [entry for entry in _entries(task, "predictions") if entry.get("model_version") != PROPOSED]
    if not entries:
        return None, None, []
    if not tasks.model:
        newest = max(entries, key=lambda entry: (str(entry.get("created_at") or ""), entries.index(entry)))
        tasks.model = _model(newest)
    fitting = [entry for entry in entries if _model(entry) == tasks.model]
    tasks.other_models += len(entries) - len(fitting[-1:])
    if not fitting:
        return None, None, []
    chosen = fitting[-1]
    at = f"{place}/predictions[{entries.index(chosen)}]"
    boxes, size, notes = read_regions(at, chosen.get("result"), scored=True, score=chosen.get("score"), author=_author(chosen, ""))
    tasks.unscored += sum(box.score is None for box in boxes)
    return tuple(box if box.score is not None else Annotation(**{**vars(box), "score": 1.0}) for box in boxes), size, notes


def _model(entry: Mapping[str, Any]) -> str:
    said = read_attributes({"model": entry.get("model_version")}).get("model")
    return " ".join(str(said).split())[:200] if said not in (None, "") else "unknown"
