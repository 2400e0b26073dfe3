"""What Docker is asked for, and what it says, without an engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from contracts.image import Permissions, Profile
from contracts.seams import ContainerSpec
from plugins.engines.docker_errors import pull_hint, start_hint
from plugins.engines.docker_spec import container_config

SPEC = ContainerSpec(name="n", image="sha256:1", in_dir=Path("/tmp"), out_dir=Path("/tmp"), labels={"a": "b"})


@pytest.mark.parametrize("permissions", [Permissions(), Permissions.of(Profile.COMPATIBLE), Permissions(root=True)])
def test_no_permission_allows_new_privileges_or_touches_what_the_image_runs(permissions: Permissions) -> None:
    config = container_config(replace(SPEC, permissions=permissions), has_command=True)
    assert config["HostConfig"]["SecurityOpt"] == ["no-new-privileges"]
    assert not {"Privileged", "CapAdd", "Devices", "PidMode"} & set(config["HostConfig"])
    assert not {"Cmd", "Entrypoint", "WorkingDir", "Hostname"} & set(config)


def test_the_fingerprint_tells_specs_apart_and_is_the_same_for_the_same() -> None:
    label = "sluice.spec"
    first = container_config(SPEC, True)["Labels"][label]
    assert first == container_config(SPEC, True)["Labels"][label]
    assert first != container_config(replace(SPEC, memory_bytes=1), True)["Labels"][label]
    assert first != container_config(replace(SPEC, gpu_uuids=("GPU-a",)), True)["Labels"][label]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("standard_init_linux.go:228: exec user process caused: exec format error", "another processor"),
        ('exec: "foo": executable file not found in $PATH: unknown', "does not exist in it"),
        ('invalid mount config for type "bind": bind source path does not exist: /x', "vanished"),
        ("Minimum memory limit allowed is 6MB", "too small"),
        ("something nobody has seen", ""),
    ],
)
def test_a_failed_start_says_what_to_do(words: str, hint: str) -> None:
    assert hint in start_hint(words)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("pull access denied for x/y, repository does not exist or may require 'docker login'", "docker login"),
        ("manifest for x:y not found: manifest unknown", "no such image"),
        ('Get "https://registry/v2/": dial tcp: lookup registry: no such host', "could not be reached"),
        ("x509: certificate signed by unknown authority", "could not be reached"),
        ("toomanyrequests: You have reached your pull rate limit", "limits anonymous pulls"),
        ("write /var/lib/docker/tmp/x: no space left on device", "disk is full"),
    ],
)
def test_a_failed_pull_says_what_to_do(words: str, hint: str) -> None:
    assert hint in pull_hint(words)
