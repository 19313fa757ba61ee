"""The page of a version: its figures are the rows', its accounts add up, its text is escaped."""

import json
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.report.duplicates import Copies, differences, fetch_clusters
from data_pipelines.report.figures import collect
from data_pipelines.report.page import page
from data_pipelines.report.samples import Samples
from data_pipelines.report.statistics import Tally, edges, measure
from data_pipelines.run import Sizes, curate
from data_pipelines.snapshots.catalog import load_table, open_catalog
from data_pipelines.snapshots.forget import forget, ours
from data_pipelines.snapshots.versions import find_version, scan
from data_pipelines.table import document_id
from ssljax.cli.main import main
from ssljax.core.errors import DataError

EVIL = "<script>alert('x')</script><img src=x onerror=y> "
VOID = {"meta"}


class Tags(HTMLParser):
    """Checks that tags close in order, and collects them."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def curated(recipe, corpus, tmp_path, prose, edited):
    """Return the function that curates a corpus with a bit of everything and opens its table."""
    rows = [{"text": "Brief.", "url": "https://www.a.org/x?<b>"}, {"text": 3},
            {"text": prose(301), "url": "http://b.org"}]
    corpus[1]("rows.jsonl", "\n".join(map(json.dumps, rows)))
    corpus[1]("short.txt", "Too short.")
    corpus[1]("copy.txt", prose(3))
    corpus[1]("near.txt", edited(prose(4), 50))
    corpus[1]("<i>evil.txt", EVIL)
    corpus[1]("mail.txt", "Write to anna.smith@company.org. " + prose(302))
    catalogs = []

    def make(**changes):
        curate(recipe(steps=[{"name": n} for n in (
            "read_files", "normalise", "quality", "language", "exact_duplicates",
            "near_duplicates", "pii", "split")]), **changes)
        catalogs.append(open_catalog(tmp_path / "catalog"))
        return load_table(catalogs[-1], "text")

    yield make
    for catalog in catalogs:
        catalog.close()


def test_figures_are_those_of_the_rows(curated):
    table = curated(sizes=Sizes(9000, 12000, 6000))
    version = find_version(table)
    found = collect(table, "text", version)
    rows = scan(table, version, [f.name for f in table.schema().fields]).to_pylist()
    assert found.account == (68, 62, 5, 1, 0)
    numbers = found.statistics
    for (step, reason), amount in numbers.funnel.items():
        own = [r for r in rows if (r["dropped"] or "") == reason]
        assert amount == (len(own), sum(len(r["text"].encode()) for r in own))
        assert {r["step"] or "" for r in own} == {step}
    assert sum(a.rows for a in numbers.funnel.values()) == numbers.rows == 68
    kept = [r for r in rows if r["dropped"] is None]
    for name, histogram in numbers.histograms.items():
        values = [len(r["text"]) if name == "characters" else r[name] for r in kept]
        assert histogram.kept.sum() == len(values)
        inside = np.clip(values, histogram.edges[0], histogram.edges[-1])
        assert histogram.kept.tolist() == np.histogram(inside, histogram.edges)[0].tolist()
    assert set(numbers.histograms) == {"characters", "tokens", "language_score"}
    assert numbers.tokens == sum(r["tokens"] for r in kept)
    assert numbers.findings["pii_email"] == (1, 1) and numbers.findings["pii_card"] == (0, 0)
    assert dict(numbers.tallies["host"].names).keys() == {"a.org", "b.org"}
    assert sum(k for k, _, _ in numbers.tallies["source"].names.values()) == 62
    assert found.columns["language_score"] == "language" and found.columns["text"] == ""


def test_the_page_is_well_formed_self_contained_and_escaped(curated):
    table = curated()
    text = page(collect(table, "text", find_version(table), samples=100))
    tags = Tags()
    tags.feed(text)
    assert not tags.open
    assert not {t for t, _ in tags.seen} & {"script", "img", "link", "iframe"}
    assert not [a for _, a in tags.seen if {"src", "onerror", "onclick"} & a.keys()]
    assert all(a["href"].startswith("#") for t, a in tags.seen if t == "a")
    named = {a["id"] for _, a in tags.seen if "id" in a}
    assert {a["href"][1:] for t, a in tags.seen if t == "a"} <= named
    assert "&lt;script&gt;alert" in text and "&lt;i&gt;evil.txt" in text and "?&lt;b&gt;" in text
    assert "68 read = 62 kept + 5 dropped + 1 errors" in text
    assert "url(" not in text and "@import" not in text and "prefers-color-scheme: dark" in text
    for words in ("too_short", "2 &lt; 20", "min_words=20", "near duplicate: 1 copies",
                  ">changed</", "expected an object"):
        assert words in text, words


def test_the_same_page_however_the_work_was_cut(curated, recipe, tmp_path):
    table = curated()
    first = collect(table, "text", find_version(table))
    (tmp_path / "catalog").rename(tmp_path / "moved")
    (tmp_path / "out").rename(tmp_path / "first")
    table = curated(workers=2, sizes=Sizes(9000, 12000, 6000))
    second = collect(table, "text", find_version(table))
    assert second.version.snapshot != first.version.snapshot
    same = {"version": first.version, "known": first.known}
    assert page(second._replace(**same)) == page(first)


def test_accounts_that_do_not_add_up_are_an_error(curated, tmp_path):
    from pyiceberg.expressions import EqualTo
    table = curated()
    version = find_version(table)
    table.delete(EqualTo("source", "short.txt"), snapshot_properties=ours(version) | {
        "ssljax.version": "0123"})
    with pytest.raises(DataError, match="do not add up: 68 rows were read, but 62 kept"):
        collect(table, "text", find_version(table, "0123"))
    assert main(["data", "report", str(tmp_path / "catalog"), "0123"]) == 1


def test_forgotten_rows_are_in_the_account(curated):
    table = curated()
    forget(table, sources=["short.txt", "copy.txt"])
    forget(table, sources=["rows.jsonl"])
    assert collect(table, "text", find_version(table)).account == (68, 60, 3, 0, 5)


def test_the_verb_takes_a_dataset_a_table_or_a_version(curated, tmp_path, capsys):
    version = find_version(curated()).name
    catalog = ["--catalog", str(tmp_path / "catalog")]
    pages = []
    for names in ([str(tmp_path / "out")], [], ["text"], ["text", version[:6]], [version[:6]]):
        out = tmp_path / f"{len(pages)}.html"
        assert main(["data", "report", *names, "--out", str(out), *catalog]) == 0
        pages.append(out.read_text())
    assert len(set(pages)) == 1 and "62 of 68 rows kept" in capsys.readouterr().out
    assert main(["data", "report", "nothing", *catalog]) == 1
    assert "has the tables text" in capsys.readouterr().err


def rows_of(count):
    return pa.table({
        "id": [document_id("x", n) for n in range(count)], "text": [f"text {n}" for n in range(
            count)], "dropped": pa.array([("bad", None)[n % 2] for n in range(count)], pa.string()),
        "step": pa.array([("judge", None)[n % 2] for n in range(count)], pa.string())})


def test_samples_do_not_depend_on_the_order_of_rows():
    table, found = rows_of(400), []
    for order in (range(400), reversed(range(400))):
        samples = Samples(5, 1, of_kept=7)
        shuffled = table.take(pa.array(order))
        for start in range(0, 400, 90):
            samples.offer(shuffled.slice(start, 90))
        found.append([[r["id"] for r in samples.of(*k)] for k in (("judge", "bad"), ("", ""))])
    assert found[0] == found[1] and [len(f) for f in found[0]] == [5, 7]
    other = Samples(5, 2, of_kept=7)
    other.offer(table)
    assert [r["id"] for r in other.of("judge", "bad")] != found[0][0]


def test_tallies_forget_rare_names_and_say_so(monkeypatch):
    monkeypatch.setattr("data_pipelines.report.statistics.LIMIT", 10)
    tally = Tally()
    for n in range(30):
        tally.add(pa.chunked_array([["often", f"once {n}", None]]), pa.chunked_array([[True] * 3]),
                  pa.chunked_array([[5, 1, 9]]))
    assert tally.cut and len(tally.names) <= 10
    assert tally.top(1) == [("often", (30, 0, 150))]


@pytest.mark.parametrize(("low", "high", "whole", "bins"), [
    (0, 5, True, 6), (0.0, 1.0, False, 40), (3.0, 3.0, False, 40), (0, 1e6, True, 40),
    (-4.0, 2.0, False, 40)])
def test_bins_hold_every_value(low, high, whole, bins):
    at, _ = edges(low, high, whole=whole)
    assert at[0] <= low <= high <= at[-1] and len(at) == bins + 1 and (np.diff(at) > 0).all()


def test_differences_are_marked_on_both_sides(prose, edited):
    text = prose(1, 400)
    left, right = differences(text, edited(text, 200, "<b>"))
    assert [p for k, p in right if k == "differs"] == ["<b>"]
    assert "".join(p for _, p in left).strip("… ") in text
    assert left[0] == ("same", "… ") and len([p for k, p in left if k == "differs"]) == 1
    assert differences(text, f"{text}\n")[0] == [("same", text[:1200])]


def test_largest_clusters_come_first_with_their_copies(table):
    ids = [document_id("c", n) for n in range(40)]
    rows = pa.table({"id": ids, "text": ids, "source": ids, "row": range(40),
                     "dropped": [None] * 4 + ["near_duplicate"] * 36,
                     "detail": [None] * 4 + [f"{ids[(0, 0, 0, 1, 2, 3)[n % 6]]} 0.9"
                                             for n in range(36)]})
    copies = Copies(0)
    for start in range(0, 40, 7):
        copies.offer(rows.slice(start, 7))
    found = fetch_clusters(lambda columns: iter([rows.slice(0, 20), rows.slice(20)]),
                           copies.chosen(1))
    assert (found[0].size, found[0].survivor["id"]) == (18, ids[0]) and len(found) == 2
    assert len(found[0].copies) == 2
    assert all(c["detail"].startswith(ids[0]) for c in found[0].copies)


def test_a_version_without_rows_has_statistics():
    empty = rows_of(0).append_column("number", pa.array([], pa.int64()))
    assert measure(lambda columns: iter([empty]), empty.schema).rows == 0
