"""result.yaml in all its forms (section 5.2): what can be kept of a training is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import ResultError, ResultMalformedError, ResultMissingError
from contracts.results import TrainingResult
from contracts.ymir import collect_training

NEW = """\
best_stage_name: epoch_50
mAP: 0.8
model_stages:
  epoch_10: {stage_name: epoch_10, files: [model-10.pt, config.py], timestamp: 1663934682, mAP: 0.6}
  epoch_50: {stage_name: epoch_50, files: [model-50.pt, config.py], timestamp: 1663934690, mAP: 0.8, mAR: 0.9, tp: 10, fp: 1, fn: 2}
attachments:
  curves: [report.json]
evaluate_config: {iou_thr: 0.5, conf_thr: 0.005}
"""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An /out with the files that the texts name: some below their stage, some directly in models."""
    for name in (
        "epoch_10/model-10.pt",
        "epoch_10/config.py",
        "epoch_50/model-50.pt",
        "config.py",
        "a.pt",
        "attachments/curves/report.json",
    ):
        path = tmp_path / "out" / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    return tmp_path / "out"


@pytest.fixture
def collect(out: Path) -> Callable[[str | bytes], TrainingResult]:
    def write_and_collect(text: str | bytes) -> TrainingResult:
        (out / "models/result.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
        return collect_training(out)

    return write_and_collect


Collect = Callable[[str | bytes], TrainingResult]


def codes(result: TrainingResult) -> list[str]:
    return [warning.code for warning in result.warnings]


def one(stage: str, top: str = "best_stage_name: s") -> str:
    """A result with one stage ``s`` of these keys."""
    return f"{top}\nmodel_stages:\n  s: {{{stage}}}\n"


GOOD = "stage_name: s, files: [a.pt], timestamp: 5, mAP: 0.5"


def test_the_new_form_is_read_whole_without_a_tolerance(collect: Collect, out: Path) -> None:
    result = collect(NEW)
    first, best = result.stages
    assert result.best_stage_name == "epoch_50"
    assert first.files == {"model-10.pt": out / "models/epoch_10/model-10.pt", "config.py": out / "models/epoch_10/config.py"}
    assert best.files == {"model-50.pt": out / "models/epoch_50/model-50.pt", "config.py": out / "models/config.py"}
    assert best.metrics == {"mAP": 0.8, "mAR": 0.9, "tp": 10, "fp": 1, "fn": 2}
    assert (first.timestamp, best.timestamp) == (1663934682, 1663934690)
    assert result.attachments == {"curves": (out / "models/attachments/curves/report.json",)}
    assert result.evaluate_config == {"iou_thr": 0.5, "conf_thr": 0.005}
    assert result.warnings == ()


#: Every disagreement of section 5.2: text, metrics of the best stage, tolerances.
VARIANTS: dict[str, tuple[str, dict[str, float], list[str]]] = {
    "old form": ("model: [a.pt]\nmap: 0.9\n", {"mAP": 0.9}, ["result_old_form"]),
    "old form, one file": ("model: a.pt\nmap: 0.9\n", {"mAP": 0.9}, ["result_old_form", "result_files_not_list"]),
    "old form, mAP": ("model: [a.pt]\nmAP: 0.9\n", {"mAP": 0.9}, ["result_old_form"]),
    "old form, mAP50": ("model: [a.pt]\nmAP50: 0.9\n", {"mAP": 0.9}, ["result_old_form", "result_metric_name"]),
    "old form, no metric": ("model: [a.pt]\n", {"mAP": 0.0}, ["result_old_form"]),
    "old form, map none": ("model: [a.pt]\nmap: null\n", {"mAP": 0.0}, ["result_old_form"]),
    "old form, extra keys": (
        "model: [a.pt]\nmap: 0.9\ntimestamp: 7\nstage_name: x\nid123: 0.5\n",
        {"mAP": 0.9, "id123": 0.5},
        ["result_old_form"],
    ),
    "old form, folders in names": ("model: [/data/models/a.pt]\nmap: 0.9\n", {"mAP": 0.9}, ["result_old_form", "result_file_elsewhere"]),
    "old form, one file gone": ("model: [a.pt, gone.pt]\nmap: 0.9\n", {"mAP": 0.9}, ["result_old_form", "result_file_dropped"]),
    "sdk 1.3: map beside model_stages": (one(GOOD, "best_stage_name: s\nmap: 0.9"), {"mAP": 0.5}, []),
    "mixed": (one(GOOD, "best_stage_name: s\nmodel: [a.pt]\nmap: 0.9"), {"mAP": 0.5}, ["result_mixed_form"]),
    "mixed, no stages": ("model: [a.pt]\nmap: 0.9\nmodel_stages: {}\n", {"mAP": 0.9}, ["result_old_form"]),
    "metric of semantic segmentation": (
        one("stage_name: s, files: [a.pt], timestamp: 5, mIoU: 0.5, mAcc: 1"),
        {"mIoU": 0.5, "mAcc": 1.0},
        [],
    ),
    "metric of instance segmentation": (
        one("stage_name: s, files: [a.pt], timestamp: 5, maskAP: 0, boxAP: 0.1"),
        {"maskAP": 0.0, "boxAP": 0.1},
        [],
    ),
    "numeric texts and floats for ints": (
        one("stage_name: s, files: [a.pt], timestamp: 5.7, mAP: '0.5', tp: 3.9"),
        {"mAP": 0.5, "tp": 3},
        [],
    ),
    "capitals": (one(GOOD + ", TP: 3, FP: 1, FN: 0"), {"mAP": 0.5, "tp": 3, "fp": 1, "fn": 0}, ["result_metric_name"]),
    "map for mAP": (one("stage_name: s, files: [a.pt], timestamp: 5, map: 0.5"), {"mAP": 0.5}, ["result_metric_name"]),
    "mAP wins over map": (one(GOOD + ", map: 0.1"), {"mAP": 0.5}, []),
    "percent": (one("stage_name: s, files: [a.pt], timestamp: 5, mAP: 53.1, mAR: 0.5"), {"mAR": 0.5}, ["result_metric_dropped"]),
    "nan": (one("stage_name: s, files: [a.pt], timestamp: 5, mAP: .nan"), {}, ["result_metric_dropped"]),
    "negative count": (one(GOOD + ", tp: -1"), {"mAP": 0.5}, ["result_metric_dropped"]),
    "boolean metric": (one("stage_name: s, files: [a.pt], timestamp: 5, mAP: true"), {}, ["result_metric_dropped"]),
    "metrics of its own": (
        one(GOOD + ", F1: 0.7, 'AP@0.5 (small)': 40, loss: -3.5, recall: '0.25', empty: null"),
        {"mAP": 0.5, "F1": 0.7, "AP@0.5 (small)": 40, "loss": -3.5, "recall": 0.25},
        [],
    ),
    "no metrics": (
        one(GOOD + ", author: me, done: true, at: .inf, parts: [1], 7: 1, \"a\\e[31m\": 1, '': 1, " + "n" * 65 + ": 1"),
        {"mAP": 0.5},
        ["result_value_left_out"],
    ),
    "no stage_name": (one("files: [a.pt], timestamp: 5, mAP: 0.5"), {"mAP": 0.5}, ["result_stage_name"]),
    "other stage_name": (one("stage_name: x, files: [a.pt], timestamp: 5, mAP: 0.5"), {"mAP": 0.5}, ["result_stage_name"]),
    "no timestamp": (one("stage_name: s, files: [a.pt], mAP: 0.5"), {"mAP": 0.5}, ["result_timestamp"]),
    "a date": (one("stage_name: s, files: [a.pt], timestamp: 2022-09-23 10:00:00, mAP: 0.5"), {"mAP": 0.5}, []),
    "impossible timestamp": (one("stage_name: s, files: [a.pt], timestamp: 1.0e+99, mAP: 0.5"), {"mAP": 0.5}, ["result_timestamp"]),
    "file gone": (one("stage_name: s, files: [a.pt, latest.pth], timestamp: 5, mAP: 0.5"), {"mAP": 0.5}, ["result_file_dropped"]),
    "absolute path": (one("stage_name: s, files: [/out/models/a.pt], timestamp: 5, mAP: 0.5"), {"mAP": 0.5}, ["result_absolute_path"]),
    "name of another folder": (one("stage_name: s, files: [x/y/a.pt], timestamp: 5, mAP: 0.5"), {"mAP": 0.5}, ["result_file_elsewhere"]),
    "no best": (one(GOOD, ""), {"mAP": 0.5}, ["result_best_stage"]),
    "unknown best": (one(GOOD, "best_stage_name: t"), {"mAP": 0.5}, ["result_best_stage"]),
    "duplicate key": (one(GOOD + ", mAP: 0.6"), {"mAP": 0.6}, ["result_duplicate_key"]),
    "attachment gone": (one(GOOD, "best_stage_name: s\nattachments: {x: [gone.json]}"), {"mAP": 0.5}, ["result_attachment_missing"]),
    "attachment outside": (one(GOOD, "best_stage_name: s\nattachments: {x: [/etc/passwd]}"), {"mAP": 0.5}, ["result_attachment_missing"]),
    "attachments of no form": (one(GOOD, "best_stage_name: s\nattachments: [a]"), {"mAP": 0.5}, ["result_attachments"]),
    "evaluate_config of words": (
        one(GOOD, "best_stage_name: s\nevaluate_config: {iou_thr: high}"),
        {"mAP": 0.5},
        ["result_evaluate_config"],
    ),
    "json": (
        '{"best_stage_name": "s", "model_stages": {"s": {"stage_name": "s", "files": ["a.pt"], "timestamp": 5, "mAP": 0.5}}}',
        {"mAP": 0.5},
        [],
    ),
    "object_type of 2.1": (one(GOOD, "best_stage_name: s\nobject_type: 3"), {"mAP": 0.5}, []),
}


@pytest.mark.parametrize(("text", "metrics", "tolerated"), VARIANTS.values(), ids=VARIANTS)
def test_every_known_variant_is_read(text: str, metrics: dict[str, float], tolerated: list[str], collect: Collect, out: Path) -> None:
    result = collect(text)
    best = next(stage for stage in result.stages if stage.name == result.best_stage_name)
    assert best.files == {"a.pt": out / "models/a.pt"}
    assert best.metrics == metrics
    assert codes(result) == tolerated
    assert all(warning.message and warning.place == "models/result.yaml" for warning in result.warnings)


def test_of_a_flood_of_metrics_the_first_are_kept_with_those_that_ymir_knows(collect: Collect) -> None:
    result = collect(one(", ".join(f"m{number}: {number}" for number in range(1000)) + ", mAP: 0.5, " + GOOD.replace(", mAP: 0.5", "")))
    assert result.stages[0].metrics == {"mAP": 0.5, **{f"m{number}": number for number in range(64)}}
    assert codes(result) == ["result_value_left_out"]


def test_a_missing_time_is_that_of_the_newest_file(collect: Collect) -> None:
    assert collect("model: [a.pt]\nmap: 0.9\n").stages[0].timestamp == 1_600_000_000
    assert collect("model: [a.pt]\nmap: 0.9\ntimestamp: 7\n").stages[0].timestamp == 7


def test_the_old_form_is_one_stage_of_the_name_that_ymir_gives_it(collect: Collect) -> None:
    result = collect("model: [a.pt]\nmap: 0.9\n")
    assert [stage.name for stage in result.stages] == [result.best_stage_name] == ["default_best_stage"]


def stages(*rows: str) -> str:
    return "model_stages:\n" + "".join(
        f"  {name}: {{stage_name: {name}, files: [a.pt], {rest}}}\n" for name, rest in (row.split(": ", 1) for row in rows)
    )


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        (("a: timestamp: 1, mAP: 0.5", "b: timestamp: 2, mAP: 0.4"), "a"),
        (("a: timestamp: 1, mAP: 0.5", "b: timestamp: 2, mAP: 0.5"), "b"),
        (("a: timestamp: 1, mAP: 0.9, mIoU: 0.1", "b: timestamp: 2, mIoU: 0.2"), "b"),
        (("a: timestamp: 1, mIoU: 0.9, maskAP: 0.1", "b: timestamp: 2, maskAP: 0.2"), "b"),
        (("a: timestamp: 3", "b: timestamp: 2"), "a"),
    ],
)
def test_without_a_best_stage_the_best_metric_then_the_newest_decides(rows: tuple[str, ...], best: str, collect: Collect) -> None:
    assert collect(stages(*rows)).best_stage_name == best


