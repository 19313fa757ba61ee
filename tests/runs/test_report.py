"""The report says what the files say, escapes what it did not write, and admits what is missing."""

import json
import math
from html.parser import HTMLParser

import pytest

from ssljax.cli import report as verb
from ssljax.core.errors import DataError
from ssljax.runs.report import REQUIRED, report, write_report

EVIL = "<script>alert(1)</script> & \"quotes\" 'too' $title"
TRAIN = "ssljax pretrain --workdir w/run '--config.source.path=a b' --config.total_steps=30"
VOID = {"meta"}


def figure(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def write_workdir(work):
    """Write what the stages of a quickstart leave."""
    judged = {"bits_per_byte": figure(1.62, 1.56, 1.68), "documents": figure(89.0, 89.0, 89.0),
              "cut_documents": figure(84.0), "targets": figure(441_323.0),
              "bytes": figure(1_512_345.0), "window_targets": figure(256.0),
              "window_overlap": figure(0.0)}
    base = {"xz": figure(1.5), "unigram": figure(4.68), "fivegram": figure(1.8),
            "train_bytes": 27_000_000, "train_bytes_available": 27_000_000}
    files = {
        "data/manifest.json": {
            "name": "text", "version": "3f9a1c22", "read": 2143, "kept": 1788,
            "dropped": {"near_duplicate": 142, EVIL: 213}, "vocab_size": 4096,
            "splits": {"train": {"documents": 1699, "tokens": 8_213_345,
                                 "text_bytes": 27_412_345}}},
        "run/config.json": {"batch_size": 16, "seq_len": 256, "total_steps": 30},
        "run/evaluation.json": {
            "latest": 30, "steps": {
                "30": {"step": 30, "evals": {"text": judged,
                                             "digits": {"knn_accuracy": figure(.91, .9, .92)}}},
                "20": {"step": 20, "evals": {"text": {"bits_per_byte": figure(9.0)}}}},
            "baselines": {"text": base}},
        "artefact/manifest.json": {"files": {"weights": {"bytes": 17_000_000},
                                             "program": {"bytes": 123_456}},
                                   "platforms": ["cpu", "cuda"]},
        "serve.json": {
            "first_token_ms_p50": 14.3, "tokens_per_second": 412.7, "requests_together": 3,
            "tokens_per_second_together": 871.0,
            "samples": [{"prompt": f"prompt {EVIL}", "text": f"text {EVIL}"}]},
        "stages.json": {"curate": {"seconds": 41.3, "command": "ssljax curate"},
                        "plan": {"seconds": 0.0, "command": "", "steps": 30},
                        "pretrain": {"seconds": 221.7, "command": TRAIN}}}
    for name, content in files.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(json.dumps(content))
    rows = [{"step": s, "loss": 8 / s, "tokens_per_second": 1000.0 + s} for s in (10, 20, 30)]
    rows.insert(2, {"step": 20, "text/bits_per_byte": 9.0})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (work / "run/metrics.jsonl").write_text(lines + '{"step": 4')
    return work


class Page(HTMLParser):
    """Checks that tags nest, and gathers tags, attributes and text."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *a) for a in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


@pytest.fixture
def work(tmp_path):
    write_workdir(tmp_path)
    report(tmp_path)
    return tmp_path


def test_json_has_what_the_stages_wrote(work):
    got = json.loads((work / "report.json").read_text())
    assert got["documents"] == {"read": 2143, "kept": 1788,
                                "dropped": {"near_duplicate": 142, EVIL: 213}}
    assert got["train"]["steps"] == 30
    assert got["train"]["tokens"] == 30 * 16 * 256
    assert got["train"]["final_loss"] == pytest.approx(8 / 30)
    assert got["train"]["tokens_per_second"] == 1020
    assert got["eval"]["bits_per_byte"] == 1.62 and got["eval"]["step"] == 30
    assert [got["baseline"][f"{n}_bits_per_byte"] for n in ("xz", "unigram", "fivegram")] == [
        1.5, 4.68, 1.8]
    assert got["against"]["fivegram"]["bits_per_byte"] == pytest.approx(0.18)
    assert got["against"]["xz"]["percent"] == pytest.approx(-8.0)
    assert got["export"]["bytes"] == 17_123_456
    assert (got["serve"]["first_token_ms_p50"], got["serve"]["tokens_per_second"]) == (14.3, 412.7)
    assert got["samples"] == [{"prompt": f"prompt {EVIL}", "text": f"text {EVIL}"}]
    assert got["seconds"] == {"curate": 41.3, "pretrain": 221.7}
    assert got["curve"][1] == {"step": 20, "loss": 0.4, "tokens_per_second": 1020.0}
    assert got["versions"]["numpy"]


def test_page_is_one_whole_file_without_scripts_or_outside_parts(work):
    text = (work / "report.html").read_text()
    page = Page(text)
    assert {"html", "head", "style", "body", "main", "svg", "mark"} <= set(page.tags)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not [a for a in page.attributes if a[1] in ("src", "href", "srcset")]
    assert "url(" not in text and "@import" not in text
    assert "prefers-color-scheme: dark" in text and "@media print" in text
    assert "nan" not in text.lower().split() and "None" not in text


def test_page_escapes_what_it_did_not_write(work):
    text = (work / "report.html").read_text()
    assert "<script>" not in text and "alert(1)&lt;/script&gt;" in text
    words = "".join(Page(text).words)
    assert f"prompt {EVIL}" in words and f"text {EVIL}" in words
    assert EVIL.replace("_", " ") in words          # a drop reason with markup in it


def test_page_says_by_how_much_the_model_beats_or_misses(work):
    words = plain_words(work)
    assert "The model beats the byte 5-gram by 0.180 bits per byte (10.0 %)." in words
    assert "The model misses xz -9 by 0.120 bits per byte (8.0 %)." in words
    assert "1.620 bits for each byte of text it has never seen" in words
    assert "355 dropped, by reason" in words and "1,788 kept (83.4 %)" in words
    assert "knn accuracy" in words and "0.9100" in words
    assert "4 min 23 s in all" in words
    assert "3 requests at once" in words and "871" in words


def plain_words(work):
    words = "".join(Page((work / "report.html").read_text()).words)
    return words.replace("\N{NON-BREAKING HYPHEN}", "-").replace("\N{NO-BREAK SPACE}", " ")


def test_what_is_missing_is_null_in_json_and_said_on_the_page(tmp_path):
    write_report(tmp_path, {})
    got = json.loads((tmp_path / "report.json").read_text())
    for group, names in REQUIRED.items():
        assert got[group] == dict.fromkeys(names)
    words = plain_words(tmp_path)
    for said in ("has not been judged", "No curated data here", "No training here", "No samples",
                 "Neither exported nor served", "not timed"):
        assert said in words


@pytest.mark.parametrize("gone", [
    "data/manifest.json", "run/config.json", "run/metrics.jsonl", "run/evaluation.json",
    "artefact/manifest.json", "serve.json", "stages.json"])
def test_any_one_stage_may_be_missing(tmp_path, gone):
    write_workdir(tmp_path)
    (tmp_path / gone).unlink()
    report(tmp_path)
    Page((tmp_path / "report.html").read_text())
    got = json.loads((tmp_path / "report.json").read_text())
    assert all(set(names) <= got[group].keys() for group, names in REQUIRED.items())


def test_numbers_that_are_not_are_null_and_leave_a_gap(tmp_path):
    points = [{"step": s, "loss": math.nan if s == 2 else 1.0 / s} for s in (1, 2, 3)]
    write_report(tmp_path, {"curve": points, "train": {"steps": 3, "final_loss": math.inf}})
    got = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert got["curve"][1]["loss"] is None and got["train"]["final_loss"] is None
    assert "NaN" not in (tmp_path / "report.html").read_text()


def test_a_baseline_that_was_not_measured_has_no_bar(tmp_path):
    write_report(tmp_path, {"eval": {"bits_per_byte": 1.5}, "baseline": {"xz_bits_per_byte": 1.4}})
    words = plain_words(tmp_path)
    assert "xz -9" in words and "5-gram" not in words


def test_the_run_can_be_continued_with_the_command_shown(work):
    assert ("ssljax pretrain --workdir w/run '--config.source.path=a b' \\\n"
            "    --config.total_steps=60") in plain_words(work)


def test_bad_input_is_named(tmp_path):
    with pytest.raises(DataError, match="not a folder"):
        report(tmp_path / "absent")
    with pytest.raises(DataError, match="holds no"):
        report(tmp_path)
    write_workdir(tmp_path)
    (tmp_path / "serve.json").write_text("{")
    with pytest.raises(DataError, match=r"serve\.json cannot be read"):
        report(tmp_path)


def test_the_verb_says_where_the_report_is(tmp_path, capsys):
    write_workdir(tmp_path)
    parser = verb.argparse.ArgumentParser()
    verb.add_arguments(parser)
    verb.run(parser.parse_args([str(tmp_path)]))
    assert str(tmp_path / "report.html") in capsys.readouterr().out
    assert (tmp_path / "report.html").stat().st_size > 5000
