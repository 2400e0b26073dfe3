"""The tables of a test set and of predictions as the columns that ``analysis.evaluation`` takes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.evaluation.masks import box_mask, mask_area, to_mask
from analysis.evaluation.objects import InputError, Objects, make_predictions, make_truths
from contracts.errors import DatasetError
from runner.tables import Tables, codes_of, read_table, replaced, to_numpy, words

_UNKNOWN = -1


@dataclass(frozen=True)
class TestSet:
    """The labelled pictures of a split that are evaluated. ``unlabelled``: how many there are beside them, which nobody has labelled."""

    reference: str
    content_hash: str
    tables: Tables
    class_names: tuple[str, ...]
    unlabelled: int

    @property
    def asset_ids(self) -> pa.Array:
        return self.tables.asset_ids

    def only(self, chosen: NDArray[np.bool_]) -> TestSet:
        """The pictures of the mask."""
        return TestSet(self.reference, self.content_hash, self.tables.keep(chosen), self.class_names, self.unlabelled)

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each picture."""
        return list(zip(self.tables.image_column("height").tolist(), self.tables.image_column("width").tolist(), strict=True))

    def image_tags(self, name: str) -> list[str]:
        """The value of a tag for each picture, '' where it has none."""
        texts = self.tables.images["tags"].to_pylist()
        return [str(json.loads(text).get(name, "")) if text else "" for text in texts]

    def attribute(self, name: str, rows: NDArray[Any]) -> list[str]:
        """The value of an attribute for these rows of the annotations, '' where there is none."""
        texts = self.tables.annotations["attributes"].take(pa.array(rows)).to_pylist()
        return [_text(json.loads(text).get(name)) if text else "" for text in texts]

    def names_of_tags(self) -> set[str]:
        return {name for text in self.tables.images["tags"].unique().to_pylist() if text for name in json.loads(text)}

    def names_of_attributes(self) -> set[str]:
        return {name for text in self.tables.annotations["attributes"].unique().to_pylist() if text for name in json.loads(text)}


@dataclass(frozen=True)
class Predictions:
    """What a job predicted. ``table`` has ``asset_id`` and the columns of annotations; a null class says that nothing was found.

    ``given``: the pictures it was to look at. One that its answer does not mention was looked at, too: whatever is in it was missed.
    """

    job: str
    table: pa.Table
    given: pa.Array

    @classmethod
    def read(cls, job: str, file: Path, given: pa.Array | None) -> Predictions:
        """``given`` None where that is not known any more: those of the answer. Raises ``DatasetError`` for a file that is missing or broken."""
        table = read_table(file)
        missing = {"asset_id", "class_name", "x", "y", "width", "height", "score"} - set(table.column_names)
        if missing:
            raise DatasetError(
                f"the predictions of {job} in {file} have no {', '.join(sorted(missing))}", hint="Run the inference again.", path=str(file)
            )
        return cls(job, table, table["asset_id"].unique() if given is None else given)

    def called(self, names: Mapping[str, str]) -> Predictions:
        """The same with the classes under other names."""
        codes, known = codes_of(self.table["class_name"])
        new = list(dict.fromkeys(names.get(name, name) for name in known))
        if new == known:
            return self
        places = np.array([*(new.index(names.get(name, name)) for name in known), -1], np.int32)
        table = replaced(self.table, "class_name", words(places[codes], new))
        return Predictions(self.job, table, self.given)

    def looked_at(self, asset_ids: pa.Array) -> NDArray[np.bool_]:
        """Which of the pictures the job looked at."""
        return np.asarray(pc.is_in(asset_ids, value_set=self.given), np.bool_)

    def outside(self, asset_ids: pa.Array) -> int:
        """How many pictures it looked at that are none of these."""
        return int(pc.sum(pc.invert(pc.is_in(self.given, value_set=asset_ids))).as_py() or 0)

    def unanswered(self, asset_ids: pa.Array) -> int:
        """How many of the pictures its answer does not mention."""
        return int(pc.sum(pc.invert(pc.is_in(asset_ids, value_set=self.table["asset_id"].unique()))).as_py() or 0)

    def of(self, test: TestSet) -> tuple[pa.Table, NDArray[np.int64]]:
        """The predictions on the pictures of the test set, and the number of the picture of each."""
        places = pc.index_in(self.table["asset_id"], value_set=test.asset_ids)
        kept = pc.and_(pc.is_valid(places), pc.is_valid(self.table["class_name"]))
        return self.table.filter(kept), np.asarray(places.filter(kept).to_numpy(), np.int64)


@dataclass(frozen=True)
class Columns:
    """``objects`` with the ``rows`` of the table they are from. ``unknown``: by class what was left out because the test set has no such class;
    ``left_out``: shapes that are neither boxes nor outlines; ``unreadable``: masks that match nothing because they cannot be read."""

    objects: Objects
    rows: NDArray[np.int64]
    unknown: Mapping[str, int]
    left_out: int
    unreadable: int = 0


