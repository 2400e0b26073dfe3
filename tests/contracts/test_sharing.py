"""What is found out once in a block, and not beyond it."""

from __future__ import annotations

import threading
from itertools import count

import pytest

from contracts.sharing import shared, sharing


def test_outside_of_a_block_everything_is_found_out_anew() -> None:
    numbers = count()
    assert [shared("a", lambda: next(numbers)) for _ in range(2)] == [0, 1]


def test_in_a_block_a_question_is_answered_once_and_each_block_begins_anew() -> None:
    numbers = count()
    with sharing():
        assert [shared("a", lambda: next(numbers)) for _ in range(2)] == [0, 0]
        with sharing():
            assert shared("a", lambda: next(numbers)) == 1
        assert (shared("a", lambda: next(numbers)), shared("b", lambda: next(numbers))) == (0, 2)
    assert shared("a", lambda: next(numbers)) == 3


def test_an_answer_of_none_is_an_answer_and_an_error_is_not() -> None:
    asked = []
    with sharing():
        assert [shared("nothing", lambda: asked.append(1)) for _ in range(2)] == [None, None]
        with pytest.raises(ZeroDivisionError):
            shared("a", lambda: 1 // 0)
        assert shared("a", lambda: 5) == 5
    assert asked == [1]


def test_another_thread_is_in_no_block() -> None:
    found: list[int] = []
    with sharing():
        shared("a", lambda: 1)
        thread = threading.Thread(target=lambda: found.append(shared("a", lambda: 2)))
        thread.start()
        thread.join()
    assert found == [2]
