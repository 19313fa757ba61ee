"""An engine under observation: figures, notes for the log, and copies for a shadow version.

Routes know nothing of it: the engine of the Served that they are given is already watched, so
completions, chat and whatever comes next are counted alike.
"""

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence

from ssljax.serve.engine import Cancel, Deliver, Engine
from ssljax.serve.jobs import Job, Piece
from ssljax.serve.metrics import ServerMetrics
from ssljax.serve.served import Call

# (jobs, the tokens of their answers, seconds they took) -> None
Copy = Callable[[Sequence[Job], Sequence[Sequence[int]], float], None]


def watched(engine: Engine, call: Call, metrics: ServerMetrics, copy: Copy | None) -> Engine:
    """Return `engine` for one call.

    Args:
        engine: generates.
        call: is told of prompts, tokens and times.
        metrics: of the version.
        copy: is given every request that was answered to its end; None where nobody shadows.
    """
    def submit(jobs: Iterable[tuple[Job, Deliver]]) -> Cancel:
        asked = [(job._replace(caller=call.caller.id), deliver) for job, deliver in jobs]
        try:
            cancel = engine.submit(tee(asked, call, metrics, copy))
        except Exception:
            metrics.rejected()
            raise
        read = sum(len(job.prompt) for job, _ in asked)
        metrics.tokens(read, 0)
        call.note(prompt_tokens=read, prompt=[job.text for job, _ in asked],
                  digest=digest_of(job for job, _ in asked))
        return cancel

    return engine._replace(submit=submit)


def tee(asked: Sequence[tuple[Job, Deliver]], call: Call, metrics: ServerMetrics,
        copy: Copy | None) -> list[tuple[Job, Deliver]]:
    """Return the jobs with receivers that watch what they pass on."""
    texts: list[list[str]] = [[] for _ in asked]
    answers: list[list[int]] = [[] for _ in asked]
    tokens, left, begun = [0] * len(asked), len(asked), time.monotonic()

    def receiver(index: int, deliver: Deliver) -> Deliver:
        first = last = 0.0

        def receive(piece: Piece) -> None:
            nonlocal first, last, left
            new = piece.tokens - tokens[index]
            if new > 0:
                before, last = last, time.monotonic()
                if tokens[index]:
                    metrics.between_tokens(last - before)
                else:
                    first = last
                    metrics.first_token(first - call.arrival)
                    call.note(first_seconds=first - call.arrival)
                tokens[index] = piece.tokens
                metrics.tokens(0, new)
            texts[index].append(piece.text)
            if piece.token is not None:
                answers[index].append(piece.token)
            deliver(piece)               # before anything that the client need not wait for
            if piece.finish is not None:
                metrics.finished(piece.finish)
                if tokens[index] > 1:
                    metrics.token_time((time.monotonic() - first) / (tokens[index] - 1))
                left -= 1
                if not left and copy is not None:
                    copy([job for job, _ in asked], answers, time.monotonic() - begun)

        return receive

    call.after(lambda: call.note(completion_tokens=sum(tokens),
                                 completion=["".join(t) for t in texts]))
    return [(job, receiver(index, deliver)) for index, (job, deliver) in enumerate(asked)]


def digest_of(jobs: Iterable[Job]) -> str:
    """Return a hash of the ids of all prompts: equal inputs are seen without being kept."""
    ids = hashlib.sha256()
    for job in jobs:
        ids.update(repr(job.prompt).encode())
    return ids.hexdigest()[:32]
