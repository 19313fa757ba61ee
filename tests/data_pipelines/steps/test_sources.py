"""Sources of recipes: images, recordings, tables, databases, crawls and streams become rows."""

import http.server
import importlib
import io
import shutil
import socket
import sqlite3
import subprocess
import tarfile
import threading
import time
import zipfile
import zlib

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipelines.run import curate
from ssljax.core.errors import ConfigError, DataError


def read(name, **kwargs):
    """Return the rows that a source reads of all that it lists."""
    source = importlib.import_module(f"data_pipelines.steps.{name}").make(**kwargs)
    listing = source.listing([])
    tables = list(source(listing.files))
    return pa.concat_tables(tables).to_pylist(), listing


def recipe_of(tmp_path, name, **given):
    """Return a recipe of one source, normalise and split, whose options are `given`."""
    return {"name": "made", "output": str(tmp_path / "out"), "vocab_size": 300,
            "validation_fraction": 0.3, "options": {name: given},
            "steps": [{"name": name}, {"name": "normalise"}, {"name": "split"}]}


def test_images_of_folders_and_archives_know_where_their_bytes_lie(tmp_path):
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats/a.jpg").write_bytes(b"\xff\xd8one")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "broken.zip").write_bytes(b"PK\x03\x04 and no more")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("dogs/b.png", b"\x89PNG" + b"two" * 100)
        archive.writestr("dogs/empty.png", b"")
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        info = tarfile.TarInfo("c.webp")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"three"))
    rows, listing = read("read_images", input=str(tmp_path), licence="CC0")
    found = {r["source"]: r for r in rows}
    assert found["cats/a.jpg"]["image"] == b"\xff\xd8one"
    assert found["cats/a.jpg"]["label"] == "cats" and found["cats/a.jpg"]["bytes"] == 5
    assert found["packed.zip!dogs/b.png"]["image"] == b"\x89PNG" + b"two" * 100
    assert found["packed.zip!dogs/b.png"]["label"] == "dogs"
    assert found["packed.zip!dogs/empty.png"]["dropped"] == "empty"
    offset = found["shard.tar!c.webp"]["offset"]
    assert (tmp_path / "shard.tar").read_bytes()[offset:offset + 5] == b"three"
    assert found["broken.zip"]["dropped"] == "bad_archive"
    assert len(found) == 5 and listing.ignored == {"other suffix": 1}
    assert all(r["licence"] == "CC0" for r in rows)


def test_one_archive_and_a_url_are_inputs_too(tmp_path):
    import fsspec
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as archive:
        archive.writestr("a.wav", b"RIFFone")
    rows, _ = read("read_audio", input=str(tmp_path / "packed.zip"))
    assert [(r["source"], r["audio"]) for r in rows] == [("packed.zip!a.wav", b"RIFFone")]
    fsspec.filesystem("memory").pipe({"/sounds/deep/b.flac": b"fLaC", "/sounds/c.txt": b""})
    rows, _ = read("read_audio", input="memory://sounds")
    assert [(r["source"], r["audio"], r["label"]) for r in rows] == [
        ("deep/b.flac", b"fLaC", "deep")]


def test_a_bomb_and_a_damaged_member_are_dropped_rows(tmp_path, monkeypatch):
    monkeypatch.setattr("data_pipelines.media.MAX_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", b"\0" * (1 << 24))
        archive.writestr("damaged.png", b"unique bytes of an image")
    data = bytearray((tmp_path / "packed.zip").read_bytes())
    packed = zlib.compressobj(-1, zlib.DEFLATED, -zlib.MAX_WBITS)
    at = data.index(packed.compress(b"unique bytes of an image") + packed.flush())
    data[at + 3] ^= 255
    (tmp_path / "packed.zip").write_bytes(data)
    (tmp_path / "large.png").write_bytes(b"x" * (1 << 20) + b"x")
    (tmp_path / "fine.png").write_bytes(b"x")
    rows, _ = read("read_images", input=str(tmp_path))
    assert {r["source"].rpartition("!")[2]: r["dropped"] for r in rows} == {
        "bomb.png": "too_large", "damaged.png": "unreadable", "large.png": "too_large",
        "fine.png": None}


