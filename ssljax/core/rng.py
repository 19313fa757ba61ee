"""Random keys that depend on what a draw is for, never on who draws it or when. Free of jax."""

import functools
import hashlib
import json

import numpy as np


def hash64(*parts: str | int) -> int:
    """Hash plain values to a 64-bit integer; the same on every machine and Python."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "little")


def record_id(source: str, record: str | int) -> np.ndarray:
    """Return the uint32 [2] identity of a record: a hash of its source's and its own name."""
    return np.frombuffer(hash64(source, record).to_bytes(8, "little"), np.uint32)


@functools.lru_cache(maxsize=64)
def stream_key(seed: int, stream: str) -> int:
    """Return hash64(seed, stream), remembered: it is asked for once a row."""
    return hash64(seed, stream)


def host_generator(seed: int, stream: str, epoch: int, id: np.ndarray) -> np.random.Generator:
    """Return the host's generator for one record in one epoch.

    Args:
        seed: the run's seed.
        stream: what the draws are for, so that two uses never share numbers.
        epoch: passes over the source so far.
        id: uint32 [2], the record's identity.
    """
    counter = [0, int(epoch), int(id[0]), int(id[1])]
    return np.random.Generator(np.random.Philox(key=stream_key(seed, stream), counter=counter))
