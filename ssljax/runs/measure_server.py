"""Measure a server from outside: started in a child process, asked over HTTP, and stopped."""

import contextlib
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ssljax.core.errors import ServeError
from ssljax.runs.serve import SLOTS

ANSWER_SECONDS = 300.0               # of silence after which a measurement gives up

CHILD = """
import sys
from ssljax.core.errors import SsljaxError
from ssljax.runs.serve import serve
try:
    serve(sys.argv[1], port=0, slots=int(sys.argv[2]),
          announce=lambda url, served: print(url, flush=True))
except SsljaxError as err:
    sys.exit(str(err))
"""


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
            tokens = (part.get("usage") or {"completion_tokens": tokens})["completion_tokens"]
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
