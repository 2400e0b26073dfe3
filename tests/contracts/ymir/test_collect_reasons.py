"""Why a mining ranked as it did: read from whatever an image wrote, bounded, and never a reason for a job to fail."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.dataset import Asset
from contracts.results import MinedBox, MinedPicture, MiningResult
from contracts.ymir import collect_mining, collect_reasons

ASSETS = [Asset(f"{number:040x}", "jpg", 64, 48, 9) for number in (0xA1, 0xB2, 0xC3)]
FIRST, SECOND, THIRD = (asset.id for asset in ASSETS)
WHOLE = {
    "image": f"/in/assets/a1/{FIRST}.jpg",
    "score": 0.83,
    "hard": True,
    "reasons": [1, 20, 3],
    "texts": ["the confidence is low"],
    "boxes": [{"box": [1, 2.5, 30, 4], "class_name": "cat", "score": 0.4, "hardness": 0.6, "reasons": [1]}],
}


def collect(out: Path, content: str | bytes) -> MiningResult:
    (out / "result.tsv").write_text("".join(f"/in/assets/{asset.relative_path}\t0.5\n" for asset in ASSETS))
    (out / "mining-reasons.jsonl").write_bytes(content if isinstance(content, bytes) else content.encode())
    return collect_mining(out, ASSETS)


def codes(result: MiningResult) -> list[str]:
    return [warning.code for warning in result.warnings]


def test_a_line_is_kept_with_all_it_says(tmp_path: Path) -> None:
    result = collect(tmp_path, json.dumps(WHOLE) + "\n")
    box = MinedBox(1, 2.5, 30, 4, "cat", 0.4, 0.6, (1,))
    assert result.pictures == {FIRST: MinedPicture(0.83, True, (1, 20, 3), ("the confidence is low",), (box,))}
    assert result.warnings == ()


def test_everything_but_the_picture_may_be_missing(tmp_path: Path) -> None:
    result = collect(tmp_path, f'{{"image": "{SECOND}.jpg"}}\n\n{{"image": "x/{THIRD}.jpg", "score": null, "boxes": null}}')
    assert result.pictures == {SECOND: MinedPicture(), THIRD: MinedPicture()}
    assert result.warnings == ()


def test_an_image_without_such_a_file_is_read_as_before(tmp_path: Path) -> None:
    (tmp_path / "result.tsv").write_text(f"/in/assets/a1/{FIRST}.jpg\t1\n")
    result = collect_mining(tmp_path, ASSETS[:1])
    assert (result.pictures, result.warnings) == ({}, ())


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("no json", "reasons_line"),
        ("[1, 2]", "reasons_line"),
        ("[" * 100_000, "reasons_line"),
        ('{"image": "other.jpg"}', "reasons_unknown_image"),
        ('{"image": 5}', "reasons_unknown_image"),
        ('{"score": 0.5}', "reasons_unknown_image"),
        (json.dumps(WHOLE), "reasons_image_twice"),
    ],
)
def test_a_bad_line_is_named_and_the_others_count(tmp_path: Path, line: str, code: str) -> None:
    result = collect(tmp_path, f"{json.dumps(WHOLE)}\n{line}\n" + json.dumps({"image": f"{SECOND}.jpg", "score": 1}))
    assert set(result.pictures) == {FIRST, SECOND}
    assert codes(result) == [code]


@pytest.mark.parametrize(
    ("said", "code", "kept"),
    [
        ({"score": 7}, "reasons_range", MinedPicture(1.0)),
        ({"score": "0.25"}, "", MinedPicture(0.25)),
        ({"score": float("nan")}, "reasons_value", MinedPicture()),
        ({"hard": "yes"}, "reasons_value", MinedPicture()),
        ({"reasons": "1-20-3"}, "", MinedPicture(reasons=(1, 20, 3))),
        ({"reasons": [1, 1, -4, "x", True, 2.5, 30]}, "reasons_reason", MinedPicture(reasons=(1, 30))),
        ({"reasons": 5}, "reasons_value", MinedPicture()),
        ({"texts": "low"}, "reasons_value", MinedPicture()),
        ({"texts": ["\x1b[31mred", 5]}, "", MinedPicture(texts=("\N{REPLACEMENT CHARACTER}[31mred",))),
        ({"boxes": [[1, 2, 3, 4]]}, "reasons_box", MinedPicture()),
        ({"boxes": [{"box": [1, 2, -3, 4]}]}, "reasons_box", MinedPicture()),
        ({"boxes": [{"box": [1, 2, float("inf"), 4]}]}, "reasons_box", MinedPicture()),
        ({"boxes": [{"box": [1, 2, 3]}]}, "reasons_box", MinedPicture()),
    ],
)
def test_a_value_of_the_wrong_kind_is_left_out_and_named(tmp_path: Path, said: dict[str, Any], code: str, kept: MinedPicture) -> None:
    result = collect(tmp_path, json.dumps({"image": f"{FIRST}.jpg", **said}))
    assert result.pictures == {FIRST: kept}
    assert codes(result) == [code] * bool(code)


def test_a_file_that_is_none_is_a_warning(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(json.dumps(WHOLE))
    for number, make in enumerate((os.mkfifo, lambda path: path.symlink_to(secret), Path.mkdir)):
        out = tmp_path / f"out{number}"
        out.mkdir()
        (out / "result.tsv").write_text(f"/in/assets/a1/{FIRST}.jpg\t1\n")
        make(out / "mining-reasons.jsonl")
        result = collect_mining(out, ASSETS[:1])
        assert (result.pictures, codes(result)) == ({}, ["reasons_unusable"])


def test_what_is_too_large_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect_reasons, "MAX_LINE_BYTES", 2000)
    monkeypatch.setattr(collect_reasons, "MAX_BYTES", 6000)
    monkeypatch.setattr(collect_reasons, "MAX_ALL_BOXES", 3)
    boxes = {"image": f"{FIRST}.jpg", "boxes": [{"box": [1, 2, 3, 4]}] * 5}
    long = json.dumps({"image": f"{SECOND}.jpg", "texts": ["x" * 3000]})
    result = collect(tmp_path, f"{json.dumps(boxes)}\n{long}\n" + json.dumps({"image": f"{THIRD}.jpg"}) + "\n" + "\n" * 6000)
    assert {asset: len(picture.boxes) for asset, picture in result.pictures.items()} == {FIRST: 3, THIRD: 0}
    assert codes(result) == ["reasons_long_list", "reasons_long_line", "reasons_too_large"]


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["box", "class_name", "score", "hardness", "reasons"]), inner)
    ),
    max_leaves=8,
)


@given(
    st.lists(st.dictionaries(st.sampled_from(list(WHOLE)), json_values).map(lambda said: {"image": f"{FIRST}.jpg", **said}) | json_values)
)
def test_whatever_is_in_it_the_ranking_is_read(tmp_path_factory: pytest.TempPathFactory, lines: list[Any]) -> None:
    result = collect(tmp_path_factory.mktemp("out"), "".join(f"{json.dumps(line)}\n" for line in lines))
    assert len(result.ranking) == 3
    for picture in result.pictures.values():
        assert picture.coefficient is None or 0 <= picture.coefficient <= 1
        assert all(reason >= 0 for reason in picture.reasons)
        assert all(box.width >= 0 and box.height >= 0 for box in picture.boxes)
