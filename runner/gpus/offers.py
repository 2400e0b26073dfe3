"""What the cards offer to a job in the queue."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from contracts.job import GpuWish
from runner.gpus.books import DEFAULT_POOL, Books
from runner.gpus.cards import Card
from runner.gpus.choice import groups_of, order
from runner.gpus.wishes import Asker, is_free, is_waited_for, refusal, remaining, suitable
from runner.queue.terms import Offer


@dataclass(frozen=True)
class _Found:
    """What would be offered to somebody whom no rule of the pool concerns. ``groups`` of free and waited for: one alone has a job's cards."""

    free: tuple[str, ...]
    waited_for: tuple[str, ...]
    busy: dict[str, str]
    groups: tuple[tuple[str, ...], ...]


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
        return Offer(found.free, (*found.free, *found.waited_for), found.busy, _distinct(found.groups))
    free = found.free[:left]
    eligible = (*free, *found.waited_for[: left - len(free)])
    groups = [tuple(uuid for uuid in group if uuid in eligible) for group in found.groups]
    return Offer(free, eligible, {pool.name: quota, **found.busy}, _distinct(group for group in groups if group))


def _distinct(groups: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """None where there is but one: any of its cards will do together."""
    found = list({frozenset(group): group for group in groups}.values())
    return found if len(found) > 1 else []


def _found(books: Books, wish: GpuWish) -> _Found:
    """Looked for once in these books."""
    if wish not in books.found:
        cards = sorted(suitable(books, wish), key=lambda card: order(card.gpu))
        free = [card for card in cards if is_free(books, card, wish)]
        rest = [card for card in cards if card not in free]
        waited_for = [card for card in rest if is_waited_for(card)]
        groups = groups_of([card.gpu for card in (*free, *waited_for)], mixed=bool(wish.model))
        books.found[wish] = _Found(
            free=tuple(card.uuid for card in free),
            waited_for=tuple(card.uuid for card in waited_for),
            busy={card.uuid: _busy_text(card) for card in rest},
            groups=tuple(tuple(gpu.uuid for gpu in group) for group in groups),
        )
    return cast("_Found", books.found[wish])


def _busy_text(card: Card) -> str:
    return f"{card.busy_text}{' and drained' if card.drained and card.leases else ''}"
