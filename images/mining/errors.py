"""The one error of the mining core."""

from __future__ import annotations


class MiningError(ValueError):
    """A request or a pool that cannot be mined. The message names the value, the place and what to do; nothing was changed."""
