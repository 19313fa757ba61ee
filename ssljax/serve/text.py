"""Tokens to text as they come: whole characters only, nothing that may belong to a stop string.

Reads one scored token at a time and returns the pieces of the answer. Joining the pieces of a
streamed answer gives exactly the answer in one piece, because both are made here.
"""

import codecs
from collections.abc import Callable, Sequence

from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.guides import Guide
from ssljax.serve.jobs import Job, Piece, Scored


def opening(job: Job, tokenizer: Tokenizer, scored: Sequence[Scored]) -> Piece:
    """Return what precedes the first generated token: nothing, or the prompt when it is echoed.

    Args:
        job: what was asked.
        tokenizer: of the model.
        scored: the prompt's tokens after the start token, where the job asks for them.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    offset, entries = 0, []
    for item in scored:
        entries.append((offset, item))
        offset += len(decoder.decode(tokenizer.decode_bytes([item.token])))
    finish = None if job.max_tokens else "length"
    return Piece(job.text if job.echo else "", tuple(entries), 0, finish)


def make_feed(job: Job, tokenizer: Tokenizer,
              guide: Guide | None = None) -> Callable[[Scored], Piece]:
    """Return feed(scored) -> piece, to be called once for each generated token of `job`.

    Args:
        job: what was asked.
        tokenizer: of the model.
        guide: of the job's grammar, if it has one; is told of every token.
    """
    ends = {*job.stop_ids} | (set() if job.ignore_eos else {tokenizer.end_of_text})
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    start = len(job.text) if job.echo else 0
    text, released, count = "", 0, 0
    waiting: list[tuple[int, Scored]] = []

    def feed(scored: Scored) -> Piece:
        nonlocal text, released, count
        count += 1
        ended = scored.token in ends
        if not ended:
            waiting.append((len(text), scored))
            text += decoder.decode(tokenizer.decode_bytes([scored.token]))
        if guide is not None and not ended:
            guide.accept(scored.token)
            ended = guide.complete()
        finish = "stop" if ended else "length" if count == job.max_tokens else None
        if finish:
            text += decoder.decode(b"", final=True)
        cut = first_stop(text, released, job.stop)
        if cut is not None:
            text, finish = text[:cut], "stop"
        upto = len(text) if finish else len(text) - held_back(text[released:], job.stop)
        piece, released = text[released:upto], upto
        return Piece(piece, release(upto, finish if cut is None else None), count, finish,
                     token=scored.token)

    def release(upto: int, finish: str | None) -> tuple[tuple[int, Scored], ...]:
        """Take out the tokens whose text has begun to be out; at a natural end, all of them."""
        out = [item for item in waiting if finish or item[0] < upto]
        del waiting[:len(out)]
        return tuple((start + at, item) for at, item in out) if job.logprobs is not None else ()

    return feed


def first_stop(text: str, start: int, stops: Sequence[str]) -> int | None:
    """Return where the earliest stop string begins in text[start:], or None."""
    return min((at for at in (text.find(stop, start) for stop in stops) if at >= 0), default=None)


def held_back(text: str, stops: Sequence[str]) -> int:
    """Return how many last characters of `text` may be the beginning of a stop string."""
    longest = min(len(text), max((len(stop) for stop in stops), default=1) - 1)
    return next((n for n in range(longest, 0, -1)
                 if any(stop.startswith(text[-n:]) for stop in stops)), 0)
