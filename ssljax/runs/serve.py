"""Serve artefacts over HTTP: everything of a server in one place, in the order it needs."""

import contextlib
import math
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any

from ssljax.core.errors import ServeError
from ssljax.runs.arena_options import ArenaOptions
from ssljax.runs.arena_page import page_when_asked
from ssljax.runs.artefact import open_artefact
from ssljax.runs.named_models import Named, NamedAdapter
from ssljax.serve.app import make_app
from ssljax.serve.batch_runs import start_batches
from ssljax.serve.grpc_service import beside
from ssljax.serve.inputs import Fetch, refuse_urls
from ssljax.serve.jobs_folder import Jobs, open_jobs
from ssljax.serve.keys import Key, Keys, digest, fixed, from_file, keys_of, no_keys
from ssljax.serve.loading import load_served
from ssljax.serve.log import LogOptions, make_log
from ssljax.serve.mesh import place_over
from ssljax.serve.metrics import make_metrics
from ssljax.serve.opening import open_server
from ssljax.serve.served import Served
from ssljax.serve.server import bind, check_exposure, listen, make_server, run_server
from ssljax.serve.weights import on_default_device

SLOTS = 8
QUEUE = 64
SHARE = 0.5                          # of the queue for one key, so that others find a place
GRACE = 30.0                         # seconds, as Kubernetes gives a pod before it kills it

Announce = Callable[[str, Sequence[Served]], None]


def serve(models: str | Path | Sequence[Named], *, host: str = "127.0.0.1", port: int = 8000,
          api_key: str | None = None, keys: Path | None = None,
          tls: tuple[Path, Path] | None = None, slots: int = SLOTS, queue: int = QUEUE,
          queue_tokens: float = math.inf, sizes: Mapping[str, Any] = MappingProxyType({}),
          tensor: int = 1, grace: float = GRACE, jobs: Path | None = None,
          log: LogOptions | None = None,
          trusted: Sequence[Path] = (), arena: ArenaOptions | None = None,
          rows: int = 0, fetch_urls: bool = False, grpc_port: int = 0,
          adapters: Sequence[NamedAdapter] = (), draft: Path | None = None,
          announce: Announce = lambda url, served: None) -> None:
    """Answer requests until SIGTERM or Ctrl-C; then finish what runs and return.

    Args:
        models: one folder that `ssljax export` wrote, or several with names and versions.
        host: address to listen on; one that others can reach needs a key.
        port: 0 for any free one.
        api_key: one key that clients must send as `Authorization: Bearer KEY`.
        keys: file of keys (`ssljax keys`), each with its limits; None and no api_key asks nobody.
        tls: files of certificate and key.
        slots: requests that are decoded together.
        queue: requests that may wait for a slot; more are refused. Where there are several keys,
            one may take half of them, and all slots but one.
        queue_tokens: of prompts and answers that may wait.
        sizes: of engines beside slots, as serve.layout.make_layout takes them.
        tensor: devices that share every model.
        grace: seconds that running requests have to finish at the end.
        jobs: folder of uploaded files and batches; None offers neither.
        log: where the request log goes, and what is in it; None keeps none.
        trusted: public keys, one of which must have signed an artefact; () asks for none.
        arena: what the page at / shows and keeps; nothing is kept unless told.
        rows: inputs that are embedded together; chosen by their shape unless told.
        fetch_urls: whether inputs may name what is to be fetched from public addresses.
        grpc_port: where KServe's protocol is offered by gRPC as well; 0 for nowhere.
        draft: artefact of a smaller model that guesses next tokens for all that generate; needs
            `guesses` among sizes.
        adapters: low-rank changes of those models, each a model of its own to clients.
        announce: is called with the server's URL and its models once it accepts requests.

    Raises:
        RequestError: an adapter's base is not there, or has no room.
        ServeError: host, port, keys or certificate cannot be had, or a model serves nothing.
        ArtefactError: an artefact is damaged or does not run here, or the draft has another
            tokenizer.
    """
    check_exposure(host, guarded=bool(api_key or keys))
    if slots < 1 or queue < 0 or not queue_tokens >= 0:
        raise ServeError(f"slots {slots}, queue {queue}, queue_tokens {queue_tokens:g}: expected "
                         "at least 1, 0 and 0.")
    if draft and not sizes.get("guesses"):
        raise ServeError(f"Draft {draft} without guesses; say how many tokens it is to guess at a "
                         "time: --guesses 4.")
    if isinstance(models, str | Path):
        models = [Named(Path(models))]
    with contextlib.ExitStack() as opened:
        sock = opened.enter_context(contextlib.closing(bind(host, port)))   # before the models
        write = opened.enter_context(contextlib.closing(make_log(log))).write if log else drop
        offered = Jobs(open_jobs(jobs), SimpleQueue()) if jobs else None
        metrics = make_metrics()
        if grpc_port:
            bind(host, grpc_port).close()            # a port that cannot be had ends this here
        place = place_over(tensor) if tensor != 1 else on_default_device
        opens = partial(open_artefact, trusted=trusted, place=place)
        load = partial(load_served, slots=slots, queue=queue, queue_tokens=queue_tokens, rows=rows,
                       sizes=sizes, draft=opens(draft) if draft else None,
                       share=SHARE if keys else 1.0, reserve=1 if keys else 0, metrics=metrics,
                       open_artefact=opens)
        checked = check_of(api_key, keys)
        server = open_server(load, metrics=metrics, keys=checked, log=write,
                             jobs=offered, fetch=fetch_of(fetch_urls))
        opened.callback(server.models.close)
        app = make_app(server)
        page = opened.enter_context(page_when_asked(app, arena or ArenaOptions(), checked))
        if grpc_port:
            files = tuple(path.read_bytes() for path in tls) if tls else None
            page = beside(page, app, f"{host}:{grpc_port}", files)
        web = make_server(page, grace=grace, tls=tls, lifespan="on" if grpc_port else "off")
        for model in models:
            server.models.load(model.path, model.name, model.version, model.weight)
        for one in adapters:
            server.models.attach(one.path, one.name, one.version, one.base or None, None)
        if offered:
            opened.callback(start_batches(app, offered, server.models.served,
                                          knows=checked.knows))
        url = listen(sock, scheme="https" if tls else "http")
        run_server(web, sock, server.gate, lambda: announce(url, server.served()))


def fetch_of(wanted: bool) -> Fetch:
    """Return what fetches a URL, or refuses to."""
    if not wanted:
        return refuse_urls
    from ssljax.serve.fetch import make_fetch  # few servers do, and it imports slowly
    return make_fetch()


def drop(facts: Mapping[str, Any]) -> None:
    """Log nothing."""


def check_of(api_key: str | None, path: Path | None) -> Keys:
    """Return the check of every request: one key of the environment, and those of a file."""
    readers = [from_file(path)] if path else []
    if api_key:
        readers.append(fixed([Key("default", "default", digest(api_key.encode()), 0)]))
    if not readers:
        return no_keys()
    return keys_of(lambda: ChainMap(*(read() for read in readers)) if len(readers) > 1
                   else readers[0]())
