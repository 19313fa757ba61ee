"""One tiny artefact for all serving tests: a GPT of random weights over bytes, exported once."""

import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ssljax.export.artefact import Contents, write_artefact
from ssljax.export.golden import golden_answers
from ssljax.export.stablehlo import decoder_programs
from ssljax.models import gpt
from ssljax.nn.stack import unstacked
from ssljax.serve import background
from ssljax.serve.app import make_app
from ssljax.serve.artefact import Artefact, load_artefact
from ssljax.serve.device import Device, make_device
from ssljax.serve.engine import Engine, start_engine
from ssljax.serve.fields import Limits
from ssljax.serve.jobs import Job, Piece, Sampling
from ssljax.serve.keys import Key, digest, fixed, keys_of, no_keys
from ssljax.serve.opening import open_server
from ssljax.serve.served import Served
from ssljax.tokenizers import byte

CONTEXT, SLOTS, VOCAB = 48, 3, 257


@pytest.fixture(scope="session")
def trained() -> tuple[Any, Any]:
    """Return (model, params): scaled up so that texts vary, and most of them are ASCII."""
    model = gpt.make(vocab_size=VOCAB + 7, width=32, depth=2, num_heads=4)
    params, _ = jax.jit(model.init)(jax.random.key(3), {"tokens": jnp.zeros((1, 4), jnp.int32)})
    scale = jnp.where(jnp.arange(VOCAB + 7) < 128, 12.0, 4.0)[:, None]
    return model, params | {"embedding": params["embedding"] * scale}


@pytest.fixture(scope="session")
def artefact_path(trained, tmp_path_factory) -> Path:
    model, params = trained
    weights = {"params": unstacked(jax.device_get(params))}
    path = tmp_path_factory.mktemp("artefact") / "tiny"
    programs = decoder_programs(model, weights)
    write_artefact(path, Contents(
        about={"kind": "decoder", "name": "tiny", "max_context": CONTEXT, "vocab_size": VOCAB + 7,
               "tokenizer": {"name": "bpe", "file": "tokenizer.json",
                             "fingerprint": byte.make().fingerprint}},
        programs=programs, weights=weights,
        golden=golden_answers(programs, weights, vocab_size=VOCAB, context=CONTEXT),
        files={"tokenizer.json": byte.definition().encode()}))
    return path


@pytest.fixture(scope="session")
def artefact(artefact_path) -> Artefact:
    return load_artefact(artefact_path)


@pytest.fixture(scope="session")
def device(artefact) -> Device:
    return make_device(artefact, slots=SLOTS, page=8, chunk=16)


@pytest.fixture(scope="session")
def guessing(artefact) -> Device:
    return make_device(artefact, slots=SLOTS, page=8, chunk=16, guesses=3)


@pytest.fixture(scope="session")
def blurred(artefact) -> Callable[[float], Artefact]:
    """Return blurred(share): the artefact, its weights changed by that share of their spread."""
    def blur(share: float) -> Artefact:
        rng = np.random.default_rng(0)
        return artefact._replace(weights=jax.tree.map(
            lambda w: w + share * np.std(w) * rng.standard_normal(w.shape, np.float32),
            artefact.weights))

    return blur


@pytest.fixture
def engine(device, artefact) -> Iterator[Engine]:
    engine = start_engine(device, artefact.tokenizer, queue=4)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def ask(artefact) -> Callable[..., Job]:
    """Return job(text, max_tokens, ...) with the start token put in front."""
    greedy = Sampling(temperature=0.0)

    def job(text: str, max_tokens: int = 12, *, sampling: Sampling = greedy, **more: Any) -> Job:
        ids = (artefact.tokenizer.end_of_text, *artefact.tokenizer.encode(text))
        return Job(ids, text, max_tokens, sampling, **more)

    return job


@pytest.fixture(scope="session")
def gather() -> Callable[..., list[list[Piece]]]:
    """Return gather(engine, jobs): submit together, return all pieces of each once all ended."""
    def run(engine: Engine, jobs: list[Job]) -> list[list[Piece]]:
        pieces: list[list[Piece]] = [[] for _ in jobs]
        ended = [threading.Event() for _ in jobs]

        def receiver(index: int) -> Callable[[Piece], None]:
            def receive(piece: Piece) -> None:
                pieces[index].append(piece)
                if piece.finish or piece.error:
                    ended[index].set()

            return receive

        engine.submit([(job, receiver(i)) for i, job in enumerate(jobs)])
        assert all(event.wait(30) for event in ended)
        return pieces

    return run


@pytest.fixture(scope="session")
def serving(artefact) -> Callable[..., Any]:
    """Return serving(engine, ...): a context that serves on a free loopback port, and yields it."""
    @contextlib.contextmanager
    def serve(engine: Engine, *, api_key: str | None = None) -> Iterator[int]:
        served = Served("tiny", "1", artefact, "fp_test", 0, engine, Limits(CONTEXT))
        one = [Key("k", "k", digest((api_key or "").encode()), 0)]
        keys = keys_of(fixed(one)) if api_key else no_keys()
        state = open_server(lambda path, name, version: served, keys=keys, body=4096)
        state.models.load(artefact.path, "tiny", "1", None)
        with background.serving(make_app(state)) as address:
            yield address.port

    return serve


@pytest.fixture(scope="session")
def request_of() -> Callable[..., tuple[int, str]]:
    """Return request(port, method, path, body, headers) -> (status, text)."""
    def request(port: int, method: str, path: str, body: bytes | None = None,
                headers: dict[str, str] | None = None) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

    return request


@pytest.fixture(scope="session")
def post(request_of) -> Callable[..., tuple[int, Any]]:
    """Return post(port, fields) -> (status, JSON) of a completion that is not streamed."""
    def send(port: int, fields: Any, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
        status, text = request_of(port, "POST", "/v1/completions", body, headers)
        return status, json.loads(text)

    return send


@pytest.fixture(scope="session")
def stream(request_of) -> Callable[..., list[Any]]:
    """Return stream(port, fields) -> the events' JSON; the stream must end with [DONE]."""
    def send(port: int, fields: dict[str, Any]) -> list[Any]:
        body = json.dumps(fields | {"stream": True}).encode()
        status, text = request_of(port, "POST", "/v1/completions", body)
        assert status == 200 and text.endswith("data: [DONE]\n\n")
        return [json.loads(event.removeprefix("data: "))
                for event in text.split("\n\n")[:-2]]

    return send


@pytest.fixture(scope="session")
def meanwhile() -> Callable[..., None]:
    """Return meanwhile(change, client, clients): let all clients run while something changes.

    change: (stopped) -> None, which goes on until stopped() says that the clients are done
    client: (its number) -> None
    """
    def run(change: Callable[[Callable[[], bool]], None], client: Callable[[int], None],
            clients: int) -> None:
        stop = threading.Event()
        changer = threading.Thread(target=change, args=(stop.is_set,))
        changer.start()
        with ThreadPoolExecutor(clients) as threads:
            list(threads.map(client, range(clients)))
        stop.set()
        changer.join(60)
        assert not changer.is_alive()

    return run
