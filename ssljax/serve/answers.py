"""Pieces of generated text to the JSON of OpenAI's completions, whole or as server-sent events.

https://platform.openai.com/docs/api-reference/completions/object
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.checks import spelt_out
from ssljax.serve.completions import Completion
from ssljax.serve.jobs import Piece, Scored

DONE = "data: [DONE]\n\n"
Json = dict[str, Any]


class Answer(NamedTuple):
    """What every part of one answer needs."""

    id: str
    created: int        # seconds since 1970
    model: str
    fingerprint: str
    asked: Completion
    tokenizer: Tokenizer


def whole(answer: Answer, parts: Sequence[Sequence[Piece]]) -> Json:
    """Return the completion object of all pieces of every choice."""
    choices = [choice(answer, index, pieces) for index, pieces in enumerate(parts)]
    return body(answer, choices) | {"usage": usage(answer, sum(p[-1].tokens for p in parts))}


def part(answer: Answer, index: int, piece: Piece) -> Json:
    """Return the part of a streamed answer that one piece of a choice is."""
    return body(answer, [choice(answer, index, [piece])])


def last_part(answer: Answer, tokens: int) -> Json:
    """Return the part of a streamed answer that has the counts, after `tokens` were generated."""
    return body(answer, []) | {"usage": usage(answer, tokens)}


def body(answer: Answer, choices: list[Json]) -> Json:
    """Return a completion object."""
    return {"id": answer.id, "object": "text_completion", "created": answer.created,
            "model": answer.model, "system_fingerprint": answer.fingerprint, "choices": choices}


def choice(answer: Answer, index: int, pieces: Sequence[Piece]) -> Json:
    """Return the choice that `pieces` add up to: one of them in a stream, all of them otherwise."""
    scored, count = [s for piece in pieces for s in piece.scored], answer.asked.jobs[index].logprobs
    return {"index": index, "text": "".join(piece.text for piece in pieces),
            "logprobs": None if count is None else logprobs_of(scored, answer.tokenizer, count),
            "finish_reason": pieces[-1].finish}


def usage(answer: Answer, tokens: int) -> Json:
    """Return the counts of a request; the prompt's start token counts, as the model reads it."""
    read = answer.asked.prompt_tokens
    return {"prompt_tokens": read, "completion_tokens": tokens, "total_tokens": read + tokens}


def logprobs_of(scored: Sequence[tuple[int, Scored]], tokenizer: Tokenizer, count: int) -> Json:
    """Return the log probabilities object: the token itself is always among its alternatives."""
    def alternatives(item: Scored) -> dict[str, float]:
        best = {spell(token, tokenizer): value for token, value in item.top[:count]}
        return {**best, spell(item.token, tokenizer): item.logprob}

    return {"tokens": [spell(item.token, tokenizer) for _, item in scored],
            "token_logprobs": [item.logprob for _, item in scored],
            "top_logprobs": [alternatives(item) for _, item in scored],
            "text_offset": [offset for offset, _ in scored]}


def spell(token: int, tokenizer: Tokenizer) -> str:
    r"""Return a token as text; a part of a character as "bytes:\xe2\x82", as OpenAI does."""
    if token == tokenizer.end_of_text:
        return "<|endoftext|>"
    data = tokenizer.decode_bytes([token])
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)


def error(message: str, *, status: int, param: str | None = None, code: str | None = None) -> Json:
    """Return OpenAI's error object; what a client wrote may be in it, whatever that was."""
    kinds = {401: "authentication_error", 429: "rate_limit_error"}
    default = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": spelt_out(message), "type": kinds.get(status, default),
                      "param": param and spelt_out(param), "code": code}}


def event(data: Mapping[str, Any]) -> str:
    """Return one server-sent event."""
    return f"data: {orjson.dumps(data).decode()}\n\n"
