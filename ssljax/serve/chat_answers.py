"""Pieces of generated text to the JSON of OpenAI's chat, whole or in chunks.

https://platform.openai.com/docs/api-reference/chat/object
"""

from collections.abc import Sequence
from typing import Any

from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.answers import Answer, Json, spell, usage
from ssljax.serve.jobs import Piece, Scored


def whole(answer: Answer, parts: Sequence[Sequence[Piece]]) -> Json:
    """Return the chat completion of all pieces of every choice."""
    choices = [{"index": index,
                "message": {"role": "assistant", "content": "".join(p.text for p in pieces),
                            "refusal": None},
                "logprobs": logprobs_of(answer, index, pieces),
                "finish_reason": pieces[-1].finish} for index, pieces in enumerate(parts)]
    tokens = sum(pieces[-1].tokens for pieces in parts)
    return {**body(answer, "chat.completion", choices), "usage": usage(answer, tokens)}


def opening(answer: Answer) -> list[Json]:
    """Return the chunks that begin a stream: whose words each choice's will be."""
    return [chunk(answer, index, {"role": "assistant", "content": "", "refusal": None})
            for index in range(len(answer.asked.jobs))]


def part(answer: Answer, index: int, piece: Piece) -> Json:
    """Return the chunk that one piece of a choice is."""
    delta = {"content": piece.text} if piece.text else {}
    return chunk(answer, index, delta, logprobs=logprobs_of(answer, index, [piece]),
                 finish=piece.finish)


def last_part(answer: Answer, tokens: int) -> Json:
    """Return the chunk that has the counts, after `tokens` were generated."""
    return {**body(answer, "chat.completion.chunk", []), "usage": usage(answer, tokens)}


def chunk(answer: Answer, index: int, delta: Json, *, logprobs: Json | None = None,
          finish: str | None = None) -> Json:
    """Return a chunk of one choice."""
    choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    return body(answer, "chat.completion.chunk", [choice])


def body(answer: Answer, kind: str, choices: list[Json]) -> Json:
    """Return a chat completion, or a chunk of one."""
    return {"id": answer.id, "object": kind, "created": answer.created, "model": answer.model,
            "system_fingerprint": answer.fingerprint, "choices": choices}


def logprobs_of(answer: Answer, index: int, pieces: Sequence[Piece]) -> Json | None:
    """Return the log probabilities of a choice's pieces, if it was to have any."""
    count = answer.asked.jobs[index].logprobs
    if count is None:
        return None
    scored = [item for piece in pieces for _, item in piece.scored]
    return {"content": [entry(item, answer.tokenizer, count) for item in scored], "refusal": None}


def entry(item: Scored, tokenizer: Tokenizer, count: int) -> Json:
    """Return one token with its alternatives, best first."""
    return {**judged(item.token, item.logprob, tokenizer),
            "top_logprobs": [judged(token, value, tokenizer) for token, value in item.top[:count]]}


def judged(token: int, logprob: float, tokenizer: Tokenizer) -> dict[str, Any]:
    """Return a token, its log probability and its bytes."""
    return {"token": spell(token, tokenizer), "logprob": logprob,
            "bytes": list(tokenizer.decode_bytes([token]))}
