"""Interpolated n-gram models over bytes, smoothed as Witten and Bell or as Kneser and Ney did.

Both are described by Chen and Goodman, "An empirical study of smoothing techniques for language
modeling", 1998, https://dash.harvard.edu/handle/1/25104739 (sections 2.5 and 3). Witten-Bell is the
usual interpolated n-gram; modified Kneser-Ney (equations 15-17) is the strongest classical one: on
the last tenth of Tiny Shakespeare 5-grams take 1.669 and 1.562 nats a byte. N-grams of up to 7
symbols of 9 bits are packed into uint64 keys, the oldest symbol in the highest bits, so counting is
sorting and a lower order is a mask.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ssljax.core.errors import ConfigError, DataError

SYMBOLS = 257                     # the bytes, and END
END = 256                         # ends a document, and fills the context before its first byte
BITS = 9
CHUNK = 1 << 22                   # windows counted at once: 32 MiB of keys
Smoothing = Literal["witten_bell", "kneser_ney"]
FALLBACK = (0.5, 1.0, 1.5)        # discounts where counts are too few to estimate them, as in KenLM


class Level(NamedTuple):
    """One order of the model: what its n-grams get, and what their contexts leave to lower orders.

    grams:    uint64 [n], sorted
    share:    float64 [n], (count - discount) / total of the context
    contexts: uint64 [m], sorted; a gram without its last symbol
    backoff:  float64 [m], sum of the discounts / total
    """

    grams: np.ndarray
    share: np.ndarray
    contexts: np.ndarray
    backoff: np.ndarray


def document_nats(train: Iterable[bytes], held_out: Sequence[bytes], *, order: int = 5,
                  smoothing: Smoothing = "witten_bell") -> np.ndarray:
    """Return the nats of each held-out document and its end, float64 [documents].

    Args:
        train: documents to count n-grams in.
        held_out: documents to judge.
        order: symbols in an n-gram, 1 to 7: a byte is predicted from the `order` - 1 before it.
        smoothing: what an n-gram leaves to the next shorter one.

    Raises:
        DataError: `train` has no document.
    """
    levels = fit(train, order=order, smoothing=smoothing)
    nats = [-log_probs(levels, grams) for grams in windows(held_out, order=order)]
    ends = np.cumsum([0] + [len(document) + 1 for document in held_out])
    totals = np.concatenate([[0.0], np.cumsum(np.concatenate([[], *nats]))])
    return np.diff(totals[ends])


def fit(train: Iterable[bytes], *, order: int, smoothing: Smoothing) -> list[Level]:
    """Count the n-grams of `train` and return the levels of the model, order 1 first.

    Raises:
        ConfigError: `order` does not fit a key.
        DataError: `train` has no document.
    """
    if not 1 <= order <= 64 // BITS:
        raise ConfigError(f"order {order}: a key of 64 bits holds 1 to {64 // BITS} symbols.")
    parts = [np.unique(grams, return_counts=True) for grams in windows(train, order=order)]
    if not parts:
        raise DataError("The n-gram baseline has no training document; it needs at least one.")
    grams, counts = group(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
    shorten, level = {"witten_bell": (counted_shorter, witten_bell),
                      "kneser_ney": (marginal, kneser_ney)}[smoothing]
    levels = [level(grams, counts)]
    for shorter in range(order - 1, 0, -1):
        grams, counts = shorten(grams, counts, shorter)
        levels.append(level(grams, counts))
    return levels[::-1]


def log_probs(levels: Sequence[Level], grams: np.ndarray) -> np.ndarray:
    """Return ln P(last symbol | those before it) of each n-gram, float64 [n], in nats."""
    distinct, index = np.unique(grams, return_inverse=True)
    probs = np.full(len(distinct), 1 / SYMBOLS)
    for shorter, one in enumerate(levels, start=1):
        suffix = distinct & low_bits(shorter)
        share = look_up(one.grams, one.share, suffix, 0.0)
        backoff = look_up(one.contexts, one.backoff, suffix >> np.uint64(BITS), 1.0)
        probs = share + backoff * probs
    return np.log(probs)[index]


def windows(documents: Iterable[bytes], *, order: int) -> Iterator[np.ndarray]:
    """Yield the n-grams that end in each byte and each end of the documents, in order, uint64."""
    stream, predicted = layout(documents, order=order)
    for start in range(0, len(predicted), CHUNK):
        wanted = predicted[start:start + CHUNK]
        piece = stream[start:start + len(wanted) + order - 1]
        keys = np.zeros(len(wanted), np.uint64)
        for offset in range(order):
            keys <<= np.uint64(BITS)
            keys |= piece[offset:offset + len(wanted)]
        yield keys[wanted]


def layout(documents: Iterable[bytes], *, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Join documents so that windows of `order` symbols never see two of them.

    Returns:
        uint16 [n + order - 1] symbols, each document after order - 1 END and before one, and
        bool [n], whether the window that starts there ends in a symbol to predict.
    """
    documents = list(documents)
    padding = order - 1
    joined = b"".join(bytes(padding) + document + b"\0" for document in documents)
    stream = np.frombuffer(joined, np.uint8).astype(np.uint16)
    ends = np.cumsum([len(document) + order for document in documents], dtype=np.int64)
    starts = np.concatenate([[0], ends])[:-1]
    before = (starts[:, None] + np.arange(padding)).reshape(-1).astype(np.int64)
    stream[before] = stream[ends - 1] = END
    predicted = np.ones(len(stream), bool)
    predicted[before] = False
    return stream, predicted[padding:]


