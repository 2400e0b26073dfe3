"""Compares what was submitted, what is on record, what the engine did and what is left. Every finding is a defect; there must be none."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from benchmarks.kill_matrix.crowd import Crowd, Member
from benchmarks.kill_matrix.load import FIRST_LINE, Load
from benchmarks.kill_matrix.trouble import Window
from benchmarks.kill_matrix.witness import Seen
from contracts.job import EndReason, container_name
from registry import jobs, leases
from registry.jobs import AttemptRecord, JobRecord
from runner.service import Runner

KINDS = (
    "lost jobs",
    "double starts",
    "wrong ends",
    "wrong exit codes",
    "wrong attempts",
    "logs not exactly once",
    "leaked containers",
    "leaked leases",
    "leftover files",
    "services that ended themselves",
)
_AFTERMATH_S = 15.0


@dataclass(frozen=True)
class Finding:
    """``kind`` is one of ``KINDS``."""

    kind: str
    job_id: str
    words: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.job_id} {self.words}"


@dataclass(frozen=True)
class Case:
    """One job with all that is known of it. ``starts`` and ``deaths`` are the engine's; ``touched`` are the troubles of its lifetime."""

    load: Load
    job: JobRecord
    former: Sequence[AttemptRecord]
    log: str
    starts: Sequence[Seen]
    deaths: Sequence[Seen]
    touched: frozenset[str]
    is_witnessed: bool


def judge(runner: Runner, crowd: Crowd, events: Sequence[Seen], windows: Sequence[Window]) -> list[Finding]:
    """When everything has ended."""
    cases: list[Case] = []
    findings: list[Finding] = []
    for member in crowd.members:
        job = _find(runner, member.job_id)
        if job is None or job.end_reason is None:
            findings.append(Finding("lost jobs", member.job_id, f"({member.load.name}) {'is not on record' if job is None else job.step}"))
        else:
            cases.append(_case(runner, member, job, events, windows))
    for case in cases:
        findings += [*_judge_starts(case), *_judge_end(case), *_judge_attempts(case), *_judge_log(case)]
    return [*findings, *_judge_leftovers(runner, crowd)]


def count_excused(runner: Runner, crowd: Crowd) -> Counter[str]:
    """Ends other than the load's own, by reason; those that no trouble excuses are findings as well."""
    found = [(member.load, _find(runner, member.job_id)) for member in crowd.members]
    return Counter(str(job.end_reason) for load, job in found if job and job.end_reason and str(job.end_reason) != load.reason)


def accepted_ends(load: Load, touched: Iterable[str]) -> set[str]:
    """The end reasons a job may have: its own, and what a trouble during its life explains.

    - dockerd killed without live-restore: the engine ends every container when it starts again. A service that saw the engine away says
      ``engine_gone`` and tries again, which a job without retries cannot; one that did not see it away can only say ``killed``.
    - the disk full: what the image or Sluice could not write ends the job as ``disk_full``, or as the image's own failure (exit code 1).

    - dockerd killed with live-restore: of a container that ended meanwhile the engine may say 255 in place of an exit code that it missed; that
      is ``engine_gone``, too.

    An engine that is away for a while excuses nothing more, for it is waited for at every step, nor does a killed service. An attempt that was tried
    again for ``engine_gone`` is accepted during every trouble of the engine.
    """
    more = {
        "dockerd killed": {"engine_gone", "killed"},
        "dockerd killed, live-restore": {"engine_gone"},
        "disk full": {"disk_full", "exit_code"},
    }
    return {load.reason}.union(*(more.get(trouble, set()) for trouble in touched))


# ------------------------------------------------------------------------------------------------------------- what is compared


def _judge_starts(case: Case) -> list[Finding]:
    """No attempt starts twice, and no two attempts run at the same time."""
    found = []
    by_name: defaultdict[str, list[Seen]] = defaultdict(list)
    for start in case.starts:
        by_name[start.name].append(start)
    found += [_finding("double starts", case, f"{name} was started {len(seen)} times") for name, seen in by_name.items() if len(seen) > 1]
    died = {seen.container_id: seen.time for seen in case.deaths}
    for former, later in pairwise(case.starts):
        if died.get(former.container_id, later.time if case.touched else float("inf")) > later.time:
            found.append(_finding("double starts", case, f"{later.name} was started while {former.name} ran"))
    started = len(by_name) if case.is_witnessed and not case.touched else case.job.attempt
    said = case.log.count(FIRST_LINE)
    return found + ([_finding("double starts", case, f"{said} first lines of {started} starts")] if said > started else [])


def _judge_end(case: Case) -> list[Finding]:
    job, load = case.job, case.load
    accepted = accepted_ends(load, case.touched)
    if str(job.end_reason) not in accepted:
        return [
            _finding("wrong ends", case, f"{job.end_reason}, not {' or '.join(sorted(accepted))}: {(job.evidence or {}).get('message')}")
        ]
    codes = {*load.exit_codes, *_excused_codes(load, case.touched)}
    if str(job.end_reason) == load.reason and job.exit_code not in codes:
        return [_finding("wrong exit codes", case, f"{job.exit_code}, not {codes}")]
    last = container_name(job.id, job.attempt)
    # An engine that missed an end while it was dead says 255 first, and may know better when it is asked later.
    lost = {255} if any(trouble.startswith("dockerd killed") for trouble in case.touched) else set[int]()
    real = {seen.exit_code for seen in case.deaths if seen.name == last} - lost
    if real and job.exit_code is not None and job.exit_code not in real:
        return [_finding("wrong exit codes", case, f"{job.exit_code}, the engine saw {real}")]
    return []


