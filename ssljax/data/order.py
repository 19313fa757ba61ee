"""The order of records: a keyed bijection per epoch, computed for any position without a table."""

from functools import lru_cache

import numpy as np

from ssljax.core.rng import hash64

# Up to here a cached permutation is uniform and cheap; a Feistel network needs no memory.
SMALL = 65_536
ROUNDS = 6


def mix64(x: np.ndarray) -> np.ndarray:
    """Scramble uint64s one to one: the finaliser of splitmix64, Steele et al. 2014.

    https://doi.org/10.1145/2660193.2660195
    """
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@lru_cache(maxsize=64)          # half a megabyte each: parts of a mixture, and their epochs
def small_permutation(size: int, key: int) -> np.ndarray:
    """Return a uniform permutation of range(size), int64."""
    return np.random.Generator(np.random.Philox(key=key)).permutation(size)


def feistel(positions: np.ndarray, size: int, key: int) -> np.ndarray:
    """Return a keyed bijection of range(size) at `positions`: Feistel rounds and cycle walking.

    Black and Rogaway 2002, https://doi.org/10.1007/3-540-45760-7_9. No table; about 0.4 us a row.
    """
    half = np.uint64((max(size - 1, 1).bit_length() + 1) // 2)
    mask = (np.uint64(1) << half) - np.uint64(1)
    counter = np.arange(1, ROUNDS + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    keys = mix64(counter + np.uint64(key))
    out = positions.astype(np.uint64)
    todo = np.arange(out.size)
    while todo.size:
        left, right = out[todo] >> half, out[todo] & mask
        for k in keys:
            left, right = right, left ^ (mix64(right + k) & mask)
        walked = (left << half) | right
        out[todo] = walked
        todo = todo[walked >= np.uint64(size)]
    return out.astype(np.int64)


def permute(positions: np.ndarray, size: int, key: int) -> np.ndarray:
    """Return the record at each of `positions` [n] of one epoch over `size` records, int64 [n]."""
    if size <= SMALL:
        return small_permutation(size, key)[positions]
    return feistel(positions, size, key)


def records_of_rows(rows: np.ndarray, size: int, key: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (epoch, record) int64 [n] of `rows` [n] of the endless shuffled sequence of a source.

    Every epoch visits each record once, in an order of its own.
    """
    epochs, positions = np.divmod(np.asarray(rows, np.int64), size)
    records = np.empty_like(positions)
    for epoch in np.unique(epochs):
        now = epochs == epoch
        records[now] = permute(positions[now], size, hash64(key, "epoch", int(epoch)))
    return epochs, records
