"""Serve an artefact over HTTP, and measure such a server from outside."""

import contextlib
import http.client
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ssljax.core.errors import ServeError
from ssljax.runs.arena import ArenaOptions, page_over
from ssljax.runs.artefact import open_artefact
from ssljax.serve.app import make_app
from ssljax.serve.batch_runs import start_batches
from ssljax.serve.fetch import make_fetch
from ssljax.serve.grpc_service import beside
from ssljax.serve.inputs import refuse_urls
from ssljax.serve.jobs_folder import Jobs, open_jobs
from ssljax.serve.keys import Key, Keys, digest, fixed, from_file, keys_of, no_keys
from ssljax.serve.loading import load_served
from ssljax.serve.log import LogOptions, make_log
from ssljax.serve.mesh import place_over
from ssljax.serve.metrics import make_metrics
from ssljax.serve.opening import open_server
from ssljax.serve.server import bind, check_exposure, listen, make_server, run_server
from ssljax.serve.weights import on_default_device

SLOTS = 8
QUEUE = 64
SHARE = 0.5                          # of the queue for one key, so that others find a place
GRACE = 30.0                         # seconds, as Kubernetes gives a pod before it kills it
ANSWER_SECONDS = 300.0               # of silence after which a measurement gives up

CHILD = """
import sys
from ssljax.core.errors import SsljaxError
from ssljax.runs.serve import serve
try:
    serve(sys.argv[1], port=0, slots=int(sys.argv[2]), announce=lambda url: print(url, flush=True))
except SsljaxError as err:
    sys.exit(str(err))
"""


class NamedAdapter(NamedTuple):
    """An adapter to load: its folder, what clients call it, and its base ("" for the only one)."""

    path: Path
    name: str
    version: str = "1"
    base: str = ""


class Named(NamedTuple):
    """A model to load: its folder, and what clients call it ("" takes the artefact's name)."""

    path: Path
    name: str = ""
    version: str = "1"
    weight: float | None = None


