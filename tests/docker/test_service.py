"""The service with real containers."""

from __future__ import annotations

import pytest

from tests.conformance.service import ServiceConformance


@pytest.mark.docker
class TestService(ServiceConformance):
    engine_name = "docker"
