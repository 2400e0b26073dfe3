"""News of a job wakes whoever waits for it, also when the job has ended and was forgotten before they wait."""

from __future__ import annotations

import threading

from runner.bell import Bell

FOR_EVER_S = 3600.0


def test_news_after_the_count_end_a_wait_at_once() -> None:
    bell = Bell()
    seen = bell.count("t1")
    bell.ring("t1")
    bell.wait("t1", seen, FOR_EVER_S)


def test_the_last_news_of_a_job_that_was_forgotten_since_are_not_missed() -> None:
    bell = Bell()
    seen = bell.count("t1")
    bell.ring("t1")
    bell.forget("t1")
    bell.forget("t1")
    bell.wait("t1", seen, FOR_EVER_S)
    assert bell.count("t1") != seen


def test_a_job_that_has_news_after_it_was_forgotten_counts_on() -> None:
    bell = Bell()
    bell.ring("t1")
    bell.forget("t1")
    seen = bell.count("t1")
    bell.ring("t1")
    bell.wait("t1", seen, FOR_EVER_S)


def test_news_of_another_job_wake_nobody() -> None:
    bell, woken = Bell(), threading.Event()
    thread = threading.Thread(target=lambda: (bell.wait("t1", bell.count("t1"), FOR_EVER_S), woken.set()))
    thread.start()
    for number in range(1500):
        bell.ring(f"other{number}")
        bell.forget(f"other{number}")
    assert not woken.is_set()
    bell.ring("t1")
    thread.join()
