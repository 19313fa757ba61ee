"""What the routes of the comparison page share."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from ssljax.core.errors import RequestError
from ssljax.serve.arena.contestants import Endpoint
from ssljax.serve.arena.journal import Journal, open_journal
from ssljax.serve.arena.prompts import Prompts, open_prompts
from ssljax.serve.arena.rounds import Rounds, open_rounds
from ssljax.serve.arena.sessions import Check, Sessions, check_origin, open_sessions
from ssljax.serve.arena.standings import Standings, open_standings
from ssljax.serve.arena.viewer import Dataset

VOTES, TRANSCRIPTS, PROMPTS = "votes.jsonl", "transcripts.jsonl", "prompts.json"


class Arena(NamedTuple):
    """The comparison page of one server.

    endpoints:   whose models are compared
    keyless:     whether the server asks for no key
    check:       (Authorization header) -> who asks with it; None for nobody who may
    sessions:    who may use the page
    rounds, standings, prompts: of the page
    votes, transcripts: where they are kept; None keeps none
    datasets:    whose rows can be looked at
    """

    endpoints: tuple[Endpoint, ...]
    keyless: bool
    check: Check
    sessions: Sessions
    rounds: Rounds
    standings: Standings
    prompts: Prompts
    votes: Journal | None
    transcripts: Journal | None
    datasets: tuple[Dataset, ...]


def open_arena(endpoints: Sequence[Endpoint], *, check: Check, keyless: bool,
               folder: Path | None = None, datasets: Sequence[Dataset] = ()) -> Arena:
    """Return the comparison page's state.

    Args:
        endpoints: whose models are compared.
        check: (Authorization header) -> who asks with it; None for nobody who may use the page.
        keyless: whether it passes anybody, which rules out a view of data.
        folder: of votes, transcripts and saved prompts; None keeps nothing.
        datasets: whose rows can be looked at.

    Raises:
        ServeError: the folder cannot be used.
    """
    votes, transcripts = ((open_journal(folder / VOTES), open_journal(folder / TRANSCRIPTS))
                          if folder else (None, None))
    standings = open_standings(votes.read() if votes else ())
    return Arena(tuple(endpoints), keyless, check, open_sessions(check),
                 open_rounds(votes, transcripts, standings.add), standings,
                 open_prompts(folder / PROMPTS if folder else None), votes, transcripts,
                 tuple(datasets))


def close_arena(arena: Arena) -> None:
    """Close its files."""
    for journal in (arena.votes, arena.transcripts):
        if journal is not None:
            journal.close()


Handler = Callable[[Request], Awaitable[Any]]
Answering = Callable[[Request, str], Awaitable[Response]]      # with the caller's Authorization


def guarded(arena: Arena, answer: Answering) -> Handler:
    """Return a route's handler behind the checks of origin and key."""
    async def handle(request: Request) -> Response:
        check_origin(request, keyless=arena.keyless)
        authorization = await arena.sessions.who(request)
        if authorization is None:
            raise RequestError("This needs the server's API key: sign in on the page, or send the "
                               "header `Authorization: Bearer KEY`.", status=401,
                               code="invalid_api_key")
        return await answer(request, authorization)

    return handle
