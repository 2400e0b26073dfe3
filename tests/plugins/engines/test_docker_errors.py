"""What the Docker Engine's words become."""

from __future__ import annotations

import pytest

from contracts.errors import StartError
from plugins.engines.docker_errors import translated
from plugins.engines.docker_http import Refused


@pytest.mark.parametrize(
    ("words", "restarted"),
    [("task 5c4635568d7bbba710158891f43755cb: already exists", True), ("exec: no such file or directory", False)],
)
def test_a_start_that_an_engine_was_killed_in_says_so(words: str, restarted: bool) -> None:
    with pytest.raises(StartError) as caught, translated("start container x", StartError):
        raise Refused(500, words)
    assert caught.value.fields.get("engine_restarted", False) is restarted
