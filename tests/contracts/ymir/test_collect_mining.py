"""result.tsv (section 5.3): the image's order counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.dataset import Asset
from contracts.errors import ResultError, ResultMalformedError, ResultMissingError
from contracts.results import MiningResult
from contracts.ymir import collect_mining

A, B, C = (Asset(letter * 40, "jpg", 100, 80, 1) for letter in "abc")
PATHS = {asset: f"/in/assets/{asset.relative_path}" for asset in (A, B, C)}
GOOD = f"{PATHS[B]}\t0.9\n{PATHS[A]}\t0.5\n{PATHS[C]}\t0.1\n"


def collect(out: Path, content: str | bytes) -> MiningResult:
    (out / "result.tsv").write_bytes(content.encode() if isinstance(content, str) else content)
    return collect_mining(out, [A, B, C])


def codes(result: MiningResult) -> list[str]:
    return [warning.code for warning in result.warnings]


def test_the_ranking_is_read_in_the_order_of_the_file(tmp_path: Path) -> None:
    result = collect(tmp_path, GOOD)
    assert result.ranking == ((B.id, 0.9), (A.id, 0.5), (C.id, 0.1))
    assert result.warnings == ()


VARIANTS: dict[str, tuple[str, list[tuple[str, float | None]], list[str]]] = {
    "sdk py2, six decimals": (GOOD.replace("0.9", "0.900000"), [(B.id, 0.9), (A.id, 0.5), (C.id, 0.1)], []),
    "more columns": (GOOD.replace("\t0.9", "\t0.9\tcat\t5"), [(B.id, 0.9), (A.id, 0.5), (C.id, 0.1)], []),
    "windows line ends": (GOOD.replace("\n", "\r\n"), [(B.id, 0.9), (A.id, 0.5), (C.id, 0.1)], []),
    "no last line end": (GOOD.rstrip(), [(B.id, 0.9), (A.id, 0.5), (C.id, 0.1)], []),
    "blank lines": (GOOD.replace("\n", "\n\n"), [(B.id, 0.9), (A.id, 0.5), (C.id, 0.1)], []),
    "byte order mark": ("\ufeff" + GOOD, [(B.id, 0.9), (A.id, 0.5), (C.id, 0.1)], []),
    "spaces": (GOOD.replace("\t", " "), [(B.id, 0.9), (A.id, 0.5), (C.id, 0.1)], ["mining_separator"]),
    "host paths of a process": (GOOD.replace("/in/assets", "/home/x/in/assets"), [(B.id, 0.9), (A.id, 0.5), (C.id, 0.1)], []),
    "base names": (
        GOOD.replace("/in/assets/", "").replace("aa/", "").replace("bb/", "").replace("cc/", ""),
        [(B.id, 0.9), (A.id, 0.5), (C.id, 0.1)],
        ["mining_row_matched"],
    ),
    "stems": (f"{B.id}\t3\n{A.id}\t2\n{C.id}\t1\n", [(B.id, 3), (A.id, 2), (C.id, 1)], ["mining_row_matched"]),
    "another extension": (GOOD.replace(".jpg", ".png"), [(B.id, 0.9), (A.id, 0.5), (C.id, 0.1)], ["mining_row_matched"]),
    "ranks, ascending": (GOOD.replace("0.1", "5"), [(B.id, 0.9), (A.id, 0.5), (C.id, 5)], ["mining_not_descending"]),
    "no scores": (
        GOOD.replace("\t0.9", "").replace("\t0.5", "").replace("\t0.1", ""),
        [(B.id, None), (A.id, None), (C.id, None)],
        ["mining_score"],
    ),
    "a score that is a word": (GOOD.replace("0.9", "high"), [(B.id, None), (A.id, 0.5), (C.id, 0.1)], ["mining_score"]),
    "nan and infinity": (GOOD.replace("0.9", "nan").replace("0.1", "-inf"), [(B.id, None), (A.id, 0.5), (C.id, None)], ["mining_score"]),
    "a header": ("asset\tscore\n" + GOOD, [(B.id, 0.9), (A.id, 0.5), (C.id, 0.1)], ["mining_unknown_row"]),
    "duplicates": (GOOD + GOOD, [(B.id, 0.9), (A.id, 0.5), (C.id, 0.1)], ["mining_duplicate_row"]),
    "one left out": (f"{PATHS[B]}\t0.9\n", [(B.id, 0.9)], ["mining_incomplete"]),
}


@pytest.mark.parametrize(("text", "ranking", "tolerated"), VARIANTS.values(), ids=VARIANTS)
def test_every_known_variant_is_read(text: str, ranking: list[tuple[str, float | None]], tolerated: list[str], tmp_path: Path) -> None:
    result = collect(tmp_path, text)
    assert list(result.ranking) == ranking
    assert codes(result) == tolerated


def test_dropped_rows_are_counted(tmp_path: Path) -> None:
    result = collect(tmp_path, GOOD + "/in/assets/zz/other.jpg\t0\n/etc/passwd\t0\n" + GOOD)
    assert [(w.code, w.message.split("(")[-1].split(")")[0]) for w in result.warnings] == [
        ("mining_unknown_row", "2 times"),
        ("mining_duplicate_row", "3 times"),
    ]


@pytest.mark.parametrize("content", ["", "\n\n", "nothing known\t0.5\n", bytes(range(256)) * 20, b"\x00" * 1000])
def test_what_ranks_no_candidate_is_malformed(content: str | bytes, tmp_path: Path) -> None:
    with pytest.raises(ResultMalformedError, match="ranks none of the 3 candidates"):
        collect(tmp_path, content)


def test_no_result_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ResultMissingError, match=r"result\.tsv"):
        collect_mining(tmp_path, [A])


def test_a_pipe_in_its_place_does_not_make_the_reader_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "result.tsv")
    with pytest.raises(ResultMalformedError, match="not a regular file"):
        collect_mining(tmp_path, [A])


def test_a_link_out_of_out_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(GOOD)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/result.tsv").symlink_to("../secret")
    with pytest.raises(ResultMissingError, match="outside /out"):
        collect_mining(tmp_path / "out", [A])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200)
    | st.lists(st.sampled_from([PATHS[A], "\t", "\n", " ", "nan", "1", A.id, "../"])).map("".join).map(str.encode)
)
def test_any_bytes_are_a_ranking_of_candidates_or_a_result_error(content: bytes, tmp_path: Path) -> None:
    try:
        result = collect(tmp_path, content)
    except ResultError:
        return
    assert {asset_id for asset_id, _ in result.ranking} <= {A.id, B.id, C.id}
