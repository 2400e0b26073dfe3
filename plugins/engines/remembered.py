"""A small memory: what need not be asked for again."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

V = TypeVar("V")


class Remembered(Generic[V]):
    """Values by key, the oldest forgotten when there are more than ``size``. May be used by several threads at a time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: dict[str, V] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> V | None:
        return self._values.get(key)

    def put(self, key: str, value: V) -> None:
        with self._lock:
            self._values.pop(key, None)
            self._values[key] = value
            if len(self._values) > self._size:
                del self._values[next(iter(self._values))]

    def drop(self, key: str) -> None:
        with self._lock:
            self._values.pop(key, None)
