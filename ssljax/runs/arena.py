"""The comparison page: over a server of this process, or alone in front of other servers."""

import contextlib
import os
from collections.abc import Callable, Iterator

from starlette.types import ASGIApp

from ssljax.core.errors import ServeError
from ssljax.runs.arena_options import ArenaOptions
from ssljax.runs.datasets import open_dataset
from ssljax.serve.arena.app import with_arena
from ssljax.serve.arena.contestants import Endpoint, read_endpoint
from ssljax.serve.arena.sessions import Check
from ssljax.serve.arena.state import close_arena, open_arena
from ssljax.serve.arena.transports import application_transport
from ssljax.serve.caller import Caller
from ssljax.serve.keys import Keys
from ssljax.serve.server import bind, check_exposure, listen, make_server, run_server

GRACE = 5.0


@contextlib.contextmanager
def page_over(app: ASGIApp | None, options: ArenaOptions, keys: Keys) -> Iterator[ASGIApp]:
    """Yield `app` with the comparison page at / and /arena; without an app, the page alone.

    Args:
        app: answers /v1 for the models of this server.
        options: what the page shows and keeps.
        keys: of the server; the page takes the same.

    Raises:
        ServeError: a view of data without keys, or an endpoint, folder or variable that is not so.
        DataError: a data set cannot be read.
    """
    if options.data and not keys.needed:
        raise ServeError("--data shows training data, and only to those with a key: set "
                         "SSLJAX_API_KEY, or --keys where the verb has it.")
    own = [Endpoint("", application_transport(app))] if app is not None else []
    arena = open_arena([*own, *read_endpoints(options)], check=check_of(keys),
                       keyless=not keys.needed, folder=options.folder,
                       datasets=[open_dataset(path) for path in options.data])
    try:
        yield with_arena(app, arena)
    finally:
        close_arena(arena)


def check_of(keys: Keys) -> Check:
    """Return (Authorization) -> who asks; nothing counts as a request: a page has a dozen files."""
    async def check(authorization: str) -> Caller | None:
        return keys.who(authorization.encode())

    return check


def read_endpoints(options: ArenaOptions) -> list[Endpoint]:
    """Return the endpoints with their keys.

    Raises:
        ServeError: one cannot be used, two have one name, or a key is for none of them.
    """
    variables = dict(text.partition("=")[::2] for text in options.endpoint_keys)
    found = [read_endpoint(text, key=key_from(variables.pop(text.partition("=")[0], "")),
                           allow_private=options.allow_private) for text in options.endpoints]
    names = [endpoint.name for endpoint in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice or variables:
        raise ServeError(f'--endpoint has "{twice[0]}" twice.' if twice else
                         f'--endpoint-key {next(iter(variables))}: no endpoint has that name.')
    return found


def key_from(variable: str) -> str:
    """Return a key from the environment, "" if none is wanted.

    Raises:
        ServeError: the variable is not set.
    """
    if variable and not os.environ.get(variable):
        raise ServeError(f"--endpoint-key: the environment has no {variable}.")
    return os.environ.get(variable, "") if variable else ""


def compare(options: ArenaOptions, keys: Keys, *, host: str = "127.0.0.1", port: int = 8000,
            announce: Callable[[str], None] = lambda url: None) -> None:
    """Show the page in front of other servers until SIGTERM or Ctrl-C.

    Args:
        options: what it shows and keeps.
        keys: who may use it.
        host: address to listen on; one that others can reach needs a key.
        port: 0 for any free one.
        announce: is called with the page's URL once it can be opened.

    Raises:
        ServeError: host or port cannot be had, or there is nothing to compare.
    """
    if not options.endpoints:
        raise ServeError("Nothing to compare: name servers with --endpoint NAME=URL, or compare "
                         "artefacts with `ssljax serve ARTEFACT ... --arena`.")
    check_exposure(host, guarded=keys.needed)
    with contextlib.closing(bind(host, port)) as sock, page_over(None, options, keys) as app:
        server = make_server(app, grace=GRACE)
        url = listen(sock)
        run_server(server, sock, ready=lambda: announce(url))
