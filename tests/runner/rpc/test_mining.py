"""A mining by predictions over the service: what is asked for arrives, and the reasons are the same document on both sides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from contracts.errors import DatasetError
from contracts.job import JobSpec
from contracts.rpc import sluice_pb2 as pb
from contracts.rpc.documents import to_document, to_message
from runner.client import RemoteRunner
from runner.serve import Service
from tests.conformance.main_job import PROBE

WISHES = "export_predictions: required\nexport_training_data: optional\nexport_format: ark:raw\n"
#: Instead of ranking alone: a reason for the first candidate.
REASONS = """
    said = {"image": ranking[0][1], "score": 0.5, "hard": True, "reasons": [1, 20], "boxes": [{"box": [1, 2, 6, 5]}]}
    (job.output("root_dir") / "mining-reasons.jsonl").write_text(json.dumps(said))
"""


@pytest.fixture
def reasoning(service: Service, tmp_path: Path) -> Service:
    """With an image ``reasons`` that mines by predictions and says why, and the model ``first``."""
    shutil.copytree(PROBE, tmp_path / "reasons")
    app, template = tmp_path / "reasons/app/app.py", tmp_path / "reasons/img-man/mining-template.yaml"
    app.write_text(app.read_text().replace("\n\n\ndef infer(job):", f"{REASONS}\n\ndef infer(job):"))
    template.write_text(template.read_text() + WISHES)
    service.runner.build_image(tmp_path / "reasons", name="reasons")
    service.runner.link_images("probe", "reasons")
    return service


def done(remote: RemoteRunner, **spec: object) -> dict[str, object]:
    job = remote.submit(JobSpec.model_validate(spec))
    *_, last = remote.watch(job["id"])
    assert last["state"] == "succeeded", last["evidence"]
    return dict(last)


def test_what_is_asked_for_arrives_and_the_reasons_come_back(reasoning: Service, remote: RemoteRunner, tmp_path: Path) -> None:
    done(remote, kind="training", image="probe", train_data="pets", name="first")
    predicted = done(remote, kind="inference", image="probe", model="first", data="pets:test")["id"]
    with pytest.raises(DatasetError, match="have no prediction"):
        remote.submit(JobSpec(kind="mining", image="reasons", model="first", data="pets:val", predictions=str(predicted)))
    job = done(
        remote, kind="mining", image="reasons", model="first", data="pets:test", predictions=predicted, training_data="pets:val", name="why"
    )
    assert job["data"] == {"train": "pets@V001:val", "data": "pets@V001:test", "predictions": predicted}
    here = reasoning.runner.mining_ranking("why")
    assert remote.mining_ranking("why") == here == to_document(to_message(here, pb.Ranking, strict=True))
    why = {"coefficient": 0.5, "hard": True, "reasons": [1, 20]}
    assert {name: here[0][name] for name in why} == why
    assert here[0]["texts"] == ["the confidence is low", "the prediction changes when the picture is mirrored left to right (fliplr)"]
    assert {**here[1], "rank": 0, "asset": "", "name": "", "score": 0} == {
        "rank": 0, "asset": "", "name": "", "score": 0, "coefficient": None, "hard": None, "reasons": [], "texts": []
    }  # fmt: skip
    assert json.dumps(remote.get_job("why")["result"]) == json.dumps(reasoning.runner.get_job("why")["result"])
    assert remote.contact_sheet("why", tmp_path / "why.png")["images"] == 4
