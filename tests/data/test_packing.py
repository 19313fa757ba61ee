"""Packing loses nothing, repeats nothing, and fills rows."""

import dataclasses
import pickle
from collections import Counter

import numpy as np
import pytest

from ssljax.core.errors import DataError
from ssljax.data import packing
from ssljax.data.packing import METHODS, best_fit, make_plan, packed
from ssljax.pretext import next_token
from ssljax.sources import arrays

END = 0


@dataclasses.dataclass(frozen=True)
class Documents:
    texts: tuple[np.ndarray, ...]
    about: tuple = ()

    def __len__(self):
        return len(self.texts)

    def read(self, indices):
        return [{"id": np.array([i, 0], np.uint32), "tokens": self.texts[i]} for i in indices]

    def lengths(self):
        return np.array([len(t) for t in self.texts])

    def fingerprint(self):
        return dict(self.about)


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


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("window", [50, 1000])
def test_every_prediction_of_every_document_is_made_once(method, window, monkeypatch):
    monkeypatch.setattr(packing, "WINDOW", window)
    source = documents()
    rows = packed(source, seq_len=64, end_of_text=END, seed=3, method=method)
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


@pytest.mark.parametrize("method", METHODS)
def test_segments_and_positions_keep_documents_apart(method):
    rows = packed(documents(), seq_len=64, end_of_text=END, seed=3, method=method)
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


def test_concatenated_rows_are_full_but_the_last_and_cut_documents_only_where_rows_end():
    lengths = documents().lengths()
    plan = make_plan(lengths, 64, 7, method="concatenate")
    filled = np.add.reduceat(plan.length, plan.row_start[:-1])
    assert (filled[:-1] == 64).all() and filled[-1] == (lengths + 1).sum() % 64
    ends = plan.start + plan.length
    unfinished = np.flatnonzero(ends != lengths[plan.document] + 1)
    assert set(unfinished + 1) <= set(plan.row_start.tolist())


def test_a_cached_plan_is_made_once_mapped_and_small_to_send(tmp_path, monkeypatch):
    source = documents()
    alone = make_plan(source.lengths(), 64, 3)
    first = packed(source, seq_len=64, end_of_text=END, seed=3, cache=str(tmp_path))
    monkeypatch.setattr(packing, "write_plan", None)         # a second plan would fail
    packing.open_plan.cache_clear()
    again = packed(source, seq_len=64, end_of_text=END, seed=3, cache=str(tmp_path))
    assert isinstance(again.plan.document.base, np.memmap)
    assert len(pickle.dumps(again.plan)) < 300
    for plan in (first.plan, again.plan, pickle.loads(pickle.dumps(again.plan))):
        for name in packing.FILES:
            assert np.array_equal(getattr(plan, name), getattr(alone, name))
    with pytest.raises(TypeError):
        packed(source, seq_len=64, end_of_text=END, seed=4, cache=str(tmp_path))


def test_lengths_a_source_does_not_know_are_measured_once(tmp_path, monkeypatch):
    tokens = np.arange(1, 61).reshape(10, 6)
    source = arrays.from_mapping({"tokens": tokens})
    rows = packed(source, seq_len=7, end_of_text=END, seed=0, cache=str(tmp_path))
    assert len(rows) == 10
    monkeypatch.setattr("ssljax.data.lengths.measured", None)
    packed(source, seq_len=14, end_of_text=END, seed=0, cache=str(tmp_path))
    monkeypatch.undo()
    with pytest.raises(DataError, match="no tokens to pack: it has .'id', 'image'."):
        packed(arrays.from_mapping({"image": tokens}), seq_len=7, end_of_text=END, seed=0,
               cache=str(tmp_path))


def test_rows_of_two_sources_have_ids_of_their_own():
    def ids(**fingerprint):
        source = dataclasses.replace(documents(20), about=tuple(fingerprint.items()))
        rows = packed(source, seq_len=64, end_of_text=END, seed=3)
        return {r["id"].tobytes() for r in rows.read(np.arange(len(rows)))}

    assert not ids(name="a") & ids(name="b")


def test_an_empty_source_is_refused():
    with pytest.raises(DataError, match="no documents"):
        packed(Documents(()), seq_len=8, end_of_text=END, seed=0)