def test_numpy_scalars_written_by_yaml_dump_are_salvaged(collect: Collect) -> None:
    text = """\
best_stage_name: s
model_stages:
  s:
    stage_name: !!python/object/apply:collections.OrderedDict [[[a, b]]]
    files: !!python/tuple [!!python/unicode a.pt]
    timestamp: !!python/object/apply:numpy.core.multiarray.scalar
    - &id001 !!python/object/apply:numpy.dtype {args: [i8, false, true], state: !!python/tuple [3, <, null, null, null, -1, -1, 0]}
    - !!binary |
      BQAAAAAAAAA=
    mAP: !!python/object/apply:numpy._core.multiarray.scalar
    - !!python/object/apply:numpy.dtype
      args: [f4, false, true]
      state: !!python/tuple [3, <, null, null, null, -1, -1, 0]
    - !!binary |
      AAAAPw==
    tp: !!python/object/apply:numpy.core.multiarray.scalar
    - *id001
    - !!binary |
      BQAAAAAAAAA=
"""
    result = collect(text)
    assert (result.stages[0].metrics, result.stages[0].timestamp) == ({"mAP": 0.5, "tp": 5}, 5)
    assert "result_python_tags" in codes(result)


def test_what_numpy_itself_dumps_is_salvaged(collect: Collect) -> None:
    numpy = pytest.importorskip("numpy")
    yaml = pytest.importorskip("yaml")
    stage = {
        "stage_name": "s",
        "files": ("a.pt",),
        "timestamp": numpy.int64(5),
        "mAP": numpy.float64(0.25),
        "tp": numpy.int32(7),
        "mAR": numpy.float32(1),
    }
    result = collect(yaml.dump({"best_stage_name": "s", "model_stages": {"s": stage}}))
    assert result.stages[0].metrics == {"mAP": 0.25, "tp": 7, "mAR": 1.0}


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system ['touch /tmp/pwned']", "!!python/name:os.system", "!!python/object:a.B {}", "!custom 1"]
)
def test_any_other_python_tag_is_refused_and_nothing_is_run(tag: str, collect: Collect) -> None:
    with pytest.raises(ResultMalformedError, match=r"line 3"):
        collect(f"best_stage_name: s\nmap: 0.5\nmodel: {tag}\n")
    assert not Path("/tmp/pwned").exists()


