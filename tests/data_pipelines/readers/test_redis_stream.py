"""Entries of a real broker land in exactly one file each, through kills and restarts."""

import shutil
import socket
import subprocess
import time

import pyarrow.parquet as pq
import pytest

from data_pipelines.readers import redis_stream
from ssljax.core.errors import DataError

redis = pytest.importorskip("redis", reason="needs ssljax[streams]")
pytestmark = pytest.mark.skipif(not shutil.which("redis-server"),
                                reason="needs redis-server: apt-get install redis-server")


@pytest.fixture
def broker(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir",
         str(tmp_path)], stdout=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    with redis.Redis.from_url(url) as client:
        for _ in range(100):
            try:
                client.ping()
                break
            except redis.ConnectionError:
                time.sleep(0.05)
        yield url, client
    process.terminate()
    process.wait()


def read(folder):
    """Return the numbers of all entries written, in order of files."""
    rows = [row for f in sorted(folder.glob("*.parquet")) for row in pq.read_table(f).to_pylist()]
    return [int(dict(row["fields"])["n"]) for row in rows]


def test_every_entry_is_read_once_over_many_runs(broker, tmp_path):
    url, client = broker
    folder = tmp_path / "out"
    for start in (0, 250, 300):
        for n in range(start, {0: 250, 250: 300, 300: 301}[start]):
            client.xadd("s", {"n": n, "raw": b"\xff\x00"})
        redis_stream.read_stream(url, "s", str(folder), entries=100)
    assert read(folder) == list(range(301))
    assert redis_stream.read_stream(url, "s", str(folder)) == 0
    assert len(list(folder.glob("*.parquet"))) == 5


def test_a_reader_killed_before_the_rename_loses_and_repeats_nothing(broker, tmp_path, monkeypatch):
    url, client = broker
    for n in range(30):
        client.xadd("s", {"n": n})
    folder, real, calls = tmp_path / "out", redis_stream.write_atomic, []

    def killed(path, data):
        calls.append(path)
        if len(calls) == 2:             # a part of the file is there, under its temporary name
            path.with_name(f".{path.name}.1.tmp").write_bytes(data[:50])
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(redis_stream, "write_atomic", killed)
    with pytest.raises(KeyboardInterrupt):
        redis_stream.read_stream(url, "s", str(folder), entries=10)
    assert redis_stream.read_stream(url, "s", str(folder), entries=10) == 20
    assert read(folder) == list(range(30))


def test_waiting_reads_what_comes_meanwhile_and_then_ends(broker, tmp_path):
    url, client = broker
    client.xadd("s", {"n": 0})
    assert redis_stream.read_stream(url, "s", str(tmp_path / "out"), wait=0.1) == 1
    assert redis_stream.read_stream(url, "absent", str(tmp_path / "none"), wait=0.1) == 0


def test_entries_trimmed_before_they_were_read_are_an_error(broker, tmp_path):
    url, client = broker
    for n in range(20):
        client.xadd("s", {"n": n})
    redis_stream.read_stream(url, "s", str(tmp_path / "out"))
    client.xtrim("s", maxlen=5, approximate=False)        # read before: no loss
    assert redis_stream.read_stream(url, "s", str(tmp_path / "out")) == 0
    with pytest.raises(DataError, match="were trimmed"):
        redis_stream.read_stream(url, "s", str(tmp_path / "late"))
    client.xdel("s", client.xadd("s", {"n": 20}))
    with pytest.raises(DataError, match="or deleted"):
        redis_stream.read_stream(url, "s", str(tmp_path / "out"))


def test_an_absent_broker_is_named(tmp_path):
    with pytest.raises(DataError, match=r"127\.0\.0\.1:9"):
        redis_stream.read_stream("redis://user:pass@127.0.0.1:9/0", "s", str(tmp_path))
