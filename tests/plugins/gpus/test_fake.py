"""The fake source keeps the seam, and its file is checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import GpuSourceError
from contracts.seams import GpuSource
from plugins.gpus.fake import FakeSource
from runner.loading import load
from tests.conformance.gpu_source import GpuSourceConformance


class TestFakeSource(GpuSourceConformance):
    @pytest.fixture
    def source(self, fake_source: GpuSource) -> GpuSource:
        return fake_source

    @pytest.fixture
    def world(self, fake_world: object) -> object:
        return fake_world


def test_it_is_found_by_its_name() -> None:
    assert load("gpu source", "fake", GpuSource) is FakeSource  # type: ignore[type-abstract]


def test_without_a_file_there_are_two_idle_cards() -> None:
    gpus = FakeSource().list_gpus()
    assert [gpu.index for gpu in gpus] == [0, 1]
    assert not any(gpu.error or gpu.processes or gpu.used_bytes for gpu in gpus)


MALFORMED = {
    '[{"uuid": "a"},\n{"uuid": }]': ("line 2", "Expecting value"),
    '[\n{"uuid": "a"},\n\n{"uuid": "b", "used_byts": 1}]': ("line 4", "used_byts"),
    '[{"uuid": "a"},\n{"uuid": "b", "used_bytes": -1}]': ("line 2", "used_bytes"),
    '[{"uuid": "a"},\n{"uuid": "a"}]': ("line 2", "twice"),
    '[{"uuid": "a",\n"processes": [{"pid": 0}]}]': ("line 1", "processes.0.pid"),
    "[\n7]": ("line 2", "card"),
    '{"uuid": "a"}': ("line 1", "not a list"),
    "": ("line 1", "Expecting value"),
}


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_file_is_refused_by_name_and_line(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cards.json"
    file.write_text(text)
    monkeypatch.setenv("SLUICE_FAKE_GPUS", str(file))
    with pytest.raises(GpuSourceError) as caught:
        FakeSource().list_gpus()
    assert str(file) in caught.value.message
    assert all(part in caught.value.message for part in MALFORMED[text])


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_FAKE_GPUS", str(tmp_path / "none.json"))
    with pytest.raises(GpuSourceError, match=r"none\.json"):
        FakeSource().list_gpus()
