"""De-duplication of real web pages with 4,000 planted pairs: what is found, what goes wrongly.

Needs web_docs.jsonl.gz and near_duplicate_pairs.jsonl.gz, which are not part of the repository;
`pytest -m slow tests/data_pipelines/test_recall.py` runs it where they are (20 s of one core).
"""

import gzip
import json
import re
from pathlib import Path

import pytest

from data_pipelines.steps import exact_duplicates, near_duplicates, normalise, read_files
from data_pipelines.table import document_id

FOLDER = Path(__file__).parents[3] / "shared" / "data" / "web"
PLANTED = FOLDER / "near_duplicate_pairs.jsonl.gz"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    not PLANTED.exists(), reason="needs the web corpus with planted pairs beside the checkout")]


def shingles(text):
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[i:i + 5]) for i in range(max(1, len(words) - 4))}


@pytest.fixture(scope="module")
def judged():
    import pyarrow as pa
    listing = pa.table({"source": ["web_docs.jsonl.gz"]})
    table = normalise.make()(pa.concat_tables(read_files.make(input=str(FOLDER))(listing)))
    table = near_duplicates.make()(exact_duplicates.make()(table))
    with gzip.open(FOLDER / "web_docs.jsonl.gz") as file:
        names = [json.loads(line)["id"] for line in file]
    return dict(zip(names, table.to_pylist(), strict=True))


def test_every_planted_pair_is_found_and_none_is_split(judged):
    with gzip.open(PLANTED) as file:
        pairs = list(map(json.loads, file))
    alike = [p for p in pairs if p["jaccard5"] >= 0.82]     # theirs and ours split words apart
    assert len(alike) > 2000
    missed = [p for p in alike if not (judged[p["a"]]["dropped"] or judged[p["b"]]["dropped"])]
    assert len(missed) <= len(alike) // 1000
    apart = [p for p in pairs if p["jaccard5"] >= 0.5
             and judged[p["a"]]["cluster"] != judged[p["b"]]["cluster"]]
    assert len(apart) <= len(pairs) // 500


def test_what_is_dropped_resembles_its_survivor(judged):
    by_id = {r["id"]: r for r in judged.values()}
    assert document_id("web_docs.jsonl.gz", 0) in by_id
    dropped = [r for r in by_id.values() if r["dropped"] == "near_duplicate"][::5]
    assert len(dropped) > 500
    wrong = 0
    for row in dropped:
        survivor = by_id[row["detail"].split()[0]]
        assert survivor["dropped"] is None
        a, b = shingles(row["text"]), shingles(survivor["text"])
        wrong += len(a & b) / len(a | b) < 0.7
    assert wrong <= len(dropped) // 100
