"""Examples of one request to their answers, in batches with those of other requests.

The event loop's side of encoder.py and batching.py: awaited, cancelled when the client leaves.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ssljax.core.errors import RequestError
from ssljax.serve.adapters import Places
from ssljax.serve.artefact import Artefact
from ssljax.serve.batching import PATIENCE, Batching, Figures, LateError
from ssljax.serve.encoder import Encoder, Part, at_place, joined, make_encoder
from ssljax.serve.engine import StoppedError
from ssljax.serve.exchange import make_mailbox, no_room
from ssljax.serve.scheduler import QueueFullError

WAIT = 0.002             # seconds for company; the program itself takes longer
LIMIT = 4096             # rows that may wait: two requests of as many texts as OpenAI allows

Encode = Callable[..., Awaitable[list[np.ndarray]]]


class Encoding(NamedTuple):
    """An encoder that serves.

    functions: of encoder.FUNCTIONS
    fingerprint: of all that decides the numbers: artefact, rows of batches, device and jax
    encode:    (function, examples, caller="", patience=PATIENCE, place=0) -> awaitable list of
               float32 [D], or [T, D] of sequence; `place` of an adapter.
               RequestError: the caller's places are full (429), all are, stopped or too late (503),
               does not fit the model (400)
    load:      rows that wait and run
    close:     stop the thread
    """

    functions: tuple[str, ...]
    fingerprint: str
    encode: Encode
    load: Callable[[], Figures]
    close: Callable[[], None]


def start_encoding(artefact: Artefact, *, rows: int = 0, adaptive: bool = False,
                   wait: float = WAIT, limit: int = LIMIT, share: float = 1.0,
                   places: Places | None = None,
                   report: Callable[[int, int, float], None] = lambda filled, of, seconds: None
                   ) -> Encoding:
    """Start the thread that serves an artefact's embed, sequence and classify.

    Args:
        artefact: from load_artefact.
        rows: of every batch; chosen by shape and platform unless told.
        adaptive: whether short batches run at fewer rows, without the promise that an answer has
            the same bits in any company.
        wait: seconds that a row waits for company.
        limit: rows that may wait.
        share: fraction of them that one caller may have waiting.
        places: of adapters; empty ones unless told.
        report: told after each batch how many rows it had, of how many, and the seconds it took.

    Raises:
        ServeError: it has none.
    """
    encoder = make_encoder(artefact, rows=rows, adaptive=adaptive, places=places)
    encoder.warm_up()
    batching = Batching(encoder.run, rows=encoder.rows, wait=wait, limit=limit, share=share,
                        report=report)

    async def encode(function: str, examples: Sequence[np.ndarray], *, caller: str = "",
                     patience: float = PATIENCE, place: int = 0) -> list[np.ndarray]:
        parts = parts_of(encoder, function, examples)
        if place:
            parts = [tuple(at_place(part, place) for part in several) for several in parts]
        answers = await run_parts(batching, [p for several in parts for p in several],
                                  caller=caller, patience=patience)
        given = iter(answers)
        rows = [joined(several, [next(given) for _ in several]) for several in parts]
        check_finite(rows)
        return rows

    name = fingerprint(artefact, rows, adaptive=adaptive)
    return Encoding(encoder.functions, name, encode, batching.load, batching.close)


def fingerprint(artefact: Artefact, rows: int, *, adaptive: bool) -> str:
    """Return a short name of what decides the numbers, as OpenAI's system_fingerprint."""
    files = sorted((name, spec["sha256"]) for name, spec in artefact.manifest["files"].items())
    kind = jax.devices()[0].device_kind
    digest = hashlib.sha256(repr((files, rows, jax.__version__, kind)).encode()).hexdigest()[:12]
    return f"fp_{digest}-r{rows or 'auto'}{'-adaptive' if adaptive else ''}"


def parts_of(encoder: Encoder, function: str,
             examples: Sequence[np.ndarray]) -> list[tuple[Part, ...]]:
    """Return the rows of each example.

    Raises:
        RequestError: the artefact has no such function, or an example does not fit the model.
    """
    if function not in encoder.functions:
        raise RequestError(f"This model does not {function}; it can "
                           f"{', '.join(encoder.functions)}.", param="model",
                           code="model_not_capable")
    return [encoder.parts(function, example) for example in examples]


async def run_parts(batching: Batching, parts: Sequence[Part], *, caller: str,
                    patience: float) -> list[np.ndarray]:
    """Return the answers of all parts; nothing of theirs stays queued however it ends.

    Raises:
        RequestError: too many (413); no room (429, 503); stopped or late (503); the device failed
            (500).
    """
    most = int(batching.limit * batching.share)
    if len(parts) > most:
        raise RequestError(f"The inputs make {len(parts)} rows, windows of long texts counted; at "
                           f"most {most} in one request.", status=413, param="input")
    put, take = make_mailbox()

    def deliver(at: int, answer: Any) -> None:
        put((at, answer))

    try:
        cancel = batching.submit([(part.bucket, part) for part in parts], deliver, caller=caller,
                                 patience=patience)
    except QueueFullError as err:
        raise no_room(err) from err
    except StoppedError as err:
        raise RequestError(str(err), status=503, retry_after=1.0) from err
    answers: dict[int, Any] = {}
    try:
        while len(answers) < len(parts):
            for at, answer in await take():
                if isinstance(answer, Exception):
                    raise refused(answer) from answer
                answers[at] = answer
        return [answers[at] for at in range(len(parts))]
    finally:
        cancel()


def check_finite(rows: Sequence[np.ndarray]) -> None:
    """Raise RequestError where an input is so far from those of training that no number is left."""
    for at, row in enumerate(rows):
        if not np.isfinite(row).all():
            raise RequestError(f"The model's answer to input {at} is not finite: its values are "
                               "out of all proportion to those of training.", param="input")


def refused(err: Exception) -> RequestError:
    """Return what a client is told of a row that has no answer."""
    if isinstance(err, LateError | StoppedError):
        return RequestError(str(err), status=503, code="overloaded", retry_after=1.0)
    # Not "later": an input that the device fails on would come again for ever.
    return RequestError(f"The device failed ({type(err).__name__}); the server's log says how.",
                        status=500)
