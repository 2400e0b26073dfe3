"""What takes long says how far it is while it goes on, and ends when nobody waits for it any more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from contracts.errors import ConflictError, DatasetError, ImageError, NotFoundError
from contracts.rpc import sluice_pb2 as pb
from contracts.rpc.documents import to_message
from contracts.rpc.sluice_pb2_grpc import SluiceStub
from runner.client import RemoteRunner
from runner.serve import Service
from runner.service import Runner
from runner.settings import Settings
from tests.conformance.main_job import PROBE, voc_folder
from tests.runner.rpc.conftest import settings_of


def test_an_import_counts_and_gives_the_report_that_a_runner_gives(remote: RemoteRunner, tmp_path: Path) -> None:
    folder = voc_folder(tmp_path / "birds", {"train": 30, "val": 5})
    counts: list[tuple[int, int | None]] = []
    report = remote.import_dataset("birds", folder, on_progress=lambda *count: counts.append(count))
    assert counts[-1] == (35, 35)
    assert remote.get_dataset("birds")["report"] == report
    with Runner.open(settings_of(tmp_path / "h2")) as other:
        here = other.import_dataset("birds", folder)
    places = {"folder": "", "report_file": ""}
    to_message(report, pb.ImportReport, strict=True)
    assert {**report, **places} == {**here, **places}


def test_an_import_over_the_service_keeps_the_rules_that_it_is_given(remote: RemoteRunner, tmp_path: Path) -> None:
    remote.import_dataset("birds", voc_folder(tmp_path / "birds", {"train": 3}))
    more = voc_folder(tmp_path / "more", {"val": 2, "train": 4})
    added = remote.import_dataset("birds", more, add=True, unknown_classes="stop", verify=True)
    assert added["changes"]["deleted"] == 0
    assert added["images"] >= 6
    for label in more.rglob("*.xml"):
        label.write_text(label.read_text().replace("<name>", "<name>un"))
    with pytest.raises(DatasetError, match="classes that the dataset does not know"):
        remote.import_dataset("birds", more, unknown_classes="stop")
    with pytest.raises(DatasetError, match="without an annotation of owl"):
        remote.import_dataset("owls", more, class_names=["owl"])
    with pytest.raises(DatasetError, match="not marked as hard"):
        remote.import_dataset("owls", more, hard_only=True)


def test_a_sample_is_the_same_over_the_service(remote: RemoteRunner, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    wanted = {"train": 3, "val": 2, "pool": 0, "seed": 7}
    with Runner.open(settings_of(tmp_path / "h2")) as other:
        here = other.sample_dataset("digits", "few", **wanted)
    assert remote.sample_dataset("digits", "few", **wanted)["content_hash"] == here["content_hash"]


def test_an_image_is_built_with_its_words_and_registered(remote: RemoteRunner, service: Service) -> None:
    said: list[str] = []
    built = remote.build_image(PROBE, name="again", allow=["network"], on_output=said.append)
    assert said
    assert {**service.runner.get_image("again"), "changed_from": None} == built
    assert remote.remove_image("again") == {"removed": "again"}


def test_an_image_folder_named_from_here_is_found_there(remote: RemoteRunner, monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    monkeypatch.chdir(PROBE.parent)
    added = remote.add_image("probe", name="relative")
    assert added["reference"] == str(PROBE)


def test_links_are_made_and_taken_back(remote: RemoteRunner, service: Service) -> None:
    links = remote.unlink_images("probe", "probe")
    assert remote.link_images("probe", "probe") == {"links": service.runner.get_image("probe")["links"]} == links


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda remote, folder: remote.import_dataset("pets", folder / "nothing"), NotFoundError),
        (lambda remote, folder: remote.import_dataset("pets", folder), DatasetError),
        (lambda remote, folder: remote.build_image(folder, name="x"), ImageError),
        (lambda remote, folder: remote.get_image("prob"), NotFoundError),
        (lambda remote, folder: remote.export_model("first", folder / "m.tar"), NotFoundError),
        (lambda remote, folder: remote.export_dataset("pets", folder / "d", format="dxf"), DatasetError),
        (lambda remote, folder: remote.export_dataset("dogs", folder / "d", format="coco"), NotFoundError),
    ],
)
def test_an_error_is_the_one_that_a_runner_raises(remote: RemoteRunner, service: Service, tmp_path: Path, ask: Any, error: Any) -> None:
    with pytest.raises(error) as here:
        ask(service.runner, tmp_path)
    with pytest.raises(error) as there:
        ask(remote, tmp_path)
    assert type(there.value) is type(here.value)
    assert there.value.to_dict() == here.value.to_dict()


def test_a_file_that_exists_is_not_replaced_unless_it_is_said(remote: RemoteRunner, tmp_path: Path) -> None:
    (tmp_path / "m.tar").write_text("mine")
    with pytest.raises(ConflictError, match=r"m\.tar exists"):
        remote.export_model("first", tmp_path / "m.tar")


def test_an_import_that_nobody_waits_for_ends_and_leaves_nothing(
    remote: RemoteRunner, service: Service, settings: Settings, tmp_path: Path
) -> None:
    folder = voc_folder(tmp_path / "many", {"train": 400})
    with grpc.insecure_channel(remote.address) as channel:
        call = SluiceStub(channel).ImportDataset(pb.ImportDatasetRequest(name="many", path=str(folder)))
        next(iter(call))
        call.cancel()
    for _ in range(3):  # whoever asks next is answered, and the same import is done anew
        assert remote.list_datasets()[0]["name"] == "pets"
    assert remote.import_dataset("many", folder)["version"] == "V001"
