"""Every target is counted once, whatever the lengths, and rows are as training's."""

import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.evals.windows import Window, batches, cut, pack

LENGTHS = [0, 1, 7, 8, 9, 40, 3, 16, 15, 17]


@pytest.mark.parametrize(("seq_len", "overlap"), [(1, 0), (8, 0), (8, 3), (8, 7), (64, 10)])
def test_every_target_is_counted_once(seq_len, overlap):
    counted = [np.zeros(n + 1, int) for n in LENGTHS]
    for window in cut(LENGTHS, seq_len=seq_len, overlap=overlap):
        assert window.stop - window.start <= seq_len
        assert window.start <= window.fresh < window.stop
        assert window.fresh == 0 or window.fresh - window.start == overlap
        counted[window.document][window.fresh:window.stop] += 1
    assert all((c == 1).all() for c in counted)


def test_a_document_that_fits_is_not_cut():
    assert cut([7], seq_len=8, overlap=4) == [Window(0, 0, 0, 8)]
    assert cut([8], seq_len=8, overlap=4) == [Window(0, 0, 0, 8), Window(0, 4, 8, 9)]


@pytest.mark.parametrize(("seq_len", "overlap"), [(0, 0), (8, 8), (8, -1)])
def test_windows_that_cannot_advance_are_refused(seq_len, overlap):
    with pytest.raises(ConfigError, match="overlap"):
        cut([5], seq_len=seq_len, overlap=overlap)


def test_rows_hold_every_window_once_and_never_overflow():
    rng = np.random.default_rng(0)
    windows = cut(rng.integers(0, 100, 300).tolist(), seq_len=32, overlap=4)
    rows = pack(windows, seq_len=32)
    assert sorted(w for row in rows for w in row) == sorted(windows)
    filled = [sum(w.stop - w.start for w in row) for row in rows]
    assert max(filled) <= 32
    assert np.mean(filled[:-1]) > 0.95 * 32


def test_batches_hold_inputs_one_step_behind_targets():
    framed = [np.array([9, *range(10 * d, 10 * d + n), 9], np.int32)
              for d, n in enumerate(LENGTHS)]
    windows = cut(LENGTHS, seq_len=8, overlap=2)
    seen = {}
    made = list(batches(pack(windows, seq_len=8), framed, seq_len=8, batch_size=4))
    assert {x.shape for batch in made for x in batch.values()} == {(4, 8)}
    for batch in made:
        same = batch["segment_ids"][:, 1:] == batch["segment_ids"][:, :-1]
        inside = same & (batch["segment_ids"][:, 1:] > 0)
        assert (batch["tokens"][:, 1:] == batch["targets"][:, :-1])[inside].all()
        assert (np.diff(batch["positions"], axis=1) == 1)[inside].all()
        assert (batch["positions"][:, 1:] == 0)[~same].all()
        assert (batch["document"][batch["segment_ids"] == 0] == -1).all()
        for document, target in np.stack([batch["document"], batch["targets"]], -1).reshape(-1, 2):
            seen.setdefault(int(document), []).append(int(target))
    for document, length in enumerate(LENGTHS):
        assert sorted(seen[document]) == sorted(framed[document][1:].tolist())
        assert len(seen[document]) == length + 1