def test_no_input_is_a_mistake_that_is_named(tmp_path):
    with pytest.raises(ConfigError, match="recipe.input is empty"):
        read("read_images")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="none that can be listed is one of .jpg"):
        read("read_images", input=str(tmp_path))
    for name, given, says in (
            ("read_table", dict(input="x", columns={"a": "float"}), '"float64"'),
            ("read_table", dict(input="x", columns={"id": "string"}), "every table of documents"),
            ("read_table", dict(input="x", columns={}), "Nothing is read"),
            ("read_table", dict(input="x", columns={"a": "bool"}, entity="b"), 'No column "b"'),
            ("read_sql", dict(input="x", columns={}, queries=["SELECT 1"]), "--input URI"),
            ("read_crawl", dict(input="", folder="x"), "--input FILE"),
            ("read_stream", dict(input="x", folder="y", stream="z"), "--input redis://")):
        with pytest.raises(ConfigError, match=says):
            read(name, **given)


def test_tables_of_every_format_give_typed_columns_and_count_what_is_not(tmp_path):
    values = [{"id": 1, "t": "2024-05-01T00:00:00", "x": 1.5, "on": True, "body": "text"},
              {"id": 2, "t": None, "x": None, "on": False, "body": "more"}]
    pq.write_table(pa.Table.from_pylist(values), tmp_path / "a.parquet")
    (tmp_path / "b.csv").write_text("id,t,x,on,body\n3,2024-05-01T02:00:00+02:00,2,1,words\n"
                                    "4,never,1,0,words\n5.5,,1,0,words\n")
    (tmp_path / "c.jsonl").write_text('{"id": 6, "x": "1e3", "body": "six"}\n{"id": 7}\n[\n')
    rows, _ = read("read_table", input=str(tmp_path), names={"number": "id"}, text="body", columns={
        "number": "int64", "t": "timestamp", "x": "float64", "on": "bool"})
    found = {(r["source"], r["row"]): r for r in rows}
    assert [r["number"] for r in rows if not r["dropped"]] == [1, 2, 3, 6]
    assert found["a.parquet", 0]["t"] == found["b.csv", 0]["t"]
    assert found["a.parquet", 1]["t"] is None and found["c.jsonl", 0]["x"] == 1000.0
    assert found["b.csv", 1]["dropped"] == "bad_value" and "never" in found["b.csv", 1]["detail"]
    assert found["b.csv", 2]["dropped"] == "bad_value" and "5.5" in found["b.csv", 2]["detail"]
    assert found["c.jsonl", 1]["dropped"] == "no_text" and found["c.jsonl", 2]["dropped"]
    assert len(rows) == 8


