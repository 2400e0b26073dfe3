"""ModelArts manifests: JSON Lines that name pictures with their labels or label files (modelarts-spec 4), and the published layout (7.4).

Read as a stream, so that a manifest of 5 GB fits. Keys that nobody described survive a round trip as tags and attributes ``manifest:<key>``;
values of tags that are no text are kept as JSON. A picture whose labels were all made by a machine (``annotated-by`` begins with
``modelarts/``) is to be confirmed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from contracts.dataset import STATES, Annotation, Marks, Sample
from contracts.job import JobWarning
from contracts.seams import Export, Format, Found, ImportedImage, Locate, PredictedBy, Skip, not_located
from plugins.formats.inference_results import FOLDER as RESULTS_FOLDER
from plugins.formats.inference_results import read_result
from plugins.formats.listing import Listing, UnreadableFileError, is_mask, list_folder, shown
from plugins.formats.located import Places, is_address
from plugins.formats.manifest_line import CLASSIFICATION, SPLITS, Label, Line, read_line
from plugins.formats.manifest_tags import KEPT, STATE, state_of, tag_text
from plugins.formats.manifest_write import ManifestWriting
from plugins.formats.masks import Mask
from plugins.formats.values import BadValueError, read_class_name
from plugins.formats.voc_read import VocContent, parse_xml, read_voc
from plugins.formats.writing import warn_of_class_order

_HEAD = re.compile(rb'"source"\s*:')
_LINE_BYTES = 64 * 1024**2
_MASK_BYTES = 100 * 1024**2


@dataclass(frozen=True)
class Limits:
    """What is refused with the limit named (modelarts-features MF-11)."""

    manifest_bytes: int = 5 * 1024**3
    label_bytes: int = 100 * 1024**2
    picture_bytes: int = 25 * 1024**2


class ManifestFormat(Format):
    """ModelArts manifests: a *.manifest file of JSON lines that name pictures, and the VOC files beside it."""

    name: ClassVar[str] = "manifest"
    more_specific_than: ClassVar[frozenset[str]] = frozenset({"voc", "inference-results"})

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits

    def detect(self, folder: Path) -> str:
        found = _manifests(list_folder(folder))
        return f"the manifest {shown(found[-1])}" if found else ""

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
        """Of several manifests in one folder, which are versions of one dataset, the last by name is read. Only lines of pictures are."""
        listing = list_folder(folder).without_pictures(is_mask)
        yield from listing.skips
        files = _manifests(listing)
        for other in files[:-1]:
            yield Skip(shown(other), f"is another version: {shown(files[-1])} was read", "file")
        for file in files[-1:]:
            yield from _Reading(listing, file, locate, self._limits).read()

    def write(self, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
        """``<dataset>-<id>/annotation/<version>/<version>.manifest``, its VOC files in ``annotation`` beside it, and ``images``.

        Addresses are paths below ``folder``: put where it is uploaded to in front of them.
        """
        writing = ManifestWriting(folder, export)
        with writing.manifest.open("w", encoding="utf-8", errors="backslashreplace") as opened:
            for sample in samples:
                opened.write(json.dumps(writing.line(sample), ensure_ascii=False) + "\n")
        warn_of_class_order(export, writing.left_out)
        return writing.left_out.warnings()


def _manifests(listing: Listing) -> list[PurePosixPath]:
    found = [file for file in listing.with_suffix(".manifest", ".jsonl") if _HEAD.search(listing.head(file, 65536))]
    return sorted(found, key=lambda file: (_natural(file.stem), str(file)))


def _natural(text: str) -> list[tuple[int, str]]:
    return [(int(part) if part.isdecimal() else -1, part) for part in re.findall(r"\d{1,18}|\D+", text)]


# ---------------------------------------------------------------------------------------------------------------- reading


class _Reading:
    """One manifest on its way to pictures."""

    def __init__(self, listing: Listing, file: PurePosixPath, locate: Locate, limits: Limits) -> None:
        self._listing, self._file, self._limits = listing, file, limits
        self._places = Places(listing, file, locate)
        self._taken: dict[PurePosixPath, str] = {}
        self._predicted = False

    def read(self) -> Iterator[Found]:
        try:
            yield from self._read_lines()
        except UnreadableFileError as error:
            yield Skip(shown(self._file), str(error), "file")
            return
        except OSError as error:
            yield Skip(shown(self._file), f"cannot be read: {error.strerror}", "file")
            return
        if unnamed := sum(picture not in self._taken for picture in self._listing.pictures):
            yield Skip(shown(self._file), f"{unnamed} pictures in the folder are in none of its lines", "file")

    def _read_lines(self) -> Iterator[Found]:
        path = self._listing.host(self._file)
        if path.stat().st_size > self._limits.manifest_bytes:
            raise UnreadableFileError(f"is larger than the limit of {self._limits.manifest_bytes:,} bytes")
        with path.open("rb") as opened:
            number = 0
            while content := opened.readline(_LINE_BYTES):
                number += 1
                place = f"{shown(self._file)}:{number}"
                if len(content) == _LINE_BYTES and not content.endswith(b"\n"):
                    raise UnreadableFileError(f"line {number} is longer than the limit of {_LINE_BYTES:,} bytes; the rest was not read")
                if content.strip(b"\xef\xbb\xbf \t\r\n"):
                    yield from self._read_line(place, content)

    def _read_line(self, place: str, content: bytes) -> Iterator[Found]:
        try:
            line = read_line(_decoded(content))
            if line.kind != "image":
                types = ", ".join(sorted({label.type for label in line.labels})) or "no label"
                raise BadValueError(f"source: is {line.kind} ({types}); only pictures are imported")
            yield from (Skip(place, doubt, "mended") for doubt in line.doubts)
            yield from self._read_sample(place, line)
        except BadValueError as error:
            yield Skip(place, str(error), "image")
        except RecursionError:
            yield Skip(place, "is nested too deeply", "image")

    def _read_sample(self, place: str, line: Line) -> Iterator[Found]:
        path, name = self._picture(line.source)
        annotations, content, notes = self._annotations(place, line)
        predictions, doubts = self._predictions(place, line)
        if predictions is not None and not self._predicted:
            self._predicted = True
            yield PredictedBy(RESULTS_FOLDER, {"layout": "modelarts"})
        yield from notes
        yield from doubts
        split = SPLITS.get(line.usage, "")
        yield ImportedImage(
            path, name, annotations, (split,) if split else (), content.size, _marks(line, annotations, content), predictions
        )

    def _picture(self, source: str) -> tuple[Path | str, str]:
        """The file in the folder, else the address for the importer to fetch; with the name for people."""
        try:
            found = self._places.here(source, lambda path: not is_mask(path))
        except UnreadableFileError as error:
            if not is_address(source):
                raise BadValueError(f"source: {error}") from error
            found = None
        if found is not None and self._taken.setdefault(found, source) == source:
            size = self._listing.host(found).stat().st_size
            if size > self._limits.picture_bytes:
                raise BadValueError(f"source: {shown(found)} is larger than the limit of {self._limits.picture_bytes:,} bytes")
            return self._listing.host(found), shown(found)
        if not is_address(source):
            raise BadValueError(f"source: there is no picture {shown(source)[:200]}")
        return source, shown(source)

    def _annotations(self, place: str, line: Line) -> tuple[tuple[Annotation, ...] | None, VocContent, list[Skip]]:
        """The annotations (None: there is no label), and what the label files say of the picture."""
        found: list[Annotation] = []
        content, notes = VocContent(), []
        for index, label in enumerate(line.labels):
            at = f"annotation[{index}]."
            if label.type == CLASSIFICATION:
                try:
                    found.append(_whole_picture(label))
                except BadValueError as error:
                    raise BadValueError(f"{at}name: {error}") from error
                continue
            content = self._label_file(place, label, at)
            found += [_with_label(annotation, label) for annotation in content.annotations]
            notes += content.notes
        return (tuple(found) if line.labels else None), content, notes

    def _label_file(self, place: str, label: Label, at: str) -> VocContent:
        if not label.has_file:
            raise BadValueError(f"{at}type: {label.type} labels no picture")
        address = label.annotation_loc
        try:
            root = parse_xml(self._places.read(address, self._limits.label_bytes))
            if root.tag != "annotation":
                raise UnreadableFileError(f"is not a VOC annotation: its root is <{shown(root.tag[:40])}>")
        except UnreadableFileError as error:
            raise BadValueError(f"{at}annotation-loc: {shown(address)[:200]} {error}") from error
        return read_voc(root, f"{place}#{shown(PurePosixPath(address).name)}", open_mask=self._open_mask)

    def _open_mask(self, address: str) -> Mask:
        return Mask(self._places.read(address, _MASK_BYTES, is_mask))

    def _predictions(self, place: str, line: Line) -> tuple[tuple[Annotation, ...] | None, list[Skip]]:
        """What the file at ``inference-loc`` found; the address itself stays a tag of the picture."""
        if not line.inference_loc:
            return None, []
        try:
            text = self._places.read(line.inference_loc, self._limits.label_bytes).decode("utf-8-sig", "replace")
            found, notes = read_result(text)
        except UnreadableFileError as error:
            return None, [Skip(place, f"inference-loc: {shown(line.inference_loc)[:200]} {error}; it is kept as a tag", "mended")]
        return found, [Skip(f"{place}#{at}", reason, "box") for at, reason in notes]


def _decoded(content: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise BadValueError("is not text (neither UTF-8 nor GB18030)")


def _whole_picture(label: Label) -> Annotation:
    facts = _label_facts(label)
    return Annotation(read_class_name(label.name), 0, 0, 0, 0, shape="image", attributes=facts, annotated_by=label.annotated_by)


def _with_label(annotation: Annotation, label: Label) -> Annotation:
    """An object of a label file, with what the manifest says of all of them."""
    attributes = {**_label_facts(label), **annotation.attributes}
    return replace(annotation, attributes=attributes, annotated_by=annotation.annotated_by or label.annotated_by)


def _label_facts(label: Label) -> dict[str, Any]:
    said = {
        "hard": label.hard,
        "hard-coefficient": label.hard_coefficient,
        "creation-time": label.creation_time or None,
        "confidence": label.confidence,
        f"{KEPT}id": label.id or None,
    }
    others = {f"{KEPT}{key}": value for key, value in label.others.items()}
    return {**label.properties, **{key: value for key, value in said.items() if value is not None}, **others}


def _marks(line: Line, annotations: tuple[Annotation, ...] | None, content: VocContent) -> Marks:
    tags = {key: tag_text(value) for key, value in line.properties.items() if key != STATE}
    kept = {"id": line.id or None, "inference-loc": line.inference_loc or None, **line.others}
    tags |= {f"{KEPT}{key}": tag_text(value) for key, value in kept.items() if value is not None}
    state = line.properties.get(STATE)
    return Marks(
        state=state if state in STATES else state_of(annotations),
        hard=line.hard or content.marks.hard,
        hard_coefficient=content.marks.hard_coefficient if line.hard_coefficient is None else line.hard_coefficient,
        hard_reasons=line.hard_reasons or content.marks.hard_reasons,
        tags={**content.marks.tags, **tags},
    )
