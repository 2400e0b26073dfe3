"""Jobs: finding, derived state, ending once, the journal."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from contracts.errors import ConflictError, InternalError, NotFoundError, RequestError
from contracts.image import Kind
from contracts.job import EndReason, Evidence, JobSpec, JobState, JobWarning, Step
from registry.database import Database
from registry.jobs import (
    Filter,
    add_event,
    add_job,
    count_jobs,
    find_job,
    finish_job,
    get_job,
    list_events,
    list_jobs,
    list_unclean,
    update_job,
)
from registry.tables import JobRow

NOON = datetime(2026, 11, 21, 12, tzinfo=timezone.utc)


def test_a_job_is_read_as_it_was_stored(database: Database) -> None:
    spec = JobSpec(kind=Kind.MINING, data="digits", model="digits-1", parameters={"zero": 0, "off": False}).model_dump(mode="json")
    with database.writing() as session:
        stored = add_job(
            session, id="m4k2m9xq", name="first", kind=Kind.MINING, spec=spec, plan={"seed": 1}, image_name="i", image_reference="r", image_digest="d",
            engine="docker", run_dir="runs/m4k2m9xq", warnings=[JobWarning("code", "message", "file:1")], rerun_of="m0000000",
        )  # fmt: skip
    with database.reading() as session:
        assert get_job(session, "m4k2m9xq") == find_job(session, "m4k2m9xq") == stored
    assert JobSpec(**stored.spec).parameters == {"zero": 0, "off": False}
    assert stored.warnings == [{"code": "code", "message": "message", "place": "file:1"}]
    assert (stored.state, stored.step, stored.attempt, stored.gpu_uuids, stored.created_at.tzinfo) == (
        JobState.QUEUED, Step.QUEUED, 1, (), timezone.utc,
    )  # fmt: skip


def test_an_id_can_be_used_once(session: Session, new_job: Callable) -> None:
    new_job(session, "t4k2m9xq")
    with pytest.raises(ConflictError, match="t4k2m9xq is taken"):
        new_job(session, "t4k2m9xq")


# ---------------------------------------------------------------------------------------------------------------- finding


def test_a_job_is_found_by_the_beginning_of_its_id(session: Session, new_job: Callable) -> None:
    new_job(session, "t4k2m9xq")
    new_job(session, "t4x00000")
    assert get_job(session, "t4k").id == "t4k2m9xq"
    for too_short_or_wrong in ("t4", "", "4k2", "t4%", "t4_"):
        with pytest.raises(NotFoundError):
            get_job(session, too_short_or_wrong)


def test_a_beginning_that_fits_several_jobs_lists_them(session: Session, new_job: Callable) -> None:
    for n in range(10):
        new_job(session, f"t4k0000{n}")
    with pytest.raises(RequestError, match=r"'t4k' fits 10 jobs: .* and 2 more") as caught:
        get_job(session, "t4k")
    assert len(caught.value.fields["jobs"]) == 10
    assert not isinstance(caught.value, NotFoundError)


def test_a_name_means_the_newest_job_that_has_it(session: Session, new_job: Callable) -> None:
    new_job(session, "t1111111", name="nightly")
    assert get_job(session, "nightly").id == "t1111111"
    new_job(session, "t2222222", name="nightly")
    assert get_job(session, "nightly").id == "t2222222"


def test_an_id_goes_before_a_name_and_a_name_before_a_beginning(session: Session, new_job: Callable) -> None:
    new_job(session, "t1111111")
    new_job(session, "t2222222", name="t1111111")
    new_job(session, "t3333333", name="t111")
    assert get_job(session, "t1111111").id == "t1111111"
    assert get_job(session, "t111").id == "t3333333"


def test_an_unknown_job_brings_close_ids_and_names(session: Session, new_job: Callable) -> None:
    new_job(session, "t4k2m9xq", name="nightly")
    with pytest.raises(NotFoundError, match="no job 'nihgtly'") as caught:
        get_job(session, "nihgtly")
    assert caught.value.hint == "Did you mean nightly? `sluice job list` shows all."


def test_a_close_name_that_several_jobs_have_is_offered_once(session: Session, new_job: Callable) -> None:
    new_job(session, "t4k2m9xq", name="nightly")
    new_job(session, "t5k2m9xq", name="nightly")
    with pytest.raises(NotFoundError) as caught:
        get_job(session, "nightly@V0099")
    assert caught.value.hint == "Did you mean nightly? `sluice job list` shows all."


# ------------------------------------------------------------------------------------------------------------------ state


@pytest.mark.parametrize("step", Step)
def test_the_state_of_an_unfinished_job_follows_from_its_step(session: Session, new_job: Callable, step: Step) -> None:
    expected = JobState.QUEUED if step is Step.QUEUED else JobState.RUNNING
    new_job(session)
    assert update_job(session, "t4k2m9xq", step=step).state is expected
    assert [job.state for job in list_jobs(session, Filter(states=(expected,)))] == [expected]
    assert count_jobs(session, Filter(states=tuple(state for state in JobState if state is not expected))) == 0


@pytest.mark.parametrize("reason", EndReason)
def test_the_state_of_an_ended_job_follows_from_its_end_reason(session: Session, new_job: Callable, reason: EndReason) -> None:
    new_job(session)
    assert finish_job(session, "t4k2m9xq", reason).state is reason.state
    assert [job.end_reason for job in list_jobs(session, Filter(states=(reason.state,)))] == [reason]
    assert count_jobs(session, Filter(states=tuple(state for state in JobState if state is not reason.state))) == 0


def test_the_state_is_not_stored() -> None:
    assert "state" not in JobRow.__table__.columns


def test_jobs_are_listed_newest_first_in_pages_by_state_and_kind(session: Session, new_job: Callable) -> None:
    for n in range(6):
        new_job(session, f"j{n}000000", kind=Kind.MINING if n % 2 else Kind.TRAINING, created_at=NOON + timedelta(seconds=n))
    finish_job(session, "j5000000", EndReason.TIMEOUT)
    assert [job.id[:2] for job in list_jobs(session)] == ["j5", "j4", "j3", "j2", "j1", "j0"]
    assert [job.id[:2] for job in list_jobs(session, limit=2, offset=1)] == ["j4", "j3"]
    assert [job.id[:2] for job in list_jobs(session, Filter(kinds=(Kind.MINING,), states=(JobState.QUEUED, JobState.RUNNING)))] == [
        "j3",
        "j1",
    ]
    assert count_jobs(session, Filter(kinds=(Kind.MINING,), states=(JobState.FAILED,))) == 1
    assert count_jobs(session) == 6


# --------------------------------------------------------------------------------------------------------------- changing


def test_columns_are_set_by_the_names_of_the_record(session: Session, new_job: Callable) -> None:
    new_job(session)
    values = {"step": Step.FOLLOW, "container_id": "abc", "gpu_uuids": ("GPU-1",), "started_at": NOON, "progress": {"fraction": 0.5}}
    changed = update_job(session, "t4k2m9xq", **values, warnings=[JobWarning("c", "m")], attempt=2)
    assert {name: getattr(changed, name) for name in values} == values
    assert (changed.warnings, changed.attempt) == ([{"code": "c", "message": "m", "place": ""}], 2)


@pytest.mark.parametrize("column", ["spec", "plan", "end_reason", "created_at", "state", "nonsense"])
def test_what_was_asked_for_and_how_it_ends_cannot_be_updated(session: Session, new_job: Callable, column: str) -> None:
    new_job(session)
    with pytest.raises(InternalError, match=f"cannot set {column}"):
        update_job(session, "t4k2m9xq", **{column: "x"})


def test_a_time_without_a_zone_is_refused_as_a_defect(database: Database, new_job: Callable) -> None:
    with pytest.raises(InternalError, match="without a zone"), database.writing() as session:
        new_job(session, created_at=NOON.replace(tzinfo=None))


def test_a_time_in_another_zone_is_kept_as_the_same_moment(database: Database, new_job: Callable) -> None:
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    with database.writing() as session:
        new_job(session, created_at=there)
    with database.reading() as session:
        read = get_job(session, "t4k2m9xq").created_at
    assert (read, read.utcoffset()) == (NOON, timedelta(0))


# ----------------------------------------------------------------------------------------------------------------- ending


def test_a_job_ends_with_its_evidence(session: Session, new_job: Callable) -> None:
    new_job(session)
    update_job(session, "t4k2m9xq", result={"kept": True})
    evidence = Evidence(message="exit 3", exit_code=3, log_tail=("\udce4 broken", "\0"))
    ended = finish_job(session, "t4k2m9xq", EndReason.EXIT_CODE, exit_code=3, evidence=evidence, ended_at=NOON)
    assert (ended.exit_code, ended.ended_at, ended.result) == (3, NOON, {"kept": True})
    assert ended.evidence == evidence.to_dict()
    assert get_job(session, "t4k2m9xq") == ended


def test_ending_again_for_the_same_reason_changes_nothing(session: Session, new_job: Callable) -> None:
    new_job(session)
    first = finish_job(session, "t4k2m9xq", EndReason.CANCELLED, exit_code=137)
    assert finish_job(session, "t4k2m9xq", EndReason.CANCELLED, exit_code=0, evidence=Evidence("late")) == first


def test_a_job_does_not_end_twice_for_different_reasons(session: Session, new_job: Callable) -> None:
    new_job(session)
    finish_job(session, "t4k2m9xq", EndReason.CANCELLED)
    with pytest.raises(ConflictError, match="ended already: cancelled, not succeeded"):
        finish_job(session, "t4k2m9xq", EndReason.SUCCEEDED)
    assert get_job(session, "t4k2m9xq").end_reason is EndReason.CANCELLED


def _finish(url: str, reason: EndReason, answers: multiprocessing.Queue) -> None:
    with Database.open(url) as database:
        try:
            with database.writing() as session:
                finish_job(session, "t4k2m9xq", reason)
            answers.put(reason)
        except ConflictError:
            answers.put(None)


def test_of_several_programs_one_ends_the_job(url: str, database: Database, new_job: Callable) -> None:
    with database.writing() as session:
        new_job(session)
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    reasons = (EndReason.SUCCEEDED, EndReason.CANCELLED, EndReason.TIMEOUT)
    programs = [context.Process(target=_finish, args=(url, reason, answers)) for reason in reasons]
    for program in programs:
        program.start()
    won = [answer for answer in (answers.get(timeout=60) for _ in programs) if answer]
    for program in programs:
        program.join(60)
    with database.reading() as session:
        assert won == [get_job(session, "t4k2m9xq").end_reason]


def test_an_ended_job_is_unclean_until_its_container_is_gone(session: Session, new_job: Callable) -> None:
    for n, job_id in enumerate(("t1111111", "t2222222", "t3333333")):
        new_job(session, job_id, created_at=NOON + timedelta(seconds=n))
    for job_id in ("t2222222", "t1111111"):
        finish_job(session, job_id, EndReason.SUCCEEDED)
    assert [job.id for job in list_unclean(session)] == ["t1111111", "t2222222"]
    update_job(session, "t1111111", cleaned_at=NOON)
    assert [job.id for job in list_unclean(session)] == ["t2222222"]


# ---------------------------------------------------------------------------------------------------------------- journal


def test_the_journal_keeps_its_order_and_the_attempt(session: Session, new_job: Callable) -> None:
    new_job(session)
    new_job(session, "t0000000")
    add_event(session, "t4k2m9xq", Step.STAGE)
    add_event(session, "t0000000", Step.STAGE)
    update_job(session, "t4k2m9xq", attempt=2)
    add_event(session, "t4k2m9xq", Step.CREATE, {"name": "sluice-t4k2m9xq-2"})
    events = list_events(session, "t4k2m9xq")
    assert [(event.step, event.attempt, event.detail) for event in events] == [
        (Step.STAGE, 1, {}),
        (Step.CREATE, 2, {"name": "sluice-t4k2m9xq-2"}),
    ]
    assert events[0].created_at <= events[1].created_at


def test_an_unknown_job_has_no_journal(session: Session) -> None:
    with pytest.raises(NotFoundError):
        add_event(session, "t4k2m9xq", Step.STAGE)
    assert list_events(session, "t4k2m9xq") == []


def test_listing_jobs_takes_one_query_however_many_there_are(database: Database, new_job: Callable) -> None:
    with database.writing() as session:
        for n in range(20):
            new_job(session, f"t{n:07}")
    with database.reading() as session:
        connection, queries = session.connection(), []
        event.listen(connection, "before_cursor_execute", lambda *call: queries.append(call[2]))
        assert len(list_jobs(session)) == 20
    assert len(queries) == 1
