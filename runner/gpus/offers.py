"""What the cards offer to a job in the queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from contracts.job import GpuWish
from runner.gpus.books import DEFAULT_POOL, Books
from runner.gpus.cards import Card
from runner.gpus.choice import order
from runner.gpus.wishes import Asker, is_free, is_waited_for, refusal, remaining, suitable
from runner.queue.terms import Offer


@dataclass(frozen=True)
class _Found:
    """What would be offered to somebody whom no rule of the pool concerns."""

    free: tuple[str, ...]
    waited_for: tuple[str, ...]
    busy: dict[str, str]


def offer_of(books: Books, wish: GpuWish, asker: Asker) -> Offer:
    """By the queue's rules: a card that a rule of its pool keeps from the asker is neither free nor eligible."""
    pool = books.pools.get(wish.pool) if wish.pool else DEFAULT_POOL
    if pool is None:
        return Offer((), (), {str(wish.pool): f"there is no GPU pool {wish.pool}"})
    if refused := refusal(pool, asker):
        return Offer((), (), {pool.name: refused})
    found = _found(books, wish)
    left, quota = remaining(pool, asker, books)
    if left is None or left >= len(found.free) + len(found.waited_for):
        return Offer(found.free, (*found.free, *found.waited_for), found.busy)
    free = found.free[:left]
    return Offer(free, (*free, *found.waited_for[: left - len(free)]), {pool.name: quota, **found.busy})


def _found(books: Books, wish: GpuWish) -> _Found:
    """Looked for once in these books."""
    if wish not in books.found:
        cards = sorted(suitable(books, wish), key=lambda card: order(card.gpu))
        free = tuple(card.uuid for card in cards if is_free(books, card, wish))
        rest = [card for card in cards if card.uuid not in free]
        waited_for = tuple(card.uuid for card in rest if is_waited_for(card))
        books.found[wish] = _Found(free, waited_for, {card.uuid: _busy_text(card) for card in rest})
    return cast("_Found", books.found[wish])


def _busy_text(card: Card) -> str:
    return f"{card.busy_text}{' and drained' if card.drained and card.leases else ''}"
