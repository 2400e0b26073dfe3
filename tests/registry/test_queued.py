"""What the scheduler reads of jobs that wait."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.orm import Session

from registry.jobs import update_job
from registry.queued import admit, list_new_waiting, list_waiting
from registry.tables import now


def test_those_that_wait_are_listed_in_order(session: Session, new_job: Callable) -> None:
    moment = now()
    for age_s, job_id in enumerate(("new", "old", "older", "admitted")):
        new_job(session, job_id, created_at=moment - timedelta(seconds=age_s))
    assert admit(session, "admitted", 1)
    assert [job.id for job in list_waiting(session)] == ["older", "old", "new"]


def test_of_new_ones_those_that_are_known_are_left_out(session: Session, new_job: Callable) -> None:
    since = now() - timedelta(seconds=10)
    new_job(session, "before", created_at=since - timedelta(seconds=1))
    for job_id in ("known", "new", "cancelled"):
        new_job(session, job_id, gpu_count=2)
    update_job(session, "cancelled", cancel_requested_at=now())
    found = {job.id: job for job in list_new_waiting(session, since, {"known"}.__contains__)}
    assert set(found) == {"new", "cancelled"}
    assert list(found.values()) == [job for job in list_waiting(session) if job.id in found]
    assert found["cancelled"].cancelled


def test_any_number_of_new_ones_is_read(session: Session, new_job: Callable) -> None:
    since = now()
    for number in range(1201):
        new_job(session, f"t{number:04}")
    assert len(list_new_waiting(session, since, lambda _: False)) == 1201