def test_one_broken_stage_does_not_lose_the_others(collect: Collect) -> None:
    result = collect(NEW.replace("model_stages:\n", "model_stages:\n  bad: 5\n  gone: {stage_name: gone, files: [x]}\n"))
    assert [stage.name for stage in result.stages] == ["epoch_10", "epoch_50"]
    assert codes(result) == ["result_stage_dropped", "result_file_dropped"]
    assert "2 times" in result.warnings[0].message


@pytest.mark.parametrize("entry", ["{}", "5", "null", "[[a.pt]]", "'.'", "''", "'../..'"])
def test_files_that_are_no_names_are_dropped(entry: str, collect: Collect) -> None:
    result = collect(one(f"stage_name: s, files: [a.pt, {entry}], timestamp: 5, mAP: 0.5"))
    assert list(result.stages[0].files) == ["a.pt"]
    assert codes(result) == ["result_file_dropped"]


def test_stage_names_that_cannot_be_folders_are_changed(collect: Collect) -> None:
    result = collect(
        "model_stages:\n  ../x: {files: [a.pt]}\n  7: {stage_name: 7, files: [a.pt]}\n  'a b': {files: [a.pt]}\n  a_b: {files: [a.pt]}\n"
    )
    assert [stage.name for stage in result.stages] == ["_x", "7", "a_b", "a_b__2"]
    assert "result_stage_renamed" in codes(result)


