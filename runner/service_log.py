"""The log of ``sluice serve``: one line of text, or one JSON object, for each record. Secrets that are known or look like ones are masked.

Only the entry point configures; everything else asks ``logging.getLogger(__name__)``. What a record is about is bound with
``with log_context(job=...)`` or a ``logging.LoggerAdapter`` with ``{"job": ...}``. A job's own output is a file, never log records.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timezone
from types import MappingProxyType, TracebackType
from typing import IO, Any

from contracts.errors import ConfigurationError

_BOUND = ("job", "request")
_MASK = "***"
_SHORTEST_SECRET = 4
_QUIET = ("alembic", "docker", "urllib3")
#: What looks like a secret: the password of an address, and the value of a name that ends like one.
_IN_ADDRESS = re.compile(r"(?P<before>[a-z][a-z0-9+.-]*://[^\s/:@]*:)[^\s/@]+(?=@)", re.IGNORECASE)
_NAMED = re.compile(
    r"(?P<before>(?:password|passwd|secret|token|api[_-]?key|authorization)[\"']?\s*[=:]\s*(?:(?:bearer|basic)\s+)?)"
    r"(?:\"[^\"]*\"|'[^']*'|[^\s,;&\"']+)",
    re.IGNORECASE,
)

_context: ContextVar[Mapping[str, str]] = ContextVar("sluice_log_context", default=MappingProxyType({}))
_secrets: set[str] = set()
_log = logging.getLogger(__name__)


def configure_service_log(log_format: str, stream: IO[str] | None = None) -> None:
    """All records from INFO on go to ``stream`` (stderr) and nowhere else; also warnings, and what ends a thread. May be repeated."""
    formatters: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}
    if log_format not in formatters:
        raise ConfigurationError(f"the setting log_format is {log_format!r}", hint=f"Known: {', '.join(sorted(formatters))}.")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatters[log_format]())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda args: _log_uncaught(args.exc_type, args.exc_value, args.exc_traceback)


@contextmanager
def log_context(**names: str) -> Iterator[None]:
    """Every record of this thread inside says what it is about: ``job``, ``request``. Threads that are started inside begin without."""
    token = _context.set({**_context.get(), **names})
    try:
        yield
    finally:
        _context.reset(token)


def hide(secret: str) -> None:
    """Mask this text wherever a record would show it. Too short a text is left alone: it would mask words."""
    if len(secret) >= _SHORTEST_SECRET:
        _secrets.add(secret)


def redacted(text: str) -> str:
    """The text with secrets masked."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, _MASK)
    text = _IN_ADDRESS.sub(rf"\g<before>{_MASK}", text)
    return _NAMED.sub(rf"\g<before>{_MASK}", text)


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, what it is about, and the exception with type, message and traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _shown(record.getMessage()),
            **_about(record),
        }
        if (error := _error(record)) is not None:
            line["exception"] = {
                "type": type(error).__name__,
                "message": _shown(str(error)),
                "traceback": _shown("".join(traceback.format_exception(error))),
            }
        return json.dumps(line)


class TextFormatter(logging.Formatter):
    """``time LEVEL logger: message job=...``; further lines are indented, so that no text can look like another record."""

    def format(self, record: logging.LogRecord) -> str:
        about = "".join(f" {name}={value}" for name, value in _about(record).items())
        text = f"{_shown(record.getMessage())}{about}"
        if (error := _error(record)) is not None:
            text += "\n" + _shown("".join(traceback.format_exception(error))).rstrip()
        body = "\n  ".join(_printable(line) for line in text.splitlines())
        return f"{_time(record)} {record.levelname} {record.name}: {body}"


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _about(record: logging.LogRecord) -> dict[str, str]:
    own = {name: record.__dict__[name] for name in _BOUND if record.__dict__.get(name)}
    return {name: _shown(str(value)) for name, value in {**_context.get(), **own}.items()}


def _error(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _shown(text: str) -> str:
    """Without secrets, and valid Unicode: output of images can hold anything."""
    return redacted(text).encode("utf-8", "replace").decode()


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() or c == "\t" else repr(c)[1:-1] for c in line)


def _log_uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if issubclass(kind, (KeyboardInterrupt, SystemExit)) or error is None:
        return
    name = threading.current_thread().name
    _log.critical("%s ended by an error that nobody caught", name, exc_info=(kind, error, trace))
