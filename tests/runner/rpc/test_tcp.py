"""Over TCP: only with TLS and a token, which also says who asks."""

from __future__ import annotations

import logging
import shutil
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from contracts.errors import ConfigurationError, RequestError, UnavailableError
from contracts.job import JobSpec
from contracts.rpc import sluice_pb2 as pb
from contracts.rpc.sluice_pb2_grpc import SluiceStub
from runner.client import RemoteRunner
from runner.rpc import RpcServer
from runner.serve import Service
from runner.settings import Settings
from tests.runner.rpc.conftest import ADA, BOB, HANGING


@pytest.fixture
def address(tcp_settings: Settings) -> Iterator[str]:
    with Service(tcp_settings) as service:
        yield service.addresses[1]
        for job in service.runner.list_jobs(states=("queued", "running"))["jobs"]:
            service.runner.cancel_job(job["id"])


@pytest.fixture
def ada(address: str, certificate: Path) -> Iterator[RemoteRunner]:
    with RemoteRunner.over_tcp(address, token=ADA, certificate=certificate) as remote:
        yield remote


def test_a_job_belongs_to_whom_the_token_belongs(ada: RemoteRunner, address: str, certificate: Path) -> None:
    assert ada.submit(JobSpec(**HANGING))["user"] == "ada"
    with RemoteRunner.over_tcp(address, token=BOB, certificate=certificate) as bob:
        assert bob.submit(JobSpec(**HANGING))["user"] == "bob"


def test_nobody_submits_in_the_name_of_others(ada: RemoteRunner) -> None:
    with pytest.raises(RequestError, match="the token is ada's, not bob's"):
        ada.submit(JobSpec(**HANGING), user="bob")
    assert ada.list_jobs()["total"] == 0


@pytest.mark.parametrize("token", ["c" * 40, ADA[:-1], ADA + "a", "", "ada"])
def test_an_unknown_token_is_refused_at_every_method(address: str, certificate: Path, token: str) -> None:
    metadata = (("authorization", f"Bearer {token}"), ("sluice-user", "ada"))
    with _channel(address, certificate) as channel:
        for call in (
            lambda: SluiceStub(channel).ListJobs(pb.ListJobsRequest(), metadata=metadata),
            lambda: list(SluiceStub(channel).Watch(pb.WatchRequest(reference="x"), metadata=metadata)),
            lambda: SluiceStub(channel).Describe(pb.DescribeRequest()),
            lambda: ProtoReflectionDescriptorDatabase(channel).get_services(),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_client_says_that_its_token_is_unknown(address: str, certificate: Path) -> None:
    unknown = RemoteRunner.over_tcp(address, token="nobody", certificate=certificate)
    with unknown as remote, pytest.raises(RequestError, match="token is missing or unknown"):
        remote.list_jobs()


def test_the_health_is_told_to_everybody(address: str, certificate: Path) -> None:
    with _channel(address, certificate) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_certificate_that_nobody_vouches_for_is_not_talked_to(address: str) -> None:
    with RemoteRunner.over_tcp(address, token=ADA, timeout_s=5.0) as remote, pytest.raises(UnavailableError):
        remote.describe(timeout_s=5.0)


def test_without_tls_there_is_no_answer(address: str) -> None:
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as caught:
        SluiceStub(channel).Describe(pb.DescribeRequest(), timeout=5.0, metadata=(("authorization", f"Bearer {ADA}"),))
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_no_file_may_be_named_without_roots(ada: RemoteRunner, tmp_path: Path) -> None:
    for ask in (
        lambda: ada.import_dataset("x", tmp_path),
        lambda: ada.build_image(tmp_path),
        lambda: ada.add_image(str(tmp_path)),
        lambda: ada.export_model("x", tmp_path / "x.tar"),
        lambda: ada.export_dataset("x", tmp_path / "x", format="coco"),
        lambda: ada.contact_sheet("x", tmp_path / "x.png"),
    ):
        with pytest.raises(RequestError, match="requests may name: none"):
            ask()


def test_tokens_are_read_again_when_the_file_changes_and_kept_when_it_breaks(
    ada: RemoteRunner, tcp_settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    file = Path(tcp_settings.token_file)
    file.write_text("ada short\n")
    assert ada.list_jobs()["total"] == 0
    assert "tokens:1: not a user and a token" in caplog.text
    file.write_text(f"bob {BOB}\n# ada left\n")
    with pytest.raises(RequestError, match="token"):
        ada.list_jobs()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token_file": ""}, "the setting token_file is empty"),
        ({"tls_key": ""}, "the setting tls_key is empty"),
        ({"tls_certificate": "/nowhere/c.pem"}, "/nowhere/c.pem cannot be read"),
        ({"tls_key": "/etc/hostname"}, "not in PEM form"),
        ({"token_file": "/nowhere/tokens"}, "/nowhere/tokens cannot be read"),
        ({"token_file": "/etc/hostname"}, "/etc/hostname:1: not a user and a token"),
        ({"listen_tcp": "256.0.0.1:0"}, "cannot listen at 256.0.0.1:0"),
        ({"listen_tcp": "192.0.2.1:0"}, "cannot listen at 192.0.2.1:0: Cannot assign requested address"),
        ({"listen_tcp": "localhost"}, "the setting listen_tcp is 'localhost', not host:port"),
        ({"listen_tcp": "::1:7443"}, "the setting listen_tcp is '::1:7443', not host:port"),
        ({"listen_tcp": "localhost:99999"}, "not host:port"),
    ],
)
def test_a_tcp_address_that_cannot_be_safe_is_not_opened(
    service: Service, tcp_settings: Settings, changes: dict[str, Any], words: str
) -> None:
    settings = replace(tcp_settings, listen=str(tcp_settings.home / "second.sock"), **changes)
    with pytest.raises(ConfigurationError, match=words):
        RpcServer(service.runner, settings).start()
    assert not (settings.home / "second.sock").exists()


