"""One thousand batches, byte for byte the same for any hosts, workers and restarts.

Two packed parts, one of them filtered, whose weights change at step 500. The hash is written down:
a change of the stream without a new FORMAT would break every run that is continued.
"""

import functools
import hashlib

import numpy as np
import pytest

from ssljax.data.mixture import make_schedule
from ssljax.data.packing import packed
from ssljax.data.pipeline import batches
from ssljax.data.stream import FORMAT, Stream
from ssljax.filters import length
from ssljax.pretext import next_token
from ssljax.sources import filtered
from tests.contracts.cases import Sentences

SEQ_LEN, BATCH_SIZE, CHANGE, STEPS = 8, 8, 500, 1000
EXPECTED = {"2": "7b12237c05fd32fe"}


@functools.cache
def stream(cache):
    kept = filtered.make(source=Sentences(150), filter=length.make(least=7, most=20), cache=cache)
    assert 0 < len(kept) < 150
    parts = {"kept": packed(kept, seq_len=SEQ_LEN, end_of_text=0, seed=5, cache=cache),
             "all": packed(Sentences(), seq_len=SEQ_LEN, end_of_text=0, seed=5,
                           method="concatenate", cache=cache)}
    schedule = make_schedule([(0, (0.7, 0.3)), (CHANGE * BATCH_SIZE, (0.2, 0.8))])
    return Stream(parts, next_token.make(seq_len=SEQ_LEN).example, BATCH_SIZE, 11, schedule)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


def hashes(stream, *, hosts=1, workers=0, start=0, stop=STEPS):
    """Return the hash of each global batch, put together from the shares of every host."""
    shares = [batches(stream, start=start, host=h, hosts=hosts, workers=workers, place=lambda x: x)
              for h in range(hosts)]
    try:
        return [digest([next(share) for share in shares]) for _ in range(start, stop)]
    finally:
        for share in shares:
            share.close()


def digest(shares):
    whole = {k: np.concatenate([s[k] for s in shares]) for k in sorted(shares[0])}
    return hashlib.sha256(b"".join(k.encode() + v.tobytes() for k, v in whole.items())).hexdigest()


@pytest.fixture(scope="module")
def expected(cache):
    return hashes(stream(cache))


def test_the_stream_of_this_format_is_the_one_written_down(expected):
    assert hashlib.sha256("".join(expected).encode()).hexdigest()[:16] == EXPECTED[FORMAT]
    assert len(set(expected)) == STEPS


def test_the_weights_change_at_the_step_they_say(cache):
    def share(first, last):
        part, _ = stream(cache).schedule.rows(first * BATCH_SIZE, last * BATCH_SIZE)
        return np.mean(part == 1)

    assert share(0, CHANGE) == pytest.approx(0.3, abs=0.001)
    assert share(CHANGE, STEPS) == pytest.approx(0.8, abs=0.001)


@pytest.mark.parametrize("hosts", [2, 4, 8])
def test_hosts_change_nothing(hosts, cache, expected):
    first, last = CHANGE - 50, CHANGE + 50         # all thousand of them: the slow test below
    found = hashes(stream(cache), hosts=hosts, start=first, stop=last)
    assert found == expected[first:last]


@pytest.mark.parametrize("start, hosts", [(1, 2), (250, 8), (499, 4), (500, 1), (777, 4)])
def test_a_restart_on_other_hosts_changes_nothing(start, hosts, cache, expected):
    stop = min(start + 150, STEPS)
    assert hashes(stream(cache), start=start, stop=stop, hosts=hosts) == expected[start:stop]


@pytest.mark.filterwarnings("ignore")          # Grain's worker processes and their shared memory
def test_workers_change_nothing_around_the_change(cache, expected):
    found = hashes(stream(cache), hosts=2, workers=1, start=CHANGE - 7, stop=CHANGE + 6)
    assert found == expected[CHANGE - 7:CHANGE + 6]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")          # Grain's worker processes and their shared memory
@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("hosts", [1, 2, 4, 8])
def test_every_number_of_hosts_and_workers_reads_the_same_thousand_batches(
        hosts, workers, cache, expected):
    assert hashes(stream(cache), hosts=hosts, workers=workers) == expected
    found = hashes(stream(cache), hosts=hosts, workers=workers, start=613, stop=640)
    assert found == expected[613:640]


def test_the_cached_plan_and_verdicts_change_nothing(cache, expected, tmp_path):
    assert hashes(stream(str(tmp_path)), stop=20) == expected[:20]
