"""The main job through image folders, without containers."""

from __future__ import annotations

from tests.conformance.main_job import MainJobConformance


class TestMainJobOnProcess(MainJobConformance):
    engine_name = "process"
