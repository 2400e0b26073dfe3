"""The main job, as every engine must do it, asked over the service: what a door sees is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.client import RemoteRunner, find_server
from runner.installation import Installation
from runner.serve import Service
from tests.conformance.main_job import PROBE, MainJobConformance, voc_folder
from tests.runner.rpc.conftest import settings_of


class _Remote(RemoteRunner):
    """With the installation, of which some tests look at the files."""

    _installation: Installation


@pytest.mark.slow
class TestMainJobOverTheService(MainJobConformance):
    engine_name = "process"

    # These kill a process that drives the job itself, or count containers the moment a job has ended: tests/conformance/service.py is about that.
    test_a_job_whose_runner_is_killed_at_any_step_is_carried_on = None
    test_a_container_nobody_could_note_is_removed_when_the_job_is_cancelled = None
    test_a_job_that_ended_while_no_runner_lived_keeps_its_exit_code_and_results = None
    test_nothing_is_left_behind = None

    @pytest.fixture
    def runner(self, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteRunner]:  # type: ignore[override]
        settings = settings_of(tmp_path / "home", stop_grace_s="2", listen=str(tmp_path_factory.mktemp("s") / "s"))
        with Service(settings) as service:
            found = find_server(settings)
            assert found is not None
            with _Remote(found._channel, found.address) as runner:
                runner._installation = service.runner._installation
                runner.import_dataset("pets", voc_folder(tmp_path / "pets", {"train": 6, "val": 3, "test": 4}))
                runner.build_image(PROBE, name="probe")
                runner.link_images("probe", "probe")
                yield runner