def low_bits(symbols: int) -> np.uint64:
    """Return the mask of the last `symbols` symbols of a key."""
    return np.uint64((1 << BITS * symbols) - 1)


def group(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort `keys`, join equal ones and add up their counts."""
    order = np.argsort(keys)
    keys = keys[order]
    first = run_starts(keys)
    return keys[first], np.add.reduceat(counts[order], first)


def run_starts(keys: np.ndarray) -> np.ndarray:
    """Return where each run of equal values begins in sorted, non-empty `keys`."""
    return np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))


def counted_shorter(grams: np.ndarray, counts: np.ndarray, order: int,
                    ) -> tuple[np.ndarray, np.ndarray]:
    """Return the n-grams of the next lower order with their own counts."""
    return group(grams & low_bits(order), counts)


def marginal(grams: np.ndarray, counts: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the n-grams of the next lower order, counted by the symbols that precede them.

    That count is Kneser and Ney's idea: an n-gram seen after one context only says little beyond
    it. N-grams that begin in the padding have no symbol before them and keep their plain count.
    """
    suffix = grams & low_bits(order)
    padded = suffix >> np.uint64(BITS * (order - 1)) == END if order > 1 else False
    return group(suffix, np.where(padded, counts, 1))


def witten_bell(grams: np.ndarray, counts: np.ndarray) -> Level:
    """Leave to lower orders as many parts as a context has had different continuations."""
    prefix = grams >> np.uint64(BITS)
    first = run_starts(prefix)
    sizes = np.diff(np.append(first, len(grams)))
    total = np.add.reduceat(counts, first) + sizes
    return Level(grams, counts / np.repeat(total, sizes), prefix[first], sizes / total)


def kneser_ney(grams: np.ndarray, counts: np.ndarray) -> Level:
    """Take a discount off every count, larger for larger counts, and leave it to lower orders."""
    discount = np.array([0.0, *discounts(counts)])[np.minimum(counts, 3)]
    prefix = grams >> np.uint64(BITS)
    first = run_starts(prefix)
    total = np.add.reduceat(counts, first)
    sizes = np.diff(np.append(first, len(grams)))
    return Level(grams, (counts - discount) / np.repeat(total, sizes),
                 prefix[first], np.add.reduceat(discount, first) / total)


def discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """Estimate what to take off counts of 1, 2 and 3 or more (Chen and Goodman, equation 17)."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == n)) for n in (1, 2, 3, 4))
    if not (n1 and n2 and n3 and n4):
        return FALLBACK
    y = n1 / (n1 + 2 * n2)
    estimate = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    valid = all(0 < d < n for n, d in enumerate(estimate, start=1))
    return estimate if valid else FALLBACK


def look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray, absent: float) -> np.ndarray:
    """Return the value of each `wanted` key in sorted `keys`, `absent` for unknown ones."""
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[index] == wanted, values[index], absent)
