"""What images declare in /img-man, and how little of it may be wrong."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import ImageError
from contracts.image import Kind, ObjectType, ParameterType
from contracts.ymir import read_metadata

TEMPLATE = b"epochs: 3\n"

#: The training template of a published image (contract reference 2.2), comments added.
YOLOV5 = b"""\
# how the image shares memory
shm_size: '128G'
export_format: 'ark:raw'   # annotations it reads
model: 'yolov5s'
batch_size_per_gpu: 16 # for each card
epochs: 100
anchors: '12, 16, # not a comment'
save_best_only: True
sync_bn: off
lr: 0.1

# ---------
# a list
# of two lines
sizes:  # in pixels
  - 1
  - 2
class_names: []
nothing:
ymir_saved_file_patterns: ''
"""


def test_a_template_keeps_the_order_types_and_defaults_of_the_file() -> None:
    template = read_metadata({"training-template.yaml": YOLOV5}).templates[0]
    assert list(template.defaults().items()) == [
        ("shm_size", "128G"),
        ("export_format", "ark:raw"),
        ("model", "yolov5s"),
        ("batch_size_per_gpu", 16),
        ("epochs", 100),
        ("anchors", "12, 16, # not a comment"),
        ("save_best_only", True),
        ("sync_bn", False),
        ("lr", 0.1),
        ("sizes", [1, 2]),
        ("class_names", []),
        ("nothing", None),
        ("ymir_saved_file_patterns", ""),
    ]
    types = {p.name: p.type for p in template.parameters}
    assert types["sync_bn"] is ParameterType.BOOL
    assert types["nothing"] is ParameterType.ANY
    assert types["class_names"] is ParameterType.LIST


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shm_size", "how the image shares memory"),
        ("export_format", "annotations it reads"),
        ("batch_size_per_gpu", "for each card"),
        ("anchors", ""),
        ("epochs", ""),
        ("sizes", "a list\nof two lines\nin pixels"),
    ],
)
def test_comments_above_and_beside_a_parameter_are_its_help(name: str, text: str) -> None:
    parameter = read_metadata({"training-template.yaml": YOLOV5}).templates[0].find(name)
    assert parameter is not None
    assert parameter.help == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", True),
        ("No", False),
        ("on", True),
        ("OFF", False),
        ("y", "y"),
        ("0x10", 16),
        ("1e-3", "1e-3"),
        ("1.0e-3", 0.001),
        ("~", None),
        ("012", 10),
    ],
)
def test_values_mean_what_pyyaml_reads(text: str, value: Any) -> None:
    metadata = read_metadata({"mining-template.yaml": f"key: {text}\n".encode()})
    assert repr(metadata.templates[0].defaults()["key"]) == repr(value)


def test_each_template_offers_its_kind() -> None:
    files = {"training-template.yaml": TEMPLATE, "mining-template.yaml": TEMPLATE, "infer-template.yaml": b"{}\n"}
    metadata = read_metadata(files)
    assert metadata.kinds == (Kind.TRAINING, Kind.MINING, Kind.INFERENCE)
    assert metadata.object_types == (ObjectType.DETECTION,)
    assert metadata.warnings == ()


def test_the_manifest_and_the_readme_are_read() -> None:
    manifest = b"object_type: 4\nenable_livecode: true\nis_official: yes\n"
    metadata = read_metadata({"training-template.yaml": TEMPLATE, "manifest.yaml": manifest, "readme.md": "# Größe".encode()})
    assert (metadata.object_types, metadata.enable_livecode, metadata.is_official) == ((ObjectType.INSTANCE_SEGMENTATION,), True, True)
    assert metadata.readme == "# Größe"


def test_a_list_of_object_types_has_one_folder_of_templates_each() -> None:
    files = {
        "manifest.yaml": b"object_type: [2, 3]\n",
        "det/training-template.yaml": b"a: 1\n",
        "semantic-seg/training-template.yaml": b"b: 1\n",
        "semantic-seg/infer-template.yaml": b"c: 1\n",
        "training-template.yaml": b"root: 1\n",
    }
    metadata = read_metadata(files)
    found = [(t.object_type, t.kind, [p.name for p in t.parameters]) for t in metadata.templates]
    assert found == [
        (ObjectType.DETECTION, Kind.TRAINING, ["a"]),
        (ObjectType.SEMANTIC_SEGMENTATION, Kind.TRAINING, ["b"]),
        (ObjectType.SEMANTIC_SEGMENTATION, Kind.INFERENCE, ["c"]),
    ]
    assert metadata.warnings == ()


def test_an_object_type_without_its_folder_uses_the_templates_of_the_root_and_says_so() -> None:
    files = {"manifest.yaml": b"object_type: [2, 50]\n", "det/infer-template.yaml": b"a: 1\n", "infer-template.yaml": b"root: 1\n"}
    metadata = read_metadata(files)
    template = metadata.find_template(Kind.INFERENCE, ObjectType.MULTI_MODAL)
    assert template is not None
    assert template.defaults() == {"root": 1}
    assert any("multi-modal/" in warning for warning in metadata.warnings)


@pytest.mark.parametrize("manifest", ["object_type: [2, 77]", "object_type: [2, 5]", "object_type: [2, null]"])
def test_an_unknown_object_type_in_a_list_is_reported_and_skipped(manifest: str) -> None:
    metadata = read_metadata({"manifest.yaml": manifest.encode(), "det/training-template.yaml": TEMPLATE})
    assert metadata.object_types == (ObjectType.DETECTION,)
    assert any("skipped" in warning for warning in metadata.warnings)


@pytest.mark.parametrize(
    "manifest", ["", "[1, 2]", "a: [", "object_type:", "object_type: 0", "object_type: '2'", "object_type: 2.0", "\x00"]
)
def test_a_manifest_that_can_be_made_sense_of_means_detection_with_a_warning(manifest: str) -> None:
    metadata = read_metadata({"manifest.yaml": manifest.encode(), "training-template.yaml": TEMPLATE})
    assert metadata.object_types == (ObjectType.DETECTION,)
    assert metadata.warnings


@pytest.mark.parametrize("declared", ["detection", "true", "{2: 3}", "7", "5", "-2", "[]", "[77]", "[[2]]", "2.5"])
def test_any_other_object_type_is_refused_with_the_known_ones(declared: str) -> None:
    with pytest.raises(ImageError) as raised:
        read_metadata({"manifest.yaml": f"object_type: {declared}\n".encode(), "training-template.yaml": TEMPLATE})
    assert "2 (detection)" in raised.value.hint


BROKEN = {
    "empty": b"",
    "only a comment": b"# nothing\n",
    "a list": b"- 1\n",
    "a text": b"hello",
    "not yaml": b"a: [1\nb: 2\n",
    "two documents": b"a: 1\n---\nb: 2\n",
    "a python object": b"a: !!python/object/apply:os.system ['true']\n",
    "a tab": b"a:\n\t- 1\n",
    "binary": bytes(range(256)),
    "deep": b"a: " + b"[" * 600,
    "a huge number": b"a: " + b"9" * 10_000,
    "a huge base 60 number": b"a: " + b"1:" * 50_000 + b"1",
    "too large": b"a: '" + b"x" * 400_000 + b"'",
    "an alias to itself": b"a: &a [*a]\n",
    "a bomb": b"a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n"
    + b"".join(b"a%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 9)),
    "a merge bomb": b"a0: &a0 {k: 1}\n"
    + b"".join(b"a%d: &a%d {<<: [%s]}\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 10)) for i in range(1, 9)),
    "a wrong int": b"a: !!int ''\n",
    "a wrong date": b"a: 2020-99-99\n",
    "a set": b"a: !!set {x}\n",
    "bytes": b"a: !!binary aGVsbG8=\n",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_template_that_cannot_be_read_takes_its_kind_away_with_a_warning(content: bytes) -> None:
    metadata = read_metadata({"training-template.yaml": content, "infer-template.yaml": TEMPLATE})
    assert metadata.kinds == (Kind.INFERENCE,)
    assert [w for w in metadata.warnings if w.startswith("training-template.yaml") and "not offered" in w]


@pytest.mark.parametrize(
    ("content", "defaults"),
    [
        (b"a: 1\na: 2\n", {"a": 2}),
        (b"\xef\xbb\xbfa: 1\n", {"a": 1}),
        (b"a: 1 # gr\xf6\xdfe\n", {"a": 1}),
        (b"day: 2020-01-02\n", {"day": "2020-01-02"}),
        (b"nested: {x: [1]}\n", {"nested": {"x": [1]}}),
        (b"on: 1\n2: 3\n", {"on": 1, "2": 3}),
        (b"? [a]\n: 1\nb: 2\n", {"b": 2}),
        (b"base: &b {x: 1, y: 2}\n<<: *b\ny: 3\n", {"x": 1, "y": 3, "base": {"x": 1, "y": 2}}),
    ],
)
def test_odd_but_readable_templates_are_read(content: bytes, defaults: dict[str, Any]) -> None:
    assert read_metadata({"training-template.yaml": content}).templates[0].defaults() == defaults


def test_without_any_template_the_error_says_what_to_do() -> None:
    with pytest.raises(ImageError) as raised:
        read_metadata({"readme.md": b"hello"})
    assert "training-template.yaml" in raised.value.hint
    assert "/img-man" in raised.value.message


def test_no_files_at_all_is_an_image_error() -> None:
    with pytest.raises(ImageError, match="offers no kind of job"):
        read_metadata({})


@given(
    st.dictionaries(
        st.sampled_from(["manifest.yaml", "training-template.yaml", "det/mining-template.yaml", "readme.md"]), st.binary(max_size=200)
    )
)
def test_any_bytes_are_metadata_or_an_image_error(files: dict[str, bytes]) -> None:
    with suppress(ImageError):
        assert read_metadata(files).templates


@given(st.text(alphabet="ab:-[]{}&*!<#'\"\n 01.,|>?%@~", max_size=120))
def test_any_yaml_like_text_is_a_template_or_an_image_error(text: str) -> None:
    with suppress(ImageError):
        read_metadata({"training-template.yaml": text.encode()})
