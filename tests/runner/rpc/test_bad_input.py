"""Whatever a stranger sends gets a clear error and changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from contracts.errors import ConflictError, RequestError
from contracts.job import JobSpec
from contracts.rpc import sluice_pb2 as pb
from contracts.rpc.failures import ERROR_KEY, find_metadata
from contracts.rpc.sluice_pb2_grpc import SluiceStub
from runner.client import RemoteRunner
from runner.serve import Service
from runner.settings import Settings

TRAINING = pb.JobSpec(kind="training", image="probe", train_data="pets")


def _spec(**changes: Any) -> pb.JobSpec:
    spec = pb.JobSpec()
    spec.CopyFrom(TRAINING)
    spec.MergeFrom(pb.JobSpec(**changes))
    return spec


@pytest.fixture
def channel(service: Service) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(service.addresses[0]) as channel:
        yield channel


def _refused(call: Any) -> tuple[grpc.StatusCode, dict[str, Any]]:
    """The status and the error of a call that must fail."""
    with pytest.raises(grpc.RpcError) as caught:
        _answers(call())
    packed = find_metadata(caught.value.trailing_metadata(), ERROR_KEY)
    return caught.value.code(), json.loads(packed)["error"] if packed else {"message": caught.value.details()}


def _answers(answer: Any) -> list[Any]:
    return list(answer if hasattr(answer, "__next__") else [answer])


def _tables(home: Path) -> dict[str, int]:
    with sqlite3.connect(home / "sluice.db") as database:
        names = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names}


@pytest.mark.parametrize(
    ("method", "request_", "words", "field"),
    [
        ("Submit", pb.SubmitRequest(), "spec.kind: Field required", "spec.kind"),
        ("Submit", pb.SubmitRequest(spec=pb.JobSpec()), "spec.kind", "spec.kind"),
        ("Submit", pb.SubmitRequest(spec=pb.JobSpec(kind="cooking")), "spec.kind", "spec.kind"),
        ("Submit", pb.SubmitRequest(spec=pb.JobSpec(kind="training")), "needs train_data", "spec"),
        ("Submit", pb.SubmitRequest(spec=_spec(name="../x")), "spec.name", "spec.name"),
        ("Submit", pb.SubmitRequest(spec=_spec(gpu_count=-1)), "spec.gpu_count", "spec.gpu_count"),
        ("Submit", pb.SubmitRequest(spec=_spec(timeout_s=float("nan"))), "spec.timeout_s", "spec.timeout_s"),
        ("Submit", pb.SubmitRequest(spec=_spec(gpu=pb.GpuWish(memory_bytes=0))), "spec.gpu.memory_bytes", "spec.gpu.memory_bytes"),
        ("Submit", pb.SubmitRequest(spec=_spec(parameters=pb.Json(text="[1]"))), "spec.parameters is not an object", "spec.parameters"),
        ("Submit", pb.SubmitRequest(spec=_spec(parameters=pb.Json(text="{"))), "is not JSON", None),
        ("Submit", pb.SubmitRequest(spec=_spec(parameters=pb.Json(text="[" * 100_000))), "is not JSON", None),
        ("Submit", pb.SubmitRequest(spec=_spec(parameters=pb.Json(text='{"sleep_s": "x"}'))), "sleep_s", None),
        ("ListJobs", pb.ListJobsRequest(states=["sleeping"]), "there is no 'sleeping'", "states"),
        ("ListJobs", pb.ListJobsRequest(kinds=["cooking"]), "there is no 'cooking'", "kinds"),
        ("ListJobs", pb.ListJobsRequest(limit=0), "limit is 0, not 1 to 1000", "limit"),
        ("ListJobs", pb.ListJobsRequest(limit=1 << 40), "not 1 to 1000", "limit"),
        ("ListJobs", pb.ListJobsRequest(offset=-1), "not at least 0", "offset"),
        ("ReadJobLog", pb.ReadJobLogRequest(reference="x", offset=-1), "offset", "offset"),
        ("SampleDataset", pb.SampleDatasetRequest(train=1 << 50), "train", "train"),
        ("ContactSheet", pb.ContactSheetRequest(reference="x", file="sheet.png"), "not an absolute path", "file"),
        ("ContactSheet", pb.ContactSheetRequest(reference="x", file="/tmp/a\0b"), "is not a path", "file"),
        ("ImportDataset", pb.ImportDatasetRequest(name="x", path=""), "not an absolute path", "path"),
        ("BuildImage", pb.BuildImageRequest(folder="/nowhere", profile="root"), "", None),
        ("AddImage", pb.AddImageRequest(reference="relative"), "not an absolute path", "reference"),
    ],
)
def test_a_request_that_is_wrong_is_refused_by_name_and_changes_nothing(
    channel: grpc.Channel, settings: Settings, method: str, request_: Any, words: str, field: str | None
) -> None:
    before = _tables(settings.home)
    status, error = _refused(lambda: getattr(SluiceStub(channel), method)(request_))
    assert status is grpc.StatusCode.INVALID_ARGUMENT, error
    assert words in error["message"]
    assert error["hint"]
    assert field is None or error["fields"]["field"] == field
    assert _tables(settings.home) == before


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"], ids=["no tag", "cut off", "no unicode"])
@pytest.mark.parametrize("method", ["Submit", "GetJob", "Watch", "ImportDataset"])
def test_bytes_that_are_no_message_are_refused(channel: grpc.Channel, method: str, data: bytes) -> None:
    kind = channel.unary_stream if method in ("Watch", "ImportDataset") else channel.unary_unary
    status, error = _refused(lambda: kind(f"/sluice.v1.Sluice/{method}")(data))
    assert (status, error["code"]) == (grpc.StatusCode.INVALID_ARGUMENT, "request")
    assert f"is not a {method}Request" in error["message"]


def test_a_field_of_tomorrow_is_refused_rather_than_ignored(channel: grpc.Channel) -> None:
    inner = TRAINING.SerializeToString() + b"\xc2\x3e\x01x"  # field 1000
    data = b"\x0a" + bytes([len(inner)]) + inner
    status, error = _refused(lambda: channel.unary_unary("/sluice.v1.Sluice/Submit")(data))
    assert (status, error["fields"]["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "spec.1000")


def test_a_method_that_there_is_not_is_said_to_be_unknown(channel: grpc.Channel) -> None:
    status, _ = _refused(lambda: channel.unary_unary("/sluice.v1.Sluice/Frobnicate")(b""))
    assert status is grpc.StatusCode.UNIMPLEMENTED


def test_a_request_larger_than_the_setting_is_refused_unread(settings: Settings) -> None:
    spec = JobSpec(kind="training", image="probe", train_data="pets", parameters={"behaviour": "x" * 200_000})
    with Service(replace(settings, max_request_bytes=100_000)) as service, _connected(service) as remote:
        with pytest.raises(RequestError, match=r"no request of this size.*100000") as caught:
            remote.submit(spec)
        assert "max_request_bytes" in caught.value.hint
        assert service.runner.list_jobs()["total"] == 0


def test_a_key_gives_its_job_again_and_no_other(remote: RemoteRunner, service: Service) -> None:
    spec = JobSpec(kind="training", image="probe", train_data="pets", parameters={"behaviour": "hang"})
    first = remote.submit(spec, idempotency_key="k1")
    assert remote.submit(spec, idempotency_key="k1")["id"] == first["id"]
    with pytest.raises(ConflictError, match="k1"):
        remote.submit(spec.model_copy(update={"seed": 1}), idempotency_key="k1")
    assert service.runner.list_jobs()["total"] == 1


def test_every_submit_without_a_key_is_a_job_of_its_own(remote: RemoteRunner) -> None:
    spec = JobSpec(kind="training", image="probe", train_data="pets", parameters={"behaviour": "hang"})
    assert remote.submit(spec)["id"] != remote.submit(spec)["id"]


def test_a_path_outside_of_the_allowed_roots_is_refused_whatever_its_disguise(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "link").symlink_to("/etc")
    with Service(replace(settings, allowed_roots=f"{tmp_path / 'open'}")) as service, _connected(service) as remote:
        for path in ("/etc", tmp_path, tmp_path / "open" / ".." / "x", tmp_path / "open" / "link" / "ssl", tmp_path / "opener"):
            with pytest.raises(RequestError, match="outside of the folders") as caught:
                remote.import_dataset("x", Path(path))
            assert caught.value.fields == {"field": "path", "setting": "allowed_roots"}
        for address in ("file:///etc", "s3", "x://"):  # an address is no way around
            with pytest.raises(RequestError, match=r"nothing reads|not an absolute path"):
                remote.import_dataset("x", address)
        with pytest.raises(RequestError, match="outside of the folders"):
            remote.add_image("/etc")
        with pytest.raises(RequestError) as caught:
            remote.import_dataset("x", tmp_path / "open" / "nothing")
        assert "folders" not in caught.value.message


def _connected(service: Service) -> RemoteRunner:
    return RemoteRunner.over_unix(Path(service.addresses[0].removeprefix("unix:")))
