"""The service's log, written as the service writes it."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contracts.errors import ConfigurationError
from runner.service_log import configure_service_log, hide, log_context, redacted

log = logging.getLogger("sluice.tests.service_log")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level, sys.excepthook, threading.excepthook
    handlers, level, *hooks = before
    root.handlers = []  # pytest's own, which the service would close
    yield
    logging.captureWarnings(False)
    root.handlers, root.level = handlers, level
    sys.excepthook, threading.excepthook = hooks


@pytest.fixture
def written() -> Callable[..., list[dict[str, Any]]]:
    """Logs as JSON what the given action logs, and reads it back."""

    def write(action: Callable[[], object]) -> list[dict[str, Any]]:
        stream = io.StringIO()
        configure_service_log("json", stream)
        action()
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    return write


@pytest.fixture
def text() -> Callable[..., str]:
    def write(action: Callable[[], object]) -> str:
        stream = io.StringIO()
        configure_service_log("text", stream)
        action()
        return stream.getvalue()

    return write


def fail() -> None:
    try:
        raise ValueError("no such thing")
    except ValueError:
        log.exception("it failed")


def test_a_record_is_one_object_with_its_time_in_utc(written: Callable[..., list[dict[str, Any]]]) -> None:
    (line,) = written(lambda: log.info("adopted %d jobs", 3))
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "logger": "sluice.tests.service_log", "message": "adopted 3 jobs"}


def test_records_below_info_are_left_out(written: Callable[..., list[dict[str, Any]]]) -> None:
    assert written(lambda: log.debug("detail")) == []


def test_an_exception_comes_with_its_traceback_in_the_same_line(written: Callable[..., list[dict[str, Any]]]) -> None:
    (line,) = written(fail)
    assert (line["exception"]["type"], line["exception"]["message"]) == ("ValueError", "no such thing")
    assert "in fail" in line["exception"]["traceback"]


def test_what_is_bound_stands_in_every_record_inside_and_in_none_after(written: Callable[..., list[dict[str, Any]]]) -> None:
    def work() -> None:
        with log_context(job="t1"):
            with log_context(request="r1"):
                log.info("both")
            log.info("one")
        log.info("none")

    assert [(line.get("job"), line.get("request")) for line in written(work)] == [("t1", "r1"), ("t1", None), (None, None)]


def test_an_adapter_says_it_too(written: Callable[..., list[dict[str, Any]]]) -> None:
    (line,) = written(lambda: logging.LoggerAdapter(log, {"job": "t2"}).warning("late"))
    assert (line["job"], line["level"]) == ("t2", "warning")


def test_threads_do_not_share_what_is_bound(written: Callable[..., list[dict[str, Any]]]) -> None:
    def work() -> None:
        with log_context(job="t1"):
            thread = threading.Thread(target=log.info, args=("elsewhere",))
            thread.start()
            thread.join()

    assert "job" not in written(work)[0]


def test_text_is_one_line_with_what_it_is_about(text: Callable[..., str]) -> None:
    def work() -> None:
        with log_context(job="t1"):
            log.warning("late")

    assert text(work).endswith("Z WARNING sluice.tests.service_log: late job=t1\n")


def test_no_text_can_look_like_another_record(text: Callable[..., str]) -> None:
    lines = text(lambda: log.info("said %s", "a\n2026-01-01T00:00:00.000Z INFO forged: b\x1b[2J")).splitlines()
    assert len(lines) == 2
    assert lines[1] == "  2026-01-01T00:00:00.000Z INFO forged: b\\x1b[2J"


def test_text_shows_the_traceback_below(text: Callable[..., str]) -> None:
    assert text(fail).rstrip().endswith("\n  ValueError: no such thing")


@pytest.mark.parametrize(
    "said",
    [
        "the key is 7c0ffee-known",
        "postgresql://sluice:hunter22@db/registry",
        "Authorization: Bearer hunter22",
        'TOKEN="hunter22 or so"',
        "{'api_key': 'hunter22'}",
        "POST /x?token=hunter22&a=1",
    ],
)
def test_secrets_are_masked_known_ones_and_what_looks_like_one(written: Callable[..., list[dict[str, Any]]], said: str) -> None:
    hide("7c0ffee-known")
    (line,) = written(lambda: log.info("%s", said))
    assert "hunter22" not in line["message"]
    assert "7c0ffee-known" not in line["message"]
    assert "***" in line["message"]


def test_secrets_are_masked_in_tracebacks_too(written: Callable[..., list[dict[str, Any]]]) -> None:
    def work() -> None:
        try:
            raise ValueError("password=hunter22")
        except ValueError:
            log.exception("refused")

    assert "password=hunter22" not in json.dumps(written(work)[0]["exception"]["message"])


@pytest.mark.parametrize("said", ["the option secret_file is missing", "https://host:8080/path", "3 tokens were read: all fine"])
def test_what_is_no_secret_stays(said: str) -> None:
    hide("a")
    assert redacted(said) == said


def test_output_that_is_no_unicode_is_shown_all_the_same(written: Callable[..., list[dict[str, Any]]]) -> None:
    assert written(lambda: log.info("said \udce4"))[0]["message"] == "said ?"


def test_an_error_that_ends_a_thread_is_a_record(written: Callable[..., list[dict[str, Any]]]) -> None:
    def work() -> None:
        thread = threading.Thread(target=lambda: 1 // 0, name="scheduler")
        thread.start()
        thread.join()

    (line,) = written(work)
    assert (line["level"], line["message"]) == ("critical", "scheduler ended by an error that nobody caught")
    assert line["exception"]["type"] == "ZeroDivisionError"


@pytest.mark.filterwarnings("default")
def test_warnings_are_records(written: Callable[..., list[dict[str, Any]]]) -> None:
    (line,) = written(lambda: warnings.warn("soon to go", stacklevel=1))
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="log_format"):
        configure_service_log("xml")
