"""A set of 64-bit keys in few bits, for streams: what it has not seen, it says for certain.

Bloom 1970, https://doi.org/10.1145/362686.362692, with two hashes for all (Kirsch and Mitzenmacher
2006, https://doi.org/10.1007/11841036_42). At its capacity a key that was never added is taken for
seen with the stated rate, and more often beyond: a billion keys at 0.1 % take 1.8 GB. Values, not
files: the caller stores `to_bytes`, and a filter is never changed in place, since one that is
updated twice by a repeated step calls everything seen (https://github.com/mlfoundations/dclm/issues/83).
"""

import hashlib
import json
import math
from typing import NamedTuple

import numpy as np

from data_pipelines.kernels.distinct import distinct
from data_pipelines.kernels.words import mix
from ssljax.core.errors import DataError

MAGIC = b"ssljax bloom 1\n"
BLOCK = 1 << 16                # keys at a time


class Bloom(NamedTuple):
    """A set of keys.

    bits:     uint8 [bytes]
    hashes:   bits that each key sets
    capacity: keys for which the rate holds
    rate:     share of unseen keys that are taken for seen at capacity
    count:    keys added, each once
    """

    bits: np.ndarray
    hashes: int
    capacity: int
    rate: float
    count: int


def empty(capacity: int, rate: float) -> Bloom:
    """Return the set without keys, of the least size for its rate."""
    bits = max(64, math.ceil(-capacity * math.log(rate) / math.log(2) ** 2))
    return Bloom(np.zeros(-(-bits // 8), np.uint8), max(1, round(-math.log2(rate))), capacity,
                 rate, 0)


def contains(bloom: Bloom, keys: np.ndarray) -> np.ndarray:
    """Return which keys, uint64 [n], were added, or seem so: bool [n]."""
    result = np.zeros(len(keys), bool)
    for start in range(0, len(keys), BLOCK):
        at = positions(bloom, keys[start:start + BLOCK])
        result[start:start + BLOCK] = (bloom.bits[at >> 3] >> (at & 7) & 1).all(axis=0)
    return result


def added(bloom: Bloom, keys: np.ndarray) -> Bloom:
    """Return the set with more keys, uint64 [n]; those it has do not count again."""
    fresh = distinct(keys)
    fresh = fresh[~contains(bloom, fresh)]
    bits = bloom.bits.copy()
    for start in range(0, len(fresh), BLOCK):
        at = positions(bloom, fresh[start:start + BLOCK]).ravel()
        np.bitwise_or.at(bits, at >> 3, np.left_shift(1, at & 7).astype(np.uint8))
    return bloom._replace(bits=bits, count=bloom.count + len(fresh))


def repeated(bloom: Bloom, keys: np.ndarray) -> np.ndarray:
    """Return which keys of a batch were added, or stand earlier in the batch, bool [n]."""
    first = np.unique(keys, return_index=True)[1]
    again = np.ones(len(keys), bool)
    again[first] = False
    return again | contains(bloom, keys)


def positions(bloom: Bloom, keys: np.ndarray) -> np.ndarray:
    """Return the bits of each key, int64 [hashes, n]."""
    start, step = mix(keys), mix(keys ^ np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)
    total = np.uint64(len(bloom.bits) * 8)
    return np.stack([(start + np.uint64(i) * step) % total
                     for i in range(bloom.hashes)]).astype(np.int64)


def to_bytes(bloom: Bloom) -> bytes:
    """Return the set as bytes, checksummed."""
    bits = bloom.bits.tobytes()
    about = {"hashes": bloom.hashes, "capacity": bloom.capacity, "rate": bloom.rate,
             "count": bloom.count, "sha256": hashlib.sha256(bits).hexdigest()}
    return MAGIC + json.dumps(about, sort_keys=True).encode() + b"\n" + bits


def from_bytes(data: bytes) -> Bloom:
    """Return the set that `to_bytes` wrote.

    Raises:
        DataError: the bytes are cut, damaged or no filter.
    """
    about, newline, bits = data.removeprefix(MAGIC).partition(b"\n")
    if not data.startswith(MAGIC) or not newline:
        raise DataError("Not a Bloom filter of ssljax; expected what data_pipelines.kernels.bloom "
                        "wrote.")
    fields = json.loads(about)
    if fields.pop("sha256") != hashlib.sha256(bits).hexdigest():
        raise DataError("The Bloom filter is cut or damaged (its checksum differs); make it again "
                        "from the snapshots it was made of.")
    return Bloom(bits=np.frombuffer(bits, np.uint8), **fields)
