"""Cards and pools over the service: the documents that a Runner gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import NotFoundError, RequestError
from contracts.job import GpuWish, JobSpec
from contracts.rpc import sluice_pb2 as pb
from contracts.rpc.documents import to_document, to_message
from runner.client import RemoteRunner
from runner.serve import Service
from tests.runner.rpc.conftest import HANGING

CARD: dict[str, Any] = {"uuid": "GPU-00aa", "name": "Fake H200", "total_bytes": 141 * 1024**3, "power_w": 75.5, "numa_node": 0}
FOREIGN = {"uuid": "GPU-11bb", "used_bytes": 1024**3, "processes": [{"pid": 4711, "used_bytes": 1024**3, "command": "python"}]}
SLICED = {"uuid": "GPU-22cc", "mig_enabled": True, "slices": [{"uuid": "MIG-22", "profile": "1g.18gb", "total_bytes": 18 * 1024**3}]}
BROKEN = {"uuid": "GPU-33dd", "error": "fell off the bus", "error_code": "lost"}


@pytest.fixture(autouse=True)
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "gpus.json"
    file.write_text(json.dumps([CARD, FOREIGN, SLICED, BROKEN]))
    monkeypatch.setenv("SLUICE_FAKE_GPUS", str(file))
    return file


@pytest.fixture
def leased(remote: RemoteRunner, cards: Path) -> str:
    """The id of a job that holds a card."""
    job = remote.submit(JobSpec(**HANGING, gpu_count=1, gpu=GpuWish(model="h200")))
    next(update for update in remote.watch(job["id"]) if update["step"] == "follow")
    return str(job["id"])


def test_cards_of_every_kind_are_the_same_documents(remote: RemoteRunner, service: Service, leased: str) -> None:
    here, there = service.runner.list_gpus(), remote.list_gpus()
    assert json.dumps(there) == json.dumps(here)
    assert to_document(to_message(here, pb.GpuList, strict=True)) == here
    by_uuid = {card["uuid"]: card for card in there}
    assert (by_uuid["GPU-00aa"]["state"], by_uuid["GPU-00aa"]["job"]) == ("leased", leased)
    assert {"GPU-11bb", "GPU-22cc", "MIG-22", "GPU-33dd"} <= set(by_uuid)


def test_events_are_the_same_documents(remote: RemoteRunner, service: Service, leased: str) -> None:
    remote.drain_gpu("GPU-11")
    there = remote.gpu_events()
    here = service.runner.gpu_events()
    assert there
    assert json.dumps(here[-len(there) :]) == json.dumps(there), "newest first, and there may be newer ones by now"
    assert to_document(to_message(here, pb.GpuEventList, strict=True)) == here
    assert remote.gpu_events("GPU-11bb", limit=1) == service.runner.gpu_events("GPU-11bb", limit=1)


def test_a_card_and_a_pool_are_drained_and_given_back(remote: RemoteRunner, service: Service) -> None:
    pool = remote.put_gpu_pool("big", purpose="training", slots=2, users=["ada"], kinds=["training"])
    assert (pool["users"], pool["projects"], pool["kinds"], pool["max_gpus_per_user"]) == (["ada"], [], ["training"], None)
    assert remote.assign_gpu("0", "big")["pool"] == "big"
    assert remote.list_gpu_pools() == service.runner.list_gpu_pools() == [{**pool, "gpus": ["GPU-00aa"]}]
    assert remote.drain_gpu("big") == {**pool, "gpus": ["GPU-00aa"], "drained": True}
    assert remote.drain_gpu("big", on=False)["drained"] is False
    assert remote.drain_gpu("GPU-00aa") == next(card for card in service.runner.list_gpus() if card["uuid"] == "GPU-00aa")
    assert remote.drain_gpu("GPU-00aa", on=False)["drained"] is False


def test_what_is_not_given_of_a_pool_stays_and_an_empty_list_takes_all_away(remote: RemoteRunner) -> None:
    remote.put_gpu_pool("big", users=["ada"], projects=["eyes"], max_gpus_per_user=3)
    changed = remote.put_gpu_pool("big", users=[], max_gpus_per_user=-1)
    assert (changed["users"], changed["projects"], changed["max_gpus_per_user"]) == ([], ["eyes"], None)
    assert remote.remove_gpu_pool("big") == {"removed": "big"}


def test_a_card_is_called_healthy_and_one_that_is_missing_forgotten(remote: RemoteRunner, cards: Path, service: Service) -> None:
    assert remote.clear_gpu("GPU-00aa")["health"] == "ok"
    remote.drain_gpu("GPU-11bb")
    cards.write_text(json.dumps([CARD]))
    service.runner._installation.gpus.reconcile([])
    assert remote.clear_gpu("GPU-11bb") == {"uuid": "GPU-11bb", "forgotten": True}


def test_an_unknown_card_or_kind_is_an_error_of_its_own(remote: RemoteRunner) -> None:
    with pytest.raises(NotFoundError, match="no GPU 'GPU-99'"):
        remote.drain_gpu("GPU-99")
    with pytest.raises(RequestError, match="there is no 'cooking'"):
        remote.put_gpu_pool("big", kinds=["cooking"])
