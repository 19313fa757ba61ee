"""Topics are learned from labels or found, and balanced to the shares that were asked for."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.steps import balance, topics
from data_pipelines.table import add_column, column, drop
from ssljax.core.errors import ConfigError

NEWS = Path(__file__).parents[4] / "shared/data/text/ag_news.csv"


def write(path, rows):
    """Write rows as JSON lines; return the path."""
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), "utf-8")
    return str(path)


def test_classes_are_learned_from_labels(table, prose, tmp_path):
    examples = [{"text": f"{prose(i, 30)} {word} {word}", "label": word}
                for i in range(30) for word in ("tennis", "budget", "quark")]
    step = topics.make(model=str(tmp_path / "t.safetensors"),
                       labelled=write(tmp_path / "e.jsonl", examples))
    out = step(drop(table([f"{prose(90, 30)} quark", f"{prose(91, 30)} tennis", "x"]),
                    {2: ("too_short", "")}))
    assert out["topic"].to_pylist() == ["quark", "tennis", None]
    assert all(s > 0.5 for s in out["topic_score"].to_pylist()[:2])


def test_clusters_are_the_same_one_document_at_a_time(table, prose, tmp_path):
    texts = [prose(i // 20, 200)[at * 7:] for i in range(60) for at in [i % 20]]
    sample = write(tmp_path / "s.jsonl", [{"text": t} for t in texts])
    step = topics.make(model=str(tmp_path / "k.safetensors"), sample=sample, clusters=3)
    found = column(step(table(texts)), "topic")
    assert found == [column(step(table([t])), "topic")[0] for t in texts]
    assert all(len(set(found[i:i + 20])) == 1 for i in (0, 20, 40)) and len(set(found)) == 3


@pytest.mark.slow
@pytest.mark.skipif(not NEWS.exists(), reason="needs the shared AG News items")
def test_news_is_put_in_its_class(table, tmp_path):
    rows = [{"label": r[0], "text": f"{r[1]} {r[2]}"}
            for r in csv.reader(NEWS.read_text("utf-8").splitlines()[::2])]
    held, rest = rows[::5], [r for i, r in enumerate(rows) if i % 5]
    step = topics.make(model=str(tmp_path / "n.safetensors"),
                       labelled=write(tmp_path / "n.jsonl", rest))
    found = column(step(table([r["text"] for r in held])), "topic")
    assert np.mean([f == r["label"] for f, r in zip(found, held)]) > 0.83


def test_a_mixture_has_the_wanted_shares_and_small_groups_repeat(table):
    groups = ["a"] * 600 + ["b"] * 3000 + ["c"] * 400
    out = balance.make(shares={"a": 0.4, "b": 0.4, "c": 0.2}, unit="documents")(
        add_column(table([str(i) for i in range(4000)]), "topic", [groups]))
    taken = Counter()
    for group, number in zip(groups, column(out, "copies")):
        taken[group] += number
    total = sum(taken.values())
    assert {g: n / total for g, n in taken.items()} == pytest.approx(
        {"a": .4, "b": .4, "c": .2}, abs=0.01)
    assert total == pytest.approx(4000, rel=0.02)
    dropped = [r == "balance" for r in column(out, "dropped")]
    assert dropped == [n == 0 for n in column(out, "copies")]
    assert set(column(out, "detail")) == {None, "b"}


def test_languages_are_tempered_by_bytes_for_any_order(table):
    texts = [f"{'word ' * (1 + i % 9)}{i}" for i in range(900)]
    documents = add_column(table(texts), "language", [["en" if i % 9 else "is"
                                                       for i in range(900)]])
    step = balance.make(by="language", temperature=2.0, most=3.0)
    forward = dict(zip(column(documents, "id"), column(step(documents), "copies")))
    reverse = documents.take(list(range(899, -1, -1)))
    assert forward == dict(zip(column(reverse, "id"), column(step(reverse), "copies")))
    small = [forward[i] for i, g in zip(column(documents, "id"), column(documents, "language"))
             if g == "is"]
    assert np.mean(small) == pytest.approx(3, abs=0.01)


def test_contradicting_options_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="one of labelled and sample"):
        topics.make(model=str(tmp_path / "x"))
    with pytest.raises(ConfigError, match="positive shares"):
        balance.make()
