"""Reading: every kind of file, and a reason for everything that cannot be read."""

import gzip
import json
import os

import pyarrow as pa
import pytest

from data_pipelines.listing import list_files
from data_pipelines.steps import read_files


@pytest.fixture
def read(tmp_path):
    def run(files, **kwargs):
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            (tmp_path / name).write_bytes(data)
        table = pa.concat_tables(read_files.make(input=str(tmp_path), **kwargs)(
            list_files(str(tmp_path)).files))
        return {(r["source"], r["row"]): r for r in table.to_pylist()}

    return run


def test_each_kind_becomes_its_text(read):
    rows = read({"a.txt": "text", "b.py": "x = 1\n", "c.html": "<p>seen</p><script>not</script>",
                 "d.md.gz": gzip.compress(b"packed", mtime=0), "e.rst": "é"})
    assert {s: r["text"] for (s, _), r in rows.items()} == {
        "a.txt": "text", "b.py": "x = 1\n", "c.html": "seen", "d.md.gz": "packed", "e.rst": "é"}
    assert all(r["dropped"] is None and r["cluster"] == r["id"] for r in rows.values())
    assert len({r["id"] for r in rows.values()}) == 5


def test_lines_of_jsonl_are_documents_with_their_own_licence(read):
    lines = [{"text": "one", "licence": "MIT"}, {"text": "two", "license": "BSD"},
             {"text": "three"}]
    rows = read({"a.jsonl": "\n".join(map(json.dumps, lines)) + "\n\n"}, licence="CC0")
    assert [(k[1], r["text"], r["licence"]) for k, r in rows.items()] == [
        (0, "one", "MIT"), (1, "two", "BSD"), (2, "three", "CC0")]


@pytest.mark.parametrize("line, reason, detail", [
    (b"{", "bad_json", "Expecting"), (b"[1]", "bad_json", 'string "text"'),
    (b'{"txt": "a"}', "bad_json", 'string "text"'), (b'{"text": 3}', "bad_json", 'string "text"'),
    (b'{"text": null}', "bad_json", 'string "text"'), (b'{"text": "\xff"}', "not_text", "invalid"),
    (b'{"text": "\\ud800"}', "not_text", "surrogates"), (b"[" * 100_000, "bad_json", "")])
def test_a_bad_line_is_dropped_and_the_next_is_read(read, line, reason, detail):
    rows = read({"a.jsonl": b'{"text": "before"}\n' + line + b'\n{"text": "after"}'})
    assert [r["text"] for r in rows.values()] == ["before", "", "after"]
    assert rows["a.jsonl", 1]["dropped"] == reason
    assert detail in rows["a.jsonl", 1]["detail"]


@pytest.mark.parametrize("name, content, reason, detail", [
    ("a.txt", b"bin\x00ary", "not_text", "NUL at byte 3"),
    ("a.txt", "caf\u00e9".encode("latin-1"), "not_text", "not UTF-8 at byte 3"),
    ("a.txt", "text".encode("utf-16"), "not_text", "NUL at byte 3"),
    ("a.txt.gz", b"no gzip", "unreadable", "Not a gzipped file"),
    ("a.txt.gz", gzip.compress(b"cut short" * 99, mtime=0)[:-20], "unreadable", "ended before")])
def test_what_cannot_be_read_is_dropped_with_its_reason(read, name, content, reason, detail):
    row = read({name: content, "b.txt": "fine"})[name, 0]
    assert (row["text"], row["dropped"]) == ("", reason)
    assert detail in row["detail"]


def test_a_page_its_parser_gives_up_on_is_dropped(read, monkeypatch):
    def fail(*_):
        raise AssertionError("unknown declaration")
    monkeypatch.setattr("html.parser.HTMLParser.feed", fail)
    row = read({"a.html": "<p>x</p>", "b.txt": "fine"})["a.html", 0]
    assert (row["dropped"], row["detail"]) == ("bad_html", "broken markup: unknown declaration")


def test_missing_files_links_and_pipes_are_unreadable_and_never_block(tmp_path, read):
    (tmp_path / "broken.txt").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.txt")
    rows = read({"a.txt": "fine"})
    assert rows["broken.txt", 0]["detail"] == "No such file or directory"
    assert rows["pipe.txt", 0]["detail"] == "pipe.txt is not a regular file"
    assert {r["dropped"] for r in rows.values()} == {None, "unreadable"}


def test_a_folder_without_permission_is_accounted_for(tmp_path, read):
    (tmp_path / "closed").mkdir(mode=0o000)
    rows = read({"a.txt": "fine"})
    if os.geteuid() == 0:
        pytest.skip("root may read every folder")
    assert rows["closed", 0]["dropped"] == "unreadable"


def test_records_of_archives_and_tables_are_documents_beside_files(read):
    page = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html><body><article>" + b"".join(
        b"<p>The committee met on Monday and agreed to repair the bridge, number %d.</p>" % i
        for i in range(9)) + b"</article></body></html>"
    record = (b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a/\r\n"
              b"Content-Type: application/http; msgtype=response\r\nContent-Length: %d\r\n\r\n"
              % len(page) + page + b"\r\n\r\n")
    rows = read({"a.txt": "fine", "b.warc": record + record[:-40], "c.pdf": b"%PDF-1.4 rubbish",
                 "d.txt": "last"}, licence="CC0")
    assert list(rows) == [("a.txt", 0), ("b.warc", 0), ("b.warc", 1), ("c.pdf", 0), ("d.txt", 0)]
    assert "number 8." in rows["b.warc", 0]["text"] and rows["b.warc", 0]["licence"] == "CC0"
    assert [r["dropped"] for r in rows.values()] == [None, None, "truncated", "bad_pdf", None]
