"""Everything an image reads, written below ``/in``, and an ``/out`` it can write to (contract reference 3.2, 4 and 10)."""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from operator import attrgetter
from pathlib import Path, PurePosixPath

from contracts.dataset import JobInputs, ListedSamples, ModelInput, Sample, SampleTable
from contracts.errors import DatasetError
from contracts.image import Kind, ObjectType
from contracts.job import JobWarning
from contracts.ymir import layout
from contracts.ymir.annotations import readable_folder, write_ark, write_coco, write_readable, write_voc
from contracts.ymir.asset_view import CANNOT_LINK, copy_readable, note_copy, place_assets
from contracts.ymir.classification import write_labels
from contracts.ymir.documents import dump_yaml
from contracts.ymir.environment import config, environment
from contracts.ymir.export_format import AnnotationForm, choose_form
from contracts.ymir.layout import ContainerView
from contracts.ymir.model_info import model_input_info
from contracts.ymir.predictions import write_predictions
from contracts.ymir.tolerances import Tolerances, printable, shorten

_ASSET_ID = re.compile(r"[0-9a-f]{40}")
_EXTENSION = re.compile(r"[a-z0-9]{1,10}")
_TASK_ID = re.compile(r"[A-Za-z0-9_]{1,64}")


def stage(inputs: JobInputs, in_dir: Path, out_dir: Path) -> list[JobWarning]:
    """Write every input file and prepare the output folder; both are emptied first, since ``/out`` must be fresh for each attempt. Only what
    an earlier try has of the view of the pictures is kept and completed: there may be a million of them.

    May be repeated: the same inputs give the same bytes, except the time in the first row of monitor.txt. Raises ``DatasetError`` before
    anything is changed when the data cannot be given to an image; ``OSError`` (a full disk) comes through as it is.
    """
    check(inputs)
    tolerances = Tolerances()
    form = choose_form(inputs.parameters, inputs.object_type, tolerances) if _needs_form(inputs) else AnnotationForm.NONE
    tables = [_table(samples) for _, samples in _splits(inputs)]
    _prepare_in(in_dir, keep_assets=not inputs.paths.assets_dir)
    if not inputs.paths.assets_dir:
        _place_assets(tables, in_dir / "assets", tolerances)
    _write_annotations(form, inputs, tables, in_dir / "annotations", tolerances)
    _write_indexes(form, inputs, tables, in_dir)
    if inputs.predictions is not None:
        write_predictions(inputs.predictions, in_dir / layout.PREDICTIONS, tolerances)
        _write_names(tables[0], in_dir / layout.CANDIDATE_NAMES, ContainerView.of(inputs.paths))
    model_files = _place_model(inputs.model, in_dir / "models", tolerances)
    _write(in_dir / layout.CONFIG, dump_yaml(config(inputs, model_files)))
    _write(in_dir / layout.ENVIRONMENT, dump_yaml(environment(inputs)))
    _prepare_out(inputs.task_id, out_dir)
    return list(tolerances.warnings())


def check(inputs: JobInputs) -> None:
    """Refuse what no image could use. Raises ``DatasetError``."""
    _check_names(inputs)
    _check_class_names(inputs)
    for split, samples in _splits(inputs):
        _check_split(split, samples)
    _check_overlap(inputs)
    if inputs.model:
        _check_model(inputs, inputs.model)


def _check_names(inputs: JobInputs) -> None:
    """Readers in many images split a row at white space, and the shell scripts of others do not quote."""
    if not _TASK_ID.fullmatch(inputs.task_id):
        raise DatasetError(f"the task id {inputs.task_id!r} has characters that images cannot take", hint="Use letters, digits and _ only.")
    for path in (inputs.paths.in_dir, inputs.paths.out_dir, inputs.paths.assets_dir or "/"):
        if not path.startswith("/") or any(c.isspace() or not c.isprintable() for c in path):
            raise DatasetError(
                f"the image would see its folder as {path!r}: it must be absolute and without white space",
                hint="Put Sluice's data home (SLUICE_HOME) at a path without spaces, or use a container engine.",
            )


def _check_class_names(inputs: JobInputs) -> None:
    names = inputs.class_names
    if not names and (inputs.kind is Kind.TRAINING or inputs.object_type is not ObjectType.MULTI_MODAL):
        raise DatasetError("there are no class names", hint="Name the classes, or give a dataset version (a model) that has some.")
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise DatasetError(f"class names given more than once: {shorten(twice)}", hint="Name each class once.")
    if any(not name.strip() or any(unicodedata.category(c) in ("Cc", "Cs") for c in name) for name in names):
        raise DatasetError("a class name is empty or has control characters", hint="Rename the class and import the data again.")


def _splits(inputs: JobInputs) -> list[tuple[str, Sequence[Sample]]]:
    """A mining may be given what its model was trained on, beside the candidates."""
    if inputs.kind is Kind.TRAINING:
        return [("train", inputs.train), ("val", inputs.val)]
    return [("candidates", inputs.candidates), *([("train", inputs.train)] if inputs.train else [])]


