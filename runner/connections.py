"""Named connections: rows of the registry, and secrets in files that only the owner of the home can read."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from contracts.connection import MASK, Connection, Secret
from contracts.errors import ConfigurationError, RequestError, UnavailableError
from registry import connections
from registry.connections import ConnectionRecord
from registry.lookup import check_folder_name
from runner.installation import Installation

#: The connection that nobody has to add: what boto3 finds in the environment.
ENVIRONMENT = "environment"


def add(installation: Installation, given: Connection, *, overwrite: bool) -> ConnectionRecord:
    """Keeps a connection. Raises ``RequestError`` for what cannot be one, ``ConflictError`` for a name that is taken."""
    _check(given)
    file = _write_secret(installation.home, given) if given.secret else ""
    try:
        with installation.database.writing() as session:
            former = connections.put_connection(session, _record(given, file), overwrite=overwrite)
    except BaseException:
        _forget_secret(installation.home, file)
        raise
    if former:
        _forget_secret(installation.home, former.secret_file)
    return _record(given, file)


def remove(installation: Installation, name: str) -> ConnectionRecord:
    with installation.database.writing() as session:
        record = connections.remove_connection(session, name)
    _forget_secret(installation.home, record.secret_file)
    return record


def get(installation: Installation, name: str) -> Connection:
    """The connection with its secret. Raises ``NotFoundError``, ``ConfigurationError`` for a secret that is lost."""
    if name == ENVIRONMENT:
        return Connection()
    with installation.database.reading() as session:
        record = connections.get_connection(session, name)
    return _connection(installation.home, record)


def choose(installation: Installation, name: str, bucket: str) -> Connection:
    """The named one; else the one whose bucket it is, the only one, or that of the environment where there is none. Raises ``RequestError``."""
    if name:
        return get(installation, name)
    with installation.database.reading() as session:
        known = connections.list_connections(session)
    fitting = [record for record in known if record.bucket == bucket] or known
    if len(fitting) == 1:
        return _connection(installation.home, fitting[0])
    if not known:
        return Connection()
    names = ", ".join(record.name for record in fitting)
    raise RequestError(
        f"the bucket {bucket!r:.100} may be reached through several connections",
        hint=f"Say which: --connection, one of {names}.",
        bucket=bucket,
    )


def view(record: ConnectionRecord) -> dict[str, Any]:
    """For every door: the secret is masked, and of the access key only its beginning is shown."""
    return {
        "name": record.name,
        "endpoint": record.endpoint,
        "region": record.region,
        "bucket": record.bucket,
        "prefix": record.prefix,
        "access_key": f"{record.access_key[:4]}..." if record.access_key else "",
        "secret": MASK if record.secret_file else None,
        "profile": record.profile,
        "authority": record.authority,
        "addressing": record.addressing,
    }


def _check(given: Connection) -> None:
    check_folder_name("connection", given.name)
    if given.name == ENVIRONMENT:
        raise RequestError(f"{ENVIRONMENT} is the connection that boto3's environment makes", hint="Choose another name.", name=given.name)
    for field in ("endpoint", "region", "bucket", "prefix", "access_key", "profile", "authority"):
        value = getattr(given, field)
        if len(value) > 1000 or (value and not value.isprintable()):
            raise RequestError(f"{field} is no printable text of at most 1000 characters", hint="Correct it.", field=field)
    _check_endpoint(given.endpoint)
    if bool(given.access_key) != bool(given.secret):
        raise RequestError(
            "an access key and its secret belong together", hint="Give both, or neither for a profile or boto3's environment."
        )
    if given.access_key and given.profile:
        raise RequestError("an access key and a profile exclude each other", hint="Give one of them.")
    if given.addressing not in ("auto", "path", "virtual"):
        raise RequestError(
            f"{given.addressing!r} is no way to address a bucket", hint="Known: auto, path, virtual.", addressing=given.addressing
        )


def _check_endpoint(endpoint: str) -> None:
    if not endpoint:
        return
    try:
        parts = urlsplit(endpoint)
        fits = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and not parts.query and not parts.fragment
    except ValueError:
        fits = False
    if not fits:
        raise RequestError(
            f"the endpoint {endpoint!r:.200} is no http(s) URL of a host", hint="Write https://HOST[:PORT].", field="endpoint"
        )


def _record(given: Connection, secret_file: str) -> ConnectionRecord:
    return ConnectionRecord(
        name=given.name,
        endpoint=given.endpoint,
        region=given.region,
        bucket=given.bucket,
        prefix=given.prefix,
        access_key=given.access_key,
        profile=given.profile,
        authority=given.authority,
        addressing=given.addressing,
        secret_file=secret_file,
    )


def _connection(home: Path, record: ConnectionRecord) -> Connection:
    secret = _read_secret(home, record) if record.secret_file else Secret("")
    return Connection(
        name=record.name,
        endpoint=record.endpoint,
        region=record.region,
        bucket=record.bucket,
        prefix=record.prefix,
        access_key=record.access_key,
        secret=secret,
        profile=record.profile,
        authority=record.authority,
        addressing=record.addressing,
    )


# --------------------------------------------------------------------------------------------------------------- secrets


def _folder(home: Path) -> Path:
    return home / "secrets"


def _write_secret(home: Path, given: Connection) -> str:
    """The name of the file. SECURITY: nobody but the owner may read it at any moment."""
    folder, name = _folder(home), f"{given.name}-{secrets.token_hex(8)}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(given.secret.reveal())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be written: {error.strerror}", hint="Is the disk full, or the home read-only?") from error
    return name


def _read_secret(home: Path, record: ConnectionRecord) -> Secret:
    file = _folder(home) / record.secret_file
    try:
        if file.stat().st_mode & 0o077:
            raise ConfigurationError(
                f"others may read the secret of the connection {record.name} in {file}", hint=f"chmod 600 {file}, and have the key changed."
            )
        return Secret(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            f"the secret of the connection {record.name} is lost: {file}: {error.strerror}",
            hint=f"Give it again: sluice connection add {record.name} --overwrite ...",
        ) from error


def _forget_secret(home: Path, name: str) -> None:
    if name:
        with suppress(OSError):
            (_folder(home) / name).unlink()
