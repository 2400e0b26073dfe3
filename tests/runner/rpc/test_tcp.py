"""Over TCP: only with TLS and a token, which also says who asks."""

from __future__ import annotations

import shutil
import subprocess
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
from tests.runner.rpc.conftest import HANGING

ADA, BOB = "a" * 40, "b" * 40


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of localhost that signs itself; its key lies beside it."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the program openssl, to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)
    return folder / "certificate.pem"


@pytest.fixture
def tcp_settings(settings: Settings, certificate: Path, tmp_path: Path) -> Settings:
    (tmp_path / "tokens").write_text(f"# who may\nada {ADA}\n\nbob {BOB}\n")
    return replace(
        settings,
        listen_tcp="localhost:0",
        tls_certificate=str(certificate),
        tls_key=str(certificate.with_name("key.pem")),
        token_file=str(tmp_path / "tokens"),
    )


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
        ({"listen_tcp": "256.0.0.1:0"}, "cannot listen at 256.0.0.1:0"),
    ],
)
def test_a_tcp_address_that_cannot_be_safe_is_not_opened(
    service: Service, tcp_settings: Settings, changes: dict[str, Any], words: str
) -> None:
    settings = replace(tcp_settings, listen=str(tcp_settings.home / "second.sock"), **changes)
    with pytest.raises(ConfigurationError, match=words):
        RpcServer(service.runner, settings).start()
    assert not (settings.home / "second.sock").exists()


def _channel(address: str, certificate: Path) -> grpc.Channel:
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(certificate.read_bytes()))
