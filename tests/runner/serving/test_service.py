"""The service on the process engine; tests/docker/test_service.py runs the same on Docker."""

from __future__ import annotations

from tests.conformance.service import ServiceConformance


class TestService(ServiceConformance):
    engine_name = "process"
