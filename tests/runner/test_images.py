"""What is asked of an engine when an image is registered."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from contracts.errors import ImageMissingError, RequestError
from runner.images import find_or_pull
from runner.installation import Installation


def _installation(*capabilities: str) -> Installation:
    engine: Any = SimpleNamespace(name="some", capabilities=frozenset(capabilities), find_image=lambda _: None)
    return cast(Installation, SimpleNamespace(engine=engine))


def test_a_folder_is_not_asked_of_a_registry_but_told_to_be_built(tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        find_or_pull(_installation("pull"), str(tmp_path), pull=True, on_progress=print)
    assert caught.value.hint == f"To make one of a folder: sluice image build {tmp_path}"


def test_an_engine_that_pulls_nothing_is_not_told_to_pull() -> None:
    with pytest.raises(ImageMissingError) as caught:
        find_or_pull(_installation(), "busybox", pull=True, on_progress=print)
    assert "pulls none" in caught.value.hint
