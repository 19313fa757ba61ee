"""How many calls are open, and whether new ones are welcome: what a drain waits for."""

from collections.abc import Callable
from typing import NamedTuple


class Gate(NamedTuple):
    """The calls of a server.

    enter:    count a call that begins
    leave:    and one that has ended
    open:     () -> calls that have begun and not ended
    drain:    readiness says no from now on; calls are answered all the same while the server lives
    draining: () -> whether it does
    """

    enter: Callable[[], None]
    leave: Callable[[], None]
    open: Callable[[], int]
    drain: Callable[[], None]
    draining: Callable[[], bool]


def make_gate() -> Gate:
    """Return the gate of a server that has just started; all but the event loop only read it."""
    calls, draining = 0, False

    def enter() -> None:
        nonlocal calls
        calls += 1

    def leave() -> None:
        nonlocal calls
        calls -= 1

    def drain() -> None:
        nonlocal draining
        draining = True

    return Gate(enter, leave, lambda: calls, drain, lambda: draining)
