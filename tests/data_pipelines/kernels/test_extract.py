"""Articles of pages, charsets, and the rows that raw records become."""

import sys
from pathlib import Path

import pytest

from data_pipelines.kernels.decode import decode
from data_pipelines.kernels.extract import extract
from data_pipelines.limits import Limits
from data_pipelines.raw_rows import raw_rows
from data_pipelines.readers.record import Raw

ROOT = Path(__file__).parents[3]
AEB = ROOT.parent / "shared/data/web/article_extraction.zip"
SENTENCE = "The committee met on Monday and agreed, after a long debate, to repair the old bridge. "
JAPANESE = "これは日本語の文章です。" * 5
PAGE = ("<html><body><nav><a href=/>Home</a><a href=/b>Sport</a></nav><article>"
        + "".join(f"<p>{SENTENCE * 3}{i}.</p>" for i in range(8)) + "</article>"
        "<div><h3>Related articles</h3><a href=/c>Read more</a></div>"
        "<footer>Copyright</footer></body></html>")


def test_the_article_is_kept_and_its_surroundings_are_not():
    found = extract(PAGE)
    assert found.text.count("committee") == 24
    assert "Home" not in found.text and "Copyright" not in found.text
    assert "Read more" not in found.text


def test_doubt_decides_who_extracts():
    assert [extract(PAGE, doubt=d).method for d in (1, -1)] == ["fast", "slow"]
    assert extract("<p>short</p>").doubt == 1


@pytest.mark.parametrize("page", ["", "<", "<html>", "\0", "<p>" * 5000, "plain text"])
def test_any_page_has_an_answer(page):
    assert extract(page).method in ("fast", "slow")


@pytest.mark.skipif(not AEB.is_file(), reason="the pages are not beside this checkout")
def test_pages_that_nothing_was_fitted_on_keep_their_f1(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "tools/bench"), *sys.path])
    import curate_extract
    pages = curate_extract.load(str(AEB))
    names = sorted(pages)[1::2]                  # held out: nothing was fitted on them
    found = {name: extract(pages[name][0]).text for name in names}
    assert curate_extract.score(found, pages, names)[2] > 0.95


@pytest.mark.parametrize("data, header, text, by", [
    (b"\xef\xbb\xbfcaf\xc3\xa9", "text/html; charset=latin-1", "café", "mark"),
    ("café".encode("utf-16"), "", "café", "mark"),
    ("café".encode(), "text/html; charset=ISO-8859-1", "café", "utf-8"),
    (b"\x93caf\xe9\x94", "text/html; charset=ISO-8859-1", "“café”", "header"),
    ("<meta charset='windows-1251'>Привет".encode("cp1251"), "",
     "<meta charset='windows-1251'>Привет", "meta"),
    (JAPANESE.encode("shift_jis"), "", JAPANESE, "detected"),
    (b"caf\xe9 au lait", "text/html; charset=no-such", None, "detected"),
    (b"\x81\xff" * 9, "text/html; charset=shift_jis", None, "header")])
def test_a_charset_is_found_by_mark_bytes_header_page_or_detection(data, header, text, by):
    found = decode(data, header)
    assert found.by == by
    assert text is None or found.text == text


def test_records_become_rows_and_a_hanging_page_is_one_of_them(monkeypatch):
    hanging = "<div>" * 400_000
    records = [Raw("a", 0, 0, PAGE.encode(), "html", {"url": "http://a/"}),
               Raw("a", 1, 9, hanging.encode(), "html"),
               Raw("a", 2, 9, b"", "error", {}, "truncated", "cut"), Raw("a", 3, 9, b"x", "image"),
               Raw("a", 4, 9, {"text": "row", "license": "MIT"}, "row"),
               Raw("a", 5, 9, b"nul\0", "text"), Raw("a", 6, 9, b"<html></html>", "html")]
    rows = list(raw_rows(records, limits=Limits(seconds=1.0, memory=512 << 20)))
    assert [r["row"] for r in rows] == list(range(7))
    reasons = [r.get("dropped") for r in rows]
    assert reasons[0] is None and reasons[2:] == [
        "truncated", "no_text", None, "not_text", "no_article"]
    assert reasons[1] in ("timeout", "out_of_memory", "crashed", "failed", "no_article")
    assert rows[4]["licence"] == "MIT" and rows[0]["url"] == "http://a/"
