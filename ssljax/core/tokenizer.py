"""What every tokenizer looks like to the rest of ssljax. Free of jax."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Tokenizer(NamedTuple):
    """Text to ids and back, without loss: decode_bytes(encode(text)) == text.encode().

    encode:       text -> ids, without boundary tokens
    encode_batch: texts -> ids of each, in parallel where the library can
    decode_bytes: ids -> UTF-8 bytes, perhaps cut inside a character; boundary tokens are skipped
    vocab_size:   number of ids, boundary tokens included
    end_of_text:  the id that ends every document, and starts every context
    fingerprint:  sha256 of the definition; equal fingerprints give equal ids
    """

    encode: Callable[[str], list[int]]
    encode_batch: Callable[[Sequence[str]], list[list[int]]]
    decode_bytes: Callable[[Sequence[int]], bytes]
    vocab_size: int
    end_of_text: int
    fingerprint: str


def padded_tokens(tokenizer: Tokenizer, text: str, length: int) -> np.ndarray:
    """Return a text as int32 [length]: its ids and end tokens, at least one; cut where too long."""
    ids = tokenizer.encode(text)[:length - 1]
    return np.array(ids + [tokenizer.end_of_text] * (length - len(ids)), np.int32)
