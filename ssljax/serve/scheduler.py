"""Who runs, who waits, who is refused: slots and queues as plain data, pure functions, no arrays.

Waiting requests stand in a line per caller. Slots go round the lines by deficit round robin
(Shreedhar and Varghese 1995, https://doi.org/10.1145/217391.217453) at a quantum of one token: each
line saves a token a round until it can pay for its first request, prompt and answer together. The
rounds until somebody can pay are computed, not walked. So callers who wait get equal tokens, and
one who floods waits behind his own requests.

The engine's thread calls these under its lock; tests run them on a virtual clock. Items are
compared by identity of value: two items of one plan must differ.
"""

import math
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

MEMORY = 60.0                    # seconds over which the pace of the slots is averaged
LONGEST_RETRY = 600.0            # seconds; a longer advice would outlive the load it is based on

Running = tuple[tuple[int, Any], ...]      # (slot, item) of every busy slot


class Ticket(NamedTuple):
    """What the scheduler knows of a request.

    item:     the request
    caller:   whose it is
    tokens:   what it may take: of its prompt and its longest answer
    deadline: on the engine's clock, in seconds; not worth starting after
    """

    item: Hashable
    caller: str = ""
    tokens: int = 1
    deadline: float = math.inf


class Rules(NamedTuple):
    """What may wait, beyond those for whom a slot is free.

    requests: at most
    tokens:   of all that wait together
    share:    fraction of both that one caller may take
    reserve:  slots that no caller can take alone, so that another finds one free at once
    room:     tokens that the slots can hold together; as large a part is kept of it as of the slots
    """

    requests: int
    tokens: float = math.inf
    share: float = 1.0
    reserve: int = 0
    room: float = math.inf


class Line(NamedTuple):
    """A caller's waiting requests, in order, at least one, and the tokens saved for the first."""

    caller: str
    tickets: tuple[Ticket, ...]
    saved: int = 0


class Pace(NamedTuple):
    """What the slots got done: tokens, in so many seconds, up to a time; the past counts less."""

    tokens: float = 0.0
    seconds: float = 0.0
    at: float = 0.0


class Plan(NamedTuple):
    """Lines in order of their turns, what runs in each slot (None where it is free), the pace."""

    lines: tuple[Line, ...]
    slots: tuple[Ticket | None, ...]
    pace: Pace = Pace()

    @property
    def waiting(self) -> tuple[Any, ...]:
        """Items that wait."""
        return tuple(ticket.item for line in self.lines for ticket in line.tickets)


class QueueFullError(Exception):
    """No place in the queue for anybody; the caller may try again after `retry` seconds."""

    def __init__(self, message: str = "", retry: float = 1.0):
        super().__init__(message)
        self.retry = retry


class ShareFullError(QueueFullError):
    """The caller's own share of the queue is full; others may still find a place."""


class TooLargeError(QueueFullError):
    """The request would find no place were nobody else there: it is not to come again."""


def empty_plan(slots: int) -> Plan:
    """Return a plan of free slots."""
    return Plan((), (None,) * slots)


def enqueue(plan: Plan, tickets: tuple[Ticket, ...], rules: Rules) -> Plan:
    """Add all tickets of one request, and so of one caller, to the caller's line, or none.

    Free slots count as places: an idle engine with a queue for 0 still takes one request a slot.

    Raises:
        TooLargeError: a caller's share could not hold them were nobody else there.
        ShareFullError: the caller would have more than his share waiting.
        QueueFullError: more would wait than the rules allow.
    """
    check_size(plan, tickets, rules)
    caller = tickets[0].caller
    mine = next((line for line in plan.lines if line.caller == caller), Line(caller, ()))
    line = mine._replace(tickets=mine.tickets + tickets)
    others = tuple(one for one in plan.lines if one.caller != caller)
    lines = (*others, line) if mine.tickets == () else tuple(
        line if one.caller == caller else one for one in plan.lines)
    whose = f'"{caller}" has' if caller else "Requests without a key have"
    check(plan, line.tickets, rules, rules.share, whose, ShareFullError)
    check(plan, [t for one in lines for t in one.tickets], rules, 1.0, "The server has",
          QueueFullError)
    return plan._replace(lines=lines)


def check_size(plan: Plan, tickets: tuple[Ticket, ...], rules: Rules) -> None:
    """Raise TooLargeError unless all of a request could wait if all slots were free."""
    waiting, slots = tickets[len(plan.slots):], len(plan.slots)
    most, room = math.floor(rules.requests * rules.share), rules.tokens * rules.share
    if len(waiting) > most or sum(ticket.tokens for ticket in waiting) > room:
        raise TooLargeError(f"The request has {len(tickets)} texts to write; beside {slots} slots "
                            f"a caller's queue holds {most} requests and {room:g} tokens. Ask for "
                            "fewer at a time.")