def test_a_folder_among_the_files_means_every_file_in_it(collect: Collect, out: Path) -> None:
    (out / "models/s/weights/deep").mkdir(parents=True)
    (out / "models/s/weights/deep/w.bin").write_text("w")
    (out / "models/s/weights/link").symlink_to("/etc/passwd")
    result = collect(one("stage_name: s, files: [weights], timestamp: 5, mAP: 0.5"))
    assert result.stages[0].files == {"weights/deep/w.bin": out / "models/s/weights/deep/w.bin"}
    assert codes(result) == ["result_folder_as_file"]


# ------------------------------------------------------------------------------------------------------------------- links


def test_a_link_inside_out_is_resolved(collect: Collect, out: Path) -> None:
    (out / "models/latest.pth").symlink_to("a.pt")
    (out / "models/absolute.pth").symlink_to("/out/models/a.pt")
    result = collect(one("stage_name: s, files: [latest.pth, absolute.pth], timestamp: 5, mAP: 0.5"))
    assert result.stages[0].files == {"latest.pth": out / "models/a.pt", "absolute.pth": out / "models/a.pt"}
    assert result.warnings == ()


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", "/in/models/x.pt", "loop", "/out/../secret", "../models/../../secret"])
def test_a_link_that_leads_outside_out_is_left_out_with_a_warning(target: str, collect: Collect, out: Path) -> None:
    (out.parent / "secret").write_text("secret")
    (out / "models/loop").symlink_to(target)
    result = collect(one("stage_name: s, files: [a.pt, loop], timestamp: 5, mAP: 0.5"))
    assert list(result.stages[0].files) == ["a.pt"]
    assert codes(result) == ["result_file_dropped"]


