"""What a verb says reaches the loop in order; when nobody listens any more its next word ends it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from runner.rpc.threads import Threads
from runner.rpc.updates import ClientGone, Updates, seldom


def test_everything_said_comes_before_the_result_in_order() -> None:
    async def listen() -> list[bytes]:
        updates, threads = Updates(), Threads(2, "test")

        def work() -> bytes:
            for number in range(3000):  # more than may wait
                updates.say(b"%d" % number)
            return b"result"

        heard = [update async for update in updates.until(threads.submit(work))]
        threads.close()
        return heard

    assert asyncio.run(listen()) == [b"%d" % number for number in range(3000)] + [b"result"]


def test_an_error_of_the_work_comes_after_what_it_said() -> None:
    heard = []

    async def listen() -> None:
        updates = Updates()
        updates.say(b"a word")
        failed: Future[bytes] = Future()
        failed.set_exception(ValueError("it failed"))
        async for update in updates.until(failed):
            heard.append(update)

    with pytest.raises(ValueError, match="it failed"):
        asyncio.run(listen())
    assert heard == [b"a word"]


def test_work_ends_with_its_next_word_when_the_client_is_gone() -> None:
    async def make() -> Updates:
        return Updates()

    updates = asyncio.run(make())
    updates.give_up()
    with pytest.raises(ClientGone):
        updates.say(b"anybody?")


def test_of_many_counts_the_first_and_the_last_are_said() -> None:
    said: list[tuple[int, int | None]] = []
    say = seldom(lambda *count: said.append(count), interval_s=3600.0)
    for done in range(1000):
        say(done, 999)
    assert said == [(0, 999), (999, 999)]


def test_work_beyond_the_threads_waits_its_turn_and_what_nobody_wants_is_not_done() -> None:
    threads, gate, done = Threads(1, "test"), threading.Event(), []
    first = threads.submit(lambda: gate.wait(60))
    unwanted, wanted = threads.submit(lambda: done.append("unwanted")), threads.submit(lambda: done.append("wanted"))
    assert unwanted.cancel()
    gate.set()
    assert (first.result(60), wanted.result(60), done) == (True, None, ["wanted"])
    threads.close()
