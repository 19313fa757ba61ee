"""The comparison page over a server's application, made when somebody first looks at it.

Its code takes 0.2 s to import, as long as a small model to load, and most servers are never looked
at. A page that is told what to show or keep is made at once: what it was told may be wrong.
"""

import contextlib
import threading
from collections.abc import Iterator

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from ssljax.runs.arena_options import ArenaOptions
from ssljax.serve.arena.paths import is_page
from ssljax.serve.keys import Keys


@contextlib.contextmanager
def page_when_asked(app: ASGIApp, options: ArenaOptions, keys: Keys) -> Iterator[ASGIApp]:
    """Yield `app` with the comparison page; arguments and errors are those of arena.page_over."""
    made: list[ASGIApp] = []
    making = threading.Lock()
    with contextlib.ExitStack() as opened:
        def page() -> ASGIApp:
            from ssljax.runs.arena import page_over
            with making:
                if not made:
                    made.append(opened.enter_context(page_over(app, options, keys)))
            return made[0]

        async def choose(scope: Scope, receive: Receive, send: Send) -> None:
            asked = await run_in_threadpool(page) if is_page(scope) else app
            await asked(scope, receive, send)

        yield choose if options == ArenaOptions() else page()
