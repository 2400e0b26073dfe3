"""What a job leaves: progress, stages, a ranking, predictions. Every tolerance a reader used is in ``warnings``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from contracts.dataset import Annotation
from contracts.job import JobWarning


@dataclass(frozen=True)
class Progress:
    """The image's last readable word about itself. ``fraction`` is in [0, 1]; state is a hint, the exit decides.

    ``state`` is ``pending``, ``running``, ``done``, ``error`` or ``unknown``; ``code`` 0 means fine (contract reference 6.2).
    """

    fraction: float
    state: str = "running"
    code: int = 0
    message: str = ""
    timestamp: float = 0.0
    trace: str = ""
    warnings: tuple[JobWarning, ...] = ()


@dataclass(frozen=True)
class StageResult:
    """One checkpoint. ``files`` maps the name below the stage to a host file; metrics are in [0, 1] except the counts tp, fp, fn."""

    name: str
    files: Mapping[str, Path]
    metrics: Mapping[str, float] = field(default_factory=dict)
    timestamp: int = 0


@dataclass(frozen=True)
class TrainingResult:
    """At least one stage. ``attachments`` maps a section to its files."""

    stages: tuple[StageResult, ...]
    best_stage_name: str
    attachments: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    evaluate_config: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[JobWarning, ...] = ()


@dataclass(frozen=True)
class MinedBox:
    """One predicted box as the mining saw it: ``x, y, width, height`` in pixels, ``hardness`` in [0, 1] where the image gave one."""

    x: float
    y: float
    width: float
    height: float
    class_name: str = ""
    score: float | None = None
    hardness: float | None = None
    reasons: tuple[int, ...] = ()


@dataclass(frozen=True)
class MinedPicture:
    """Why a picture has its rank. ``reasons`` are the numbers of ``contracts.reasons``, ``texts`` the image's own words; either may be empty.

    ``coefficient`` in [0, 1], larger is harder; ``hard`` None: the image draws no line.
    """

    coefficient: float | None = None
    hard: bool | None = None
    reasons: tuple[int, ...] = ()
    texts: tuple[str, ...] = ()
    boxes: tuple[MinedBox, ...] = ()


@dataclass(frozen=True)
class MiningResult:
    """Assets in the image's order, most worth labelling first: ``(asset id, score or None)``; by asset id why, as far as the image said it."""

    ranking: tuple[tuple[str, float | None], ...]
    warnings: tuple[JobWarning, ...] = ()
    pictures: Mapping[str, MinedPicture] = field(default_factory=dict)


@dataclass(frozen=True)
class InferenceResult:
    """Predictions by asset id; an asset that is missing has none."""

    predictions: Mapping[str, tuple[Annotation, ...]]
    warnings: tuple[JobWarning, ...] = ()
