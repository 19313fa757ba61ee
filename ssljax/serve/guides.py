"""Follow a grammar token by token: which tokens may come next, and when the text is complete.

The masks are computed on the host by llguidance, some 50 microseconds each; so a row with a grammar
decodes one token per dispatch. Reads a tokenizer and the grammars of grammars.py.
"""

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from ssljax.core.errors import RequestError
from ssljax.core.tokenizer import Tokenizer
from ssljax.serve.grammars import library, parser_limits

KEPT = 64                        # compiled grammars; each has some hundred kilobytes


class Guide(NamedTuple):
    """The state of one text that follows a grammar. Not for two threads at once.

    allowed:  () -> u32 [W], the bits of the tokens that may come next; the end token's among them
              when the text may end here. RequestError: the grammar is too complex to go on
    accept:   (token) -> None, a token that `allowed` has
    complete: () -> whether nothing may follow
    forced:   () -> the only tokens that may come next, as many as are certain
    """

    allowed: Callable[[], np.ndarray]
    accept: Callable[[int], None]
    complete: Callable[[], bool]
    forced: Callable[[], Sequence[int]]


def make_guides(tokenizer: Tokenizer) -> Callable[[str], Guide]:
    """Return open(grammar) -> a guide at the start of a text, for any thread to call.

    The tokenizer's table is built at the first call: most servers never get one.
    """
    lock = threading.Lock()

    @lru_cache(maxsize=1)
    def table() -> Any:
        return token_table(tokenizer)

    @lru_cache(maxsize=KEPT)
    def matcher(grammar: str) -> Any:
        made = library().LLMatcher(table(), grammar, log_level=0, limits=parser_limits())
        made.compute_bitmask()           # the lexer's first states, once for all that follow
        return made

    def start(grammar: str) -> Guide:
        with lock:
            mine = matcher(grammar).deep_copy()
        check(mine)
        return guide_of(mine, tokenizer.end_of_text)

    return start


def guide_of(matcher: Any, end: int) -> Guide:
    """Return the guide over a matcher of the library."""
    def allowed() -> np.ndarray:
        mask = matcher.compute_bitmask()
        check(matcher)
        return np.frombuffer(mask, np.uint32)

    def accept(token: int) -> None:
        # A text that may end here is not the matcher's business any more.
        if token != end:
            matcher.consume_token(token)

    return Guide(allowed, accept, matcher.is_stopped, matcher.compute_ff_tokens)


def check(matcher: Any) -> None:
    """Raise RequestError if a matcher has given up."""
    if matcher.is_error():
        reason = " ".join(matcher.get_error().split())[:300]
        raise RequestError(f"The grammar cannot be followed: {reason}", param="response_format")


def token_table(tokenizer: Tokenizer) -> Any:
    """Return the library's tree of all tokens' bytes; tokens without text are special to it."""
    words = [tokenizer.decode_bytes([token]) for token in range(tokenizer.vocab_size)]

    class Table:
        eos_token_id = tokenizer.end_of_text
        bos_token_id = None
        special_token_ids = tuple(token for token, word in enumerate(words) if not word)
        tokens = tuple(word or f"<|special {token}|>".encode() for token, word in enumerate(words))

        def __call__(self, text: str) -> list[int]:
            return tokenizer.encode(text)

    return library().LLTokenizer(library().TokenizerWrapper(Table()))