@pytest.mark.parametrize("name", ["/etc/passwd", "../../secret", "/out/../secret", "folder/secret"])
def test_a_file_outside_out_is_never_taken(name: str, collect: Collect, out: Path) -> None:
    (out.parent / "secret").write_text("secret")
    (out / "models/folder").symlink_to("../..")
    with pytest.raises(ResultMalformedError, match="no stage with a file"):
        collect(one(f"stage_name: s, files: ['{name}'], timestamp: 5, mAP: 0.5"))


def test_a_host_path_inside_out_is_accepted(collect: Collect, out: Path) -> None:
    result = collect(one(f"stage_name: s, files: ['{out}/models/a.pt'], timestamp: 5, mAP: 0.5"))
    assert result.stages[0].files == {"a.pt": out / "models/a.pt"}


def test_an_absolute_path_below_the_stage_keeps_its_short_name(collect: Collect) -> None:
    text = "model_stages:\n  epoch_10: {files: [/out/models/epoch_10/model-10.pt]}\n"
    assert list(collect(text).stages[0].files) == ["model-10.pt"]


# ----------------------------------------------------------------------------------------------------------------- hostile

MALFORMED = {
    "empty": b"",
    "a list": b"- 1\n",
    "a text": b"hello\n",
    "not yaml": b"model_stages: [1\n",
    "nothing known": b"map: 0.5\n",
    "empty stages": b"model_stages: {}\n",
    "null stages": b"model_stages:\n",
    "stages are a list": b"model_stages: [a]\n",
    "stages are a text": b"model_stages: abc\n",
    "no stage is a mapping": b"model_stages: {a: 1, b: [2]}\n",
    "every file is gone": b"model: [gone.pt]\nmap: 0.5\n",
    "model is a number": b"model: 5\nmap: 0.5\n",
    "binary": bytes(range(256)) * 10,
    "deep": b"model: " + b"[" * 600,
    "deep mapping": b"model: " + b"{a: " * 600,
    "a bomb": b"a0: &a0 [1,1,1,1,1,1,1,1,1]\n"
    + b"".join(b"a%d: &a%d [%s]\n" % (i, i, b",".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 9)),
    "an alias to itself": b"model: &a [*a]\n",
    "huge": b"model: [" + b"x" * 3_000_000 + b"]",
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_what_holds_no_stage_is_malformed_and_says_where(content: bytes, collect: Collect) -> None:
    with pytest.raises(ResultMalformedError) as raised:
        collect(content)
    assert "/out/models/result.yaml" in raised.value.message
    assert raised.value.fields["place"] == "models/result.yaml"


def test_no_result_is_missing(out: Path) -> None:
    with pytest.raises(ResultMissingError, match=r"result\.yaml"):
        collect_training(out)


@pytest.mark.parametrize(
    "make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/hostname"), lambda path: path.symlink_to("result.yaml")]
)
def test_anything_but_a_file_in_its_place_is_no_result(make: Callable[[Path], None], out: Path) -> None:
    make(out / "models/result.yaml")
    with pytest.raises(ResultError):
        collect_training(out)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_any_bytes_are_stages_or_a_result_error(content: bytes, collect: Collect) -> None:
    with suppress(ResultError):
        assert collect(content).stages


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["a.pt", "s", "../a.pt", "/out"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["s", "files", "stage_name", "timestamp", "mAP", "tp", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
documents = st.dictionaries(
    st.sampled_from(["model_stages", "model", "map", "best_stage_name", "attachments", "evaluate_config"]), values, max_size=5
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=documents)
def test_any_document_is_stages_or_a_result_error(document: dict[str, object], collect: Collect) -> None:
    import json

    try:
        result = collect(json.dumps(document))
    except ResultError:
        return
    assert result.best_stage_name in [stage.name for stage in result.stages]
    assert all(path.is_file() for stage in result.stages for path in stage.files.values())
