"""A server over engines that need no model: what is tested here is everything around them."""

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from ssljax.serve.app import make_app
from ssljax.serve.background import serving
from ssljax.serve.batch_runs import start_batches
from ssljax.serve.engine import Engine, Load, StoppedError
from ssljax.serve.fields import Limits
from ssljax.serve.jobs import Piece
from ssljax.serve.jobs_folder import Jobs, open_jobs
from ssljax.serve.keys import fixed, keys_of, new_key, no_keys
from ssljax.serve.opening import open_server
from ssljax.serve.pages import PageCounts
from ssljax.serve.scheduler import QueueFullError
from ssljax.serve.served import Served, Server
from ssljax.tokenizers import byte

CONTEXT, SLOTS, QUEUE, PAGES = 400, 8, 4000, 12


def toy_engine(word: str, step: float, go: Callable[[], bool] = lambda: True) -> Engine:
    """Return an engine of one thread that says letters drawn from `word`, by seed and prompt.

    No stream gets beyond its first letter before `go()`.
    """
    lock, closed = threading.Condition(), False
    waiting: list[list[Any]] = []
    slots: list[list[Any]] = []

    def submit(jobs):
        mine = [[job, deliver, random.Random(f"{job.sampling.seed} {job.prompt}"), 0]
                for job, deliver in jobs]
        with lock:
            if closed:
                raise StoppedError("The engine has stopped.")
            if len(waiting) + len(mine) > QUEUE:
                raise QueueFullError("no room")
            waiting.extend(mine)
            lock.notify()
        return lambda: cancel(mine)

    def cancel(mine):
        with lock:
            for held in (waiting, slots):
                held[:] = [one for one in held if all(one is not other for other in mine)]

    def run():
        while True:
            with lock:
                lock.wait_for(lambda: closed or waiting or slots)
                while waiting and len(slots) < SLOTS:
                    slots.append(waiting.pop(0))
                busy, ended = list(slots), closed
            if ended:
                for _, deliver, *_ in [*busy, *waiting]:
                    deliver(Piece(error="The server is shutting down."))
                return
            time.sleep(step)
            for one in busy:
                job, deliver, draw, done = one
                if done and not go():
                    continue
                one[3] = done = done + 1
                last = done >= job.max_tokens
                if last:
                    cancel([one])
                with contextlib.suppress(RuntimeError):      # as the engine: its loop is gone
                    letter = draw.choice(word)
                    deliver(Piece(letter, (), done, "length" if last else None,
                                  token=ord(letter)))

    def close():
        nonlocal closed
        with lock:
            closed = True
            lock.notify()
        thread.join()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    def load() -> Load:
        pages = PageCounts(PAGES, used=3 * len(slots), kept=1, asked=0, found=0)
        return Load(len(waiting), len(slots), SLOTS, thread.is_alive(), pages)

    return Engine(submit, load, close)


def toy_served(path: Path, name: str, version: str,
               go: Callable[[], bool] = lambda: True) -> Served:
    """Return a version that says the letters of its folder's name; "slow" and "broken" do."""
    if path.name == "broken":
        from ssljax.core.errors import ArtefactError
        raise ArtefactError(f"{path} is damaged")
    artefact = SimpleNamespace(path=path, manifest={"kind": "decoder"}, tokenizer=byte.make())
    step = 0.02 if path.name == "slow" else 0.0005
    return Served(name or "toy", version, artefact, f"fp-{path.name}", 7,
                  toy_engine(path.name, step, go), Limits(CONTEXT))


class Running(NamedTuple):
    """A server under test: its state, its port, the secrets of its keys by name; one may go."""

    state: Server
    port: int
    secrets: dict[str, str]
    revoke: Callable[[str], Any]


@contextlib.contextmanager
def serving_toys(models: dict[str, str], keys: dict[str, dict[str, Any]] | None = None, *,
          jobs: Path | None = None, part: int = 8, **more: Any) -> Iterator[Running]:
    """Serve toys on a free port of this machine."""
    made = {name: new_key(name, **limits) for name, limits in (keys or {}).items()}
    known = {name: key for name, (key, _) in made.items()}
    check = keys_of(lambda: fixed([*known.values()])()) if made else no_keys()
    offered = Jobs(open_jobs(jobs), SimpleQueue()) if jobs else None
    state = open_server(toy_served, keys=check, jobs=offered, **more)
    for name, folder in models.items():
        model, _, version = name.partition("@")
        state.models.load(Path(folder), model, version or "1", None)
    app = make_app(state)
    stop = (start_batches(app, offered, state.served, knows=check.knows, part=part) if offered
            else lambda: None)
    with contextlib.ExitStack() as ends:
        ends.callback(state.models.close)
        ends.callback(stop)
        address = ends.enter_context(serving(app, gate=state.gate, grace=5.0))
        yield Running(state, address.port, {name: secret for name, (_, secret) in made.items()},
                      known.pop)


@pytest.fixture(scope="session")
def running() -> Callable[..., Any]:
    """Return running(models, keys={name: limits}, ...): a context of a server over toys."""
    return serving_toys


@pytest.fixture(scope="session")
def load_toy() -> Callable[..., Served]:
    """Return load_toy(folder, name, version): a version that needs no model."""
    return toy_served
