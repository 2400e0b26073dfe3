"""The queue: who is next, and why not yet. In memory and pure: time is a parameter (Unix seconds), and no database, engine or GPU is touched.

How it decides, and why so: docs/notes/queue.md.
"""

from runner.queue.queue import Queue
from runner.queue.standing import use_rate
from runner.queue.terms import Decision, Entry, Hold, Host, Offer, Offers, Running, ScopedOffers, Share, Shares, Start, Waiting

__all__ = [
    "Decision",
    "Entry",
    "Hold",
    "Host",
    "Offer",
    "Offers",
    "Queue",
    "Running",
    "ScopedOffers",
    "Share",
    "Shares",
    "Start",
    "Waiting",
    "use_rate",
]
