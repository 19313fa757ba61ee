"""Who runs and who waits: slots and a queue as plain data, pure functions, no arrays.

The engine's thread calls them under its lock; tests run them on their own. Items are compared by
identity of value: two items of one plan must differ.
"""

from collections.abc import Hashable
from typing import Any, NamedTuple

Slots = tuple[Hashable | None, ...]
Running = tuple[tuple[int, Any], ...]      # (slot, item) of every busy slot


class QueueFullError(Exception):
    """No place in the queue; the caller may try again later."""


class Plan(NamedTuple):
    """The items that wait, in order, and the item in each slot (None where it is free)."""

    waiting: tuple[Hashable, ...]
    slots: Slots


def empty_plan(slots: int) -> Plan:
    """Return a plan of free slots."""
    return Plan((), (None,) * slots)


def enqueue(plan: Plan, items: tuple[Hashable, ...], limit: int) -> Plan:
    """Add all of `items` at the end of the queue, or none.

    Free slots count as places: an idle engine with a queue limit of 0 still takes one item a slot.

    Raises:
        QueueFullError: more than `limit` would wait for a slot.
    """
    over = len(plan.waiting) + len(items) - plan.slots.count(None) - limit
    if over > 0:
        raise QueueFullError(f"{len(plan.waiting)} requests are waiting and all {len(plan.slots)} "
                             f"slots may be busy; the queue holds {limit}. Try again later.")
    return plan._replace(waiting=plan.waiting + items)


def admit(plan: Plan) -> tuple[Plan, tuple[int, Hashable] | None]:
    """Move the item that has waited longest to the first free slot.

    Returns:
        The new plan and (slot, item), or None if nobody waits or nothing is free.
    """
    if not plan.waiting or None not in plan.slots:
        return plan, None
    slot, item = plan.slots.index(None), plan.waiting[0]
    return Plan(plan.waiting[1:], put(plan.slots, slot, item)), (slot, item)


def remove(plan: Plan, item: Hashable) -> Plan:
    """Take `item` out, wherever it is; an unknown item changes nothing."""
    return Plan(tuple(w for w in plan.waiting if w != item),
                tuple(None if s == item else s for s in plan.slots))


def running(plan: Plan) -> Running:
    """Return (slot, item) of every busy slot."""
    return tuple((slot, item) for slot, item in enumerate(plan.slots) if item is not None)


def put(slots: Slots, slot: int, item: Hashable) -> Slots:
    """Return `slots` with `item` at `slot`."""
    return slots[:slot] + (item,) + slots[slot + 1:]
