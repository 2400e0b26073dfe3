"""How cards are asked for, read back and missed, without an engine: the requests, inspections and error texts of real ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigurationError
from contracts.seams import ContainerSpec
from plugins.engines.docker_errors import gpu_fields, start_hint
from plugins.engines.docker_gpus import cdi_cards, claims_of, give_gpus, given_gpus, gpu_advice, settled
from plugins.engines.docker_spec import SPEC_LABEL, container_config
from plugins.engines.docker_status import info_of

SPEC = ContainerSpec(name="n", image="sha256:1", in_dir=Path("/tmp"), out_dir=Path("/tmp"), gpu_uuids=("GPU-a", "MIG-b"))
CDI_INFO = {"DiscoveredDevices": [{"Source": "cdi", "ID": f"nvidia.com/gpu={name}"} for name in ("0", "GPU-a", "MIG-b", "all")]}


def config(spec: ContainerSpec, info: dict[str, Any] | None = None) -> dict[str, Any]:
    return container_config(settled(spec, lambda: info or {}), has_command=True)


def environment(made: dict[str, Any]) -> dict[str, str]:
    return dict(entry.split("=", 1) for entry in made["Env"])


# ------------------------------------------------------------------------------------------------------------- requests


def test_cards_are_one_request_by_uuid_and_the_environment_names_the_same() -> None:
    made = config(SPEC)
    wanted = {"Driver": "nvidia", "DeviceIDs": ["GPU-a", "MIG-b"], "Capabilities": [["gpu", "compute", "utility"]]}
    assert made["HostConfig"]["DeviceRequests"] == [wanted]
    assert environment(made)["NVIDIA_VISIBLE_DEVICES"] == "GPU-a,MIG-b"
    assert environment(made)["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


def test_by_cdi_cards_are_one_request_too_and_the_hook_is_told_to_give_none() -> None:
    made = config(replace(SPEC, gpu_injection="cdi"))
    assert made["HostConfig"]["DeviceRequests"] == [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=GPU-a", "nvidia.com/gpu=MIG-b"]}]
    assert environment(made)["NVIDIA_VISIBLE_DEVICES"] == "void"


@pytest.mark.parametrize("injection", ["auto", "nvidia", "cdi"])
def test_a_job_without_cards_asks_for_none_and_refuses_what_its_image_asks_for(injection: str) -> None:
    made = config(replace(SPEC, gpu_uuids=(), gpu_injection=injection), CDI_INFO)
    assert "DeviceRequests" not in made["HostConfig"]
    assert environment(made)["NVIDIA_VISIBLE_DEVICES"] == "void"


@pytest.mark.parametrize(
    ("uuids", "info", "way"),
    [
        (("GPU-a", "MIG-b"), CDI_INFO, "cdi"),
        (("GPU-a", "MIG-made-anew"), CDI_INFO, "nvidia"),
        (("GPU-a",), {}, "nvidia"),
        (("GPU-a",), {"DiscoveredDevices": [{"Source": "cdi", "ID": "vendor.com/net=GPU-a"}]}, "nvidia"),
    ],
)
def test_left_to_itself_the_engine_gives_by_cdi_exactly_when_it_lists_every_card(
    uuids: tuple[str, ...], info: dict[str, Any], way: str
) -> None:
    assert settled(replace(SPEC, gpu_uuids=uuids), lambda: info).gpu_injection == way


def test_the_engine_is_not_asked_where_nothing_is_to_decide() -> None:
    for spec in (replace(SPEC, gpu_uuids=()), replace(SPEC, gpu_injection="nvidia"), replace(SPEC, gpu_injection="cdi")):
        assert settled(spec, lambda: pytest.fail("asked")) == spec


def test_a_way_that_does_not_exist_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="gpu_injection is 'cuda'"):
        settled(replace(SPEC, gpu_injection="cuda"), dict)


def test_a_container_is_known_again_by_its_cards_and_not_by_the_way_they_came() -> None:
    before, after = config(SPEC), config(SPEC, CDI_INFO)
    assert before["HostConfig"] != after["HostConfig"]
    assert before["Labels"][SPEC_LABEL] == after["Labels"][SPEC_LABEL]
    assert before["Labels"][SPEC_LABEL] != config(replace(SPEC, gpu_uuids=("GPU-a",)))["Labels"][SPEC_LABEL]


# --------------------------------------------------------------------------------------------------------- inspections


@pytest.mark.parametrize("injection", ["nvidia", "cdi"])
def test_what_was_asked_for_is_read_back_from_an_inspection(injection: str) -> None:
    made = give_gpus({"Env": []}, SPEC.gpu_uuids, injection)
    assert given_gpus({"HostConfig": made["HostConfig"], "Config": {"Env": made["Env"]}}) == ["GPU-a", "MIG-b"]


@pytest.mark.parametrize(
    ("host", "environment", "cards"),
    [
        ({}, [], []),
        ({"DeviceRequests": [{"Driver": "nvidia", "DeviceIDs": ["GPU-a"], "Capabilities": [["gpu"]]}]}, [], ["GPU-a"]),
        ({"DeviceRequests": [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]}, [], ["*"]),
        ({"DeviceRequests": [{"Driver": "", "Count": 2, "Capabilities": [["gpu"]]}]}, [], ["0", "1"]),
        ({"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=GPU-a", "vendor.com/x=1"]}]}, [], ["GPU-a"]),
        ({"DeviceRequests": [{"Driver": "cdi", "DeviceIDs": ["nvidia.com/gpu=all"]}]}, [], ["*"]),
        ({"DeviceRequests": [{"Driver": "", "Capabilities": [["tpu"]], "DeviceIDs": ["t"]}]}, [], []),
        ({"Runtime": "nvidia"}, ["NVIDIA_VISIBLE_DEVICES=all"], ["*"]),
        ({"Runtime": "nvidia"}, ["NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_VISIBLE_DEVICES=GPU-a,GPU-b"], ["GPU-a", "GPU-b"]),
        ({"Runtime": "nvidia"}, ["NVIDIA_VISIBLE_DEVICES=void"], []),
        ({"Runtime": "runc"}, ["NVIDIA_VISIBLE_DEVICES=all"], []),
    ],
)
def test_the_cards_of_a_container_are_read_from_every_way_to_give_them(
    host: dict[str, Any], environment: list[str], cards: list[str]
) -> None:
    assert given_gpus({"HostConfig": host, "Config": {"Env": environment}}) == cards


def test_all_containers_that_were_given_a_card_are_named_under_every_name_that_it_was_asked_for() -> None:
    by_uuid = {"DeviceRequests": [{"Driver": "nvidia", "DeviceIDs": ["GPU-a"], "Capabilities": [["gpu"]]}]}
    by_count = {"DeviceRequests": [{"Driver": "", "Count": 1, "Capabilities": [["gpu"]]}]}
    given = [("/web", by_uuid), ("/sluice-t0000001-1", by_uuid), ("/old", by_count), ("/none", {})]
    found = claims_of({"Name": name, "HostConfig": host, "Config": {}} for name, host in given)
    assert found == {"GPU-a": ("sluice-t0000001-1", "web"), "0": ("old",)}


# -------------------------------------------------------------------------------------------------------------- advice


SYSTEMD_INFO = {"Runtimes": {"runc": {}, "nvidia": {}}, "CgroupDriver": "systemd"}


@pytest.mark.parametrize(
    ("change", "advised"),
    [({}, True), ({"CgroupDriver": "cgroupfs"}, False), ({"Runtimes": {"runc": {}}}, False), (CDI_INFO, False)],
)
def test_an_engine_that_can_lose_cards_to_a_reload_of_systemd_is_warned_of(change: dict[str, Any], advised: bool, tmp_path: Path) -> None:
    assert any("daemon-reload" in advice for advice in gpu_advice({**SYSTEMD_INFO, **change}, tmp_path)) is advised


def test_the_driver_alone_tells_that_the_host_has_cards(tmp_path: Path) -> None:
    (tmp_path / "nvidiactl").touch()
    assert list(gpu_advice({"CgroupDriver": "systemd"}, tmp_path))


def test_links_to_the_devices_make_that_warning_needless(tmp_path: Path) -> None:
    (tmp_path / "char").mkdir()
    (tmp_path / "char" / "195:0").touch()
    assert not list(gpu_advice(SYSTEMD_INFO, tmp_path))


def test_the_engine_shows_how_it_can_give_cards() -> None:
    details = info_of({"Version": "28.5.2"}, {"Runtimes": {"runc": {}, "nvidia": {}}, **CDI_INFO}).details
    assert details["nvidia runtime"] == "yes"
    assert "nvidia.com/gpu=GPU-a" in details["cdi devices"]
    assert cdi_cards(CDI_INFO) == ["0", "GPU-a", "MIG-b", "all"]


# --------------------------------------------------------------------------------------------------------------- errors

_HOOK = "OCI runtime create failed: container_linux.go:380: error running hook #0: error running hook: exit status 1, stdout: , stderr: "


@pytest.mark.parametrize(
    ("words", "kind", "hint"),
    [
        ('could not select device driver "" with capabilities: [[gpu]]', "toolkit_missing", "install the NVIDIA Container Toolkit"),
        ('could not select device driver "nvidia" with capabilities: [[gpu compute utility]]', "toolkit_missing", "restart the engine"),
        ('could not select device driver "cdi" with capabilities: []', "cdi_missing", "gpu_injection = nvidia"),
        ("Unknown runtime specified nvidia", "toolkit_missing", "install the NVIDIA Container Toolkit"),
        ("unknown or invalid runtime name: nvidia", "toolkit_missing", "install the NVIDIA Container Toolkit"),
        ('exec: "nvidia-container-runtime-hook": executable file not found in $PATH', "toolkit_missing", "install"),
        ("CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=GPU-a", "cdi_stale", "nvidia-ctk cdi generate"),
        (f"{_HOOK}nvidia-container-cli: device error: GPU-a: unknown device: unknown", "unknown_device", "nvidia-smi -L"),
        (f"{_HOOK}nvidia-container-cli: initialization error: nvml error: driver not loaded", "driver_failed", "nvidia-smi"),
        (
            f"{_HOOK}nvidia-container-cli: initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file: "
            "no such file or directory",
            "driver_failed",
            "nvidia-smi",
        ),
        (f"{_HOOK}nvidia-container-cli: mount error: file creation failed", "toolkit_failed", "Toolkit failed"),
    ],
)
def test_a_start_that_failed_over_its_cards_names_the_trouble_and_the_remedy(words: str, kind: str, hint: str) -> None:
    assert gpu_fields(words)["gpu"] == kind
    assert hint in start_hint(words)


def test_the_cards_that_the_engine_names_are_told() -> None:
    words = "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=GPU-0a-1b, nvidia.com/gpu=MIG-2c"
    assert gpu_fields(words)["gpu_uuids"] == ["GPU-0a-1b", "MIG-2c"]


@pytest.mark.parametrize(
    "words",
    [
        'exec: "nvidia-smi": executable file not found in $PATH: unknown',
        f"{_HOOK}nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.6, please update your driver",
        "invalid mount config for type bind: bind source path does not exist: /x",
    ],
)
def test_a_start_that_failed_over_its_image_or_folders_is_no_trouble_of_the_cards(words: str) -> None:
    assert not gpu_fields(words)
    assert start_hint(words)
