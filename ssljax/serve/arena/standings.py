"""The ranking that the page shows: of all votes, or of the blind ones, fitted when they change.

Reads the journal of votes; returns plain JSON.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ssljax.serve.arena.ranking import Vote, duels, rank


class Standings(NamedTuple):
    """Votes and what they say.

    add:  (record) -> None, one more vote
    show: (only blind votes?) -> {"votes", "blind_votes", "ratings", "duels"} for the page
    """

    add: Callable[[Mapping[str, Any]], None]
    show: Callable[[bool], dict[str, Any]]


def open_standings(records: Sequence[Mapping[str, Any]]) -> Standings:
    """Return the standings after `records`; a line that is no vote is not counted."""
    votes: list[tuple[Vote, bool]] = []
    fitted: dict[bool, tuple[int, dict[str, Any]]] = {}

    def add(record: Mapping[str, Any]) -> None:
        vote = read_vote(record)
        if vote is not None:
            votes.append((vote, record.get("blind") is True))

    def show(only_blind: bool) -> dict[str, Any]:
        count, found = fitted.get(only_blind, (-1, {}))
        if count != len(votes):
            count, chosen = len(votes), [v for v, blind in votes if blind or not only_blind]
            ratings = rank(chosen)
            found = {"votes": len(votes), "blind_votes": sum(blind for _, blind in votes),
                     "ratings": [row._asdict() for row in ratings],
                     "duels": duels(chosen, [row.name for row in ratings])}
            fitted[only_blind] = (count, found)
        return found

    for record in records:
        add(record)
    return Standings(add, show)


def read_vote(record: Mapping[str, Any]) -> Vote | None:
    """Return the vote of a journal's line, None if it is none."""
    shown, best = record.get("shown"), record.get("best")
    if not isinstance(shown, list) or not isinstance(best, list):
        return None
    names = all(isinstance(name, str) for name in (*shown, *best))
    if not names or len(set(shown)) < max(2, len(shown)) or not best or not set(best) <= set(shown):
        return None
    return Vote(tuple(shown), tuple(best), record.get("choice") == "bad")
