"""What a job is given: assets with annotations, the classes, the parameters and a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.image import Kind, ObjectType


@dataclass(frozen=True)
class Asset:
    """One immutable picture.

    ``id`` is the lower-case hex sha1 of its bytes; ``extension`` follows from the content, not the name: ``jpg``, ``png`` or ``bmp``.
    """

    id: str
    extension: str
    width: int
    height: int
    size_bytes: int

    @property
    def file_name(self) -> str:
        return f"{self.id}.{self.extension}"

    @property
    def relative_path(self) -> str:
        """``ab/<sha1>.<ext>`` where ab are the last two hex digits (contract reference 4.2)."""
        return f"{self.id[-2:]}/{self.file_name}"


@dataclass(frozen=True)
class Annotation:
    """One object in one picture, as a person drew it or a model found it.

    ``x, y, width, height``: pixels, origin top left, ``x + width`` is the first column outside the box. ``segmentation`` is a list of
    polygons ``[[x1, y1, x2, y2, ...], ...]`` or a COCO run-length dict ``{"counts": str, "size": [height, width]}``.
    ``score`` is in [0, 1] for a prediction and None for ground truth. ``quality`` -1.0 means unknown; ``angle`` is as YMIR's ARK has it.
    """

    class_name: str
    x: float
    y: float
    width: float
    height: float
    score: float | None = None
    segmentation: list[list[float]] | dict[str, Any] | None = None
    crowd: bool = False
    difficult: bool = False
    quality: float = -1.0
    angle: float = 0.0


@dataclass(frozen=True)
class Sample:
    """A picture with its annotations: what a dataset version holds and a job is given.

    ``name`` is the file name it was imported from, for people; ``path`` is the asset's file on the host.
    """

    asset: Asset
    path: Path
    annotations: tuple[Annotation, ...] = ()
    name: str = ""


@dataclass(frozen=True)
class ModelInput:
    """One stage of a model, with all its files.

    ``files`` maps each name below the stage directory to a host file. ``info`` is what ``ymir-info.yaml`` is written from.
    """

    name: str
    stage_name: str
    files: Mapping[str, Path]
    class_names: tuple[str, ...]
    object_type: ObjectType
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ContainerPaths:
    """Where the image sees its two folders. The process engine shows host paths, every container engine these."""

    in_dir: str = "/in"
    out_dir: str = "/out"


@dataclass(frozen=True)
class JobInputs:
    """Everything staging needs; already checked, so that staging only writes.

    ``parameters`` are complete: template defaults overlaid by the user's values, keeping their types. ``class_names`` in order of class id.
    """

    task_id: str
    kind: Kind
    object_type: ObjectType
    class_names: tuple[str, ...]
    parameters: Mapping[str, Any]
    gpu_count: int = 0
    train: Sequence[Sample] = ()
    val: Sequence[Sample] = ()
    candidates: Sequence[Sample] = ()
    model: ModelInput | None = None
    paths: ContainerPaths = ContainerPaths()
