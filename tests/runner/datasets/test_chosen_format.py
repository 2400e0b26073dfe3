"""A folder fits exactly one format, or the error says which."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from contracts.errors import DatasetError
from contracts.seams import Export, Format, Found, Locate, not_located
from plugins.formats.ark import ArkFormat
from plugins.formats.coco import CocoFormat
from plugins.formats.images import ImagesFormat
from plugins.formats.inference_results import InferenceResultsFormat
from plugins.formats.manifest import ManifestFormat
from plugins.formats.voc import VocFormat
from plugins.formats.ymir import YmirFormat
from plugins.formats.yolo import YoloFormat
from runner.chosen_format import most_specific
from runner.datasets import choose_format
from tests.conformance.format import CLASSES, make_samples

FORMATS = {
    plugin.name: plugin()
    for plugin in (VocFormat, CocoFormat, YoloFormat, ImagesFormat, ManifestFormat, InferenceResultsFormat, YmirFormat, ArkFormat)
}
XML = "<annotation><object><name>cat</name></object></annotation>"
COCO = '{"images": [{"id": 1, "file_name": "1.png"}], "annotations": [], "categories": []}'
LINE = json.dumps({"source": "1.png", "annotation": []})
RESULT = '{"predicted_label":"dog","scores":[["dog","0.589"]]}'


def _make(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        if name.endswith(".png"):
            Image.new("RGB", (8, 8)).save(path)
    return folder


@pytest.mark.parametrize(
    ("files", "expected", "also"),
    [
        (["1.png"], "images", ""),
        (["1.png", "1.xml"], "voc", ""),
        (["JPEGImages/1.png", "Annotations/1.xml", "ImageSets/Main/train.txt"], "voc", ""),
        (["images/1.png", "gt/1.xml"], "ymir", "voc"),
        (["a/b/images/1.png", "a/b/gt/1.xml", "a/b/pred/1.xml", "a/b/pred/meta.yaml"], "ymir", "voc"),
        (["images/1.png", "gt/coco-annotations.json"], "ymir", "coco"),
        (["images/1.png", "coco-annotations.json"], "coco", ""),
        (["store/1.png", "index.tsv", "gt/1.xml"], "ymir", "voc"),
        (["Data/1.png", "Data/1.xml", "output.manifest"], "manifest", "voc"),
        (["Data/cat/1.png", "output.manifest"], "manifest", ""),
        (["images/1.png", "inference_results/1.png_result.txt"], "inference-results", ""),
        (["images/1.png", "inference_results/1.png_result.txt", "a.manifest"], "manifest", "inference-results"),
        (["images/1.png", "labels/1.txt"], "yolo", ""),
        (["images/1.png", "annotations/1.ark.txt", "annotations/1.txt"], "ark", ""),
        (["images/1.png", "annotations/1.txt", "train-index.tsv", "config.yaml"], "ark", ""),
        (["images/1.png", "gt/1.txt"], "ark", "ymir"),
    ],
)
def test_the_most_specific_format_is_meant_and_what_else_was_seen_is_said(
    tmp_path: Path, files: list[str], expected: str, also: str
) -> None:
    rows = "0 0.5 0.5 0.1 0.1\n" if expected == "yolo" else "0, 1, 1, 5, 5, -1.0, 0.0\n"
    contents = {
        ".xml": XML,
        ".json": COCO,
        ".manifest": LINE,
        ".txt": rows,
        ".tsv": "store/1.png\tannotations/1.txt\n",
        ".png": "",
        ".yaml": "a: 1",
    }
    contents[".tsv"] = "store/1.png\n" if expected == "ymir" else contents[".tsv"]
    folder = _make(tmp_path, {name: RESULT if name.endswith("_result.txt") else contents[Path(name).suffix] for name in files})
    chosen, why = choose_format(folder, FORMATS)
    assert chosen.name == expected
    assert ("less specific: " + also in why) if also else ("less specific" not in why)


@pytest.mark.parametrize(
    "files", [{"1.png": "", "1.xml": XML, "all.json": COCO}, {"images/1.png": "", "gt/1.xml": XML, "images/1.txt": "0 0.5 0.5 0.1 0.1"}]
)
def test_formats_of_which_none_is_more_specific_are_all_named(tmp_path: Path, files: dict[str, str]) -> None:
    with pytest.raises(DatasetError, match="fits several formats") as raised:
        choose_format(_make(tmp_path, files), FORMATS)
    assert len(raised.value.fields["formats"]) == 2


@pytest.mark.parametrize("name", ["voc", "manifest", "inference-results", "ymir", "ark"])
def test_what_a_format_wrote_is_recognised_as_its_own(tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    target.mkdir()
    FORMATS[name].write(target, make_samples(tmp_path), Export("cells", "V001", CLASSES))
    assert choose_format(target, FORMATS)[0].name == name


def test_a_chain_of_formats_ends_at_the_most_specific() -> None:
    formats = {name: _plugin(name, others) for name, others in {"a": "b", "b": "c", "c": "", "d": ""}.items()}
    assert most_specific(formats, {"a": "1", "b": "2", "c": "3"}) == {"a": "1 (less specific: b: 2)"}
    assert list(most_specific(formats, {"a": "1", "c": "3", "d": "4"})) == ["a", "c", "d"]


def _plugin(plugin_name: str, others: str) -> Format:
    class Plugin(Format):
        name = plugin_name
        more_specific_than = frozenset(others)

        def detect(self, folder: Path) -> str:
            return "yes"

        def read(self, folder: Path, locate: Locate = not_located) -> Iterator[Found]:
            yield from ()

    return Plugin()


def test_every_name_that_a_format_is_more_specific_than_is_one() -> None:
    assert all(plugin.more_specific_than <= FORMATS.keys() - {plugin.name} for plugin in FORMATS.values())


def test_import_of_each(tmp_path: Path, run_import: Callable[..., dict[str, object]]) -> None:
    """The importer takes what each format gives."""
    samples = make_samples(tmp_path)
    for number, name in enumerate(("voc", "manifest", "inference-results", "ymir", "ark")):
        target = tmp_path / f"target {number}"
        target.mkdir()
        FORMATS[name].write(target, samples, Export("cells", "V001", CLASSES))
        report = run_import(target, name=f"set{number}", formats=FORMATS)
        assert (report["format"], report["images"], report["skipped"]) == (name, 3, [])
