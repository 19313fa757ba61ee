"""Batches larger than the declared one, where their rows have the same bits on this machine.

An answer is that of a program with the declared number of rows. Products of matrices often add up a
row in the same order whatever else is computed; then a larger batch gives the same bits sooner
(ViT-S/16 on two CPU cores: 88 ms an image alone, 58 in a batch of eight). Nothing says that they
must, so it is tried before a size is used: on rows of random numbers, which would differ somewhere
if any sum of the network had another order.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence

import numpy as np

Arrays = Mapping[str, np.ndarray]
Call = Callable[[Hashable, Sequence[Arrays], int], np.ndarray]      # bucket, inputs, rows -> rows
MOST = 8                                                            # more rows gain little on CPUs


def make_split(call: Call, declared: Callable[[Hashable], int],
               ) -> Callable[[Hashable, Sequence[Arrays]], Iterator[tuple[slice, int]]]:
    """Return split(bucket, inputs), which yields (which of the inputs, rows of their batch).

    Args:
        call: (bucket, inputs of at most `rows` rows, rows) -> an array of answers, first axis rows.
        declared: bucket -> rows of the batch whose bits are promised.
    """
    tried: dict[tuple[Hashable, int], bool] = {}

    def agrees(bucket: Hashable, rows: int, inputs: Sequence[Arrays]) -> bool:
        if (bucket, rows) not in tried:
            some, few = list(map(random_like, inputs, range(rows))), declared(bucket)
            whole = call(bucket, some, rows)
            parts = [call(bucket, some[at:at + few], few) for at in range(0, rows, few)]
            tried[bucket, rows] = whole.tobytes() == np.concatenate(parts).tobytes()
        return tried[bucket, rows]

    def split(bucket: Hashable, inputs: Sequence[Arrays]) -> Iterator[tuple[slice, int]]:
        at, rows = 0, MOST
        while at < len(inputs):
            while rows > declared(bucket) and (len(inputs) - at < rows or not agrees(
                    bucket, rows, inputs[at:at + rows])):
                rows //= 2
            rows = max(rows, declared(bucket))
            yield slice(at, at + rows), rows
            at += rows

    return split


def random_like(inputs: Arrays, seed: int) -> Arrays:
    """Return a row of the same shapes: normal numbers where it has such, ids as they are."""
    draw = np.random.default_rng(seed)
    return {name: draw.standard_normal(array.shape).astype(array.dtype)
            if np.issubdtype(array.dtype, np.floating) else array
            for name, array in inputs.items()}
