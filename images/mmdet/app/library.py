"""The mmdetection library as this image uses it: its parts registered, its configurations read, its networks built."""

from __future__ import annotations

import logging
import random
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mmdet
import numpy as np
import torch
from job_files.contract import CONFIG_ERROR, MODEL_ERROR, ImageError
from mmdet.datasets.transforms import Pad
from mmdet.registry import MODELS, TRANSFORMS
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict
from mmengine.dataset import Compose
from mmengine.registry import FUNCTIONS, DefaultScope
from models import plain
from numpy.typing import NDArray
from PIL import Image
from torch import nn

CONFIGS = Path(mmdet.__file__).parent / ".mim" / "configs"

warnings.filterwarnings("ignore", module="mmengine|mmdet|mmcv|torch")
register_all_modules(init_default_scope=True)


@TRANSFORMS.register_module()
class LoadPicture:
    """Reads ``img_path``, or takes ``pixels`` (h, w, 3) RGB, as (h, w, 3) uint8 BGR.

    The pixels are those that the boxes are about: what a camera noted of its orientation is not applied.
    """

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        given = results.get("pixels")
        pixels = (read_pixels(results["img_path"]) if given is None else given)[..., ::-1]
        return {**results, "img": np.ascontiguousarray(pixels), "img_shape": pixels.shape[:2], "ori_shape": pixels.shape[:2]}


@TRANSFORMS.register_module()
class PadPicture(Pad):
    """Pads like the library, but remembers where the picture ends: boxes are cut there, and none lies wholly in the padding."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        size = results["img_shape"]
        return {**super().transform(results), "img_shape": size}


def read_pixels(path: Path | str) -> NDArray[np.uint8]:
    """(h, w, 3) RGB of a picture."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def read_model_section(config: str) -> dict[str, Any]:
    """The ``model`` part of one of the library's configurations. Raises ImageError 300001 for one that is not there or has none."""
    path = CONFIGS / config
    if not path.is_file():
        near = ", ".join(sorted(file.name for file in path.parent.glob("*.py"))[:20])
        raise ImageError(CONFIG_ERROR, f"mmdetection has no configuration {config}" + (f"; beside it are {near}" if near else ""))
    model = Config.fromfile(path).get("model")
    if model is None:
        raise ImageError(CONFIG_ERROR, f"{config} has no model: it is a part of other configurations")
    return dict(plain(model.to_dict()))


def build_network(model: dict[str, Any]) -> nn.Module:
    """The network of a ``model`` section, with fresh weights. Raises ImageError 300004 with the library's reason."""
    register_all_modules(init_default_scope=True)
    assert DefaultScope.get_current_instance() is not None
    try:
        network = MODELS.build(ConfigDict(plain(model)))
    except (KeyError, TypeError, ValueError, AssertionError, AttributeError, ImportError) as error:
        raise ImageError(MODEL_ERROR, f"mmdetection cannot build this network: {error}") from error
    return network


def parse_value(text: str) -> Any:
    """A value as the command line of mmdetection reads it: numbers, booleans, lists, else the text."""
    from mmengine.config import DictAction

    return DictAction._parse_iterable(text)


def compose(pipeline: list[dict[str, Any]]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The steps of a pipeline as one function."""
    register_all_modules(init_default_scope=True)
    chain: Callable[[dict[str, Any]], dict[str, Any]] = Compose(pipeline)
    return chain


def quiet() -> None:
    """The library's own log is for its developers: only warnings and what goes wrong are shown."""
    logging.disable(logging.INFO)


def seed_all(*parts: int) -> None:
    """Seeds every generator that the library draws from; the same parts give the same draws."""
    number = int(np.random.SeedSequence(parts).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


@FUNCTIONS.register_module()
def seed_worker(worker_id: int) -> None:  # noqa: ARG001 (torch has put it into its seed)
    """Gives a process that prepares pictures draws of its own, new ones each epoch."""
    number = torch.initial_seed() % 2**32
    random.seed(number)
    np.random.seed(number)