def _table(samples: Sequence[Sample]) -> SampleTable:
    return samples if isinstance(samples, SampleTable) else ListedSamples(samples)


def _check_split(split: str, samples: Sequence[Sample]) -> None:
    if not samples:
        raise DatasetError(f"{split} has no pictures", hint="Choose a dataset, version or split that has some.", split=split)
    if isinstance(samples, SampleTable):
        return  # which guarantees the rest
    seen: set[str] = set()
    for sample in samples:
        asset = sample.asset
        if asset.id in seen:
            raise DatasetError(
                f"{split} has the picture {_shown(sample)} twice", hint="Leave one of them out.", split=split, asset=asset.id
            )
        if not _ASSET_ID.fullmatch(asset.id) or not _EXTENSION.fullmatch(asset.extension):
            raise DatasetError(
                f"{split} has an asset named {asset.file_name!r}", hint="An asset is named <sha1>.<extension>: import the data again."
            )
        seen.add(asset.id)


def _check_overlap(inputs: JobInputs) -> None:
    if inputs.kind is not Kind.TRAINING:
        return
    train = set(_ids(inputs.train))
    both = [place for place, asset_id in enumerate(_ids(inputs.val)) if asset_id in train]
    if both:
        raise DatasetError(
            f"{len(both)} pictures are in train and in val: {shorten(_shown(inputs.val[place]) for place in both)}",
            hint="Metrics over pictures that were trained on say nothing: take them out of one of the two.",
            assets=[inputs.val[place].asset.id for place in both[:100]],
        )


def _ids(samples: Sequence[Sample]) -> Iterable[str]:
    if isinstance(samples, SampleTable):
        return (path[3:].partition(".")[0] for paths in samples.relative_paths() for path in paths)
    return (sample.asset.id for sample in samples)


def _check_model(inputs: JobInputs, model: ModelInput) -> None:
    for name in (model.stage_name, *model.files):
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or not name.isprintable() or str(path) != name or name == ".":
            raise DatasetError(
                f"model {model.name!r} has a file or stage named {name!r}", hint="Names are relative to the stage, without '..'."
            )
    if len(PurePosixPath(model.stage_name).parts) != 1:
        raise DatasetError(f"model {model.name!r} has a stage named {model.stage_name!r}", hint="A stage name is one folder name.")
    if not model.files:
        raise DatasetError(f"model {model.name!r} has no files in stage {model.stage_name!r}", hint="Choose another stage.")
    wanted, own = inputs.object_type, model.object_type or ObjectType.DETECTION
    if inputs.kind is not Kind.TRAINING and own is not wanted:
        raise DatasetError(
            f"model {model.name!r} is for {own.label}, the job for {wanted.label}", hint="Choose a model of the job's object type."
        )


def _shown(sample: Sample) -> str:
    return sample.name or sample.asset.file_name


def _needs_form(inputs: JobInputs) -> bool:
    """Candidates have no annotations; a wish for other than raw pictures must still be refused."""
    return bool(inputs.train) or inputs.kind is Kind.TRAINING or bool(inputs.parameters.get("export_format"))


def _prepare_in(in_dir: Path, keep_assets: bool) -> None:
    _empty(in_dir, keep="assets" if keep_assets else "")
    in_dir.chmod(0o755)
    for name in layout.IN_FOLDERS:
        readable_folder(in_dir / name)


def _prepare_out(task_id: str, out_dir: Path) -> None:
    """The container may run as any user: everything is open to all, as in YMIR. The parent folder keeps other people out."""
    _empty(out_dir)
    for path in (out_dir, out_dir / layout.MODELS, out_dir / layout.TENSORBOARD):
        path.mkdir(exist_ok=True)
        path.chmod(0o777)
    first_files = {
        layout.MONITOR: f"{task_id}\t{time.time():.6f}\t0.00\t1\t0\n",
        layout.EXECUTOR_LOG: "",  # where the container is shown its own output
    }
    for name, text in first_files.items():
        (out_dir / name).write_text(text, encoding="utf-8")
        (out_dir / name).chmod(0o666)


def _empty(folder: Path, keep: str = "") -> None:
    """An empty folder but for the folder ``keep``, whatever an earlier attempt left. Never follows a link; the folder itself stays (it may be
    a mount).
    """
    folder.mkdir(parents=True, exist_ok=True)
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name != keep:
                    shutil.rmtree(entry.path)
            else:
                Path(entry.path).unlink()


def _place_assets(tables: Sequence[SampleTable], assets_dir: Path, tolerances: Tolerances) -> None:
    try:
        place_assets(tables, assets_dir, tolerances)
    except (FileNotFoundError, IsADirectoryError) as error:
        lost = PurePosixPath(str(error.filename)).name
        sample = next((sample for table in tables for sample in table if sample.asset.file_name == lost), None)
        if sample is None:
            raise
        raise DatasetError(
            f"the picture {_shown(sample)} is not at {sample.path}",
            hint="Import the data again: its file was lost.",
            asset=sample.asset.id,
        ) from error


