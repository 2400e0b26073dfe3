"""Shares: weights, quotas, and use that is forgotten by halves."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from contracts.errors import RequestError
from registry.database import Database
from registry.shares import NO_LIMIT, charge, decay, find_share, list_shares, set_share

NOON = datetime(2025, 6, 15, 12, tzinfo=timezone.utc)
WEEK_S = 7 * 24 * 3600.0
ANA = ("user", "ana")


def usage(session: Session, kind: str, name: str) -> float:
    share = find_share(session, kind, name)
    assert share is not None
    return share.usage_gpu_s


def test_half_of_a_use_is_left_after_the_half_life() -> None:
    assert decay(100.0, 0.0, WEEK_S, WEEK_S) == pytest.approx(50.0)
    assert decay(100.0, 0.0, 3 * WEEK_S, WEEK_S) == pytest.approx(12.5)


@given(st.floats(0, 1e12), st.floats(0, 1e7), st.floats(0, 1e7), st.floats(1, 1e7))
def test_decay_in_two_steps_is_decay_in_one(used: float, first_s: float, second_s: float, half_life_s: float) -> None:
    once = decay(used, 0.0, first_s + second_s, half_life_s)
    twice = decay(decay(used, 0.0, first_s, half_life_s), first_s, first_s + second_s, half_life_s)
    assert twice == pytest.approx(once, rel=1e-6, abs=1e-9)


def test_a_clock_that_goes_backwards_changes_no_use_and_without_half_life_nothing_is_remembered() -> None:
    assert decay(100.0, 10.0, 5.0, WEEK_S) == 100.0
    assert decay(100.0, 10.0, 11.0, 0.0) == 0.0


def test_who_is_unknown_has_no_row(session: Session) -> None:
    assert (find_share(session, "user", "ana"), list_shares(session)) == (None, [])


def test_a_share_is_read_as_it_was_set(database: Database) -> None:
    with database.writing() as session:
        written = set_share(session, "user", "ana", weight=2.5, max_gpus=4, max_jobs=0)
    with database.reading() as session:
        assert list_shares(session) == [written] == [find_share(session, "user", "ana")]
    assert (written.weight, written.max_gpus, written.max_jobs, written.usage_gpu_s) == (2.5, 4, 0, 0.0)


def test_what_is_not_given_stays_and_a_quota_can_be_taken_away(session: Session) -> None:
    set_share(session, "project", "p", weight=2.0, max_gpus=4, max_jobs=9)
    share = set_share(session, "project", "p", max_gpus=NO_LIMIT)
    assert (share.weight, share.max_gpus, share.max_jobs) == (2.0, None, 9)


def test_a_user_and_a_project_of_one_name_are_two(session: Session) -> None:
    set_share(session, "user", "x", weight=2.0)
    set_share(session, "project", "x", weight=3.0)
    assert [(share.kind, share.weight) for share in list_shares(session)] == [("project", 3.0), ("user", 2.0)]


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_an_impossible_weight_is_refused(session: Session, weight: float) -> None:
    with pytest.raises(RequestError, match="is impossible"):
        set_share(session, "user", "ana", weight=weight)
    assert list_shares(session) == []


@pytest.mark.parametrize("quota", [-2, 2**31])
def test_an_impossible_quota_is_refused(session: Session, quota: int) -> None:
    with pytest.raises(RequestError, match=f"max_jobs cannot be {quota}"):
        set_share(session, "user", "ana", max_jobs=quota)


@pytest.mark.parametrize(("kind", "name"), [("team", "x"), ("user", ""), ("user", "x" * 201), ("project", "a\nb")])
def test_only_users_and_projects_with_a_name_have_shares(session: Session, kind: str, name: str) -> None:
    with pytest.raises(RequestError):
        set_share(session, kind, name, weight=1.0)
    with pytest.raises(RequestError):
        charge(session, {(kind, name): 1.0}, NOON, WEEK_S)


def test_use_adds_up_after_it_has_decayed(session: Session) -> None:
    charge(session, {ANA: 100.0}, NOON, WEEK_S)
    charge(session, {ANA: 10.0, ("project", "p"): 7.0}, NOON + timedelta(seconds=WEEK_S), WEEK_S)
    assert usage(session, *ANA) == pytest.approx(60.0)
    assert usage(session, "project", "p") == 7.0


def test_a_charge_changes_neither_weight_nor_quota_and_nobody_else(session: Session) -> None:
    set_share(session, "user", "ana", weight=3.0, max_gpus=2)
    set_share(session, "user", "bob", weight=5.0)
    charge(session, {ANA: 10.0}, NOON + timedelta(days=9000), WEEK_S)
    ana, bob = list_shares(session)
    assert (ana.weight, ana.max_gpus, ana.usage_gpu_s, bob.usage_gpu_s) == (3.0, 2, 10.0, 0.0)


def test_a_charge_of_an_earlier_moment_is_added_without_turning_time_back(session: Session) -> None:
    charge(session, {ANA: 100.0}, NOON, WEEK_S)
    charge(session, {ANA: 10.0}, NOON - timedelta(hours=1), WEEK_S)
    share = find_share(session, *ANA)
    assert share is not None
    assert (share.usage_gpu_s, share.used_until) == (110.0, NOON)


@pytest.mark.parametrize("gpu_s", [-1.0, math.inf, math.nan])
def test_an_impossible_use_is_refused(session: Session, gpu_s: float) -> None:
    with pytest.raises(RequestError, match="is impossible"):
        charge(session, {ANA: 1.0, ("user", "bob"): gpu_s}, NOON, WEEK_S)
    assert list_shares(session) == []


def test_a_charge_of_nobody_does_nothing(session: Session) -> None:
    charge(session, {}, NOON, WEEK_S)
    assert list_shares(session) == []


def test_thousands_are_charged_at_once(database: Database) -> None:
    used = {(kind, f"n{number}"): float(number) for number in range(1200) for kind in ("user", "project")}
    for _ in range(2):
        with database.writing() as session:
            charge(session, used, NOON, WEEK_S)
    with database.reading() as session:
        assert {(share.kind, share.name): share.usage_gpu_s for share in list_shares(session)} == {
            key: 2 * gpu_s for key, gpu_s in used.items()
        }
