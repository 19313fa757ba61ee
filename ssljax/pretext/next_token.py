"""Rows of packed documents to inputs and targets, each shifted by one: the language-model pretext.

Reads records {"pieces": [int32 [n + 1], ...]} of a packed source; returns tokens, targets,
positions, segment_ids int32 [L] and loss_weight float32 [L]. Padding has segment 0 and weight 0.
"""

import numpy as np

from ssljax.core.source import Record
from ssljax.core.types import Example, Key, Pretext

TINY = {"seq_len": 16}


def make(*, seq_len: int) -> Pretext:
    """Return the pretext for rows of `seq_len` predictions; nothing in it is random."""
    spec = dict.fromkeys(("tokens", "targets", "positions", "segment_ids"), ((seq_len,), "int32"))
    spec |= {"loss_weight": ((seq_len,), "float32"), "id": ((2,), "uint32")}

    def plain(record: Record) -> Example:
        row = {name: np.zeros(shape, dtype) for name, (shape, dtype) in spec.items()}
        row["id"] = record["id"]
        low = 0
        for segment, piece in enumerate(record["pieces"], start=1):
            high = low + len(piece) - 1
            row["tokens"][low:high], row["targets"][low:high] = piece[:-1], piece[1:]
            row["positions"][low:high] = np.arange(high - low)
            row["segment_ids"][low:high] = segment
            row["loss_weight"][low:high] = 1
            low = high
        return row

    def example(record: Record, rng: np.random.Generator) -> Example:
        del rng
        return plain(record)

    def views(key: Key, example: Example) -> Example:
        del key, example
        return {}

    return Pretext(example, plain, views, spec)
