"""`ssljax batch --function complete`: every row answered once, the same bytes after an end."""

import json

import pyarrow.parquet as pq
import pytest

from ssljax.cli.main import run_verb
from ssljax.core.errors import DataError
from ssljax.runs import batch, batch_answers

ROWS = [{"prompt": f"p{i}", "more": i} for i in range(10)] + [{"prompt": 3, "more": 10}]


@pytest.fixture
def place(tmp_path, monkeypatch, load_toy):
    """A folder with an artefact of a toy, and prompts."""
    monkeypatch.setattr(batch, "read_manifest", lambda path: {})
    monkeypatch.setattr(batch_answers, "load_served", lambda path, name, version, **options:
                        load_toy(path, name, version))
    folder = tmp_path / "abcdefgh"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    write(tmp_path / "in.jsonl", ROWS)
    return tmp_path


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def complete(place, name="out.jsonl", **more):
    return batch.write_texts(place / "abcdefgh", place / "in.jsonl", place / name, part=3,
                                max_tokens=4, **more)


def test_every_row_is_answered_in_order_and_bad_ones_say_why(place):
    done = complete(place)
    rows = read(place / "out.jsonl")
    assert (done.rows, done.errors, done.new) == (11, 1, True) and not complete(place).new
    assert [row["row"] for row in rows] == [row["more"] for row in rows] == list(range(11))
    assert all(row["tokens"] == 4 == len(row["completion"]) for row in rows[:10])
    assert len({row["completion"] for row in rows[:10]}) > 5             # a seed for each
    assert rows[10]["completion"] is None and "expected a text" in rows[10]["error"]


def test_job_that_ended_early_goes_on_to_the_same_bytes(place):
    complete(place, "whole.jsonl")

    def end(done, total):
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        complete(place, report=end)
    assert not (place / "out.jsonl").exists()
    complete(place)
    assert (place / "out.jsonl").read_bytes() == (place / "whole.jsonl").read_bytes()


def test_parquet_has_the_same_rows(place):
    complete(place)
    complete(place, "out.parquet")
    assert pq.read_table(place / "out.parquet").to_pylist() == read(place / "out.jsonl")


def test_command_answers_openais_requests(place, capsys):
    body = {"model": "any", "prompt": "x", "max_tokens": 2}
    write(place / "in.jsonl", [
        {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": body},
        {"custom_id": "b", "method": "POST", "url": "/v1/completions", "body": {"n": "x"}}])
    paths = [str(place / name) for name in ("abcdefgh", "in.jsonl", "out.jsonl")]
    run_verb("batch", [paths[0], "--input", paths[1], "--output", paths[2], "--function",
                       "complete", "--column", "body"])
    good, bad = read(place / "out.jsonl")
    assert (good["custom_id"], bad["custom_id"]) == ("a", "b") and good["error"] is None
    assert len(good["response"]["body"]["choices"][0]["text"]) == 2
    assert bad["response"]["status_code"] == 400
    assert "Wrote 2 rows" in (said := capsys.readouterr().out) and "1 of them without" in said


def test_rows_that_are_no_requests_and_formats_that_cannot_hold_answers_are_refused(place):
    write(place / "in.jsonl", [{"body": {}}])
    with pytest.raises(DataError, match="Row 0 is no batch request"):
        complete(place, column="body")
    with pytest.raises(DataError, match="choose a .jsonl file"):
        complete(place, "out.parquet", column="body")
