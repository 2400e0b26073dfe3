from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from runner.installation import Installation
from runner.settings import load_settings


def _installation(home: Path) -> Installation:
    return Installation(load_settings({"home": str(home)}))


def test_all_who_open_one_home_at_once_are_one_installation(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        ids = set(threads.map(lambda _: _installation(tmp_path).id, range(32)))
    assert ids == {(tmp_path / "installation").read_text()}
    assert not list(tmp_path.glob(".installation*"))


def test_a_home_that_cannot_be_made_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match=r"(?s)file/home cannot be used.*SLUICE_HOME"):
        _installation(tmp_path / "file" / "home")


def test_nothing_is_loaded_that_is_not_asked_for(tmp_path: Path) -> None:
    installation = _installation(tmp_path)
    installation.close()
    assert not (tmp_path / "sluice.db").exists()