def truths(test: TestSet, *, masks: bool = False) -> Columns:
    """The objects of the test set. Raises ``DatasetError`` naming the picture of one that cannot be evaluated."""
    table = test.tables.annotations
    labels, unknown = _labels(table, test.class_names)
    rows = np.flatnonzero((labels != _UNKNOWN) & _drawn(table))
    image = np.asarray(test.tables.owners, np.int64)[rows]
    flags = {name: to_numpy(table[name])[rows].astype(np.bool_) for name in ("crowd", "difficult")}
    made, _ = _masks(table, rows, image, test, strict=True) if masks else ([], 0)
    area = [mask_area(mask) for mask in made] if masks else None
    try:
        objects = make_truths(image, labels[rows], _boxes(table, rows), area=area, mask=made, **flags)
    except InputError as error:
        raise _unusable(f"the annotations of {test.reference}", test, image, error) from error
    return Columns(objects, rows, unknown, len(table) - int(_drawn(table).sum()))


def found(predictions: Predictions, test: TestSet, *, masks: bool = False) -> Columns:
    """The predictions on the test set. Raises ``DatasetError`` for one whose box or score is no number."""
    table, image = predictions.of(test)
    labels, unknown = _labels(table, test.class_names)
    rows = np.flatnonzero((labels != _UNKNOWN) & _drawn(table))
    made, unreadable = _masks(table, rows, image[rows], test, strict=False) if masks else ([], 0)
    area = [mask_area(mask) for mask in made] if masks else None
    score = np.asarray(table["score"].to_numpy(), np.float64)[rows]
    try:
        objects = make_predictions(image[rows], labels[rows], _boxes(table, rows), score, area=area, mask=made)
    except InputError as error:
        raise _unusable(f"the predictions of the job {predictions.job}", test, image[rows], error) from error
    return Columns(objects, rows, unknown, len(table) - int(_drawn(table).sum()), unreadable)


def _drawn(table: pa.Table) -> NDArray[np.bool_]:
    """Boxes, with an outline or without; not labels of whole pictures, points and lines."""
    if "shape" not in table.column_names:  # a file of before there were others
        return np.ones(len(table), np.bool_)
    return np.asarray(to_numpy(table["shape"]) == "box", np.bool_)


def _labels(table: pa.Table, class_names: Sequence[str]) -> tuple[NDArray[np.int64], dict[str, int]]:
    """The number of each row's class, and how many rows have which class that is none of these."""
    codes, words = codes_of(table["class_name"])
    numbers = {name: number for number, name in enumerate(class_names)}
    labels = np.array([*(numbers.get(word, _UNKNOWN) for word in words), _UNKNOWN], np.int64)[codes]
    strangers = Counter(words[code] for code in codes[labels == _UNKNOWN].tolist() if code >= 0)
    return labels, dict(sorted(strangers.items()))


def _boxes(table: pa.Table, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.stack([np.asarray(table[name].to_numpy(), np.float64)[rows] for name in ("x", "y", "width", "height")], axis=1)


def _masks(table: pa.Table, rows: NDArray[np.int64], image: NDArray[np.int64], test: TestSet, *, strict: bool) -> tuple[list[Any], int]:
    """A mask for each row: of its outline, or of its box where it has none. One that cannot be read is empty, or refused when ``strict``."""
    texts = table["segmentation"].take(pa.array(rows)).to_pylist()
    made, unreadable = [], 0
    for text, number, box in zip(texts, image.tolist(), _boxes(table, rows).tolist(), strict=True):
        height, width = test.sizes[number]
        try:
            made.append(to_mask(json.loads(text), height, width) if text else box_mask(box, height, width))
        except (InputError, ValueError, TypeError, OverflowError) as error:
            if strict:
                picture = test.tables.images["name"][number].as_py()
                raise DatasetError(f"{picture} of {test.reference} has a mask that cannot be used: {error}", hint="Correct it.") from error
            made.append(to_mask({"size": [height, width], "counts": [height * width]}, height, width))
            unreadable += 1
    return made, unreadable


def _unusable(what: str, test: TestSet, image: NDArray[np.int64], error: InputError) -> DatasetError:
    picture = "" if error.row is None else test.tables.images["name"][int(image[error.row])].as_py()
    where = f" (picture {picture})" if picture else ""
    return DatasetError(f"{what} cannot be evaluated: {error}{where}", hint="Correct them, or leave the picture out.", picture=picture)


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# ------------------------------------------------------------------------------------------------- labels of whole pictures


@dataclass(frozen=True)
class Labels:
    """``picture``, ``label``, ``score`` (NaN for none): (n,) each. ``unknown``: by class what was left out, as in ``Columns``."""

    picture: NDArray[np.int64]
    label: NDArray[np.int64]
    score: NDArray[np.float64]
    unknown: Mapping[str, int]


def picture_labels(table: pa.Table, image: NDArray[np.int64], class_names: Sequence[str]) -> Labels:
    """Every class of every picture once, with its highest score, by picture and class. ``image``: (n,) the picture of each row."""
    labels, unknown = _labels(table, class_names)
    rows = np.flatnonzero(labels != _UNKNOWN)
    score = np.asarray(table["score"].to_numpy(), np.float64)[rows]
    order = np.lexsort((-np.nan_to_num(score, nan=-np.inf), labels[rows], image[rows]))
    picture, label, score = image[rows][order], labels[rows][order], score[order]
    first = np.r_[True, (picture[1:] != picture[:-1]) | (label[1:] != label[:-1])][: len(picture)]
    return Labels(picture[first], label[first], score[first], unknown)