def test_a_port_in_use_is_refused_before_a_job_is_adopted(tcp_settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "runner")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        where = f"localhost:{listener.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match=f"cannot listen at {where}: Address already in use"):
            Service(replace(tcp_settings, listen_tcp=where)).__enter__()
    assert "adopted" not in caplog.text
    with Service(tcp_settings):
        assert "adopted 0 jobs" in caplog.text


def test_a_key_of_another_certificate_is_refused(service: Service, tcp_settings: Settings, renewed: Path) -> None:
    settings = replace(tcp_settings, listen=str(tcp_settings.home / "second.sock"), tls_key=str(renewed.with_name("key.pem")))
    with pytest.raises(ConfigurationError, match=r"cannot be used together.*KEY_VALUES_MISMATCH"):
        RpcServer(service.runner, settings).start()


# ------------------------------------------------------------------------------------------------------------ a new certificate


@pytest.fixture
def files(tcp_settings: Settings, tmp_path: Path) -> Settings:
    """The certificate and key are copies that a test may replace."""
    names = {name: tmp_path / f"{name}.pem" for name in ("tls_certificate", "tls_key")}
    for name, file in names.items():
        shutil.copy(getattr(tcp_settings, name), file)
    return replace(tcp_settings, **{name: str(file) for name, file in names.items()})


def _put(settings: Settings, name: str, source: Path) -> None:
    """As those who renew certificates do: the new file takes the place of the old one."""
    target = Path(getattr(settings, name))
    shutil.copy(source, target.with_suffix(".new"))
    target.with_suffix(".new").replace(target)


def _is_served(address: str, certificate: Path) -> bool:
    """Whether a new connection meets this certificate."""
    with RemoteRunner.over_tcp(address, token=ADA, certificate=certificate) as remote:
        try:
            return bool(remote.describe(timeout_s=5.0))
        except UnavailableError:
            return False


def test_a_renewed_certificate_is_taken_up_and_connections_go_on(files: Settings, certificate: Path, renewed: Path) -> None:
    with Service(files) as service, RemoteRunner.over_tcp(service.addresses[1], token=ADA, certificate=certificate) as former:
        assert former.list_jobs()["total"] == 0
        _put(files, "tls_certificate", renewed)
        _put(files, "tls_key", renewed.with_name("key.pem"))
        assert _is_served(service.addresses[1], renewed)
        assert not _is_served(service.addresses[1], certificate)
        assert former.list_jobs()["total"] == 0


def test_a_certificate_that_is_no_use_leaves_the_former_in_use(
    files: Settings, certificate: Path, renewed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Service(files) as service:
        Path(files.tls_certificate).write_text("half a certi")
        assert [_is_served(service.addresses[1], certificate) for _ in range(2)] == [True, True]
        assert [record.message for record in caplog.records if "former certificate" in record.message] == [
            f"the former certificate stays in use: tls_certificate {files.tls_certificate} is not in PEM form\nIt begins with -----BEGIN."
        ]
        Path(files.tls_certificate).unlink()
        assert _is_served(service.addresses[1], certificate)
        _put(files, "tls_certificate", renewed)  # its key comes a moment later
        assert _is_served(service.addresses[1], certificate)
        _put(files, "tls_key", renewed.with_name("key.pem"))
        assert _is_served(service.addresses[1], renewed)


def _channel(address: str, certificate: Path) -> grpc.Channel:
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(certificate.read_bytes()))
