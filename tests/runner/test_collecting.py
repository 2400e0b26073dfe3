"""Garbage is looked for more seldom inside, and as before after the last that is inside."""

from __future__ import annotations

import gc
import threading

import pytest

from runner.collecting import seldom_collecting


def test_inside_it_is_seldom_and_afterwards_as_before_also_after_an_error() -> None:
    before = gc.get_threshold()
    with seldom_collecting():
        assert gc.get_threshold()[0] > before[0]
    with pytest.raises(KeyError), seldom_collecting():
        raise KeyError
    assert gc.get_threshold() == before


def test_it_lasts_until_the_last_one_leaves() -> None:
    before = gc.get_threshold()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with seldom_collecting():
            inside.set()
            leave.wait()

    with seldom_collecting():
        thread = threading.Thread(target=other)
        thread.start()
        inside.wait()
    assert gc.get_threshold() != before
    leave.set()
    thread.join()
    assert gc.get_threshold() == before
