"""A shadow version: it answers copies of requests, nobody waits for it, and a report compares.

A copy is made once the client's answer is complete, with the same seeds, and only while nobody
waits for the shadow's engine; otherwise it is dropped and counted. The thread that hands it over is
that of the engine that answered, whose rows wait meanwhile: a request with a grammar, which takes
up to 0.2 seconds to compile, goes by a thread of its own, one at a time. Answers are compared by
the tokens that were drawn, the one that ends a text among them: after the first that differs two
answers are two texts, so agreement is what comes before it, as a fraction of the longer answer.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssljax.core.errors import RequestError
from ssljax.serve.engine import Deliver, Engine, StoppedError
from ssljax.serve.jobs import Job, Piece
from ssljax.serve.scheduler import QueueFullError
from ssljax.serve.served import Served

PAIRS = 1000                       # of seconds and of differences, the latest, for the percentiles

Tokens = Sequence[int]


class Shadow(NamedTuple):
    """A comparison that goes on.

    copy:   (jobs, tokens of their answers, seconds they took) -> None; never blocks
    report: () -> plain data
    """

    copy: Callable[[Sequence[Job], Sequence[Tokens], float], None]
    report: Callable[[], dict[str, Any]]


def make_shadow(engine: Engine) -> Shadow:
    """Return the comparison with the answers of `engine`, whose model has the same tokens."""
    counts = Counter(copied=0, dropped=0, failed=0, compared=0, identical=0)
    sums = Counter(answers=0, agreement=0.0, common=0)
    pairs: deque[tuple[float, float]] = deque(maxlen=PAIRS)
    differences: deque[int] = deque(maxlen=PAIRS)
    lock = threading.Lock()              # receivers run in the shadow's thread
    compiling = threading.Lock()

    def copy(jobs: Sequence[Job], answers: Sequence[Tokens], seconds: float) -> None:
        found: list[list[int]] = [[] for _ in jobs]
        left, begun = len(jobs), time.monotonic()

        def receiver(index: int) -> Deliver:
            def receive(piece: Piece) -> None:
                nonlocal left
                if piece.token is not None:
                    found[index].append(piece.token)
                left -= piece.finish is not None
                if piece.error is not None:
                    count("failed")
                elif piece.finish is not None and not left:
                    compare(answers, found, seconds, time.monotonic() - begun)

            return receive

        asked = [(job._replace(caller="shadow", deadline=None), receiver(i))
                 for i, job in enumerate(jobs)]
        if not any(job.grammar for job in jobs):
            submit(asked)
        elif compiling.acquire(blocking=False):
            threading.Thread(target=submit_aside, args=(asked,), daemon=True).start()
        else:
            count("dropped")

    def submit_aside(asked: Sequence[tuple[Job, Deliver]]) -> None:
        try:
            submit(asked)
        finally:
            compiling.release()

    def submit(asked: Sequence[tuple[Job, Deliver]]) -> None:
        try:
            if engine.load().waiting:
                raise QueueFullError
            engine.submit(asked)
            count("copied")
        except (QueueFullError, StoppedError):
            count("dropped")
        except RequestError:             # what one version can follow may be too much for another
            count("failed")

    def count(outcome: str) -> None:
        with lock:
            counts[outcome] += 1

    def compare(theirs: Sequence[Tokens], ours: Sequence[Tokens], before: float,
                after: float) -> None:
        common = [common_prefix(a, b) for a, b in zip(theirs, ours, strict=True)]
        longest = [max(len(a), len(b)) for a, b in zip(theirs, ours, strict=True)]
        with lock:
            counts["compared"] += 1
            counts["identical"] += common == longest
            sums["answers"] += len(common)
            sums["common"] += sum(common)
            sums["agreement"] += sum(same / of if of else 1.0
                                     for same, of in zip(common, longest, strict=True))
            differences.extend(same for same, of in zip(common, longest, strict=True) if same < of)
            pairs.append((before, after))

    def report() -> dict[str, Any]:
        with lock:
            answers, compared = sums["answers"], counts["compared"]
            return {**counts,
                    "identical_share": counts["identical"] / compared if compared else None,
                    "token_agreement": sums["agreement"] / answers if answers else None,
                    "common_tokens_mean": sums["common"] / answers if answers else None,
                    **places(list(differences)), **latencies(list(pairs))}

    return Shadow(copy, report)


def check_comparable(shadow: Served, others: Iterable[Served]) -> None:
    """Raise RequestError unless a version can answer for the others of its model."""
    name = f"{shadow.name}@{shadow.version}"
    if shadow.engine is None:
        raise RequestError(f"{name} generates no text, which is what shadows are compared by.",
                           param="version")
    for one in others:
        if one.name == shadow.name and not same_tokens(one, shadow):
            raise RequestError(f"{name} has another tokenizer than {one.name}@{one.version}: its "
                               "answers cannot be compared token by token.", param="version")


def same_tokens(one: Served, other: Served) -> bool:
    """Say whether ids mean the same to two versions."""
    first, second = (each.artefact.manifest.get("tokenizer", {}).get("fingerprint")
                     for each in (one, other))
    return first == second


def common_prefix(one: Tokens, other: Tokens) -> int:
    """Return how many tokens two answers begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
                min(len(one), len(other)))


def places(differences: Sequence[int]) -> dict[str, Any]:
    """Return where answers that differ do so first, counted from 0: earliest, and median."""
    return {"first_difference_min": min(differences, default=None),
            "first_difference_p50": float(np.median(differences)) if differences else None}


def latencies(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return medians and 95th percentiles of (seconds before, seconds of the shadow)."""
    if not pairs:
        return {"seconds_p50": None, "shadow_seconds_p50": None, "difference_p50": None,
                "difference_p95": None}
    before, after = np.asarray(pairs).T
    return {"seconds_p50": float(np.median(before)), "shadow_seconds_p50": float(np.median(after)),
            "difference_p50": float(np.median(after - before)),
            "difference_p95": float(np.percentile(after - before, 95))}
