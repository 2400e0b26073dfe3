"""The probe image, built once for all tests of the Docker engine."""

from __future__ import annotations

import pytest

from contracts.image import ImageFacts
from plugins.engines.docker import DockerEngine
from tests.conformance.engine import PROBE

PROBE_REFERENCE = "sluice-test/probe:latest"


@pytest.fixture(scope="session")
def probe_image(_engine_with_base_image: None) -> ImageFacts:
    engine = DockerEngine()
    try:
        return engine.build_image(PROBE, PROBE_REFERENCE, {}, lambda line: None)
    finally:
        engine.close()
