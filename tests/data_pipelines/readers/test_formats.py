"""Formats told by content, tables, archives, PDF, databases, URLs; a reason for every error."""

import csv
import io
import json
import sqlite3
import tarfile
import zipfile

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipelines.readers import any_format, jsonl, pdf
from data_pipelines.readers.opening import sniff
from data_pipelines.readers.record import count_errors
from ssljax.core.errors import DataError

ROWS = [{"id": i, "text": f"text {i}"} for i in range(3000)]


def packed_pdf(text):
    stream = b"BT /F1 12 Tf 20 100 Td (" + text + b") Tj ET"
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
               b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R"
               b"/Resources<</Font<</F1 5 0 R>>>>>>",
               b"<</Length %d>>stream\n" % len(stream) + stream + b"\nendstream",
               b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
    body = b"".join(b"%d 0 obj" % i + o + b"endobj\n" for i, o in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer<</Root 1 0 R>>"


@pytest.mark.parametrize("head, name, kind", [
    (b"%PDF-1.4", "a.html", "pdf"), (b"<!DOCTYPE html><p>", "a.pdf", "html"),
    (b"PAR1", "a", "parquet"), (b"\x89PNG\r\n\x1a\n", "a.txt", "image"), (b"plain", "a", "text"),
    (b"RIFF\0\0\0\0WAVE", "a", "audio"), (b"RIFF\0\0\0\0WEBP", "a", "image"),
    (b'{"text": 1}', "a", "jsonl"), (b"a,b\n1,2", "a.csv", "csv"), (b"\0\1\2", "a.txt", "binary"),
    (b"# Title", "a.md", "markdown"), (b"WARC/1.0", "a", "warc")])
def test_content_decides_and_names_only_between_texts(head, name, kind):
    assert sniff(head, name) == kind


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv"])
def test_tables_give_their_rows_and_broken_ones_a_reason(tmp_path, kind):
    path, table = tmp_path / f"a.{kind}", pa.Table.from_pylist(ROWS)
    if kind == "parquet":
        pq.write_table(table, path)
    elif kind == "arrow":
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "text"])
            writer.writeheader()
            writer.writerows(ROWS)
            file.write("1,2,3\n")
    found = list(any_format.read(path))
    assert [r.payload for r in found if not r.error] == ROWS
    assert [r.error for r in found if r.error] == (["bad_row"] if kind == "csv" else [])
    if kind != "csv":
        path.write_bytes(path.read_bytes()[:-9])
        assert count_errors(any_format.read(path)) == {"bad_table": 1}


def test_a_gigantic_line_is_read_past_and_offsets_are_bytes():
    lines = [b'{"text": "one"}\n', b'{"text": "' + b"x" * 5000 + b'"}\n', b"{\n", b"[1]\n",
             b'{"text": "two"}']
    found = list(jsonl.read(io.BytesIO(b"".join(lines)), max_bytes=1000))
    assert [r.error for r in found] == ["", "too_large", "bad_json", "bad_json", ""]
    assert [r.offset for r in found] == [sum(map(len, lines[:i])) for i in range(5)]


def test_members_are_read_as_what_they_are(tmp_path):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("deep.txt", "deep")
    files = {"a.jsonl": json.dumps({"text": "row"}).encode(), "b.txt": b"plain",
             "c.zip": inner.getvalue()}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    for name in ("a.zip", "a.tar"):
        found = {r.source.split("!", 1)[1]: r.payload for r in any_format.read(tmp_path / name)}
        assert found == {"a.jsonl": {"text": "row"}, "b.txt": b"plain", "c.zip!deep.txt": b"deep"}


def test_bombs_are_stopped_by_size_and_by_ratio(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ratio", b"0" * 4_000_000)
        archive.writestr("size", b"0" * 9_000_000)
        archive.writestr("fine", b"text")
    found = list(any_format.read(tmp_path / "a.zip", max_bytes=5_000_000))
    assert [r.error for r in found] == ["bad_ratio", "too_large", ""]
    (tmp_path / "cut.zip").write_bytes((tmp_path / "a.zip").read_bytes()[:200])
    assert count_errors(any_format.read(tmp_path / "cut.zip")) == {"bad_archive": 1}


def test_the_text_of_a_pdf_and_reasons_for_bad_ones():
    found = list(pdf.read(io.BytesIO(packed_pdf(b"Hello page"))))
    assert [(r.kind, r.payload.strip()) for r in found] == [("text", "Hello page")]
    for data, reason in ((b"%PDF-1.4\nrubbish", "bad_pdf"), (packed_pdf(b""), "no_text")):
        assert count_errors(pdf.read(io.BytesIO(data))) == {reason: 1}
    assert [r.kind for r in any_format.read(io.BytesIO(packed_pdf(b"x")))] == ["pdf"]


def test_urls_are_opened_and_missing_files_are_counted(tmp_path):
    with fsspec.open("memory://folder/a.txt", "wb") as file:
        file.write(b"remote")
    assert [r.payload for r in any_format.read("memory://folder/a.txt")] == [b"remote"]
    assert count_errors(any_format.read(tmp_path / "none")) == {"unreadable": 1}


def test_queries_stream_from_sqlite_and_duckdb(tmp_path):
    sql = pytest.importorskip("data_pipelines.readers.sql")
    duckdb = pytest.importorskip("duckdb", reason="needs ssljax[sql]")
    pytest.importorskip("connectorx", reason="needs ssljax[sql]")
    light, duck = tmp_path / "a.sqlite", tmp_path / "a.duckdb"
    for base in (sqlite3.connect(light), duckdb.connect(str(duck))):
        base.execute("create table docs(id integer, text text)")
        base.executemany("insert into docs values (?, ?)", [(i, f"text {i}") for i in range(1500)])
        base.commit()
        base.close()
    for uri in (f"sqlite://{light}", f"duckdb://{duck}"):
        found = list(sql.read(uri, "select id, text from docs order by id"))
        assert [r.payload for r in found] == ROWS[:1500]
        assert [r.row for r in found] == list(range(1500))
        with pytest.raises(DataError, match="query"):
            list(sql.read(uri, "select x from nothing"))
