"""What a request for a job may say."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from contracts.job import JobSpec


@pytest.mark.parametrize("name", ["environment", "env", "variables"])
def test_a_request_brings_no_environment_by_which_its_image_would_see_other_gpus(name: str) -> None:
    """A21: what is not part of a request is refused, NVIDIA_VISIBLE_DEVICES with it."""
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        JobSpec.model_validate({"kind": "training", "image": "probe", name: {"NVIDIA_VISIBLE_DEVICES": "all"}})
