"""What the routes of the server share: the models that answer, and one request on its way.

`Served` is one version of one model, `Server` all that a route may ask, `Call` one HTTP request.
Every module of ssljax/serve/routes has `routes(server) -> list[BaseRoute]`; app.py joins them. A
route finds the caller's `Call` by `http.call_of(request)` and its model by `server.find`.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

import numpy as np

from ssljax.serve.artefact import Artefact
from ssljax.serve.completions import Limits
from ssljax.serve.engine import Engine
from ssljax.serve.metrics import Metrics

Encode = Callable[[Sequence[np.ndarray]], Awaitable[np.ndarray]]


class Served(NamedTuple):
    """One version of one model, ready to answer.

    name:        clients ask for it
    version:     "1" unless told; clients may ask for "name@version"
    artefact:    where it came from; its manifest says what it is
    fingerprint: of all that decides the numbers: artefact, slots, buckets, jax; for answers
    created:     seconds since 1970, when it was loaded
    engine:      of decoders; None otherwise
    limits:      what a request may ask of it
    encode:      (examples) -> vectors, in batches with other requests; None where it has none
    """

    name: str
    version: str
    artefact: Artefact
    fingerprint: str
    created: int
    engine: Engine | None
    limits: Limits
    encode: Encode | None = None


class Caller(NamedTuple):
    """Who asks: the key's id ("" where no keys are needed), and whether it may use /admin."""

    id: str = ""
    admin: bool = True


class Call(NamedTuple):
    """One HTTP request, from its first byte to the last byte of its answer.

    id:      of the request, also in the answer's header x-request-id
    caller:  who asks
    arrival: time.monotonic() when it came
    note:    (**facts) -> None, for request log and metrics; a later value replaces an earlier
    after:   (function) -> None: `function()` is called when the request has ended, however it ends
    """

    id: str
    caller: Caller
    arrival: float
    note: Callable[..., None]
    after: Callable[[Callable[[], None]], None]


class Server(NamedTuple):
    """All that a route may ask.

    find:    (model's name or None, call) -> the version that answers this call, which is not
             unloaded before the call has ended. RequestError: unknown (404), not for this caller
             (403). None means the only model there is
    served:  () -> every version that is loaded
    metrics: of each version, and as text
    ready:   () -> "" when requests are welcome, or why not
    body:    bytes of a request's body that are read at most
    api_key: every route but health and readiness wants it; None asks for nothing
    """

    find: Callable[[str | None, Call], Served]
    served: Callable[[], tuple[Served, ...]]
    metrics: Metrics
    ready: Callable[[], str]
    body: int
    api_key: str | None = None
