"""The torch-free modules of images/mmdet/app, for tests."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from tests.images.image_jobs import IMAGES

APP = IMAGES / "mmdet" / "app"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the app by its plain name; afterwards none of them is known any more."""
    monkeypatch.syspath_prepend(str(APP))
    yield importlib.import_module
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", "") or "").startswith(f"{APP}/"):
            del sys.modules[name]
