"""Bad input through a whole recipe: a reason for each, nothing fatal, and nothing good lost."""

import base64
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from data_pipelines.run import curate
from ssljax.core.errors import DataError
from ssljax.sources.manifest import verify

GIGABYTE = 1 << 30
QUICK = {"read_files": {"page_seconds": 0.5}}      # of CPU a page: a trap takes all of it


def lines(folder):
    content = gzip.decompress((Path(folder) / "documents.jsonl.gz").read_bytes())
    return [json.loads(line) for line in content.splitlines()]


def page(text):
    body = "".join(f"<p>{line}</p>" for line in text.splitlines())
    return (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html><body><article>"
            + body.encode() + b"</article></body></html>")


def record(block, digest=""):
    head = ("WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a/\r\n" + digest
            + "Content-Type: application/http; msgtype=response\r\n"
            f"Content-Length: {len(block)}\r\n\r\n")
    return head.encode() + block + b"\r\n\r\n"


def sha1(block):
    return "WARC-Block-Digest: sha1:" + base64.b32encode(hashlib.sha1(block).digest()).decode()


def looping_pdf():
    """Return a PDF whose tree of pages is its own child, and says that it has a million."""
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 1000000>>"]
    body = b"".join(b"%d 0 obj" % i + o + b"endobj\n" for i, o in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer<</Root 1 0 R>>"


def tar_of(name):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", encoding="utf-8") as archive:
        info = tarfile.TarInfo(name)
        info.size = 4
        archive.addfile(info, io.BytesIO(b"word"))
    return stream.getvalue()


@pytest.fixture
def traps(corpus, prose):
    """Return source -> reasons of its rows, of files planted beside 60 sound documents."""
    good = [record(p := page(prose(i, 150)), sha1(p) + "\r\n") for i in (200, 201)]
    wrong = record(page(prose(202, 150)), sha1(b"else") + "\r\n")
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.txt", b"\0" * (8 << 20))
        archive.writestr("sound.txt", prose(203))
    packed = gzip.compress(b"".join(good), mtime=0)
    planted = {
        "cut.warc": (b"".join(good)[:-400], [None, "truncated"]),
        "clipped.warc.gz": (packed[:len(packed) // 2], ["truncated"]),
        "digest.warc": (wrong, ["bad_digest"]),
        "garbage.warc": (b"WARC/1.0\r\nWARC-Type: resp" + os.urandom(64), None),
        "bomb.zip": (bomb.getvalue(), ["bad_ratio", None]),
        "broken.zip": (b"PK\x03\x04 no directory", ["bad_archive"]),
        "gzip_bomb.txt.gz": (gzip.compress(b"\0" * (70 << 20), 9, mtime=0), ["too_large"]),
        "latin.txt": ("é" * 50).encode("latin-1"),
        "rows.jsonl": (b'{"text": "\xff\xfe"}\n{"text": "\\ud800"}\n[[[\n{"text": 5}\n',
                       ["not_text", "not_text", "bad_json", "bad_json"]),
        "trap.pdf": (looping_pdf(), None), "rubbish.pdf": (b"%PDF-1.7\n" + b"\xff" * 500,
                                                           ["bad_pdf"]),
        "deep.html": (b"<div>" * 50_000 + b"deep", None),
        "deep.warc": (record(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>"
                             + b"<div><b>" * 50_000 + b"deep"), None),
        "name.tar": (tar_of("caf\udcff.txt"), None),
        "table.parquet": (b"PAR1" + b"\0" * 100, ["bad_table"]),
        "table.csv": (b"text\n\xff\xfe\xfa\n", None)}
    planted["latin.txt"] = (planted["latin.txt"], ["not_text"])
    for name, (content, _) in planted.items():
        corpus[1](name, content)
    with open(corpus[0] / "gigabyte.jsonl", "wb") as file:
        file.write(b'{"text": "')
        file.seek(GIGABYTE)                # a hole on the disk, a line of a gigabyte to readers
        file.write(b'"}\n' + json.dumps({"text": prose(204)}).encode() + b"\n")
    with open(corpus[0] / "gigabyte.txt", "wb") as file:
        file.truncate(GIGABYTE)
    os.mkfifo(corpus[0] / "pipe.txt")
    return {name: reasons for name, (_, reasons) in planted.items()} | {
        "gigabyte.jsonl": ["too_large", None], "gigabyte.txt": ["too_large"],
        "pipe.txt": ["unreadable"]}


def test_every_trap_has_its_reason_and_no_sound_document_is_lost(recipe, corpus, traps):
    config = recipe(options=QUICK)
    manifest = curate(config, workers=1)
    told = lines(config["output"])
    assert manifest.read == len(told) == manifest.kept + sum(manifest.dropped.values())
    for name, wanted in traps.items():
        rows = [r for r in told if r["source"].split("!")[0] == name]
        found = [r["reason"] for r in rows]
        if wanted is None:                 # whatever a library calls it, there is a row and a word
            assert found and all(found), (name, found)
        else:
            assert sorted(map(str, found)) == sorted(map(str, wanted)), name
        assert all(r["step"] for r in rows if r["reason"])
    sound = [r for r in told if r["source"].startswith("part")]
    assert len(sound) == 60 and not any(r["reason"] for r in sound)
    verify(config["output"], manifest, "checksum")


@pytest.mark.slow
def test_traps_are_the_same_with_more_workers(recipe, traps, tmp_path):
    first = curate(recipe(options=QUICK), workers=1)
    assert curate(recipe(options=QUICK, output=str(tmp_path / "again")), workers=2) == first


RUN = """import json, resource, sys
from data_pipelines.run import curate
limit, workers = int(sys.argv[2]), int(sys.argv[3])
if limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try: curate(json.loads(sys.argv[1]), workers=workers)
except Exception as err: print(type(err).__name__, err)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"""


def run(config, limit=0, workers=1):
    done = subprocess.run([sys.executable, "-c", RUN, json.dumps(config), str(limit), str(workers)],
                          capture_output=True, text=True, check=True)
    *said, memory = done.stdout.splitlines()
    return "\n".join(said), int(memory) << 10


@pytest.mark.slow
def test_a_gigabyte_line_is_never_held(recipe, corpus, traps):
    """64 MB of it are read at a time; with the libraries that is far under the gigabyte."""
    said, memory = run(recipe(options=QUICK))
    assert not said and memory < 700 << 20


@pytest.mark.parametrize("limit, workers", [(3_000, 1), (30_000, 2)])
def test_a_full_disk_is_one_message_and_the_next_run_goes_on(recipe, tmp_path, limit, workers):
    undisturbed = curate(recipe(output=str(tmp_path / "undisturbed")))
    said, _ = run(recipe(), limit, workers)
    assert said.startswith("DataError") and "cannot be written" in said and "\n" not in said
    assert not (tmp_path / "out").exists()
    assert curate(recipe()) == undisturbed


def test_a_full_disk_leaves_the_dataset_that_was_there(recipe, corpus, prose):
    first = curate(recipe())
    corpus[1]("more.txt", prose(300))
    said, _ = run(recipe() | {"tokenizer_bytes": 10_000}, 3_000)
    assert said.startswith("DataError")
    verify(recipe()["output"], first, "checksum")
    with pytest.raises(DataError, match="has changed since"):
        curate(recipe())
