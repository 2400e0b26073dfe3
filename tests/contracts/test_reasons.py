"""The 31 reasons in words: the platform and the mining library, which know nothing of each other, say the same."""

from __future__ import annotations

from mining.hard_examples.reasons import REASONS as OF_THE_LIBRARY

from contracts.reasons import REASONS, reason_texts


def test_they_are_those_of_the_mining_library() -> None:
    assert dict(enumerate(REASONS)) == {code: reason.meaning for code, reason in OF_THE_LIBRARY.items()}
    assert len(REASONS) == 31


def test_a_number_that_is_not_in_the_list_is_named() -> None:
    assert reason_texts([1, 31, 4711]) == ("the confidence is low", "reason 31", "reason 4711")
