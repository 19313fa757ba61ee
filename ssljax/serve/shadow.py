"""A shadow version: it answers copies of requests, nobody waits for it, and a report compares.

A copy is made once the client's answer is complete, with the same seeds, and only while nobody
waits for the shadow's engine; otherwise it is dropped and counted. Agreement is of tokens of the
texts, up to the first that differs, as a fraction of the longer one.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.engine import Deliver, Engine, StoppedError
from ssljax.serve.jobs import Job, Piece
from ssljax.serve.scheduler import QueueFullError

PAIRS = 1000                       # of seconds, the latest, for the percentiles


class Shadow(NamedTuple):
    """A comparison that goes on.

    copy:   (jobs, texts they gave, seconds they took) -> None; never blocks
    report: () -> plain data
    """

    copy: Callable[[Sequence[Job], Sequence[str], float], None]
    report: Callable[[], dict[str, Any]]


def make_shadow(engine: Engine, tokenizer: Tokenizer) -> Shadow:
    """Return the comparison with the answers of `engine`."""
    counts, agreements = Counter(copied=0, dropped=0, failed=0, compared=0, identical=0), [0.0]
    pairs: deque[tuple[float, float]] = deque(maxlen=PAIRS)
    lock = threading.Lock()              # receivers run in the shadow's thread

    def copy(jobs: Sequence[Job], texts: Sequence[str], seconds: float) -> None:
        found: list[list[str]] = [[] for _ in jobs]
        left, begun = len(jobs), time.monotonic()

        def receiver(index: int) -> Deliver:
            def receive(piece: Piece) -> None:
                nonlocal left
                found[index].append(piece.text)
                left -= piece.finish is not None
                if piece.error is not None:
                    with lock:
                        counts["failed"] += 1
                elif piece.finish is not None and not left:
                    compare(texts, ["".join(f) for f in found], seconds, time.monotonic() - begun)

            return receive

        try:
            if engine.load().waiting:
                raise QueueFullError
            engine.submit([(job._replace(caller="shadow", deadline=None), receiver(i))
                           for i, job in enumerate(jobs)])
            outcome = "copied"
        except (QueueFullError, StoppedError):
            outcome = "dropped"
        with lock:
            counts[outcome] += 1

    def compare(theirs: Sequence[str], ours: Sequence[str], before: float, after: float) -> None:
        same = [agreement(tokenizer.encode(a), tokenizer.encode(b))
                for a, b in zip(theirs, ours, strict=True)]
        with lock:
            counts["compared"] += 1
            counts["identical"] += list(theirs) == list(ours)
            agreements[0] += sum(same) / len(same)
            pairs.append((before, after))

    def report() -> dict[str, Any]:
        with lock:
            compared = counts["compared"]
            return {**counts, "token_agreement": agreements[0] / compared if compared else None,
                    **latencies(list(pairs))}

    return Shadow(copy, report)


def agreement(one: Sequence[int], other: Sequence[int]) -> float:
    """Return how far two token sequences agree, as a fraction of the longer; 1 for two empty."""
    longest = max(len(one), len(other))
    if not longest:
        return 1.0
    same = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
                min(len(one), len(other)))
    return same / longest


def latencies(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Return medians and 95th percentiles of (seconds before, seconds of the shadow)."""
    if not pairs:
        return {"seconds_p50": None, "shadow_seconds_p50": None, "difference_p50": None,
                "difference_p95": None}
    before, after = np.asarray(pairs).T
    return {"seconds_p50": float(np.median(before)), "shadow_seconds_p50": float(np.median(after)),
            "difference_p50": float(np.median(after - before)),
            "difference_p95": float(np.percentile(after - before, 95))}
