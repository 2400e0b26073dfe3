"""The fake source keeps the seam, and its file is checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from contracts.errors import GpuSourceError
from contracts.seams import GpuSource
from plugins.gpus.fake import FakeSource
from runner.loading import load
from tests.conformance.gpu_source import GpuSourceConformance

if TYPE_CHECKING:
    from tests.plugins.gpus.conftest import FakeWorld


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
    gpus = FakeSource().snapshot().gpus
    assert [gpu.index for gpu in gpus] == [0, 1]
    assert not any(gpu.error or gpu.processes or gpu.used_bytes for gpu in gpus)


MALFORMED = {
    '[{"uuid": "a"},\n{"uuid": }]': ("line 2", "Expecting value"),
    '[\n{"uuid": "a"},\n\n{"uuid": "b", "used_byts": 1}]': ("line 4", "used_byts"),
    '[{"uuid": "a"},\n{"uuid": "b", "used_bytes": -1}]': ("line 2", "used_bytes"),
    '[{"uuid": "a"},\n{"uuid": "a"}]': ("line 2", "twice"),
    '[{"uuid": "a",\n"processes": [{"pid": 0}]}]': ("line 1", "processes.0.pid"),
    "[\n7]": ("line 2", "card"),
    '{"uuid": "a"}': ("line 1", "uuid", "not permitted"),
    '{"cards": [],\n"pairs": [{"uuids": ["a", "b"],\n"level": 15}]}': ("line 2", "level"),
    '{"cards": [{"uuid": "a"}],\n"events": [{"uuid": "a", "xid": 79},\n{"uuid": "a"}]}': ("line 3", "xid"),
    '{"cards":\n7}': ("line 2", "not a list"),
    '{"driver": "x",\n"boot_id": 7}': ("line 2", "boot_id"),
    '[{"uuid": "a", "slices": [{"uuid": "b"}]},\n{"uuid": "b"}]': ("line 2", "twice"),
    "7": ("line 1", "neither a list"),
    "": ("line 1", "Expecting value"),
}


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_file_is_refused_by_name_and_line(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cards.json"
    file.write_text(text)
    monkeypatch.setenv("SLUICE_FAKE_GPUS", str(file))
    with pytest.raises(GpuSourceError) as caught:
        FakeSource().snapshot()
    assert str(file) in caught.value.message
    assert all(part in caught.value.message for part in MALFORMED[text])


def test_a_file_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_FAKE_GPUS", str(tmp_path / "none.json"))
    with pytest.raises(GpuSourceError, match=r"none\.json"):
        FakeSource().snapshot()


def test_what_stood_there_when_it_opened_is_over(fake_world: FakeWorld) -> None:
    fake_world.add_xid("GPU-0", 79)
    source = FakeSource()
    source.snapshot()
    fake_world.add_xid("GPU-0", 13)
    assert [event.xid for event in source.events()] == [13]
    source.close()
    fake_world.add_xid("GPU-0", 94)
    source.snapshot()
    assert source.events() == []


def test_a_card_is_cut_when_it_has_slices_and_broken_when_it_has_a_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cards.json"
    file.write_text(
        '[{"uuid": "a", "slices": [{"uuid": "b"}, {"uuid": "c"}]}, {"uuid": "d", "error_code": "lost", "slices": [{"uuid": "e"}]}]'
    )
    monkeypatch.setenv("SLUICE_FAKE_GPUS", str(file))
    cut, first, second, lost = FakeSource().snapshot().gpus
    assert (cut.mig_enabled, cut.mig_pending) == (True, True)
    assert [(part.parent_uuid, part.gpu_instance, part.name) for part in (first, second)] == [("a", 0, cut.name), ("a", 1, cut.name)]
    assert (lost.error, lost.error_code) == ("lost", "lost")


def test_a_boot_and_a_source_without_events_can_be_made_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "cards.json"
    file.write_text('{"cards": [{"uuid": "a"}], "boot_id": "another", "driver": "1.0", "events_monitored": false}')
    monkeypatch.setenv("SLUICE_FAKE_GPUS", str(file))
    snapshot = FakeSource().snapshot()
    assert (snapshot.boot_id, snapshot.driver, snapshot.events_monitored) == ("another", "1.0", False)
