"""Survivors of images against the rule, taken one by one."""

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.kernels.words import mix
from data_pipelines.steps import image_duplicates


def one_by_one(hashes, within):
    """Return the survivor of each image in order of preference; equal hashes have the same."""
    survivor = {}
    for h in dict.fromkeys(hashes):
        close = [s for s in survivor if survivor[s] == s and (h ^ s).bit_count() <= within]
        survivor[h] = close[0] if close else h
    first = {h: hashes.index(h) for h in survivor}
    return [first[survivor[h]] for h in hashes]


def judged(table, hashes, within, partitions):
    """Return the survivor of each image that the step's rounds find, and the bits said."""
    made = table([str(i) for i in range(len(hashes))])
    values = np.array(hashes, np.uint64)

    def emit(found, first):
        return {"images": pa.table({
            "key": mix(values), "hash": values, "row": np.arange(len(hashes)) + first,
            "quality": -np.arange(len(hashes), dtype=float), "length": np.zeros(len(hashes), int),
            "id": found["id"].combine_chunks(), "cluster": found["cluster"].combine_chunks()})}

    step = image_duplicates.make(within=within)._replace(emit=emit)
    rows = step(made, partitions=partitions).to_pylist()
    place = {r["id"]: i for i, r in enumerate(rows)}
    for i, row in enumerate(rows):
        if row["dropped"]:
            survivor, apart = row["detail"].split()
            assert int(apart) == (hashes[i] ^ hashes[place[survivor]]).bit_count() <= within
            assert row["cluster"] == survivor
    return [place[r["detail"].split()[0]] if r["dropped"] else i for i, r in enumerate(rows)]


@pytest.mark.parametrize("within", [0, 1, 2, 3])
@pytest.mark.parametrize("partitions", [1, 6])
def test_survivors_are_those_of_one_by_one(table, within, partitions):
    draw = np.random.default_rng(within)
    hashes = [int(1 << a | 1 << b) for a, b in draw.integers(0, 40, (120, 2))]
    hashes += [h ^ 2**50 for h in hashes[:20]] + hashes[:20]
    expected = one_by_one(hashes, within)
    assert judged(table, hashes, within, partitions) == expected
    assert 1 < len(set(expected)) < len(hashes)


def test_equal_hashes_are_settled_together(table):
    # The second and third are one hash, near the first; the last two are alike and far from it.
    hashes = [0, 1, 1, 2**60 - 1, 0, 2**60 - 2]
    assert judged(table, hashes, 4, 2) == [0, 0, 0, 3, 0, 3]
    assert judged(table, hashes, 0, 2) == [0, 1, 1, 3, 0, 5]
