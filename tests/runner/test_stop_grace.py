"""An image says itself how long it needs to save what it has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.job import JobWarning
from registry import images
from runner import submission
from runner.service import Runner
from runner.settings import load_settings
from tests.conformance.main_job import PROBE


@pytest.mark.parametrize(
    ("asked", "seconds", "warned"),
    [(None, 10.0, 0), ("120", 120.0, 0), ("99999", 3600.0, 0), ("soon", 10.0, 1), ("-3", 10.0, 1), ("nan", 10.0, 1)],
)
def test_the_grace_is_the_labels_within_reason(tmp_path: Path, asked: str | None, seconds: float, warned: int) -> None:
    with Runner.open(load_settings({"home": str(tmp_path / "home"), "engine": "process"})) as runner:
        runner.build_image(PROBE, name="probe")
        with runner._installation.database.reading() as session:
            image = images.get_image(session, "probe")
        labelled = replace(image, labels={} if asked is None else {submission.STOP_GRACE_LABEL: asked})
        warnings: list[JobWarning] = []
        assert submission._stop_grace_s(runner._installation, labelled, warnings) == seconds
        assert len(warnings) == warned
