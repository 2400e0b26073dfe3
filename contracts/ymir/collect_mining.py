"""The ranking that a mining left: ``/out/result.tsv`` (contract reference 5.3). The image's order counts, not the scores: some are ranks.

An image may say why, too (``collect_reasons``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from contracts.dataset import Asset
from contracts.errors import ResultMalformedError
from contracts.results import MiningResult
from contracts.ymir.candidates import Candidates
from contracts.ymir.collect_reasons import collect_reasons
from contracts.ymir.layout import MINING_RESULT
from contracts.ymir.out_dir import OutDir
from contracts.ymir.tolerances import Tolerances

_MAX_BYTES = 512 * 1024**2


def collect_mining(out_dir: Path, candidates: Sequence[Asset]) -> MiningResult:
    """The candidates in the order of the file with their scores.

    Raises ``ResultMissingError`` without a result.tsv, ``ResultMalformedError`` when not one row names a candidate.
    """
    tolerances = Tolerances()
    known = Candidates(candidates)
    out = OutDir(out_dir)
    ranking = _ranking(out.read(MINING_RESULT, _MAX_BYTES), known, tolerances)
    if not ranking:
        raise ResultMalformedError(
            f"/out/{MINING_RESULT} ranks none of the {len(known)} candidates",
            hint="Each row must be <image path as in candidate-index.tsv> TAB <score>, best first.",
            place=MINING_RESULT,
        )
    _compare(ranking, len(known), tolerances)
    pictures = collect_reasons(out, known, tolerances)
    return MiningResult(tuple(ranking.items()), tolerances.warnings(), pictures)


def _ranking(content: bytes, candidates: Candidates, tolerances: Tolerances) -> dict[str, float | None]:
    ranking: dict[str, float | None] = {}
    for path, score in _rows(content, tolerances):
        match = candidates.find(path)
        if match is None:
            tolerances.add("mining_unknown_row", "rows that name no candidate were dropped", MINING_RESULT, path)
        elif match.asset_id in ranking:
            tolerances.add("mining_duplicate_row", "rows for a candidate that was already ranked were dropped", MINING_RESULT, path)
        else:
            ranking[match.asset_id] = _score(score, tolerances)
            if match.by != "path":
                tolerances.add(
                    "mining_row_matched", "rows that do not hold the path of candidate-index.tsv were matched by name", MINING_RESULT, path
                )
    return ranking


def _rows(content: bytes, tolerances: Tolerances) -> Iterator[tuple[str, str]]:
    """Path and score ('' without one) of every row that is not blank."""
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        text = line.decode("utf-8", errors="replace").strip().replace("\x00", "")
        if not text:
            continue
        fields = text.split("\t")
        if len(fields) < 2 and len(text.split()) > 1:
            tolerances.add("mining_separator", "fields are separated by spaces instead of tabs", MINING_RESULT)
            fields = text.split()
        yield fields[0].strip(), fields[1].strip() if len(fields) > 1 else ""


def _score(text: str, tolerances: Tolerances) -> float | None:
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if math.isfinite(score):
        return score
    tolerances.add("mining_score", "scores that are missing or no numbers were left out; the order counts", MINING_RESULT, text)
    return None


def _compare(ranking: dict[str, float | None], candidate_count: int, tolerances: Tolerances) -> None:
    scores = [score for score in ranking.values() if score is not None]
    if len(scores) == len(ranking) and any(later > earlier for earlier, later in pairwise(scores)):
        tolerances.add("mining_not_descending", "the scores do not descend; the order of the file counts", MINING_RESULT)
    missing = candidate_count - len(ranking)
    if missing:
        tolerances.add("mining_incomplete", f"{missing} of {candidate_count} candidates are not ranked", MINING_RESULT)
