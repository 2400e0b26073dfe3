"""YMIR's import layout: ``images``, ``gt`` and ``pred`` side by side, or an index of pictures instead of ``images`` (ymir-features 4).

The folders are looked for down to the third level, in any case, also as ``JPEGImages`` and ``Annotations``. ``gt`` and ``pred`` hold one VOC
file per picture or one ``coco-annotations.json``; ``pred/meta.yaml`` names the model. What is in ``pred`` are predictions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, TextIO

import yaml

from contracts.dataset import Annotation, Marks, Sample
from contracts.job import JobWarning
from contracts.seams import ClassNames, Export, Format, Found, ImportedImage, Locate, PredictedBy, Skip, not_located
from plugins.formats.coco import read_coco_file
from plugins.formats.index_file import Row, first_row, read_index
from plugins.formats.left_out import LeftOut
from plugins.formats.listing import Listing, UnreadableFileError, folder_split_of, is_mask, list_folder, shown
from plugins.formats.safe_yaml import read_yaml
from plugins.formats.values import number_text
from plugins.formats.voc import VocReading, write_label
from plugins.formats.voc_write import VocFile, write_voc
from plugins.formats.writing import PictureNames, is_unlabeled, place_picture, warn_of_class_order

_IMAGES, _GT, _PRED = ("images", "jpegimages"), ("gt", "annotations"), ("pred",)
_COCO, _META, _INDEXES = "coco-annotations.json", ("meta.yaml", "meta.yml"), ("index.txt", "index.tsv", "index.csv")
_DEEPEST = 3
_LARGEST_META_BYTES = 256 * 1024


@dataclass
class _Tree:
    """Pictures with the folders beside them. ``targets``: where each picture is, by the path that label files are matched to."""

    place: PurePosixPath
    targets: dict[PurePosixPath, Path | str] = field(default_factory=dict)
    gt: PurePosixPath | None = None
    pred: PurePosixPath | None = None


@dataclass
class _Said:
    """What ``gt`` or ``pred`` say of each picture; None there: what is said of it cannot be read."""

    found: dict[PurePosixPath, tuple[tuple[Annotation, ...], tuple[int, int] | None, Marks] | None] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()


class YmirFormat(Format):
    """YMIR folders: images, gt and pred side by side, or an index.tsv of pictures beside gt and pred."""

    name: ClassVar[str] = "ymir"
    more_specific_than: ClassVar[frozenset[str]] = frozenset({"voc", "coco"})

    def detect(self, folder: Path) -> str:
        """``JPEGImages`` beside ``Annotations`` alone is VOC; whoever means YMIR by it names the format."""
        listing = list_folder(folder)
        if index := _index(listing):
            return f"pictures in {shown(index)}"
        for tree in _trees(listing):
            sides = [side.name for side in (tree.gt, tree.pred) if side and side.name.lower() in ("gt", "pred")]
            if sides:
                return f"pictures beside {' and '.join(sides)} in {shown(tree.place)}"
        return ""

    def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
        """A picture whose label file cannot be read is left out. The model is named once, for all predictions."""
        listing = list_folder(folder).without_pictures(is_mask)
        yield from listing.skips
        trees: list[_Tree] = []
        yield from _find_trees(listing, locate, trees)
        model = _Model()
        for tree in trees:
            yield from model.read(listing, tree.pred)
        class_names: dict[str, None] = {}
        for tree in trees:
            yield from _read_tree(listing, tree, model.name, locate, class_names)
        if class_names:
            yield ClassNames(tuple(class_names))
        known = {path for tree in trees for path in tree.targets}
        for picture in listing.pictures:
            if picture not in known:
                yield Skip(shown(picture), "lies in none of the folders of pictures", "image")

    def write(self, folder: Path, samples: Iterable[Sample], export: Export) -> list[JobWarning]:
        """``images``, ``gt``, and ``pred`` with its ``meta.yaml`` where there are predictions.

        Boxes are written as VOC files; where there is one outline in ``gt`` or ``pred``, that folder holds a ``coco-annotations.json``
        instead, for YMIR takes outlines from nothing else.
        """
        with _Writing(folder, export) as writing:
            for sample in samples:
                writing.add(sample)
        return writing.left_out.warnings()


# ---------------------------------------------------------------------------------------------------------------- finding


def _index(listing: Listing) -> PurePosixPath | None:
    return next(
        (file for file in listing.files if len(file.parts) == 1 and file.name.lower() in _INDEXES and first_row(listing, file)), None
    )


def _trees(listing: Listing) -> list[_Tree]:
    trees: dict[PurePosixPath, _Tree] = {}
    holding = dict.fromkeys(file.parent for file in listing.files)
    folders = {above: None for folder in holding for above in _from_the_top(folder) if 0 < len(above.parts) <= _DEEPEST + 1}
    roots = {folder: next(filter(_is_for_images, _from_the_top(folder)), None) for folder in holding}
    for picture in listing.pictures:
        if root := roots[picture.parent]:
            tree = trees.setdefault(root, _Tree(root.parent))
            tree.targets[picture] = listing.host(picture)
    for tree in trees.values():
        _find_sides(tree, folders)
    return list(trees.values())


def _from_the_top(folder: PurePosixPath) -> list[PurePosixPath]:
    return [*reversed(folder.parents), folder]


def _is_for_images(folder: PurePosixPath) -> bool:
    return 0 < len(folder.parts) <= _DEEPEST and folder.name.lower() in _IMAGES


def _find_sides(tree: _Tree, folders: Iterable[PurePosixPath]) -> None:
    beside = [folder for folder in folders if folder.parent == tree.place]
    for wanted in _GT:
        tree.gt = tree.gt or next((folder for folder in beside if folder.name.lower() == wanted), None)
    tree.pred = next((folder for folder in beside if folder.name.lower() in _PRED), None)


def _find_trees(listing: Listing, locate: Locate, trees: list[_Tree]) -> Iterator[Skip]:
    """Adds the trees; gives the rows of an index that name no picture."""
    index = _index(listing)
    if index is None:
        trees += _trees(listing)
        return
    tree = _Tree(index.parent)
    for row in read_index(listing, index, locate):
        if isinstance(row, Row):
            tree.targets[row.path] = row.target
        else:
            yield row
    _find_sides(tree, {parent for file in listing.files for parent in file.parents})
    trees.append(tree)


class _Model:
    """What ``pred/meta.yaml`` says; ``name`` is '' when nothing names the model."""

    def __init__(self) -> None:
        self.name = ""
        self._read: PurePosixPath | None = None

    def read(self, listing: Listing, pred: PurePosixPath | None) -> Iterator[Found]:
        file = next((f for f in listing.files if pred and f.parent == pred and f.name.lower() in _META), None)
        if pred is None or (file is None and self._read):
            return
        if file and self._read:
            yield Skip(shown(file), f"{shown(self._read)} names the model already", "file")
            return
        facts: Any = {}
        if file:
            try:
                facts = read_yaml(listing.read_text(file, _LARGEST_META_BYTES))
            except UnreadableFileError as error:
                yield Skip(shown(file), str(error), "file")
        self._read = file or pred
        facts = facts if isinstance(facts, dict) else {}
        self.name = _model_name(facts.get("model"))
        yield PredictedBy(self.name or pred.name, facts)


def _model_name(model: Any) -> str:
    names = [model.get(key) for key in ("model_name", "name", "model_hash", "hash")] if isinstance(model, dict) else [model]
    name = next((name.strip() for name in names if isinstance(name, str) and name.strip()), "")
    return name if name.isprintable() and len(name) <= 200 else ""


# ---------------------------------------------------------------------------------------------------------------- reading


def _read_tree(listing: Listing, tree: _Tree, model: str, locate: Locate, class_names: dict[str, None]) -> Iterator[Found]:
    gt, pred = _Said(), _Said()
    yield from _read_side(listing, tree, tree.gt, gt, locate, scored=False)
    yield from _read_side(listing, tree, tree.pred, pred, locate, scored=True)
    class_names.update(dict.fromkeys((*gt.class_names, *pred.class_names)))
    for picture, target in tree.targets.items():
        if gt.found.get(picture, ()) is None or pred.found.get(picture, ()) is None:
            continue
        annotations, size, marks = gt.found.get(picture) or (None, None, Marks())
        predictions, other_size, _ = pred.found.get(picture) or (None, None, Marks())
        if predictions is not None:
            predictions = tuple(replace(one, annotated_by=one.annotated_by or model) for one in predictions)
        split = folder_split_of(picture)
        yield ImportedImage(target, shown(picture), annotations, (split,) if split else (), size or other_size, marks, predictions)


def _read_side(listing: Listing, tree: _Tree, side: PurePosixPath | None, said: _Said, locate: Locate, *, scored: bool) -> Iterator[Skip]:
    """From ``coco-annotations.json`` where it is there, else from one VOC file per picture."""
    if side is None:
        return
    files = [file for file in listing.files if side in file.parents]
    part = listing.part(files, tree.targets)
    documents = [file for file in files if file.parent == side and file.name.lower() == _COCO]
    xmls = part.with_suffix(".xml")
    if not documents:
        yield from _read_voc(part, xmls, said, locate, scored=scored)
        return
    if xmls:
        yield Skip(shown(side), f"{len(xmls)} XML files were not read: {_COCO} was", "file")
    content = read_coco_file(part, documents[0], scored=scored)
    yield from content.notes
    said.class_names = content.class_names
    for picture in tree.targets:
        found = content.annotations.get(picture)
        if content.unreadable:
            said.found[picture] = None
            yield Skip(shown(picture), f"{shown(documents[0])} cannot be read", "image")
        elif found is not None:
            said.found[picture] = (found, content.sizes[picture], Marks())


def _read_voc(listing: Listing, files: list[PurePosixPath], said: _Said, locate: Locate, *, scored: bool) -> Iterator[Skip]:
    reading = VocReading(listing, locate, scored)
    for file in files:
        yield from reading.read(file)
    for picture, content in reading.labels.items():
        said.found[picture] = (content.annotations, content.size, content.marks) if content else None


# ---------------------------------------------------------------------------------------------------------------- writing


class _Writing:
    """One export on its way to disk; a context manager that finishes the label files."""

    def __init__(self, folder: Path, export: Export) -> None:
        self._folder, self._export = folder, export
        self._names, self.left_out = PictureNames(), LeftOut()
        self._gt, self._pred = _Side(folder, "gt", export), _Side(folder, "pred", export)
        self._model: str | None = None

    def __enter__(self) -> _Writing:
        return self

    def __exit__(self, error: object, *exc_info: object) -> None:
        chosen = [side.finish(self.left_out) for side in (self._gt, self._pred)]
        if self._model is not None:
            model = {"class_names": list(self._export.class_names), **({"model_name": self._model} if self._model else {})}
            meta = {"eval_class_names": list(self._export.class_names), "model": model}
            (self._folder / "pred" / "meta.yaml").write_text(yaml.safe_dump(meta, allow_unicode=True), encoding="utf-8")
        if "coco" not in chosen:
            warn_of_class_order(self._export, self.left_out)

    def add(self, sample: Sample) -> None:
        name = self._names.name(sample)
        place_picture(sample, self._folder / "images" / name, self._export)
        if sample.split:
            self.left_out.add("splits", "splits of pictures have no place in this layout", name)
        if not is_unlabeled(sample):
            self._gt.add(sample, name, sample.annotations, {})
        elif sample.marks.tags or sample.marks.hard:
            self.left_out.add("marks", "tags and marks of pictures without annotations have no place in this layout", name)
        if sample.predictions is not None:
            if self._model is None and sample.predictions:
                self._model = sample.predictions[0].annotated_by
            self._model = self._model or ""
            self._pred.add(sample, name, sample.predictions, {"annotated-by": self._model})


class _Side:
    """``gt`` or ``pred``, written in both forms side by side until it is known whether there is an outline."""

    def __init__(self, folder: Path, name: str, export: Export) -> None:
        self._folder, self._export = folder / name, export
        self._ids = {class_name: index for index, class_name in enumerate(export.class_names)}
        self._voc, self._coco = LeftOut(), LeftOut()
        self._parts: dict[str, TextIO] = {}
        self._image_count = self._annotation_count = 0
        self._outlined = False

    def add(self, sample: Sample, name: str, annotations: tuple[Annotation, ...], common: Mapping[str, Any]) -> None:
        marks = Marks() if self._folder.name == "pred" else sample.marks
        file = VocFile(name, sample.asset, annotations, marks, hard=self._export.hard, common=common)
        write_label(self._folder / f"{PurePosixPath(name).stem}.xml", write_voc(file, self._voc)[0].encode())
        self._image_count += 1
        self._part("images", {"id": self._image_count, "file_name": name, "width": sample.asset.width, "height": sample.asset.height})
        if marks.tags or marks.hard:
            self._coco.add("marks", f"tags and marks of pictures have no place in {_COCO}", name)
        for annotation in annotations:
            self._outlined = self._outlined or bool(annotation.segmentation)
            self._add_annotation(annotation, name)

    def _add_annotation(self, annotation: Annotation, name: str) -> None:
        if annotation.shape != "box" or annotation.class_name not in self._ids:
            self._coco.add("shapes", f"annotations that are no boxes or of no exported class have no place in {_COCO}", name)
            return
        if annotation.attributes or annotation.difficult or annotation.angle or annotation.quality != -1.0:
            self._coco.add("attributes", f"attributes of annotations have no place in {_COCO}", name)
        self._annotation_count += 1
        box = [_plain(value) for value in (annotation.x, annotation.y, annotation.width, annotation.height)]
        entry = {
            "id": self._annotation_count,
            "image_id": self._image_count,
            "category_id": self._ids[annotation.class_name],
            "iscrowd": int(annotation.crowd),
            "bbox": box,
            "confidence": -1.0 if annotation.score is None else annotation.score,
            "area": _plain(annotation.width * annotation.height),
            "segmentation": annotation.segmentation or {},
        }
        self._part("annotations", entry)

    def _part(self, key: str, entry: Mapping[str, Any]) -> None:
        if key not in self._parts:
            self._parts[key] = (self._folder / f".{key}.part").open("w+", encoding="utf-8")
        file = self._parts[key]
        file.write(("," if file.tell() else "") + json.dumps(entry, ensure_ascii=False) + "\n")

    def finish(self, left_out: LeftOut) -> str:
        """Keep the form that fits and remove the other; '' when there was nothing to write."""
        if not self._parts:
            return ""
        if self._outlined:
            self._join()
            for file in self._folder.glob("*.xml"):
                file.unlink()
        for part in self._parts.values():
            part.close()
            Path(part.name).unlink()
        left_out.take(self._coco if self._outlined else self._voc)
        return "coco" if self._outlined else "voc"

    def _join(self) -> None:
        categories = [{"id": index, "name": name, "supercategory": "object"} for name, index in self._ids.items()]
        with (self._folder / _COCO).open("w", encoding="utf-8") as file:
            for key in ("images", "annotations"):
                file.write(("{" if key == "images" else ",\n") + f'"{key}": [\n')
                if part := self._parts.get(key):
                    part.seek(0)
                    file.writelines(part)
                file.write("]")
            file.write(
                f',\n"licenses": [{{"id": 1, "name": "", "url": ""}}],\n"categories": {json.dumps(categories, ensure_ascii=False)}}}\n'
            )


def _plain(value: float) -> float | int:
    """7 and not 7.0, as YMIR writes whole pixels."""
    return int(number_text(value)) if float(value).is_integer() else value
