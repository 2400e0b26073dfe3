"""What any gRPC program can ask without knowing Sluice: which services there are, what their messages look like, whether they are well."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from runner.serve import Service


@pytest.fixture
def channel(service: Service) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(service.addresses[0]) as channel:
        yield channel


def test_reflection_tells_the_services(channel: grpc.Channel) -> None:
    services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert set(services) == {"sluice.v1.Sluice", "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


def test_a_program_that_has_only_reflection_can_call_a_method(channel: grpc.Channel) -> None:
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    method = pool.FindServiceByName("sluice.v1.Sluice").FindMethodByName("ListDatasets")
    request, answer = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    call = channel.unary_unary("/sluice.v1.Sluice/ListDatasets", request.SerializeToString, answer.FromString)
    assert [dataset.name for dataset in call(request()).datasets] == ["pets"]


@pytest.mark.parametrize("name", ["", "sluice.v1.Sluice"])
def test_the_service_says_that_it_is_well(channel: grpc.Channel, service: Service, name: str) -> None:
    watching = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=name))
    assert next(watching).status == health_pb2.HealthCheckResponse.SERVING
    watching.cancel()
    assert (
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name)).status
        == health_pb2.HealthCheckResponse.SERVING
    )
