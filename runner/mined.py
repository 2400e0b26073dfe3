"""Why a mining ranked as it did, kept beside the ranking: ``<job>.reasons.parquet``, a row for each picture that the image said something of.

asset         string
coefficient   float64         in [0, 1], larger is harder; null where the image gave none
hard          bool            null where the image drew no line
reasons       string          numbers of ``contracts.reasons`` joined by '-'; '' for none
texts         list<string>    the image's own words
boxes         list<struct>    x, y, width, height in pixels, class_name, score, hardness, reasons (as above)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from contracts.reasons import reason_texts
from contracts.results import MinedBox, MinedPicture
from runner.dataset_files import reasons_text
from runner.tables import read_table

_BOX = pa.struct(
    [
        *((name, pa.float64()) for name in ("x", "y", "width", "height")),
        ("class_name", pa.string()),
        ("score", pa.float64()),
        ("hardness", pa.float64()),
        ("reasons", pa.string()),
    ]
)
_SCHEMA = pa.schema(
    [
        ("asset", pa.string()),
        ("coefficient", pa.float64()),
        ("hard", pa.bool_()),
        ("reasons", pa.string()),
        ("texts", pa.list_(pa.string())),
        ("boxes", pa.list_(_BOX)),
    ]
)
#: What a ranked picture has more where the image said why.
FIELDS = ("coefficient", "hard", "reasons", "texts")
_AT_ONCE = 20_000


def write_mined(file: Path, pictures: Mapping[str, MinedPicture]) -> None:
    """The file, a batch of rows at a time; not synced to disk."""
    items = list(pictures.items())
    with pq.ParquetWriter(file, _SCHEMA) as writer:
        for begin in range(0, max(1, len(items)), _AT_ONCE):
            rows = [_row(asset, picture) for asset, picture in items[begin : begin + _AT_ONCE]]
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))


def read_mined(file: Path, assets: Sequence[str] | None = None, *, boxes: bool = False) -> dict[str, MinedPicture]:
    """By asset id, in the order of the file; of ``assets`` alone, and without boxes unless they are wanted. Raises ``DatasetError``."""
    table = read_table(file, None if boxes else [name for name in _SCHEMA.names if name != "boxes"])
    if assets is not None:
        table = table.filter(pc.is_in(table["asset"], value_set=pa.array(assets, pa.string())))
    return {row["asset"]: _picture(row) for row in table.to_pylist()}


def explained(row: Mapping[str, Any], picture: MinedPicture | None) -> dict[str, Any]:
    """A row of the ranking with what is known of its picture; the row as it is where the image said nothing."""
    return dict(row) if picture is None else {**row, **view(picture)}


def view(picture: MinedPicture) -> dict[str, Any]:
    """For the doors: ``texts`` are the image's words, else those of the numbers."""
    return {
        "coefficient": picture.coefficient,
        "hard": picture.hard,
        "reasons": list(picture.reasons),
        "texts": list(words_of(picture)),
    }


def words_of(picture: MinedPicture) -> tuple[str, ...]:
    """Why, in words."""
    return picture.texts or reason_texts(picture.reasons)


def _row(asset: str, picture: MinedPicture) -> dict[str, Any]:
    return {
        "asset": asset,
        "coefficient": picture.coefficient,
        "hard": picture.hard,
        "reasons": reasons_text(picture.reasons),
        "texts": list(picture.texts),
        "boxes": [{**asdict(box), "reasons": reasons_text(box.reasons)} for box in picture.boxes],
    }


def _picture(row: Mapping[str, Any]) -> MinedPicture:
    return MinedPicture(
        row["coefficient"], row["hard"], numbers(row["reasons"]), tuple(row["texts"]), tuple(_boxes(row.get("boxes") or ()))
    )


def _boxes(rows: Iterable[Mapping[str, Any]]) -> Iterable[MinedBox]:
    return (MinedBox(**{**row, "reasons": numbers(row["reasons"])}) for row in rows)


def numbers(text: str) -> tuple[int, ...]:
    """``1-20-3`` as numbers."""
    return tuple(int(part) for part in text.split("-") if part)
