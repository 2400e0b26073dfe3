"""``python -m tests.conformance.dying_service POINT``: the service, which kills itself with SIGKILL when it gets to the point.

Points are the steps of a job, just after they are on record, and ``admitted``, ``created``, ``started``, ``ended``, ``removed``, ``retried``: after it
was done. A point may have a number, ``stage:3``: the third time. '' never dies.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from contracts.errors import SluiceError
from registry import queued
from runner import execute, follow, serve
from runner.journal import Journal
from runner.settings import load_settings


def main(point: str) -> int:
    name, _, number = point.partition(":")
    _arm(name, int(number or 1))
    try:
        return serve.serve(load_settings(), lambda addresses: print("ready", *addresses, flush=True))
    except SluiceError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _arm(name: str, number: int) -> None:
    left = [number]

    def die_at(reached: str) -> None:
        if reached == name:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    _after(queued, "admit", lambda _: die_at("admitted"))  # in the transaction: the lease is there, the admission is not
    _after(Journal, "enter", lambda arguments: die_at(str(arguments[1])))
    _after(execute.Attempt, "_create", lambda _: die_at("created"))
    _after(follow.Follower, "_start", lambda _: die_at("started"))
    _after(execute.Attempt, "_end", lambda _: die_at("ended"))
    _after(execute, "remove_container", lambda _: die_at("removed"))
    _before(execute, "remove_container", lambda arguments: die_at("retried") if arguments[1].end_reason is None else None)


def _after(owner: Any, name: str, then: Callable[[tuple[Any, ...]], None]) -> None:
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        result = original(*arguments, **named)
        then(arguments)
        return result

    setattr(owner, name, wrapped)


def _before(owner: Any, name: str, then: Callable[[tuple[Any, ...]], None]) -> None:
    original = getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        then(arguments)
        return original(*arguments, **named)

    setattr(owner, name, wrapped)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