def test_an_entity_shares_a_cluster_whatever_its_file(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("who,x\nann,1\nbob,2\n,3\n")
    rows, _ = read("read_table", input=str(tmp_path), entity="who",
                   columns={"who": "string", "x": "int64"})
    clusters = {}
    for r in rows:
        clusters.setdefault(r["who"], set()).add(r["cluster"])
    assert len(clusters["ann"]) == len(clusters["bob"]) == 1 and len(clusters[None]) == 2


def test_a_query_of_sqlite_and_of_duckdb_is_a_source_of_a_recipe(tmp_path, prose):
    duckdb = pytest.importorskip("duckdb", reason="needs ssljax[sql]")
    pytest.importorskip("connectorx", reason="needs ssljax[sql]")
    bodies = [prose(i, 30) for i in range(20)]
    with sqlite3.connect(tmp_path / "a.sqlite") as base:
        base.execute("CREATE TABLE page (n INTEGER, body TEXT, licence TEXT)")
        base.executemany("INSERT INTO page VALUES (?, ?, 'MIT')", list(enumerate(bodies)))
    base.close()
    with duckdb.connect(str(tmp_path / "b.duckdb")) as other:
        other.execute("CREATE TABLE page (n INTEGER, body TEXT, licence TEXT)")
        other.executemany("INSERT INTO page VALUES (?, ?, 'MIT')", list(enumerate(bodies)))
    queries = [f"SELECT * FROM page WHERE n {part} ORDER BY n" for part in ("< 10", ">= 10")]
    made = []
    for uri in (f"sqlite://{tmp_path}/a.sqlite", f"duckdb://{tmp_path}/b.duckdb"):
        config = recipe_of(tmp_path, "read_sql", queries=queries, text="body",
                           columns={"n": "int64"}) | {"input": uri}
        manifest = curate(config, existing="replace")
        assert manifest.read == manifest.kept == 20 and manifest.licences == {"MIT": 20}
        assert manifest.parents[0]["files"] == 2
        made.append(manifest.splits["train"]["text_bytes"] + manifest.splits["validation"][
            "text_bytes"])
    assert made == [sum(len(b.encode()) for b in bodies)] * 2


def test_a_password_of_a_database_is_not_kept_in_the_manifest():
    from data_pipelines.run import without_password
    assert without_password("postgresql://me:secret@host/base") == "postgresql://host/base"
    assert without_password("/a@b/c") == "/a@b/c"


@pytest.fixture
def site(prose):
    """Return the URL of a small site on loopback, and how often each path was asked for."""
    asked = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            asked[self.path] = asked.get(self.path, 0) + 1
            text = prose(len(self.path), 90)
            page = f"<html><body><article><p>{text}</p></article></body></html>"
            found = self.path != "/missing"
            body, kind = (b"User-agent: *\nDisallow: /private\n", "text/plain") \
                if self.path == "/robots.txt" else (page.encode(), "text/html")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_every_url_of_a_list_is_a_row_and_nothing_is_fetched_twice(tmp_path, site):
    url, asked = site
    urls = tmp_path / "urls.txt"
    urls.write_text("\n".join([f"{url}/{'x' * n}" for n in range(1, 7)] + [
        f"{url}/private/x", f"{url}/missing", "ftp://nowhere/", "# a comment", ""]))
    config = recipe_of(tmp_path, "read_crawl", folder=str(tmp_path / "warcs"), delay=0.0,
                       private=True) | {"input": str(urls)}
    manifest = curate(config)
    assert manifest.read == 9 and manifest.kept == 6
    assert manifest.dropped == {"bad_url": 1, "http_status": 1, "robots": 1}
    before = dict(asked)
    assert curate(config) == manifest and asked == before
    with open(urls, "a") as file:
        file.write(f"{url}/another\n")
    again = curate(config, existing="replace")
    assert again.read == 10 and again.kept == 7


def test_private_addresses_are_refused_unless_asked_for(tmp_path, site):
    urls = tmp_path / "urls.txt"
    urls.write_text(f"{site[0]}/x\n")
    rows, _ = read("read_crawl", input=str(urls), folder=str(tmp_path / "warcs"), delay=0.0)
    assert [(r["dropped"], r["url"]) for r in rows] == [("private_address", f"{site[0]}/x")]
    assert not site[1]


@pytest.mark.skipif(not shutil.which("redis-server"), reason="needs redis-server")
def test_a_stream_is_a_source_whose_new_entries_are_read_once(tmp_path, prose):
    redis = pytest.importorskip("redis", reason="needs ssljax[streams]")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    broker = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save",
                               "", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL)
    try:
        with redis.Redis.from_url(f"redis://127.0.0.1:{port}/0") as client:
            for _ in range(100):
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.05)
            for n in range(12):
                client.xadd("pages", {"text": prose(n, 30), "score": n / 4, "licence": "CC0"})
            client.xadd("pages", {"score": "none"})
            config = recipe_of(tmp_path, "read_stream", stream="pages",
                               folder=str(tmp_path / "stream"), entries=5,
                               columns={"score": "float64"}) | {
                                   "input": f"redis://127.0.0.1:{port}/0"}
            first = curate(config)
            assert first.read == 13 and first.dropped == {"bad_value": 1}
            assert first.licences == {"CC0": 12} and first.parents[0]["files"] == 3
            assert curate(config) == first
            client.xadd("pages", {"text": prose(99, 30), "score": 1, "licence": "CC0"})
            assert curate(config, existing="replace").kept == 13
    finally:
        broker.terminate()
        broker.wait()
