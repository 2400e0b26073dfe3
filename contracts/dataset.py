"""What a dataset holds and a job is given: assets with annotations, the classes, the parameters and a model."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, overload

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


#: How an annotation can be drawn.
SHAPES = ("box", "image", "point", "line", "dashed", "polyline", "circle")
#: Nobody looked; a model or an import proposes annotations that a person has to confirm; a person said what is in the picture.
STATES = ("unlabeled", "to_be_confirmed", "labeled")


@dataclass(frozen=True)
class Annotation:
    """One object in one picture, as a person drew it or a model found it.

    ``x, y, width, height``: pixels, origin top left, ``x + width`` is the first column outside the box. ``segmentation`` is a list of
    polygons ``[[x1, y1, x2, y2, ...], ...]`` or a COCO run-length dict ``{"counts": str, "size": [height, width]}``.
    ``score`` is in [0, 1] for a prediction and None for ground truth. ``quality`` -1.0 means unknown; ``angle`` is as YMIR's ARK has it.

    ``shape`` is one of ``SHAPES``; the box always bounds it. ``image`` is a label of the whole picture, as classification has it: its
    box is the whole picture, or 0, 0, 0, 0 until the importer knows the size. ``points`` are those of a drawn shape in pixels:
    ``x, y`` of a point, ``x1, y1, x2, y2, ...`` of a line, dashed line or polyline, ``centre x, centre y, radius`` of a circle; empty for
    ``box`` and ``image``. An outline (polygon or mask) is a ``box`` with a ``segmentation``.
    ``attributes`` are what the source says beyond that, values of JSON: ``truncated``, ``occluded``, ``pose``, ``hard``,
    ``hard-coefficient``, ``creation-time``, or names of its own. ``annotated_by`` is ``human``, a model (``name@stage``) or what the source
    says; '' is unknown.
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
    shape: str = "box"
    points: tuple[float, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    annotated_by: str = ""


@dataclass(frozen=True)
class Marks:
    """What is known of a picture beside its annotations.

    ``state`` is one of ``STATES``, or '' where it follows from the annotations: ``unlabeled`` without any (None), else ``labeled``.
    ``hard``: worth looking at, says a person or a mining algorithm; ``hard_coefficient`` is in [0, 1], larger is harder; ``hard_reasons`` are
    the numbers of modelarts-spec 1.4. ``tags`` are the picture's own attributes by name (YMIR's cks, ModelArts' property), text each.
    """

    state: str = ""
    hard: bool = False
    hard_coefficient: float | None = None
    hard_reasons: tuple[int, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """A picture with its annotations: what a dataset version holds and a job is given.

    ``name`` is the file name it was imported from, for people; ``path`` is the asset's file on the host. ``predictions`` are what a model
    found, never mixed with the annotations; None: no model looked.
    """

    asset: Asset
    path: Path
    annotations: tuple[Annotation, ...] = ()
    name: str = ""
    split: str = ""
    marks: Marks = Marks()
    predictions: tuple[Annotation, ...] | None = None


@dataclass(frozen=True)
class AssetFolder:
    """The pictures of one folder ``ab`` of a job: their file names and, in the same order, where each lies.

    ``sources`` are names in ``source`` when there is one, else absolute paths.
    """

    name: str
    file_names: Sequence[str]
    sources: Sequence[str]
    source: Path | None = None


class AssetTable(Sequence[Asset]):
    """Assets of which each is made when it is asked for."""

    @property
    @abstractmethod
    def file_names(self) -> Sequence[str]:
        """``<sha1>.<ext>`` of all of them, in order."""

    @overload
    def __getitem__(self, index: int) -> Asset: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Asset]: ...
    @abstractmethod
    def __getitem__(self, index: int | slice) -> Asset | Sequence[Asset]: ...


class SampleTable(Sequence[Sample]):
    """The samples of a job as columns, each sample made when it is asked for: a million of them take seconds and little memory.

    1. They are in the ascending order of their ids, and no id stands twice.
    2. Ids and extensions are as ``Asset`` says: they can be parts of a path.
    3. Iterating makes samples a batch at a time and keeps none, unless they are few.
    """

    @property
    @abstractmethod
    def assets(self) -> AssetTable:
        """The pictures alone, in the same order."""

    @abstractmethod
    def relative_paths(self) -> Iterator[Sequence[str]]:
        """``ab/<sha1>.<ext>`` of each, in order, a batch at a time."""

    @abstractmethod
    def folders(self) -> Iterator[AssetFolder]:
        """All files by their folder ``ab``, in alphabetical order, each folder once."""

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...
    @abstractmethod
    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]: ...


class ListedSamples(SampleTable):
    """Samples that are there already, as such a table. Whoever lists them answers for guarantees 1 and 2."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = sorted(samples, key=attrgetter("asset.id"))

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: Any) -> Any:
        return self._samples[index]

    @property
    def assets(self) -> AssetTable:
        return _ListedAssets(self._samples)

    def relative_paths(self) -> Iterator[Sequence[str]]:
        yield [sample.asset.relative_path for sample in self._samples]

    def folders(self) -> Iterator[AssetFolder]:
        found: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for sample in self._samples:
            names, sources = found[sample.asset.id[-2:]]
            names.append(sample.asset.file_name)
            sources.append(str(sample.path.absolute()))
        for name, (names, sources) in sorted(found.items()):
            yield AssetFolder(name, names, sources)


class _ListedAssets(AssetTable):
    def __init__(self, samples: Sequence[Sample]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [sample.asset for sample in self._samples[index]]
        return self._samples[index].asset

    @property
    def file_names(self) -> Sequence[str]:
        return [sample.asset.file_name for sample in self._samples]


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
    """Where the image sees its two folders. The process engine shows host paths, every container engine these.

    ``assets_dir`` is where the engine shows the whole folder of the store, of which the job is to use what its index names; '' when the job
    has a view of its own pictures, ``<in_dir>/assets``.
    """

    in_dir: str = "/in"
    out_dir: str = "/out"
    assets_dir: str = ""


@dataclass(frozen=True)
class JobInputs:
    """Everything staging needs; already checked, so that staging only writes. Samples of a job that may be large are a ``SampleTable``.

    ``parameters`` are complete: template defaults overlaid by the user's values, keeping their types. ``class_names`` in order of class id.
    In a mining job ``train`` is what the model was trained on, which may share pictures with ``candidates``; ``predictions`` are pairs of a
    candidate's file name and what a model found in it, in any order, iterated once. None: the job is given none.
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
    predictions: Iterable[tuple[str, Sequence[Annotation]]] | None = None
