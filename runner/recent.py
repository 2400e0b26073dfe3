"""What was made a moment ago, for those who ask for the same again."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any


class Recent:
    """At most ``size`` values, each for ``lifetime_s`` seconds. Safe to share between threads; what is in it must not be changed."""

    def __init__(self, *, lifetime_s: float, size: int) -> None:
        self._lifetime_s = lifetime_s
        self._size = size
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[float, Any]] = OrderedDict()

    def get(self, key: Hashable) -> Any:
        """The value, or None when there is none or it is too old."""
        with self._lock:
            made_at, value = self._values.get(key, (0.0, None))
            return value if time.monotonic() - made_at < self._lifetime_s else None

    def put(self, key: Hashable, value: Any) -> None:
        with self._lock:
            self._values[key] = (time.monotonic(), value)
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)
