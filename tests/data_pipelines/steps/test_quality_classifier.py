"""The quality classifier learns from paths, keeps the asked share, and never mixes two models."""

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipelines.steps import quality_classifier
from data_pipelines.table import add_column, drop
from ssljax.core.errors import ConfigError, DataError

NEWS = Path(__file__).parents[4] / "shared/data/text/ag_news.csv"


def write(path, texts):
    """Write texts as JSON lines, gzipped where the name says so."""
    lines = "".join(json.dumps({"text": t}) + "\n" for t in texts).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return str(path)


@pytest.fixture
def options(tmp_path, prose):
    good = [f"{prose(i, 60)} excellent article" for i in range(40)]
    bad = [f"{prose(i + 50, 60)} click here" for i in range(40)]
    return dict(positives=write(tmp_path / "good.jsonl.gz", good),
                negatives=write(tmp_path / "bad.jsonl", bad),
                model=str(tmp_path / "m/q.safetensors"))


def test_documents_unlike_the_good_ones_are_dropped(table, prose, options):
    texts = [f"{prose(i + 200, 60)} {end}" for i in range(10)
             for end in ("excellent article", "click here")]
    out = quality_classifier.make(**options, threshold=0.5)(table(texts))
    assert out["dropped"].to_pylist() == [None, "low_quality"] * 10
    score, bound = out["detail"].to_pylist()[1].split(" < ")
    assert float(score) == pytest.approx(out["quality"].to_pylist()[1], abs=1e-4)
    assert bound == "0.5000"


def test_the_kept_share_is_the_asked_one(table, prose, options, tmp_path):
    texts = [f"{prose(i, 60)} {'excellent ' * (i % 10)}" for i in range(300, 400)]
    sample = write(tmp_path / "sample.jsonl", texts)
    for keep in (0.2, 0.7):
        step = quality_classifier.make(**options | {"model": str(tmp_path / f"{keep}.safetensors")},
                                       keep=keep, sample=sample)
        assert step(table(texts))["dropped"].null_count == pytest.approx(100 * keep, abs=1)


def test_a_saved_model_is_read_and_another_recipes_is_refused(table, options):
    texts = ["some excellent article", "click here now"]
    first = quality_classifier.make(**options)(table(texts))["quality"].to_pylist()
    saved = Path(options["model"]).read_bytes()
    assert quality_classifier.make(**options)(table(texts))["quality"].to_pylist() == first
    with pytest.raises(DataError, match="other settings"):
        quality_classifier.make(**options, l2=1e-3)(table(texts))
    Path(options["model"]).unlink()
    quality_classifier.make(**options)(table(texts))
    assert Path(options["model"]).read_bytes() == saved        # the same bytes when fitted again
    Path(options["model"]).write_bytes(saved[:100])
    with pytest.raises(DataError, match="damaged"):
        quality_classifier.make(**options)(table(texts))


def test_rows_dropped_before_have_no_score(table, options):
    out = quality_classifier.make(**options)(drop(table(["a", "b"]), {0: ("too_short", "")}))
    assert out["quality"].null_count == 1 and out["dropped"].to_pylist() == ["too_short", None]


def test_embeddings_are_judged_by_the_same_model(table, tmp_path):
    draw = np.random.default_rng(0)
    sides = {}
    for name, at in (("positives", 1.0), ("negatives", -1.0)):
        rows = draw.normal(size=(50, 8)) + at
        sides[name] = str(tmp_path / f"{name}.parquet")
        pq.write_table(pa.table({"embedding": rows.tolist()}), sides[name])
    made = quality_classifier.make(**sides, model=str(tmp_path / "e.safetensors"), threshold=0.5,
                                   field="embedding")
    vectors = pa.array([[1.0] * 8, [-1.0] * 8])
    out = made(add_column(table(["a", "b"]), "embedding", vectors))
    assert out["dropped"].to_pylist() == [None, "low_quality"]
    with pytest.raises(DataError, match="fitted on 8"):
        made(add_column(table(["a"]), "embedding", pa.array([[1.0] * 3])))


def test_missing_examples_and_contradicting_bounds_are_named(table, options, tmp_path):
    with pytest.raises(DataError, match="nothing found"):
        quality_classifier.make(**options | {"positives": str(tmp_path / "none")})(table(["a"]))
    with pytest.raises(ConfigError, match="share with its sample"):
        quality_classifier.make(**options, keep=0.5)


@pytest.mark.slow
@pytest.mark.skipif(not NEWS.exists(), reason="needs the shared AG News items")
def test_sports_news_is_told_from_other_news(table, tmp_path):
    rows = list(csv.reader(NEWS.read_text("utf-8").splitlines()))
    texts, sports = [f"{r[-2]} {r[-1]}" for r in rows], [r[0] for r in rows]
    kind = "2"
    at = np.arange(len(rows)) % 4
    paths = {name: write(tmp_path / f"{name}.jsonl", [
        t for t, s, a in zip(texts, sports, at) if a and (s == kind) == wanted])
        for name, wanted in (("positives", True), ("negatives", False))}
    step = quality_classifier.make(**paths, model=str(tmp_path / "n.safetensors"), threshold=0.5)
    held = [(t, s == kind) for t, s, a in zip(texts, sports, at) if not a]
    out = step(table([t for t, _ in held]))["dropped"].is_null().to_numpy()
    assert (out == [s for _, s in held]).mean() > 0.9
