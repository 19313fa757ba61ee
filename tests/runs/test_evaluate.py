"""A checkpoint judged beside baselines: a real tiny dataset, a real tiny run."""

import dataclasses
import json
import math

import numpy as np
import pytest

from ssljax.cli import evaluate as verb
from ssljax.core.errors import CheckpointError, ConfigError
from ssljax.core.files import read_json_lines, sha256, write_json
from ssljax.evals.baselines import ngram, xz
from ssljax.runs import baselines
from ssljax.runs import evaluate as module
from ssljax.runs.evaluate import evaluate, read
from ssljax.runs.pretrain import pretrain
from ssljax.sources.manifest import (
    File,
    Manifest,
    Shard,
    content_version,
    write_manifest,
)
from ssljax.sources.token_shards import make as token_shards
from ssljax.tokenizers import byte

TEXTS = {"train": [f"def f{i}(x):\n    return x + {i}\n" for i in range(40)],
         "validation": ["def g(x):\n    return x\n" * 3, "return 7 + x\n", "é\n"]}


def write_dataset(folder, texts=TEXTS):
    """Write texts as byte-token shards with a manifest."""
    (folder / "tokenizer.json").parent.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(byte.definition())
    shards, files, splits = [], [], {}
    for split, documents in texts.items():
        (folder / split).mkdir()
        ids = [np.frombuffer(t.encode(), np.uint8) for t in documents]
        np.concatenate(ids).astype("<u2").tofile(folder / split / "00000.tokens")
        offsets = np.cumsum([0, *map(len, ids)]).astype("<i8")
        offsets.tofile(folder / split / "00000.offsets")
        shards.append(Shard(*facts(folder, f"{split}/00000.tokens"), split, len(ids),
                            int(offsets[-1])))
        files.append(File(*facts(folder, f"{split}/00000.offsets")))
        splits[split] = {"documents": len(ids), "tokens": int(offsets[-1]),
                         "text_bytes": int(offsets[-1])}
    files.append(File(*facts(folder, "tokenizer.json")))
    count = sum(map(len, texts.values()))
    write_manifest(folder, Manifest(
        "test", content_version([*shards, *files]), (), {}, {}, "", "", 257, splits, tuple(shards),
        tuple(files), count, count, {}))


def facts(folder, name):
    path = folder / name
    return name, path.stat().st_size, sha256(path)


def small_config(data, **options):
    source = {"name": "token_shards", "path": str(data)}
    return {
        "seed": 0, "mesh": {"data": 8}, "batch_size": 8, "seq_len": 32, "total_steps": 2,
        "source": {**source, "split": "train"}, "pretext": {"name": "next_token", "seq_len": 32},
        "model": {"name": "gpt", "vocab_size": 264, "width": 16, "depth": 1, "num_heads": 2},
        "objective": {"name": "next_token"}, "compute_dtype": "float32", "accumulate": 1,
        "optim": {"name": "adamw", "lr": 1e-2}, "schedule": {"name": "cosine", "warmup_steps": 1},
        "log_steps": 1, "checkpoint_steps": 1, "keep_checkpoints": 2,
        "evals": {"text": {"name": "bits_per_byte", "seq_len": 32, "batch_size": 4, "every": 2,
                           "source": {**source, "split": "validation"}}}, **options}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    write_dataset(folder / "data")
    pretrain(small_config(folder / "data"), folder / "run")
    return folder


@pytest.fixture(scope="module")
def result(trained):
    return evaluate(trained / "run")


def test_baselines_are_those_of_the_same_bytes(trained, result):
    base = result["baselines"]["text"]
    train, held_out = ([t.encode() for t in TEXTS[s]] for s in ("train", "validation"))
    size = sum(map(len, held_out))
    assert base["held_out_bytes"] == size
    assert base["train_bytes"] == base["train_bytes_available"] == sum(map(len, train))
    nats = ngram.document_nats(train, held_out).sum()
    assert base["fivegram"]["value"] == pytest.approx(nats / math.log(2) / size)
    assert base["xz"] == {"value": xz.bits_per_byte(held_out), "low": None, "high": None}
    assert base["fivegram"]["value"] < base["unigram"]["value"]


