"""The stream is a function of (seed, step): hosts, workers and restarts change nothing."""

import dataclasses
import time

import numpy as np
import pytest

from ssljax.core.errors import ConfigError, DataError
from ssljax.core.rng import record_id
from ssljax.data.pipeline import Batches, batches
from ssljax.data.stream import stream_of
from ssljax.pretext import masked_patches, next_token
from ssljax.sources import arrays, digits
from tests.contracts.cases import Sentences, packed
from tests.data.test_stream import Numbers

SEQ_LEN = 16


def text_stream(batch_size=8, seed=1):
    source = packed(Sentences(), seq_len=SEQ_LEN, end_of_text=0, seed=seed)
    return stream_of(source, next_token.make(seq_len=SEQ_LEN).example, batch_size=batch_size,
                     seed=seed)


def image_stream(batch_size=8, seed=1):
    pretext = masked_patches.make(size=8, patch_size=4, channels=1)
    return stream_of(digits.make(split="train"), pretext.example, batch_size=batch_size, seed=seed)


def equal(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def taken(stream, count, **options):
    rows = batches(stream, place=lambda x: x, **{"start": 0, "host": 0, "hosts": 1} | options)
    try:
        return [next(rows) for _ in range(count)]
    finally:
        rows.close()


@pytest.mark.parametrize("make", [text_stream, image_stream])
@pytest.mark.parametrize("hosts", [2, 4, 8])
def test_hosts_together_read_the_global_batch(make, hosts):
    stream = make()
    shares = [stream.host_rows(3, h, hosts) for h in range(hosts)]
    whole = {k: np.concatenate([s[k] for s in shares]) for k in shares[0]}
    assert equal(whole, stream.host_rows(3, 0, 1))


def test_a_restart_continues_the_same_batches():
    whole, tail = taken(text_stream(), 6), taken(text_stream(), 3, start=3)
    assert all(map(equal, whole[3:], tail))


@pytest.mark.filterwarnings("ignore")          # Grain's worker processes and their shared memory
def test_worker_processes_change_nothing():
    alone, helped = taken(text_stream(), 3, start=2), taken(text_stream(), 3, start=2, workers=1)
    assert all(map(equal, alone, helped))


def test_seeds_and_epochs_differ():
    stream = text_stream(batch_size=len(text_stream().parts["data"]))
    epochs = [stream.host_rows(t, 0, 1) for t in (0, 1)]
    assert not np.array_equal(epochs[0]["tokens"], epochs[1]["tokens"])
    assert set(epochs[1]["epoch"].tolist()) == {1}
    other = text_stream(batch_size=stream.batch_size, seed=2)
    assert not np.array_equal(epochs[0]["tokens"], other.host_rows(0, 0, 1)["tokens"])


def test_a_batch_that_does_not_divide_is_refused_with_one_that_does():
    with pytest.raises(ConfigError, match="batch_size 8 does not divide over 3 hosts; use 6"):
        text_stream().host_rows(0, 0, 3)


@dataclasses.dataclass(frozen=True)
class Broken:
    """Three hundred records; reading number 21 raises `error`."""

    error: type[BaseException] = OSError

    def __len__(self):
        return 300

    def read(self, indices):
        if 21 in indices:
            raise self.error("the disk is gone")
        return [{"id": record_id("broken", int(i)), "value": np.int32(i)} for i in indices]

    def fingerprint(self):
        return {}


def value_of(record, rng):
    return {"value": record["value"]}


def broken_rows(error, **options):
    stream = stream_of(Broken(error), value_of, batch_size=4, seed=1)
    failing = next(t for t in range(75) if 21 in wanted(stream, t))
    return failing, batches(stream, host=0, hosts=1, place=lambda x: x,
                            **{"start": max(0, failing - 2)} | options)


def wanted(stream, step):
    """Return the records that a batch reads."""
    whole = stream_of(arrays.from_mapping({"value": np.arange(300)}), value_of, batch_size=4,
                      seed=stream.seed)
    return whole.host_rows(step, 0, 1)["value"]


@pytest.mark.filterwarnings("ignore")          # Grain's worker processes and their shared memory
@pytest.mark.parametrize("error, workers, says", [
    (OSError, 0, "OSError: the disk is gone"), (DataError, 0, "the disk is gone"),
    (StopIteration, 0, "raised StopIteration while reading"), (OSError, 1, "the disk is gone")])
def test_an_error_ends_the_batches_for_good(error, workers, says):
    failing, rows = broken_rows(error, workers=workers)
    for _ in range(min(failing, 2)):
        next(rows)
    for message in (says, "ended with an error and cannot go on: .*" + says):
        with pytest.raises(DataError, match=f"(?s){message}"):
            next(rows)
    rows.close()


def test_a_batch_that_went_missing_is_noticed():
    class Elements:
        steps = iter([(0, {}, "a"), (2, {}, "c")])
        closed = False

        def __next__(self):
            return next(self.steps)

        def close(self):
            self.closed = True

    rows = Batches(Elements(), 0)
    assert next(rows) == "a"
    with pytest.raises(DataError, match="Batch 1 is missing: batch 2 came in its place"):
        next(rows)
    assert rows._elements.closed


@pytest.mark.filterwarnings("ignore")          # Grain's worker processes and their shared memory
@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_records_are_counted_in_this_process(workers):
    rows = batches(stream_of(Numbers(bad=(3, 17)), value_of, batch_size=8, seed=1), start=0, host=0,
                   hosts=1, place=lambda x: x, workers=workers)
    seen = [next(rows)["value"] for _ in range(5)]
    rows.close()
    assert rows.gauges() == {"unreadable/damaged": rows.unread["damaged"]}
    assert rows.unread["damaged"] >= 2 and not np.isin(seen, (3, 17)).any()


def test_batches_are_placed_before_they_are_asked_for():
    placed = []
    rows = batches(text_stream(), start=0, host=0, hosts=1, place=lambda x: placed.append(1) or x)
    next(rows)
    deadline = time.monotonic() + 10
    while len(placed) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    rows.close()
    assert len(placed) >= 3


def test_fingerprint_tells_streams_apart():
    assert text_stream().fingerprint() == text_stream().fingerprint()
    assert text_stream().fingerprint() != text_stream(seed=2).fingerprint()
    assert text_stream().fingerprint() != text_stream(batch_size=16).fingerprint()
