"""Packing loses nothing, repeats nothing, and fills rows."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from ssljax.core.errors import DataError
from ssljax.data.packing import best_fit, make_plan, packed
from ssljax.pretext import next_token

END = 0


@dataclasses.dataclass(frozen=True)
class Documents:
    texts: tuple[np.ndarray, ...]

    def __len__(self):
        return len(self.texts)

    def read(self, indices):
        return [{"id": np.array([i, 0], np.uint32), "tokens": self.texts[i]} for i in indices]

    def lengths(self):
        return np.array([len(t) for t in self.texts])

    def fingerprint(self):
        return {}


def documents(count=300, seed=0):
    r = np.random.default_rng(seed)
    return Documents(tuple(r.integers(1, 60, int(n)).astype(np.int32)
                           for n in r.lognormal(4, 1.2, count)))


def best_fit_by_search(lengths, seq_len):
    """Best-fit-decreasing, one row at a time: the textbook's, O(rows x pieces)."""
    free = []
    for length in sorted(lengths, reverse=True):
        fits = [i for i, f in enumerate(free) if f >= length]
        if fits:
            row = min(fits, key=lambda i: free[i])
            free[row] -= length
        else:
            free.append(seq_len - length)
    return sorted(free)


@pytest.mark.parametrize("seed", range(5))
def test_best_fit_fills_rows_as_the_textbook_does(seed):
    lengths = np.random.default_rng(seed).integers(1, 33, 200)
    rows = best_fit(lengths, 32)
    used = np.bincount(rows, lengths)
    assert sorted(32 - used.astype(int)) == best_fit_by_search(lengths.tolist(), 32)


def test_every_prediction_of_every_document_is_made_once():
    source = documents()
    rows = packed(source, seq_len=64, end_of_text=END, seed=3)
    example = next_token.make(seq_len=64).plain
    seen = Counter()
    for record in rows.read(np.arange(len(rows))):
        row = example(record)
        real = row["loss_weight"] > 0
        seen.update(zip(row["tokens"][real].tolist(), row["targets"][real].tolist(), strict=True))
    expected = Counter()
    for text in source.texts:
        padded = [END, *text.tolist(), END]
        expected.update(zip(padded[:-1], padded[1:], strict=True))
    assert seen == expected


def test_segments_and_positions_keep_documents_apart():
    rows = packed(documents(), seq_len=64, end_of_text=END, seed=3)
    for record in rows.read(np.arange(20)):
        row = next_token.make(seq_len=64).plain(record)
        starts = np.flatnonzero(np.diff(row["segment_ids"], prepend=0) > 0)
        assert (row["positions"][starts] == 0).all()
        assert len(starts) == len(record["pieces"])
        padding = row["segment_ids"] == 0
        assert (row["loss_weight"][padding] == 0).all()


def test_rows_are_nearly_full_and_the_plan_is_a_function_of_its_arguments():
    lengths = documents(3000).lengths()
    plan = make_plan(lengths, 128, 7)
    assert plan.fill(128) > 0.995
    again = make_plan(lengths, 128, 7)
    assert np.array_equal(plan.document, again.document)
    assert not np.array_equal(plan.document, make_plan(lengths, 128, 8).document)


def test_an_empty_source_is_refused():
    with pytest.raises(DataError, match="no documents"):
        packed(Documents(()), seq_len=8, end_of_text=END, seed=0)