def test_says_by_how_much_the_model_beats_or_misses(result):
    judged, base = result["evals"]["text"]["bits_per_byte"], result["baselines"]["text"]
    assert result["step"] == 2
    assert judged["low"] <= judged["value"] <= judged["high"]
    # Two steps teach a model of 16 units little: near the uniform 8 bits a byte.
    assert 4 < judged["value"] < 10
    for name, saved in result["against"]["text"].items():
        assert saved["bits_per_byte"] == base[name]["value"] - judged["value"]
        assert saved["percent"] == pytest.approx(100 * saved["bits_per_byte"] / base[name]["value"])
    assert result["against"]["text"]["fivegram"]["bits_per_byte"] < 0


def test_equals_the_judgement_during_training_on_a_mesh(trained, result):
    rows = read_json_lines(trained / "run" / "metrics.jsonl")
    during = [row["text/bits_per_byte"] for row in rows if "text/bits_per_byte" in row]
    assert during == pytest.approx([result["evals"]["text"]["bits_per_byte"]["value"]], rel=1e-5)


def test_keeps_one_entry_a_step_and_does_not_measure_baselines_again(trained, result, monkeypatch):
    def refuse(*args, **options):
        raise AssertionError("the baselines were measured again")

    monkeypatch.setattr(baselines, "measure", refuse)
    earlier = evaluate(trained / "run", step=1)
    store = read(trained / "run")
    assert set(store["steps"]) == {"1", "2"} and store["latest"] == 2
    assert store["steps"]["2"]["evals"] == result["evals"]
    assert store["steps"]["1"]["evals"] == earlier["evals"] != result["evals"]
    assert store["baselines"] == result["baselines"]


def test_other_data_has_other_baselines(trained, tmp_path):
    write_dataset(tmp_path, {**TEXTS, "train": TEXTS["train"][1:]})
    before, after = (baselines.key(token_shards(path=str(p), split="train"),
                                   token_shards(path=str(p), split="validation"), documents=0)
                     for p in (trained / "data", tmp_path))
    assert before != after


def test_ngrams_of_much_text_are_counted_on_a_fixed_part(trained):
    train = token_shards(path=str(trained / "data"), split="train")
    some = baselines.sample(train, train.text_bytes // 4)
    assert len(some) == 10
    np.testing.assert_array_equal(some, baselines.sample(train, train.text_bytes // 4))
    assert len(baselines.sample(train, train.text_bytes)) == len(train)


def test_prints_a_table_with_the_verdicts(trained, result, monkeypatch, capsys):
    monkeypatch.setattr(module, "evaluate", lambda run, step=None: result)
    monkeypatch.setenv("COLUMNS", "120")
    parser = verb.argparse.ArgumentParser()
    verb.add_arguments(parser)
    verb.run(parser.parse_args([str(trained / "run")]))
    printed = capsys.readouterr().out
    for words in ("model", "xz -9", "byte unigram", "byte 5-gram", "95 % interval", "misses it by",
                  "3 held-out documents"):
        assert words in printed
    assert f"{result['evals']['text']['bits_per_byte']['value']:.3f}" in printed


def test_prints_whatever_other_evaluators_return(capsys):
    from rich.console import Console

    figure = {"value": 0.913, "low": 0.9, "high": 0.926}
    unknown = {"value": None, "low": None, "high": None}
    rows = list(verb.judged_rows({"knn_accuracy": figure, "images": {
        "value": 360.0, "low": 360.0, "high": 360.0}, "odd": unknown}))
    Console().print(verb.table("digits, step 5", rows))
    printed = capsys.readouterr().out
    assert "knn accuracy" in printed and "0.900 – 0.926" in printed and "360" in printed


def test_a_damaged_evaluation_is_written_anew(tmp_path):
    (tmp_path / "evaluation.json").write_text("{")
    assert read(tmp_path) == {"latest": None, "steps": {}, "baselines": {}}


def test_bad_input_is_named(trained, tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="checkpoints"):
        evaluate(tmp_path)
    with pytest.raises(CheckpointError, match="step 7"):
        evaluate(trained / "run", step=7)
    run = module.load_run(trained / "run")
    without = {name: v for name, v in run.config.items() if name != "evals"}
    monkeypatch.setattr(module, "load_run", lambda path, step: dataclasses.replace(
        run, config=without))
    with pytest.raises(ConfigError, match="has no evals"):
        evaluate(trained / "run")


def test_numbers_that_are_not_become_null(tmp_path):
    judged = module.as_data({"x": (1.0, (float("nan"), float("inf")))})
    assert judged == {"x": {"value": 1.0, "low": None, "high": None}}
    write_json(tmp_path / "x.json", judged)
    assert json.loads((tmp_path / "x.json").read_text()) == judged
