"""What the routes of the server share: the models that answer, and one request on its way.

`Served` is one version of one model, `Server` all that a route may ask, `Call` one HTTP request.
Every module of ssljax/serve/routes has `routes(server) -> list[BaseRoute]`; app.py joins them. A
route finds the caller's `Call` by `http.call_of(request)` and its model by `server.find`.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ssljax.serve.adapters import Places
from ssljax.serve.artefact import Artefact
from ssljax.serve.caller import Caller
from ssljax.serve.chat import Turns
from ssljax.serve.encoding import Encoding
from ssljax.serve.engine import Engine
from ssljax.serve.fields import Limits
from ssljax.serve.gate import Gate
from ssljax.serve.inputs import Fetch, refuse_urls
from ssljax.serve.jobs_folder import Jobs
from ssljax.serve.keys import Keys
from ssljax.serve.metrics import Metrics


class Parent(NamedTuple):
    """Whose weights an adapter changes: the base's name and version; its own folder and rank."""

    name: str
    version: str
    folder: Path
    rank: int


class Served(NamedTuple):
    """One version of one model, ready to answer.

    name:        clients ask for it
    version:     "1" unless told; clients may ask for "name@version"
    artefact:    where it came from; its manifest says what it is
    fingerprint: of all that decides the numbers: artefact, slots, buckets, jax; for answers
    created:     seconds since 1970, when it was loaded
    engine:      of decoders; None otherwise
    limits:      what a request may ask of it
    encoding:    embeds and classifies, in batches with other requests; None where it cannot
    turns:       how it is talked to; None where it was not taught to converse
    places:      of adapters that change it, or for rows like its own
    parent:      of an adapter; None of models of their own
    """

    name: str
    version: str
    artefact: Artefact
    fingerprint: str
    created: int
    engine: Engine | None
    limits: Limits
    encoding: Encoding | None = None
    turns: Turns | None = None
    places: Places | None = None
    parent: Parent | None = None


class Call(NamedTuple):
    """One request, from its first byte to the last byte of its answer.

    id:      of the request, also in the answer's header x-request-id and in the answer's own id
    caller:  who asks
    arrival: time.monotonic() when it came
    created: seconds since 1970 that answers carry
    note:    (**facts) -> None, for request log and metrics; a later value replaces an earlier one
    after:   (function) -> None: `function()` is called when the request has ended, however it ends
    """

    id: str
    caller: Caller
    arrival: float
    created: int
    note: Callable[..., None]
    after: Callable[[Callable[[], None]], Any]


class Switchboard(NamedTuple):
    """Versions come, go, and share the traffic of a model, while requests run.

    find:     as Server's
    served:   () -> every version that is loaded
    attach:   (adapter's folder, name, version, base's name or None, weight or None) -> Served; as
              load, of an adapter on a version that is loaded
    load:     (artefact's folder, name, version, weight or None) -> Served; takes seconds: call it
              in a thread. Without a weight the first version of a name gets all, later ones none
    unload:   (name, version, seconds) -> calls that were cut off: new ones go elsewhere at once,
              those that run have so many seconds to finish
    split:    (name, {version: weight}) -> None; versions that are not named get nothing
    rollback: (name) -> None; the split before the last one
    mirror:   (name, version or None, share) -> None; that share of requests is also sent there
    status:   () -> all of it, as plain data
    shadows:  () -> how shadow versions agree, as plain data
    close:    stop every engine
    """

    find: Callable[[str | None, Call], Served]
    served: Callable[[], tuple[Served, ...]]
    attach: Callable[[Path, str, str, str | None, float | None], Served]
    load: Callable[[Path, str, str, float | None], Served]
    unload: Callable[[str, str, float], Awaitable[int]]
    split: Callable[[str, Mapping[str, float]], None]
    rollback: Callable[[str], None]
    mirror: Callable[[str, str | None, float], None]
    status: Callable[[], list[dict[str, Any]]]
    shadows: Callable[[], list[dict[str, Any]]]
    close: Callable[[], None]


class Server(NamedTuple):
    """All that a route may ask.

    find:    (model's name or None, call) -> the version that answers this call, which is not
             unloaded before the call has ended; its engine is watched: figures and the request log
             see what it does. RequestError: unknown (404), not for this caller (403). None means
             the only model there is
    served:  () -> every version that is loaded
    models:  loads, unloads and moves traffic
    metrics: of each version, and as text
    keys:    who may ask what
    gate:    the calls that are open, and whether the server drains
    log:     (facts of a call that has ended) -> None; never blocks
    body:    bytes of a request's body that are read at most
    jobs:    files and batches; None where they are not offered
    fetch:   (URL in an input) -> what is there; refuses unless told otherwise
    """

    find: Callable[[str | None, Call], Served]
    served: Callable[[], tuple[Served, ...]]
    models: Switchboard
    metrics: Metrics
    keys: Keys
    gate: Gate
    log: Callable[[Mapping[str, Any]], None]
    body: int
    jobs: Jobs | None
    fetch: Fetch = refuse_urls
