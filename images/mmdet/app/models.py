"""Which network a job means, and what of the library's configuration must change before it learns here. Works on plain dicts, without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from job_files.contract import CONFIG_ERROR, MODEL_ERROR, ImageError

#: Scopes of the libraries in this image; a type with any other dot in its name would be imported by the library's registry.
SCOPES = ("mmdet", "mmcv", "mmengine")


@dataclass(frozen=True)
class Recipe:
    """A file below the library's ``configs/`` and the learning rate (AdamW) that suits it when it learns from nothing."""

    config: str
    learning_rate: float


RECIPES = {
    "rtmdet_tiny": Recipe("rtmdet/rtmdet_tiny_8xb32-300e_coco.py", 2e-3),
    "rtmdet_s": Recipe("rtmdet/rtmdet_s_8xb32-300e_coco.py", 2e-3),
    "yolox_tiny": Recipe("yolox/yolox_tiny_8xb8-300e_coco.py", 1e-3),
    "yolox_s": Recipe("yolox/yolox_s_8xb8-300e_coco.py", 1e-3),
    "retinanet_r18": Recipe("retinanet/retinanet_r18_fpn_1xb8-1x_coco.py", 3e-4),
    "retinanet_r50": Recipe("retinanet/retinanet_r50_fpn_1x_coco.py", 3e-4),
    "faster_rcnn_r50": Recipe("faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py", 3e-4),
    "dino_r50": Recipe("dino/dino-4scale_r50_8xb2-12e_coco.py", 1e-4),
    "mask_rcnn_r50": Recipe("mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", 3e-4),
    "rtmdet_ins_tiny": Recipe("rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py", 2e-3),
}
OTHER_LEARNING_RATE = 3e-4
FINEST_STRIDE = 8  # pixels between the places of the finest level of a DETR


def find_recipe(model: str) -> Recipe:
    """The recipe of a short name, or of a path below the library's ``configs/``. Raises ImageError 300001 that lists the names."""
    if model in RECIPES:
        return RECIPES[model]
    path = PurePosixPath(model.removeprefix("configs/"))
    # SECURITY: a configuration is a program; only the library's own are run.
    if path.suffix != ".py" or path.is_absolute() or ".." in path.parts:
        raise ImageError(CONFIG_ERROR, f"model {model!r}: name one of {', '.join(RECIPES)}, or a file below mmdetection's configs/")
    return Recipe(str(path), OTHER_LEARNING_RATE)


def adapt(model: dict[str, Any], class_count: int, *, from_scratch: bool) -> dict[str, Any]:
    """A copy of a ``model`` section for ``class_count`` classes that fetches nothing and, ``from_scratch``, freezes nothing."""
    adapted = plain(model)
    for section in sections(adapted):
        if "num_classes" in section:
            section["num_classes"] = class_count
        if isinstance(section.get("init_cfg"), dict) and section["init_cfg"].get("type") == "Pretrained":
            section["init_cfg"] = None
        if section.get("type") == "SyncBN":  # several processes make it synchronous again
            section["type"] = "BN"
        if "batch_augments" in section:  # sizes of its own, for pictures of 640 pixels
            section["batch_augments"] = None
    if from_scratch:
        _thaw(adapted.get("backbone") or {})
    return adapted


def _thaw(backbone: dict[str, Any]) -> None:
    """A backbone that nobody has trained must neither keep its first layers nor its normalisation as they are."""
    if "frozen_stages" in backbone:
        backbone["frozen_stages"] = -1
    if "norm_eval" in backbone:
        backbone["norm_eval"] = False
    if isinstance(backbone.get("norm_cfg"), dict):
        backbone["norm_cfg"]["requires_grad"] = True


def fit_queries(model: dict[str, Any], image_size: int) -> None:
    """A network of the DETR kind asks for its boxes at the best places of the picture: a small picture has fewer than the library counts on."""
    if not isinstance(model.get("num_queries"), int):
        return
    places = image_size**2 // (2 * FINEST_STRIDE**2)  # of a picture twice as wide as high
    model["num_queries"] = min(model["num_queries"], max(1, places))
    if isinstance(model.get("test_cfg"), dict) and "max_per_img" in model["test_cfg"]:
        model["test_cfg"]["max_per_img"] = min(model["test_cfg"]["max_per_img"], model["num_queries"])


def check_types(model: dict[str, Any], where: str) -> None:
    """Raises ImageError 300004 for a ``type`` that names no class of the library.

    SECURITY: the registry imports whatever dotted name it is given; a model file may come from anywhere.
    """
    for section in sections(model):
        kind = section.get("type", "")
        *scope, name = kind.split(".") if isinstance(kind, str) else ["?"]
        if ".".join(scope) not in ("", *SCOPES) or scope == [""] or not (name.isidentifier() or kind == ""):
            raise ImageError(MODEL_ERROR, f"{where}: type {kind!r} is no part of a network")


def sections(value: Any) -> Iterator[dict[str, Any]]:
    """Every dict inside a value, outer ones first."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ():
        yield from sections(item)


def plain(model: Any) -> Any:
    """The same as JSON keeps it: dicts, lists, numbers, texts. Networks are made of this form, so that a stored one is the same network."""
    try:
        return json.loads(json.dumps(model))
    except (TypeError, ValueError) as error:
        raise ImageError(CONFIG_ERROR, f"the configuration holds more than numbers, texts and lists: {error}") from error


def overlay(document: dict[str, Any], options: dict[str, Any]) -> None:
    """Sets values by dotted names, such as ``model.bbox_head.loss_cls.loss_weight``; numbers in a name count along a list.

    Raises ImageError 300001 naming what is not there.
    """
    for name, value in options.items():
        place: Any = document
        *way, last = name.split(".")
        for step in way:
            place = _enter(place, step, name)
        _assign(place, last, value, name)


def _enter(place: Any, step: str, name: str) -> Any:
    if isinstance(place, list) and step.isdigit() and int(step) < len(place):
        return place[int(step)]
    if isinstance(place, dict):
        return place.setdefault(step, {})
    raise ImageError(CONFIG_ERROR, f"cfg_options {name}: there is no {step!r} to go into")


def _assign(place: Any, last: str, value: Any, name: str) -> None:
    if isinstance(place, list) and last.isdigit() and int(last) < len(place):
        place[int(last)] = value
    elif isinstance(place, dict):
        place[last] = value
    else:
        raise ImageError(CONFIG_ERROR, f"cfg_options {name}: there is no {last!r} to set")


def parse_options(text: str, parse: Callable[[str], Any]) -> dict[str, Any]:
    """``a.b=c`` lines (or separated by ``;``) as a mapping; ``parse`` makes values of texts. Raises ImageError 300001 naming the line."""
    options = {}
    for line in text.replace(";", "\n").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip():
            raise ImageError(CONFIG_ERROR, f"cfg_options: {line.strip()!r} is not of the form name.of.setting=value")
        options[name.strip()] = parse(value.strip())
    return options
