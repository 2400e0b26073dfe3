"""Listeners from the settings: which there are, and which of them hear of what."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.errors import ConfigurationError
from runner.listeners import interested, load_listeners
from runner.service_log import redacted
from runner.settings import Settings

HOOK = {"kind": "webhook", "url": "http://localhost:1/", "secret": "shared-with-team"}
MAIL = {"host": "localhost", "tls": "none", "from": "sluice@example.org", "to": "team@example.org"}
SettingsWith = Callable[..., Settings]


def test_each_name_gets_a_listener_of_its_kind_and_a_kind_may_come_twice(settings_with: SettingsWith) -> None:
    found = load_listeners(settings_with(email=MAIL, one=HOOK, two=HOOK))
    assert [(name, listener.name) for name, listener in found.items()] == [("email", "email"), ("one", "webhook"), ("two", "webhook")]


def test_without_listeners_there_are_none(settings_with: SettingsWith) -> None:
    assert load_listeners(settings_with()) == {}


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("hook", {**HOOK, "kind": "pigeon"}, "the listener hook: there is no listener 'pigeon'"),
        ("hook", {"url": "http://localhost:1/"}, "the listener hook: there is no listener 'hook'"),
        ("webhook", {}, "the listener webhook: the option url is missing"),
        ("hook", {**HOOK, "evens": "started"}, "the listener hook: there is no option 'evens'"),
        ("hook", {**HOOK, "events": "started ended"}, "the listener hook: the option events names ended"),
        ("a/b", HOOK, "the listener name 'a/b' is no name"),
    ],
)
def test_what_is_wrong_is_said_with_the_listeners_name(settings_with: SettingsWith, name: str, options: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_listeners(settings_with(**{name: options}))
    assert caught.value.message.startswith(said)
    assert caught.value.hint


def test_a_section_that_nobody_names_is_told(settings_with: SettingsWith, caplog: pytest.LogCaptureFixture) -> None:
    from dataclasses import replace

    with caplog.at_level(logging.WARNING):
        load_listeners(replace(settings_with(hook=HOOK), listeners=""))
    assert "[listener hook] is not used" in caplog.text


def test_secrets_are_masked_in_every_log_from_then_on(settings_with: SettingsWith, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("lies-in-a-file\n")
    in_file = {"kind": "webhook", "url": HOOK["url"], "secret_file": str(tmp_path / "secret")}
    load_listeners(settings_with(hook=HOOK, other=in_file))
    assert redacted("a shared-with-team b lies-in-a-file c") == "a *** b *** c"


def message(event: str = "failed", project: str = "cells", user: str = "ada") -> dict[str, object]:
    return {"event": event, "job": {"project": project, "user": user}}


def test_a_listener_without_filters_hears_of_everything(settings_with: SettingsWith) -> None:
    assert interested(settings_with(one=HOOK, two=MAIL), message()) == ["one", "two"]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"events": "failed, cancelled"}, True),
        ({"events": "succeeded"}, False),
        ({"projects": "cells digits"}, True),
        ({"projects": "digits"}, False),
        ({"users": "ada"}, True),
        ({"users": "bob", "events": "failed"}, False),
    ],
)
def test_a_listener_hears_only_of_what_it_asks_for(settings_with: SettingsWith, filters: dict[str, str], wanted: bool) -> None:
    assert bool(interested(settings_with(one={**HOOK, **filters}), message())) is wanted


def test_the_filters_are_no_options_of_the_plugin(settings_with: SettingsWith) -> None:
    assert load_listeners(settings_with(one={**HOOK, "events": "failed", "projects": "cells", "users": "ada"}))
