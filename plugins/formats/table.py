"""Plain tables: a CSV file with a header and one row per box, or one per label of a whole picture.

Read are comma, semicolon, tab and bar, UTF-8, UTF-16 and GB18030, and the usual names of columns. Corners are as drawn: ``xmax`` is the first
column outside. Written are ``image, x, y, width, height, class, score, split``: a box is exact to the last bit.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from contracts.dataset import Annotation, Sample
from contracts.job import JobWarning
from contracts.seams import Export, Format, Found, ImportedImage, Locate, Skip, not_located
from plugins.formats.listing import Listing, UnreadableFileError, folder_split_of, list_folder, named_split, shown, split_of
from plugins.formats.losses import Losses
from plugins.formats.text_lines import read_lines
from plugins.formats.values import BadValueError, read_class_name, read_number
from plugins.formats.writing import PictureNames, is_unlabeled, place_picture

_LARGEST_FILE_BYTES = 4 * 1024**3
_MOST_COLUMNS = 500
_DELIMITERS = (",", ";", "\t", "|")
_SUFFIXES = (".csv", ".tsv")
#: SECURITY: spreadsheets run cells that begin with one of these (OWASP, "CSV Injection").
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")

#: Names of columns by what they mean; ``picture size`` is found beside corners only.
_COLUMNS = {
    "image": ("image", "filename", "file_name", "file", "image_name", "image_path", "img", "img_path", "path", "filepath", "file_path",
              "image_id", "imageid", "image_file", "imagefile"),
    "class": ("class", "label", "class_name", "classname", "category", "category_name", "label_name", "labelname", "labels"),
    "score": ("score", "confidence", "conf", "probability"),
    "split": ("split", "usage", "subset", "set", "partition"),
    "xmin": ("xmin", "x1", "x_min", "left", "bbox_xmin", "bbox_x1", "xtl"),
    "ymin": ("ymin", "y1", "y_min", "top", "bbox_ymin", "bbox_y1", "ytl"),
    "xmax": ("xmax", "x2", "x_max", "right", "bbox_xmax", "bbox_x2", "xbr"),
    "ymax": ("ymax", "y2", "y_max", "bottom", "bbox_ymax", "bbox_y2", "ybr"),
    "x": ("x", "bbox_x", "left", "xmin", "x_min"),
    "y": ("y", "bbox_y", "top", "ymin", "y_min"),
    "width": ("width", "w", "bbox_width", "bbox_w"),
    "height": ("height", "h", "bbox_height", "bbox_h"),
    "picture width": ("width", "image_width", "img_width"),
    "picture height": ("height", "image_height", "img_height"),
}  # fmt: skip
_CORNERS, _SIDES = ("xmin", "ymin", "xmax", "ymax"), ("x", "y", "width", "height")
_USAGES = {"eval": "val", "evaluation": "val", "inference": "pool"}


@dataclass(frozen=True)
class _Header:
    """Where the columns are. ``box`` is empty, or the four of the corners or of the sides."""

    delimiter: str
    columns: Mapping[str, int]
    box: tuple[str, ...]

    @property
    def meaning(self) -> str:
        return "boxes" if self.box else "labels of pictures"


@dataclass
class _Rows:
    """What the rows read so far say of one picture."""

    file: PurePosixPath
    annotations: list[Annotation] = field(default_factory=list)
    predictions: list[Annotation] | None = None
    split: str = ""
    size: tuple[int, int] | None = None


class TableFormat(Format):
    """CSV files with a header: a column for the picture, one for the class, and perhaps four for a box."""

    name: ClassVar[str] = "csv"

    def detect(self, folder: Path) -> str:
        listing = list_folder(folder)
        found = [(file, header) for file in listing.with_suffix(*_SUFFIXES) if (header := _header_of(listing, file))]
        if not found or not listing.pictures:
            return ""
        file, header = found[0]
        return f"{len(found)} CSV files of {header.meaning}, such as {shown(file)}"

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:  # noqa: ARG002 - it names no addresses
        """A row with a score is a prediction; one without a class and a box says that the picture shows nothing. Pictures without a row are
        unannotated. The split is that of the row, else of the file's name, else of the picture's folder.
        """
        listing = list_folder(folder)
        yield from listing.skips
        rows: dict[PurePosixPath, _Rows] = {}
        for file in listing.with_suffix(*_SUFFIXES):
            header = _header_of(listing, file)
            if header is None:
                yield Skip(shown(file), "has no header that names a picture and a class", "file")
            else:
                yield from _read_file(listing, file, header, rows)
        for picture in listing.pictures:
            found = rows.get(picture)
            split = (found.split or split_of(PurePosixPath(found.file.name)) if found else "") or folder_split_of(picture)
            yield ImportedImage(
                listing.host(picture),
                shown(picture),
                tuple(found.annotations) if found else None,
                (split,) if split else (),
                found.size if found else None,
                predictions=None if not found or found.predictions is None else tuple(found.predictions),
            )

    def write(self, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
        """``annotations.csv``, and the pictures in ``images/``. Cells that a spreadsheet would run begin with a tab."""
        losses, names = Losses("csv"), PictureNames()
        with (folder / "annotations.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(("image", "x", "y", "width", "height", "class", "score", "split"))
            for sample in samples:
                losses.note_sample(sample, frozenset({"predictions", "split"}))
                name = names.name(sample)
                place_picture(sample, folder / "images" / name, export)
                for row in _written(sample, losses):
                    table.writerow([_guarded(cell) for cell in (name, *row, sample.split)])
        return losses.warnings()


def _written(sample: Sample, losses: Losses) -> Iterator[tuple[Any, ...]]:
    """The rows of one picture without its name and split; one of empty cells for a picture that shows nothing."""
    held = frozenset({"score"})
    shown_boxes = 0
    for box in (*sample.annotations, *(sample.predictions or ())):
        losses.note_annotation(box, held)
        shown_boxes += 1
        sides = ("", "", "", "") if box.shape == "image" else (repr(box.x), repr(box.y), repr(box.width), repr(box.height))
        yield (*sides, box.class_name, "" if box.score is None else repr(box.score))
    if sample.predictions and any(box.score is None for box in sample.predictions):
        losses.note("unscored", "predictions without a score, which read back as annotations")
    if not shown_boxes and not is_unlabeled(sample):
        yield ("", "", "", "", "", "")
    elif not shown_boxes and sample.split:
        losses.note("unlabeled split", "splits of pictures that nobody looked at")
    elif not sample.annotations and shown_boxes and is_unlabeled(sample):
        losses.note("state")


def _guarded(cell: Any) -> str:
    text = str(cell)
    return f"\t{text}" if text.startswith(_FORMULAS) else text


# ---------------------------------------------------------------------------------------------------------------- header


def _header_of(listing: Listing, file: PurePosixPath) -> _Header | None:
    """The header of the first line, with the delimiter that names the most known columns; None when it names no picture or no class."""
    try:
        line = next((line for _, line in read_lines(listing, file, _LARGEST_FILE_BYTES) if line and line.strip()), "")
    except UnreadableFileError:
        return None
    headers = [_header(line, delimiter) for delimiter in _DELIMITERS]
    best = max(headers, key=lambda header: len(header.columns))
    known = best.columns.keys()
    return best if "image" in known and ("class" in known or best.box) else None


def _header(line: str, delimiter: str) -> _Header:
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        cells = []
    names = [" ".join(cell.split()).lower().replace(" ", "_").replace("-", "_") for cell in cells[:_MOST_COLUMNS]]
    columns = {meaning: names.index(word) for meaning, words in _COLUMNS.items() for word in reversed(words) if word in names}
    box = next((kind for kind in (_CORNERS, _SIDES) if all(name in columns for name in kind)), ())
    if box != _CORNERS:
        columns = {name: at for name, at in columns.items() if not name.startswith("picture")}
    return _Header(delimiter, columns, box)


# ------------------------------------------------------------------------------------------------------------------ rows


def _read_file(listing: Listing, file: PurePosixPath, header: _Header, rows: dict[PurePosixPath, _Rows]) -> Iterator[Skip]:
    seen_header = False
    pictures: dict[str, PurePosixPath] = {}
    missing: dict[str, int] = defaultdict(int)
    try:
        for line, cells in _cells(listing, file, header.delimiter):
            if not seen_header:
                seen_header = True
                continue
            place = f"{shown(file)}:{line}"
            try:
                if isinstance(cells, str):
                    raise BadValueError(cells)
                picture = _picture(listing, file, header, cells, pictures, missing)
                if picture:
                    _read_row(file, header, cells, rows.setdefault(picture, _Rows(file)))
            except (BadValueError, UnreadableFileError) as error:
                yield Skip(place, str(error), "box")
    except UnreadableFileError as error:
        yield Skip(shown(file), str(error), "file")
    for name, count in missing.items():
        yield Skip(f"{shown(file)}", f"there is no picture {name} ({count} rows)", "image")


def _cells(listing: Listing, file: PurePosixPath, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Line numbers with their cells, or with the reason why they have none."""
    too_long: list[int] = []

    def lines() -> Iterator[str]:
        for number, line in read_lines(listing, file, _LARGEST_FILE_BYTES):
            if line is None:
                too_long.append(number)
            yield line or "\n"

    reader = csv.reader(lines(), delimiter=delimiter)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            yield reader.line_num, f"is no row: {error}"
            continue
        while too_long:
            yield too_long.pop(0), "the line is too long"
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _picture(
    listing: Listing,
    file: PurePosixPath,
    header: _Header,
    cells: Sequence[str],
    pictures: dict[str, PurePosixPath],
    missing: dict[str, int],
) -> PurePosixPath | None:
    """The picture of a row; one that is not there is counted, for it is named by many rows."""
    name = _cell(header, cells, "image")
    if not name:
        raise BadValueError("names no picture")
    if name not in pictures:
        found = listing.find_picture(name, file)
        if found is None:
            missing[shown(name)[:200]] += 1
            return None
        pictures[name] = found
    return pictures[name]