def _link(source: Path, target: Path, place: str, tolerances: Tolerances) -> None:
    """The file under another name without a copy; a copy only where the file system allows no link."""
    if stat.S_ISLNK(source.lstat().st_mode):
        source = source.resolve(strict=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in CANNOT_LINK or not source.is_file():
            raise
        copy_readable(source, target)
        note_copy(place, error.errno or 0, tolerances)


class _InOrder:
    """The samples of all tables in the order of their ids, as often as they are iterated."""

    def __init__(self, tables: Sequence[SampleTable]) -> None:
        self._tables = tables

    def __iter__(self) -> Iterator[Sample]:
        return merge(*self._tables, key=attrgetter("asset.id"))


def _write_annotations(
    form: AnnotationForm, inputs: JobInputs, tables: Sequence[SampleTable], annotations_dir: Path, tolerances: Tolerances
) -> None:
    if not inputs.train:
        return
    class_ids = {name: i for i, name in enumerate(inputs.class_names)}
    samples = _InOrder(tables if inputs.kind is Kind.TRAINING else tables[1:])
    if form is AnnotationForm.ARK:
        write_ark(samples, class_ids, annotations_dir, tolerances)
    elif form is AnnotationForm.VOC:
        write_voc(samples, class_ids, annotations_dir, ContainerView.of(inputs.paths), tolerances)
    elif form is AnnotationForm.COCO:
        write_coco(samples, class_ids, annotations_dir, tolerances)
    elif form is AnnotationForm.LABELS:
        write_labels(samples, class_ids, annotations_dir, tolerances)


def _write_indexes(form: AnnotationForm, inputs: JobInputs, tables: Sequence[SampleTable], in_dir: Path) -> None:
    view = ContainerView.of(inputs.paths)
    names = {"train": layout.TRAIN_INDEX, "val": layout.VAL_INDEX, "candidates": layout.CANDIDATE_INDEX}
    for (split, _), table in zip(_splits(inputs), tables, strict=True):
        with (in_dir / names[split]).open("w", encoding="utf-8", newline="\n") as file:
            write_readable(file, "")
            for paths in table.relative_paths():
                file.write(_index(paths, AnnotationForm.NONE if split == "candidates" else form, view))


def _write_names(candidates: SampleTable, file: Path, view: ContainerView) -> None:
    """Each candidate and the file name it was imported under, which may say where it stands in a sequence."""
    with file.open("w", encoding="utf-8", newline="\n") as opened:
        write_readable(opened, "")
        for sample in candidates:
            opened.write(f"{view.asset(sample.asset)}\t{' '.join(printable(sample.name).split())}\n")


def _index(paths: Sequence[str], form: AnnotationForm, view: ContainerView) -> str:
    """One row for each picture, in order; without annotations the row has one column (contract reference 4.3)."""
    if not paths:
        return ""
    begin = f"{view.assets}/"
    if form in (AnnotationForm.ARK, AnnotationForm.VOC, AnnotationForm.LABELS):
        place, extension = view.in_("annotations"), "xml" if form is AnnotationForm.VOC else "txt"
        return "".join([f"{begin}{path}\t{place}/{path.partition('.')[0]}.{extension}\n" for path in paths])
    end = "\n" if form is AnnotationForm.NONE else f"\t{view.in_(f'annotations/{layout.COCO_ANNOTATIONS}')}\n"
    return begin + (end + begin).join(paths) + end


def _place_model(model: ModelInput | None, models_dir: Path, tolerances: Tolerances) -> list[str]:
    """All files of the stage under their own names, and the package's description; returns the names, sorted.

    Some images take the newest file by ctime, which a link sets anew: so the files are linked from the oldest to the newest.
    """
    if model is None:
        return []
    stage_dir = models_dir / model.stage_name
    for name in sorted(model.files, key=lambda name: (_modified(model, name), name)):
        if any(c.isspace() for c in name):
            tolerances.add("model_file_with_space", "model files with white space in their names: images may fail on them", "models", name)
        for folder in reversed((stage_dir / name).relative_to(models_dir).parents[:-1]):
            readable_folder(models_dir / folder)
        _link(model.files[name], stage_dir / name, "models", tolerances)
    _write(models_dir / layout.MODEL_INFO, dump_yaml(model_input_info(model)))
    return sorted(model.files)


def _modified(model: ModelInput, name: str) -> float:
    try:
        return model.files[name].stat().st_mtime
    except FileNotFoundError as error:
        raise DatasetError(
            f"model {model.name!r}: the file {name!r} of stage {model.stage_name!r} is not at {model.files[name]}",
            hint="Its file was lost: choose another stage, or train again.",
        ) from error


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        write_readable(file, text)
