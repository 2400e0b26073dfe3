"""What is changed of mmdetection's configurations before a network learns here, on plain dicts."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.images.image_jobs import IMAGES

App = Callable[[str], ModuleType]


def _section() -> dict[str, Any]:
    return {
        "type": "FasterRCNN",
        "data_preprocessor": {"batch_augments": [{"type": "BatchSyncRandomResize"}]},
        "backbone": {
            "type": "ResNet",
            "frozen_stages": 1,
            "norm_eval": True,
            "norm_cfg": {"type": "SyncBN", "requires_grad": False},
            "init_cfg": {"type": "Pretrained", "checkpoint": "torchvision://resnet50"},
        },
        "roi_head": {"bbox_head": [{"num_classes": 80}, {"num_classes": 80, "init_cfg": {"type": "Normal"}}]},
    }


def test_every_head_gets_the_jobs_classes_and_nothing_is_fetched_at_run_time(app: App) -> None:
    adapted = app("models").adapt(_section(), 3, from_scratch=True)
    assert [head["num_classes"] for head in adapted["roi_head"]["bbox_head"]] == [3, 3]
    assert "torchvision" not in json.dumps(adapted)
    assert adapted["roi_head"]["bbox_head"][1]["init_cfg"] == {"type": "Normal"}
    assert adapted["data_preprocessor"]["batch_augments"] is None


def test_a_backbone_that_nobody_trained_is_not_frozen_and_a_trained_one_stays_as_the_library_has_it(app: App) -> None:
    adapt = app("models").adapt
    fresh, trained = (adapt(_section(), 3, from_scratch=from_scratch)["backbone"] for from_scratch in (True, False))
    assert (fresh["frozen_stages"], fresh["norm_eval"], fresh["norm_cfg"]) == (-1, False, {"type": "BN", "requires_grad": True})
    assert (trained["frozen_stages"], trained["norm_eval"], trained["norm_cfg"]["requires_grad"]) == (1, True, False)


def test_the_given_section_stays_as_it_is(app: App) -> None:
    section = _section()
    app("models").adapt(section, 3, from_scratch=True)
    assert section == _section()


@pytest.mark.parametrize("kind", ["os.system", "subprocess.Popen", "mmdet.os.x", "torch.hub.load", "a b", ".x", 7])
def test_a_model_file_cannot_make_the_library_import_anything(app: App, kind: object) -> None:
    with pytest.raises(app("job_files.contract").ImageError, match=r"model\.json: type .* is no part of a network") as caught:
        app("models").check_types({"type": "YOLOX", "backbone": [{"type": kind}]}, "model.json")
    assert caught.value.code == 300004


def test_types_of_the_library_pass_with_and_without_its_scope(app: App) -> None:
    app("models").check_types({"type": "mmdet.YOLOX", "backbone": {"type": "CSPDarknet"}, "neck": None}, "model.json")


@pytest.mark.parametrize("model", ["../../secret.py", "/etc/passwd", "configs/../../x.py", "yolox", "yolox/readme.md"])
def test_only_configurations_below_the_librarys_folder_are_run(app: App, model: str) -> None:
    with pytest.raises(app("job_files.contract").ImageError, match="name one of rtmdet_tiny") as caught:
        app("models").find_recipe(model)
    assert caught.value.code == 300001


def test_a_path_of_the_library_is_taken_with_and_without_configs_before_it(app: App) -> None:
    find = app("models").find_recipe
    assert find("configs/atss/atss_r50_fpn_1x_coco.py") == find("atss/atss_r50_fpn_1x_coco.py")


def test_options_reach_into_dicts_and_lists_and_name_what_is_not_there(app: App) -> None:
    models = app("models")
    document = {"a": {"b": [{"c": 1}]}}
    models.overlay(document, models.parse_options("a.b.0.c=2; a.new.x=hello\n# a remark\n\na.b.0.d=[1]", lambda text: text))
    assert document == {"a": {"b": [{"c": "2", "d": "[1]"}], "new": {"x": "hello"}}}
    for wrong, word in (("a.b.5.c=1", "5"), ("a.b.0.c.d=1", "c"), ("a.b.9=1", "9")):
        with pytest.raises(app("job_files.contract").ImageError, match=f"there is no '{word}'|there is no 'd'"):
            models.overlay(document, models.parse_options(wrong, str))
    with pytest.raises(app("job_files.contract").ImageError, match="'just words' is not of the form"):
        models.parse_options("just words", str)


@pytest.mark.parametrize(("image_size", "queries", "kept"), [(96, 72, 72), (640, 900, 300), (8, 1, 1)])
def test_a_detr_asks_for_no_more_places_than_a_picture_has(app: App, image_size: int, queries: int, kept: int) -> None:
    model = {"num_queries": 900, "test_cfg": {"max_per_img": 300}}
    app("models").fit_queries(model, image_size)
    assert model == {"num_queries": queries, "test_cfg": {"max_per_img": kept}}


def test_what_json_cannot_keep_is_refused(app: App) -> None:
    with pytest.raises(app("job_files.contract").ImageError, match="more than numbers"):
        app("models").plain({"type": object()})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "num_classes", "neck", "x"]), inner, max_size=3),
    max_leaves=12,
)


@given(section=st.dictionaries(st.sampled_from(["backbone", "neck", "x"]), _JSON, max_size=3))
def test_adapting_twice_is_adapting_once_and_keeps_every_name(section: dict[str, Any]) -> None:
    import importlib.util
    import sys

    sys.path.insert(0, str(IMAGES / "mmdet" / "app"))
    try:
        spec = importlib.util.spec_from_file_location("mmdet_models", IMAGES / "mmdet" / "app" / "models.py")
        assert spec is not None
        assert spec.loader is not None
        models = importlib.util.module_from_spec(spec)
        sys.modules["mmdet_models"] = models
        spec.loader.exec_module(models)
    finally:
        sys.path.pop(0)
    once = models.adapt(section, 3, from_scratch=False)
    assert models.adapt(once, 3, from_scratch=False) == once
    assert sorted(once) == sorted(section)
