"""Looks at the machine as a job would need it: each finding says what is wrong and what to do about it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import EngineError, NoGpuError, SluiceError
from registry import connections as rows
from registry import images, jobs
from runner.base_images import own_reference
from runner.gpus.lock import host_lock
from runner.installation import Installation

_LOW_BYTES = 5 * 1024**3
_PATIENCE_S = 30.0
_BASES = tuple(own_reference(suite) for suite in ("bookworm", "trixie"))
# For people; the others are in the answer as data.
_SHOWN_DETAILS = ("storage driver", "cgroup", "memory", "CPUs", "nvidia runtime", "state folder")


def examine(installation: Installation) -> list[dict[str, Any]]:
    """Findings ``{check, status, message, remedy}``; status is ok, warning, failed or skipped. Some carry ``details``."""
    checks: list[tuple[str, Callable[[Installation], dict[str, Any]]]] = [
        ("home", _home),
        ("database", _database),
        ("store", _store),
        ("connections", _connections),
        ("engine", _engine),
        ("gpus", _gpus),
        ("jobs", _jobs),
        ("leftovers", _leftovers),
    ]
    return [{"check": name, **_guarded(check, installation)} for name, check in checks]


def _guarded(check: Callable[[Installation], dict[str, Any]], installation: Installation) -> dict[str, Any]:
    try:
        return check(installation)
    except SluiceError as error:
        return _finding("failed", error.message, error.hint)


def _finding(status: str, message: str, remedy: str = "") -> dict[str, Any]:
    return {"status": status, "message": message, "remedy": remedy}


def _home(installation: Installation) -> dict[str, Any]:
    free = shutil.disk_usage(installation.home).free
    message = f"{installation.home}, {free / 1024**3:.0f} GiB free"
    if free < _LOW_BYTES:
        return _finding("warning", message, "Free some space or move the home (SLUICE_HOME): images and models are large.")
    return _finding("ok", message)


def _database(installation: Installation) -> dict[str, Any]:
    with installation.database.reading() as session:
        count = jobs.count_jobs(session)
    return _finding("ok", f"{installation.settings.database_url}, {count} jobs")


def _store(installation: Installation) -> dict[str, Any]:
    return _finding("ok", f"{installation.settings.store}: {installation.store.check()}")


def _connections(installation: Installation) -> dict[str, Any]:
    """Whether each answers; one that does not may be needed by nobody just now."""
    from runner import connections
    from runner.sources import check_source

    with installation.database.reading() as session:
        names = [record.name for record in rows.list_connections(session)]
    failed: list[SluiceError] = []
    for name in names:
        try:
            check_source(connections.get(installation, name), "")
        except SluiceError as error:
            failed.append(error)
    if failed:
        return _finding("warning", f"{len(failed)} of {len(names)} do not answer: {failed[0].message}", failed[0].hint)
    return _finding("ok", f"{len(names)} answer") if names else _finding("skipped", "none was added")


def _engine(installation: Installation) -> dict[str, Any]:
    info = installation.engine.info()
    shown = ", ".join(f"{name} {info.details[name]}" for name in _SHOWN_DETAILS if name in info.details)
    message = f"{info.name} {info.version}" + (f" ({shown})" if shown else "")
    return {**_finding("warning" if info.advice else "ok", message, " ".join(info.advice)), "details": dict(info.details)}


def _gpus(installation: Installation) -> dict[str, Any]:
    cards = installation.gpus.list_gpus()
    if not cards:
        return _finding("ok", "no GPU on this host: jobs run on the CPU")
    message = f"{len(cards)} GPUs, {sum(card['state'] == 'free' for card in cards)} free"
    trial = _tried_in_container(installation, cards)
    if trial["status"] == "failed":
        return _finding("failed", f"{message}, but {trial['message']}", trial["remedy"])
    message += f"; {trial['message']}" if trial["message"] else ""
    broken = [card for card in cards if card["state"] not in ("free", "leased")]
    if broken:
        return _finding(
            "warning", f"{message}; gpu{broken[0]['index']}: {broken[0]['reason']}", "sluice gpu list says who holds each card."
        )
    return _finding("ok", message)


def _tried_in_container(installation: Installation, cards: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Whether a container that is given a free card sees that card; only a start shows it."""
    engine, free = installation.engine, [card["uuid"] for card in cards if card["state"] == "free"]
    if "gpu" not in engine.capabilities or not free:
        return _finding("skipped", "")
    image = _small_image(installation)
    if not image:
        return _finding("skipped", "not tried in a container, for the engine has no image yet that Sluice knows")
    try:
        with host_lock(Path(installation.settings.gpu_lock), _PATIENCE_S):  # no job starts on the card meanwhile
            seen = engine.gpus_inside(image, free[:1], installation.settings.gpu_injection)
    except NoGpuError:
        return _finding("skipped", "not tried in a container, for one with GPUs is just being started")
    except EngineError as error:
        return _finding("failed", f"containers are not given any: {error.message}", error.hint)
    if list(seen) != free[:1]:
        return _finding("failed", f"a container that was given {free[0]} sees {', '.join(seen) or 'none'}", _OTHER_CARDS)
    return _finding("ok", "containers see what they are given")


_OTHER_CARDS = "Bring the NVIDIA Container Toolkit up to date, and its CDI list if the engine has one; then restart the engine."


def _small_image(installation: Installation) -> str:
    """The smallest of the registered and the base images that the engine has; '' when there is none."""
    with installation.database.reading() as session:
        known = {image.digest for image in images.list_images(session)}
    fit = [image for image in installation.engine.list_images() if image.digest in known or image.reference in _BASES]
    return min(fit, key=lambda image: image.size_bytes).digest if fit else ""


def _jobs(installation: Installation) -> dict[str, Any]:
    with installation.database.reading() as session:
        unfinished = jobs.list_unfinished(session)
    left = [job.id for job in unfinished if not installation.run_dir(job.id).is_driven()]
    if left:
        return _finding("warning", f"no process drives {', '.join(left)}", f"Carry on with: sluice job wait {left[0]}")
    return _finding("ok", f"{len(unfinished)} unfinished")


def _leftovers(installation: Installation) -> dict[str, Any]:
    containers = installation.engine.list_containers({"sluice.installation": installation.id})
    with installation.database.reading() as session:
        unfinished = {job.id for job in jobs.list_unfinished(session)}
    left = [container.name for container in containers if container.labels.get("sluice.job") not in unfinished]
    if left:
        return _finding("warning", f"containers of ended jobs: {', '.join(left)}", "The next job removes them; or: sluice job wait JOB.")
    return _finding("ok", "no container of an ended job is left")
