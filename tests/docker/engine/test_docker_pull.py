"""Pulls from a real registry by the real engine: progress, credentials, several who wait, and those who give up."""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from contracts.errors import PullError
from contracts.image import ImageFacts
from contracts.seams import PullProgress
from plugins.engines.docker import DockerEngine
from tests.conformance.engine import wait_until
from tests.docker.engine.registry import PASSWORD, USER, Registry, serving

pytestmark = pytest.mark.docker


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of Docker's client configuration: no credentials of the developer's."""
    folder = tmp_path / "docker-config"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


@pytest.fixture
def engine() -> Iterator[DockerEngine]:
    engine = DockerEngine()
    yield engine
    for facts in engine.list_images():
        if "/sluice-test/pulled" in facts.reference:
            engine.remove_image(facts.reference)
    engine.close()


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serving() as registry:
        yield registry


@pytest.fixture
def private() -> Iterator[Registry]:
    with serving(private=True) as registry:
        yield registry


def quiet(progress: PullProgress) -> None:
    pass


def test_a_pull_tells_bytes_that_never_fall_and_end_at_what_was_sent(engine: DockerEngine, registry: Registry) -> None:
    told: list[PullProgress] = []
    facts = engine.pull_image(registry.reference, told.append)
    assert facts == engine.find_image(registry.reference)
    assert facts.labels == {"sluice.test": "pulled"}
    assert (told[-1].current_bytes, told[-1].total_bytes) == (registry.layer_bytes, registry.layer_bytes)
    for before, after in pairwise(told):
        assert before.current_bytes <= after.current_bytes <= after.total_bytes >= before.total_bytes
    assert "3 of 3 layers" in told[-1].message


def test_what_the_engine_has_is_found_again_without_a_byte(engine: DockerEngine, registry: Registry) -> None:
    first = engine.pull_image(registry.reference, quiet)
    blobs = registry.asked["blobs"]
    assert engine.pull_image(registry.reference, quiet) == first
    assert registry.asked["blobs"] == blobs


def test_a_name_that_the_registry_does_not_know_is_said_so(engine: DockerEngine, registry: Registry) -> None:
    with pytest.raises(PullError) as caught:
        engine.pull_image(f"{registry.address}/sluice-test/pulled:never", quiet)
    assert "no such image" in caught.value.hint


# ------------------------------------------------------------------------------------------------------------ credentials


def test_a_private_registry_refuses_a_stranger_and_the_hint_is_to_log_in(engine: DockerEngine, private: Registry) -> None:
    with pytest.raises(PullError) as caught:
        engine.pull_image(private.reference, quiet)
    assert "docker login" in caught.value.hint


def test_the_password_in_dockers_configuration_is_used(engine: DockerEngine, private: Registry, docker_config: Path) -> None:
    known = {"auth": base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    (docker_config / "config.json").write_text(json.dumps({"auths": {private.address: known}}))
    assert engine.pull_image(private.reference, quiet).digest


@pytest.mark.parametrize("named", ["for this registry", "for all"])
def test_a_credential_helper_is_asked(
    engine: DockerEngine, private: Registry, docker_config: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    _install_helper(docker_config, monkeypatch, f'echo \'{{"Username": "{USER}", "Secret": "{PASSWORD}"}}\'')
    config = {"credHelpers": {private.address: "sluice-test"}} if named == "for this registry" else {"credsStore": "sluice-test"}
    (docker_config / "config.json").write_text(json.dumps(config))
    assert engine.pull_image(private.reference, quiet).digest
    assert (docker_config / "asked").read_text() == private.address


def test_a_credential_helper_that_fails_is_named(
    engine: DockerEngine, private: Registry, docker_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install_helper(docker_config, monkeypatch, "echo the key ring is locked; exit 1")
    (docker_config / "config.json").write_text(json.dumps({"credHelpers": {private.address: "sluice-test"}}))
    with pytest.raises(PullError, match="key ring is locked") as caught:
        engine.pull_image(private.reference, quiet)
    assert "credential helper" in caught.value.hint


def _install_helper(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    helper = folder / "docker-credential-sluice-test"
    helper.write_text(f'#!/bin/sh\n[ "$1" = get ] && cat > {folder}/asked\n{script}\n')
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


# ---------------------------------------------------------------------------------------------------------- several waiters


def test_several_who_want_one_image_share_one_pull_and_each_is_told(engine: DockerEngine, registry: Registry) -> None:
    registry.slow = True
    told: list[list[PullProgress]] = [[], [], []]
    facts: list[ImageFacts] = []
    threads = [threading.Thread(target=lambda own=own: facts.append(engine.pull_image(registry.reference, own.append))) for own in told]
    for thread in threads:
        thread.start()
    wait_until(lambda: all(own and own[-1].current_bytes > 0 for own in told), "bytes told to all three")
    registry.slow = False
    for thread in threads:
        thread.join()
    assert len(facts) == 3
    assert len(set(map(repr, facts))) == 1
    assert registry.asked["manifests"] <= 2, "each asked the registry"  # by its tag and by its digest
    assert registry.asked["blobs"] == len(registry.blobs)


def test_one_who_gives_up_does_not_end_the_pull_of_the_others(engine: DockerEngine, registry: Registry) -> None:
    registry.slow = True
    facts: list[ImageFacts] = []
    other = threading.Thread(target=lambda: facts.append(engine.pull_image(registry.reference, quiet)))
    other.start()
    with pytest.raises(PullError, match="not done in time"):
        engine.pull_image(registry.reference, quiet, timeout_s=0.5)
    registry.slow = False
    other.join()
    assert facts
    assert not registry.hung_up.is_set()


@pytest.mark.parametrize("why", ["time", "an exception"])
def test_a_pull_that_nobody_waits_for_is_ended_in_the_engine(engine: DockerEngine, registry: Registry, why: str) -> None:
    registry.slow = True

    def enough(progress: PullProgress) -> None:
        if why == "an exception" and progress.current_bytes:
            raise KeyError("enough")

    with pytest.raises(PullError if why == "time" else KeyError):
        engine.pull_image(registry.reference, enough, timeout_s=1.0 if why == "time" else None)
    wait_until(registry.hung_up.is_set, "the engine to hang up on the registry")
    assert engine.find_image(registry.reference) is None


def test_a_waiter_is_asked_each_second_also_when_nothing_comes(engine: DockerEngine, registry: Registry) -> None:
    """So that a cancelled job does not wait for a registry that is silent."""
    registry.slow = True
    asked: list[float] = []

    def cancel_when_asked_often(progress: PullProgress) -> None:
        asked.append(progress.current_bytes)
        if len(asked) == 4:
            raise KeyError("cancelled")

    with pytest.raises(KeyError):
        engine.pull_image(registry.reference, cancel_when_asked_often)
