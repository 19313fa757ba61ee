"""The stream is a function of (seed, step): hosts, workers and restarts change nothing."""

import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.data.pipeline import batches
from ssljax.data.stream import stream_of
from ssljax.pretext import masked_patches, next_token
from ssljax.sources import digits
from tests.contracts.cases import Sentences, packed

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


def test_fingerprint_tells_streams_apart():
    assert text_stream().fingerprint() == text_stream().fingerprint()
    assert text_stream().fingerprint() != text_stream(seed=2).fingerprint()
    assert text_stream().fingerprint() != text_stream(batch_size=16).fingerprint()