def _excused_codes(load: Load, touched: Iterable[str]) -> set[int]:
    """What a trouble explains: what the image could not write; of a container that was to be stopped, its own end before the engine was back,
    and the 255 of an engine that missed its end.
    """
    of_engine = {0, 255} if load.stopped and any(trouble != "disk full" for trouble in touched) else set[int]()
    return of_engine | ({1} if "disk full" in touched else set())


def _judge_attempts(case: Case) -> list[Finding]:
    """Attempts are tried again only for the load's own cause, or because the engine was away."""
    reasons = [str(attempt.end_reason) for attempt in case.former]
    own = reasons.count(case.load.reason) if case.load.attempts > 1 else 0
    away = reasons.count(str(EndReason.ENGINE_GONE)) if case.touched else 0
    if len(reasons) != own + away or case.job.attempt != len(reasons) + 1:
        return [_finding("wrong attempts", case, f"attempt {case.job.attempt} after {reasons}")]
    if not case.touched and case.job.attempt != case.load.attempts:
        return [_finding("wrong attempts", case, f"{case.job.attempt} attempts, not {case.load.attempts}")]
    return []


def _judge_log(case: Case) -> list[Finding]:
    """Of each attempt no line twice; of the last one, when it came to its own end, every line once.

    What a container says while no dockerd lives to read it, the engine itself may lose.
    """
    _first, *parts = case.log.split(FIRST_LINE)
    texts = [FIRST_LINE + part for part in parts]
    found = []
    for text, part in ((text, part) for part in texts for text in case.load.lines):
        if part.count(text) > case.load.lines[text]:
            found.append(_finding("logs not exactly once", case, f"{text!r} {part.count(text)} times in one attempt"))
    job, load = case.job, case.load
    complete = not load.stopped and str(job.end_reason) == load.reason and job.exit_code in load.exit_codes
    complete = complete and not any(trouble.startswith("dockerd") for trouble in case.touched)
    last = texts[-1] if texts else ""
    missing = [text for text, count in case.load.lines.items() if complete and last.count(text) < count]
    if missing:
        found.append(_finding("logs not exactly once", case, f"{len(missing)} lines are missing, as {missing[0]!r}"))
    return found[:3]


def _judge_leftovers(runner: Runner, crowd: Crowd) -> list[Finding]:
    parts = runner._installation
    mine = {"sluice.installation": parts.id}
    containers = [c for engine in ("docker", "process") for c in parts.engine_named(engine).list_containers(mine)]
    found = [Finding("leaked containers", c.labels.get("sluice.job", ""), f"{c.name} is {c.state}") for c in containers]
    with parts.database.reading() as session:
        found += [Finding("leaked leases", lease.job_id, f"{lease.uuids} are {lease.state}") for lease in leases.list_open(session)]
        known = {job.id for job in jobs.list_jobs(session)}
        found += [Finding("leaked containers", job.id, "is not marked as cleaned up") for job in jobs.list_unclean(session)]
    expected = {member.job_id for member in crowd.members} | crowd.before
    found += [Finding("double starts", job_id, "is a second job of one request") for job_id in known - expected]
    left = [path for path in parts.home.rglob(".*") if path.name.endswith(".new")]  # an image's own have no dot
    return found + [Finding("leftover files", "", str(path.relative_to(parts.home))) for path in left]


# ------------------------------------------------------------------------------------------------------------------- its parts


def _find(runner: Runner, job_id: str) -> JobRecord | None:
    with runner._installation.database.reading() as session:
        return jobs.find_job(session, job_id)


def _case(runner: Runner, member: Member, job: JobRecord, events: Sequence[Seen], windows: Sequence[Window]) -> Case:
    with runner._installation.database.reading() as session:
        former = jobs.list_attempts(session, job.id)
    file = runner._installation.run_dir(job.id).log_file
    mine = [seen for seen in events if seen.name.startswith(f"sluice-{job.id}-")]
    return Case(
        load=member.load,
        job=job,
        former=former,
        log=file.read_text(encoding="utf-8", errors="replace") if file.exists() else "",
        starts=[seen for seen in mine if seen.action == "start"],
        deaths=[seen for seen in mine if seen.action == "die"],
        touched=frozenset(window.kind for window in windows if _overlaps(job.created_at, job.ended_at, window)),
        is_witnessed=job.engine == "docker",
    )


def _overlaps(begin: datetime, end: datetime | None, window: Window) -> bool:
    """Whether the job lived during the trouble, or soon after, when the engine still recovers."""
    return end is not None and begin.timestamp() <= window.end + _AFTERMATH_S and end.timestamp() >= window.begin


def _finding(kind: str, case: Case, words: str) -> Finding:
    return Finding(kind, case.job.id, f"({case.load.name}, touched by {sorted(case.touched) or 'no trouble'}) {words}")