def serve(models: str | Path | Sequence[Named], *, host: str = "127.0.0.1", port: int = 8000,
          api_key: str | None = None, keys: Path | None = None,
          tls: tuple[Path, Path] | None = None, slots: int = SLOTS, queue: int = QUEUE,
          queue_tokens: float = math.inf, sizes: Mapping[str, Any] = MappingProxyType({}),
          tensor: int = 1, grace: float = GRACE, jobs: Path | None = None,
          log: LogOptions | None = None,
          trusted: Sequence[Path] = (), arena: ArenaOptions | None = None,
          rows: int = 0, fetch_urls: bool = False, grpc_port: int = 0,
          adapters: Sequence[NamedAdapter] = (),
          announce: Callable[[str], None] = lambda url: None) -> None:
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
        adapters: low-rank changes of those models, each a model of its own to clients.
        announce: is called with the server's URL once it accepts requests.

    Raises:
        RequestError: an adapter's base is not there, or has no room.
        ServeError: host, port, keys or certificate cannot be had, or a model serves nothing.
        ArtefactError: an artefact is damaged or does not run here.
    """
    check_exposure(host, guarded=bool(api_key or keys))
    if slots < 1 or queue < 0 or not queue_tokens >= 0:
        raise ServeError(f"slots {slots}, queue {queue}, queue_tokens {queue_tokens:g}: expected "
                         "at least 1, 0 and 0.")
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
        load = partial(load_served, slots=slots, queue=queue, queue_tokens=queue_tokens, rows=rows,
                       sizes=sizes,
                       share=SHARE if keys else 1.0, reserve=1 if keys else 0, metrics=metrics,
                       open_artefact=partial(open_artefact, trusted=trusted, place=place))
        checked = check_of(api_key, keys)
        server = open_server(load, metrics=metrics, keys=checked, log=write,
                             jobs=offered, fetch=make_fetch() if fetch_urls else refuse_urls)
        opened.callback(server.models.close)
        app = make_app(server)
        page = opened.enter_context(page_over(app, arena or ArenaOptions(), checked))
        if grpc_port:
            files = tuple(path.read_bytes() for path in tls) if tls else None
            page = beside(page, app, f"{host}:{grpc_port}", files)
        web = make_server(page, grace=grace, tls=tls, lifespan="on" if grpc_port else "off")
        for model in models:
            server.models.load(model.path, model.name, model.version, model.weight)
        for one in adapters:
            server.models.attach(one.path, one.name, one.version, one.base or None, None)
        if offered:
            opened.callback(start_batches(app, offered, server.models.served))
        announce(listen(sock, scheme="https" if tls else "http"))
        run_server(web, sock, server.gate)


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


def read_models(arguments: Sequence[str], file: Path | None) -> list[Named]:
    """Return the models of a command line, `NAME@VERSION=FOLDER` or `FOLDER`, and of a TOML file.

    Raises:
        ServeError: nothing is named, or the file is not as it should be.
    """
    found = [one_model(argument) for argument in arguments]
    if file is not None:
        try:
            rows = tomllib.loads(file.read_text())["model"]
            found += [Named(Path(row.pop("artefact")), **row) for row in rows]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
            raise ServeError(f"{file} names no models ({err!r}); expected tables [[model]] with "
                             "artefact, and name, version and weight as wanted.") from err
    if not found:
        raise ServeError("No model is named; give ARTEFACT, NAME=ARTEFACT, or --models FILE.")
    return found


def one_model(argument: str) -> Named:
    """Return the model that an argument names."""
    label, given, folder = argument.partition("=")
    if not given or "/" in label:
        return Named(Path(argument))
    name, _, version = label.partition("@")
    return Named(Path(folder), name, version or "1")


def one_adapter(argument: str) -> NamedAdapter:
    """Return the adapter that an argument names: `NAME[@VERSION][:BASE]=FOLDER`.

    Raises:
        ServeError: a name or the folder is missing.
    """
    label, _, folder = argument.partition("=")
    label, _, base = label.partition(":")
    name, _, version = label.partition("@")
    if not name or not folder:
        raise ServeError(f'--adapter "{argument}" is not NAME=FOLDER, or NAME:BASE=FOLDER where '
                         "several models have room for adapters.")
    return NamedAdapter(Path(folder), name, version or "1", base)


class Answer(NamedTuple):
    """One streamed answer, as a client saw it.

    text:          what came
    tokens:        generated, as the server counts them
    first_seconds: from the request to the first event
    seconds:       from the request to the last event
    """

    text: str
    tokens: int
    first_seconds: float
    seconds: float


def measure(artefact: str | Path, prompts: Sequence[str], *, max_tokens: int = 64,
            temperature: float = 0.8, top_p: float = 0.95, seed: int = 0,
            slots: int = SLOTS) -> dict[str, Any]:
    """Start a server in a child process, stream an answer to each prompt, and stop it.

    Every prompt is asked twice: alone, one after the other, and all at once.

    Returns:
        "first_token_ms_p50": median over the requests made alone.
        "tokens_per_second": of one request at a time, first token included.
        "tokens_per_second_together": of all of them at once.
        "requests_together": how many that were.
        "samples": [{"prompt", "text"}, ...] of the requests made alone.

    Raises:
        ServeError: the server did not start, or refused a request.
    """
    fields = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    with child_server(artefact, slots) as url:
        def ask(prompt: str) -> Answer:
            return stream_completion(url, {**fields, "prompt": prompt})

        alone = [ask(prompt) for prompt in prompts]
        start = time.perf_counter()
        with ThreadPoolExecutor(len(prompts)) as clients:
            together = list(clients.map(ask, prompts))
        elapsed = time.perf_counter() - start
    return {
        "first_token_ms_p50": 1000 * statistics.median(a.first_seconds for a in alone),
        "tokens_per_second": sum(a.tokens for a in alone) / sum(a.seconds for a in alone),
        "tokens_per_second_together": sum(a.tokens for a in together) / elapsed,
        "requests_together": len(prompts),
        "samples": [{"prompt": prompt, "text": answer.text}
                    for prompt, answer in zip(prompts, alone, strict=True)],
    }


@contextlib.contextmanager
def child_server(artefact: str | Path, slots: int) -> Iterator[str]:
    """Run `serve` in a child process; yield its URL, and drain it at the end.

    Raises:
        ServeError: it ended before it was ready; the message has its last words.
    """
    command = [sys.executable, "-c", CHILD, str(artefact), str(slots)]
    with (tempfile.TemporaryFile("w+") as log,
          subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as child):
        try:
            url = child.stdout.readline().strip()
            if not url:
                log.seek(0)
                raise ServeError(f"The server did not start: {log.read().strip()[-500:]}")
            yield url
        finally:
            child.terminate()


def stream_completion(url: str, fields: dict[str, Any]) -> Answer:
    """Send one streamed completion request and time its answer.

    Raises:
        ServeError: the server answers anything but 200, or ends the stream with an error.
    """
    start = time.perf_counter()
    body = {**fields, "stream": True, "stream_options": {"include_usage": True}}
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=ANSWER_SECONDS)
    with contextlib.closing(connection):
        connection.request("POST", "/v1/completions", json.dumps(body),
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if answer.status != 200:
            raise ServeError(f"{url} answered {answer.status}: {answer.read(500).decode()}")
        text, tokens, first = "", 0, None
        for part in events(answer):
            if "error" in part:
                raise ServeError(f"{url} broke off: {part['error']['message']}")
            first = first or time.perf_counter() - start
            text += "".join(choice["text"] for choice in part["choices"])
            tokens = part.get("usage", {"completion_tokens": tokens})["completion_tokens"]
    elapsed = time.perf_counter() - start
    return Answer(text, tokens, first or elapsed, elapsed)


def events(lines: Iterator[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the JSON of each server-sent event up to [DONE]."""
    for line in lines:
        data = line.decode().removeprefix("data: ").strip()
        if data == "[DONE]":
            return
        if data:
            yield json.loads(data)