def check(plan: Plan, tickets: Iterable[Ticket], rules: Rules, share: float, whose: str,
          error: type[QueueFullError]) -> None:
    """Raise `error` if more than a `share` of the queue would wait once free slots are taken."""
    waiting = list(tickets)[plan.slots.count(None):]
    tokens, requests = sum(ticket.tokens for ticket in waiting), len(waiting)
    most, room = math.floor(rules.requests * share), rules.tokens * share
    if requests > most or tokens > room:
        # What must leave first, in tokens: those in excess, or what the excess requests take.
        excess = max(tokens - room, tokens * (requests - most) / requests)
        retry = seconds_for(plan, excess * (1 if share == 1 else max(1, len(plan.lines))))
        kind = f"{most} requests" if requests > most else f"{room:g} tokens"
        raise error(f"{whose} no place left in the queue, which holds {kind}; all "
                    f"{len(plan.slots)} slots are taken. Try again in {retry:.0f} s.", retry)


def seconds_for(plan: Plan, tokens: float) -> float:
    """Return in how many whole seconds the slots get so many tokens done at their recent pace."""
    pace = plan.pace.tokens / plan.pace.seconds if plan.pace.seconds else math.inf
    return float(math.ceil(min(max(tokens / pace if pace else math.inf, 1.0), LONGEST_RETRY)))


def admit(plan: Plan, rules: Rules, *,
          now: float = 0.0) -> tuple[Plan, tuple[int, Any] | None]:
    """Give the first free slot to the line that can pay first.

    Args:
        plan: as it is.
        rules: `reserve` and `room` of them.
        now: seconds on the engine's clock.

    Returns:
        The new plan and (slot, item), or None if nobody can start.
    """
    if None not in plan.slots:
        return plan, None
    able = [line for line in plan.lines if leaves_reserve(plan, line, rules)]
    if not able:
        return plan, None
    chosen = min(able, key=lambda line: line.tickets[0].tokens - line.saved)
    first = chosen.tickets[0]
    rounds = max(0, first.tokens - chosen.saved)
    lines = [line._replace(saved=line.saved + rounds) if line in able else line
             for line in plan.lines if line is not chosen]
    if chosen.tickets[1:]:
        lines.append(Line(chosen.caller, chosen.tickets[1:], chosen.saved + rounds - first.tokens))
    slot = plan.slots.index(None)
    pace = plan.pace if any(plan.slots) else plan.pace._replace(at=now)     # idle time is no pace
    return Plan(tuple(lines), put(plan.slots, slot, first), pace), (slot, first.item)


def leaves_reserve(plan: Plan, line: Line, rules: Rules) -> bool:
    """Say whether the reserve stays when the first in line starts; a caller may always have one."""
    mine = [t.tokens for t in plan.slots if t is not None and t.caller == line.caller]
    most = len(plan.slots) - rules.reserve
    room = rules.room * most / len(plan.slots)
    return not mine or (len(mine) < most and sum(mine) + line.tickets[0].tokens <= room)


def expire(plan: Plan, now: float) -> tuple[Plan, tuple[Any, ...]]:
    """Take out those who wait past their deadline; return them."""
    late = tuple(t.item for line in plan.lines for t in line.tickets if t.deadline < now)
    for item in late:
        plan = leave(plan, item)
    return plan, late


def remove(plan: Plan, item: Hashable, *, now: float = 0.0) -> Plan:
    """Take `item` out, wherever it is; an unknown item changes nothing.

    Args:
        plan: as it is.
        item: has finished, or is not wanted any more.
        now: seconds on the engine's clock; says how long a running item took.
    """
    for slot, ticket in enumerate(plan.slots):
        if ticket is not None and ticket.item == item:
            return plan._replace(slots=put(plan.slots, slot, None),
                                 pace=after(plan.pace, ticket.tokens, now))
    return leave(plan, item)


def leave(plan: Plan, item: Hashable) -> Plan:
    """Take `item` out of its line; a line without requests goes, and what it saved with it."""
    lines = (line._replace(tickets=tuple(t for t in line.tickets if t.item != item))
             for line in plan.lines)
    return plan._replace(lines=tuple(line for line in lines if line.tickets))


def after(pace: Pace, tokens: int, now: float) -> Pace:
    """Return the pace once `tokens` more are done."""
    past = max(0.0, now - pace.at)
    kept = math.exp(-past / MEMORY)
    return Pace(pace.tokens * kept + tokens, pace.seconds * kept + past, now)


def running(plan: Plan) -> Running:
    """Return (slot, item) of every busy slot."""
    return tuple((slot, ticket.item) for slot, ticket in enumerate(plan.slots)
                 if ticket is not None)


def put(slots: tuple[Ticket | None, ...], slot: int,
        ticket: Ticket | None) -> tuple[Ticket | None, ...]:
    """Return `slots` with `ticket` at `slot`."""
    return slots[:slot] + (ticket,) + slots[slot + 1:]
