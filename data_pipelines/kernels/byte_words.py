"""White-space words of documents from their UTF-8 bytes, without making a string of any.

What lexicon.Lexicon says of words, for the rules that can do with an approximation: words end at
ASCII white space, a letter is one of ASCII or any character from U+00C0 on but U+2000 to U+2FFF,
and a word is more than punctuation if it has a letter or a digit. 50 us a document of 2,300
characters, where splitting and looking words up takes 200, most of it waiting for memory.

Reads a list of strings, returns NumPy arrays for the whole batch.
"""

import functools
from collections.abc import Sequence

import numpy as np

from data_pipelines.kernels.lexicon import ALPHABETIC, STOP_WORDS, SYMBOL_FREE, Words
from data_pipelines.kernels.words import MULTIPLIER, mix

LONGEST = 4096          # bytes; powers start anew in longer words, which repeat nothing anyway
GAP, CONTINUED = 4, 8   # further bits of a byte: white space; not the first of its character


def byte_kinds() -> np.ndarray:
    """Return the bits of each byte, uint8 [256]."""
    kinds = np.zeros(256, np.uint8)
    kinds[[*b"0123456789"]] = SYMBOL_FREE
    kinds[[b for b in range(128) if chr(b).isalpha()]] = SYMBOL_FREE | ALPHABETIC
    kinds[0xC3:] = SYMBOL_FREE | ALPHABETIC
    kinds[0xE2] = 0
    kinds[0x80:0xC0] = CONTINUED
    kinds[[*b" \t\n\r\v\f"]] = GAP
    return kinds


def byte_values() -> np.ndarray:
    """Return a random number for each byte, uint64 [256]; white space adds nothing to a hash."""
    values = mix(np.arange(1, 257, dtype=np.uint64) * np.uint64(MULTIPLIER))
    return np.where(KINDS & GAP, np.uint64(0), values)


KINDS = byte_kinds()
VALUES = byte_values()
POWERS = np.full(LONGEST, MULTIPLIER, np.uint64).cumprod() * np.uint64(pow(MULTIPLIER, -1, 1 << 64))


def read(texts: Sequence[str]) -> Words:
    """Return the words of each text."""
    # A space before each text, so that no word is in two, and one behind the last.
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    data = np.frombuffer(b" " + b" ".join(encoded) + b" ", np.uint8)
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum([len(e) + 1 for e in encoded], out=offsets[1:])
    kinds = KINDS[data]
    gaps = (kinds & GAP) > 0
    edges = np.flatnonzero(gaps[1:] != gaps[:-1]) + 1
    first, last = edges[::2], edges[1::2]
    starts = np.searchsorted(first, offsets)
    if not len(first):
        return Words(starts, *(np.empty(0, t) for t in (np.uint64, np.uint64, np.int64, np.uint8,
                                                        np.uint8)))
    inner = slice(first[0], None)
    behind = np.repeat(last, np.diff(first, append=len(data))) - np.arange(first[0], len(data)) - 1
    at = first - first[0]
    hashes = np.add.reduceat(VALUES[data[inner]] * POWERS[behind & (LONGEST - 1)], at)
    continued = np.zeros(len(data) + 1, np.int32)
    np.cumsum(kinds & CONTINUED, dtype=np.int32, out=continued[1:])
    lengths = last - first - (continued[last] - continued[first]) // CONTINUED
    found = np.bitwise_or.reduceat(kinds[inner], at) & np.uint8(SYMBOL_FREE | ALPHABETIC)
    return Words(starts, hashes, POWERS[(last - first) & (LONGEST - 1)], lengths.astype(np.int64),
                 found, stop_bits(hashes))


@functools.cache
def stop_hashes() -> tuple[np.uint64, ...]:
    """Return the hashes of the stop words."""
    return tuple(hash_word(word) for word in STOP_WORDS)


def hash_word(word: str) -> np.uint64:
    """Return the hash of a word of ASCII letters."""
    codes = np.frombuffer(word.encode(), np.uint8)
    return (VALUES[codes] * POWERS[:len(codes)][::-1]).sum(dtype=np.uint64)


def stop_bits(hashes: np.ndarray) -> np.ndarray:
    """Return a bit for each stop word, uint8 [n]."""
    bits = np.zeros(len(hashes), np.uint8)
    for i, known in enumerate(stop_hashes()):
        bits |= (hashes == known).astype(np.uint8) << np.uint8(i)
    return bits