def _cell(header: _Header, cells: Sequence[str], name: str) -> str:
    at = header.columns.get(name)
    return cells[at].strip() if at is not None and at < len(cells) else ""


def _read_row(file: PurePosixPath, header: _Header, cells: Sequence[str], rows: _Rows) -> None:
    if rows.file != file:
        raise BadValueError(f"the picture has rows in {shown(rows.file)} already")
    usage = _cell(header, cells, "split").lower()
    split = _USAGES.get(usage) or named_split(usage)
    if split and rows.split and split != rows.split:
        raise BadValueError(f"the picture is in the split {rows.split} already, not in {split}")
    annotation = _annotation(header, cells)
    rows.split = rows.split or split
    rows.size = rows.size or _size(header, cells)
    if annotation is not None and annotation.score is not None:
        rows.predictions = rows.predictions or []
        rows.predictions.append(annotation)
    elif annotation is not None:
        rows.annotations.append(annotation)


def _annotation(header: _Header, cells: Sequence[str]) -> Annotation | None:
    """The box or label of a row; None for a row that says that the picture shows nothing."""
    sides = [_cell(header, cells, name) for name in header.box]
    name = _cell(header, cells, "class")
    if not name and not any(sides):
        return None
    class_name = sys.intern(read_class_name(name)) if "class" in header.columns else "object"
    text = _cell(header, cells, "score")
    score = read_number(text, "the score") if text else None
    if score is not None and not 0 <= score <= 1:
        raise BadValueError(f"the score {score:g} is not between 0 and 1")
    if not any(sides):
        return Annotation(class_name, 0.0, 0.0, 0.0, 0.0, score=score, shape="image")
    a, b, c, d = (read_number(side, f"{class_name}: {column}") for side, column in zip(sides, header.box, strict=True))
    if header.box == _CORNERS:
        c, d = c - a, d - b
    return Annotation(class_name, a, b, c, d, score=score)


def _size(header: _Header, cells: Sequence[str]) -> tuple[int, int] | None:
    try:
        width, height = (int(read_number(_cell(header, cells, f"picture {side}"), side)) for side in ("width", "height"))
    except BadValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None
