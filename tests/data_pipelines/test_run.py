"""A recipe end to end: nothing leaks, nothing is lost, nothing is done twice."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.run import curate
from data_pipelines.steps.normalise import normalise
from ssljax.core.errors import DataError
from ssljax.sources import token_shards
from ssljax.sources.manifest import read_manifest, verify
from ssljax.tokenizers import bpe


def lines(folder):
    content = gzip.decompress((Path(folder) / "documents.jsonl.gz").read_bytes())
    return {(r["source"], r["row"]): r for r in map(json.loads, content.splitlines())}


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()
            if p.name != "manifest.json"}


def test_stored_tokens_are_the_normalised_texts_of_what_is_kept(recipe, corpus):
    corpus[1]("accents.txt", b"\xef\xbb\xbf" + "Cafe\u0301 <|endoftext|> 東京\r\n".encode() * 30)
    config = recipe(options={"quality": {"max_duplicate_lines": 1.0, "min_compressed": 0.0}})
    manifest = curate(config)
    told = {(r["split"], r["record"]): s for (s, _), r in lines(config["output"]).items()}
    seen = set()
    for split in ("train", "validation"):
        source = token_shards.make(path=config["output"], split=split)
        tokenizer = bpe.make(path=source.tokenizer_path)
        texts = [tokenizer.decode_bytes(r["tokens"].tolist())
                 for r in source.read(np.arange(len(source)))]
        for record, text in enumerate(texts):
            raw = (corpus[0] / told[split, record]).read_bytes().decode()
            assert text == normalise(raw).encode()
            seen.add(told[split, record])
        assert sum(map(len, texts)) == source.text_bytes == manifest.splits[split]["text_bytes"]
        assert tokenizer.fingerprint == manifest.tokenizer_hash == source.tokenizer_hash
        assert tokenizer.vocab_size == manifest.vocab_size == source.vocab_size == 300
    assert len(seen) == manifest.kept == 61 and "accents.txt" in seen


def test_every_document_is_accounted_for(recipe, corpus):
    corpus[1]("short.txt", "Too short.")
    corpus[1]("binary.txt", b"a\x00b")
    corpus[1]("rows.jsonl", '{"text": "short"}\n{broken\n')
    config = recipe()
    manifest = curate(config)
    told = lines(config["output"])
    assert manifest.read == len(told) == 64
    assert manifest.dropped == {"too_short": 2, "bad_json": 1, "not_text": 1}
    assert manifest.read == manifest.kept + sum(manifest.dropped.values())
    assert manifest.kept == sum(s["documents"] for s in manifest.splits.values())
    assert told["rows.jsonl", 1]["reason"] == "bad_json"
    assert manifest.licences == {"unknown": 60}
    assert manifest.parents[0]["files"] == 63
    verify(config["output"], manifest, "checksum")


def test_copies_and_edited_copies_are_never_on_both_sides(recipe, corpus, prose, edited):
    """Forty families of an original, a lightly edited copy, a half-rewritten one and a bundle."""
    for i in range(100, 140):
        text = prose(i, 240)
        corpus[1](f"{i}/original.txt", text)
        corpus[1](f"{i}/copy.txt", text)
        corpus[1](f"{i}/edited.txt", edited(text, 60, "x"))
        corpus[1](f"{i}/rewritten.txt", text[:len(text) * 2 // 3] + prose(i + 1000, 80))
        corpus[1](f"{i}/bundle.txt", prose(i + 2000, 300) + text + prose(i + 3000, 300))
    config = recipe(validation_fraction=0.3)
    curate(config)
    told = lines(config["output"])
    sides = {i: {told[f"{i}/{n}.txt", 0]["split"] for n in
                 ("original", "copy", "edited", "rewritten", "bundle")} - {None}
             for i in range(100, 140)}
    assert all(len(s) == 1 for s in sides.values())
    assert {s for side in sides.values() for s in side} == {"train", "validation"}
    reasons = {told[f"{i}/{n}.txt", 0]["reason"] for i in range(100, 140)
               for n in ("rewritten", "bundle")}
    assert reasons == {None}
    for i in range(100, 140):
        ids = {told[f"{i}/{n}.txt", 0]["id"] for n in ("original", "copy", "edited")}
        gone = [r for n in ("original", "copy", "edited")
                if (r := told[f"{i}/{n}.txt", 0])["verdict"] == "dropped"]
        assert len(gone) == 2 and all(r["detail"].split()[0] in ids for r in gone)
        assert {r["reason"] for r in gone} == {"exact_duplicate", "near_duplicate"}


def test_the_order_in_which_files_are_found_does_not_matter(recipe, tmp_path, monkeypatch):
    first = curate(recipe())
    real = os.walk

    def shuffled(*args, **kwargs):
        for where, folders, files in real(*args, **kwargs):
            random.Random(where).shuffle(folders)
            random.Random(where).shuffle(files)
            yield where, folders, files

    monkeypatch.setattr("os.walk", shuffled)
    second = curate(recipe(output=str(tmp_path / "again")))
    assert second.version == first.version and second == first
    assert content(tmp_path / "out") == content(tmp_path / "again")


def test_the_same_command_again_does_nothing(recipe, tmp_path):
    first = curate(recipe())
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")}
    told = []
    assert curate(recipe(), lambda *a: told.append(a)) == first
    assert [t[0] for t in told] == ["unchanged"]
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*")} == before
    assert not list(tmp_path.glob(".out*"))


def test_other_input_or_recipe_is_refused_until_told_to_replace(recipe, corpus, prose):
    first = curate(recipe())
    with pytest.raises(DataError, match="another recipe"):
        curate(recipe(vocab_size=310))
    corpus[1]("more.txt", prose(99))
    with pytest.raises(DataError, match="the input has changed since"):
        curate(recipe())
    assert read_manifest(recipe()["output"]) == first
    second = curate(recipe(), existing="replace")
    assert second.read == first.read + 1 and read_manifest(recipe()["output"]) == second
    token_shards.make(path=recipe()["output"])


def test_a_damaged_dataset_is_not_taken_for_finished(recipe, tmp_path):
    first = curate(recipe())
    (tmp_path / "out" / first.shards[0].path).write_bytes(b"")
    with pytest.raises(DataError, match=f"{first.shards[0].path} is empty.*--overwrite"):
        curate(recipe())
    assert curate(recipe(), existing="replace") == first


def test_the_dataset_may_lie_inside_its_input(recipe, corpus):
    config = recipe(output=str(corpus[0] / "out"))
    first = curate(config)
    assert curate(config) == first


@pytest.mark.parametrize("stage", ["normalise, quality", "tokenise train"])
def test_a_killed_run_leaves_nothing_and_the_next_succeeds(recipe, tmp_path, stage):
    code = ("import sys, json, os, time; from data_pipelines.run import curate\n"
            "def progress(stage, done, total, note, work=None):\n"
            "    if stage == sys.argv[2]:\n"
            "        print('there', flush=True); time.sleep(60)\n"
            "curate(json.loads(sys.argv[1]), progress)")
    child = subprocess.Popen([sys.executable, "-c", code, json.dumps(recipe()), stage],
                             stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"there\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not (tmp_path / "out").exists()
    manifest = curate(recipe())
    verify(tmp_path / "out", manifest, "checksum")
    assert not list(tmp_path.glob(".out*"))


def test_bytes_and_a_given_tokenizer(recipe, tmp_path):
    trained = curate(recipe())
    path = str(tmp_path / "out" / "tokenizer.json")
    other = curate(recipe(tokenizer=path, output=str(tmp_path / "other")))
    assert other.tokenizer_hash == trained.tokenizer_hash
    assert other.shards == trained.shards and other.recipe_hash != trained.recipe_hash
    plain = curate(recipe(tokenizer="byte", output=str(tmp_path / "bytes")))
    assert plain.vocab_size == 257
    assert plain.splits["train"]["tokens"] == plain.splits["train"]["text_bytes"]
    made = bpe.make(path=str(tmp_path / "bytes" / "tokenizer.json"))
    assert made.fingerprint == plain.tokenizer_hash and made.vocab_size == 257


def test_the_tokenizer_learns_from_the_train_split_only(recipe, monkeypatch):
    learnt = []
    real = bpe.train
    monkeypatch.setattr("ssljax.tokenizers.bpe.train", lambda texts, **kw: real(
        [learnt.append(t) or t for t in texts], **kw))
    manifest = curate(recipe())
    assert len(learnt) == manifest.splits["train"]["documents"]
    assert sum(len(t.encode()) for t in learnt) == manifest.splits["train"]["text_bytes"]
    learnt.clear()
    curate(recipe(tokenizer_bytes=2000), existing="replace")
    assert 2000 <= sum(map(len, learnt)) < 4000


def test_progress_tells_every_stage_from_start_to_end(recipe):
    told = {}
    curate(recipe(), lambda stage, done, total, note, work=None: told.setdefault(
        stage.partition(": ")[0], []).append((done, total)))
    assert list(told) == ["read_files", "normalise, quality", "exact_duplicates",
                          "near_duplicates", "split", "order", "train tokenizer", "tokenise train",
                          "tokenise validation", "account"]
    assert all(done[-1][0] == done[-1][1] > 0 for done in told.values())


def test_nothing_kept_says_which_rules_dropped_how_many(recipe, corpus):
    config = recipe(options={"quality": {"min_words": 10_000}})
    with pytest.raises(DataError, match="of 60 documents read, 0 are kept.*too_short 60") as caught:
        curate(config)
    assert "min_words" in str(caught.value)
    assert not Path(config["output"]).exists()


def test_one_document_has_no_validation_split_and_says_so(recipe, corpus, prose):
    shutil.rmtree(corpus[0])
    corpus[1]("a.txt", prose(1))
    corpus[1]("b.txt", prose(1))
    with pytest.raises(DataError, match="1 are kept, and the validation split is empty. Dropped: "
                                        "exact_duplicate 1. Give more documents"):
        curate(recipe())


def test_a_recipe_without_split_says_what_is_missing(recipe):
    steps = [s for s in recipe()["steps"] if s["name"] != "split"]
    with pytest.raises(DataError, match="end the recipe with `split`"):
        curate(recipe(steps=steps))


def test_missing_and_empty_input_folders_are_named(recipe, tmp_path):
    with pytest.raises(DataError, match="nowhere cannot be read"):
        curate(recipe(input=str(tmp_path / "nowhere")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty has nothing to read"):
        curate(recipe(input=str(tmp_path / "empty")))


def test_a_url_is_an_input_as_a_folder_is(recipe, corpus, tmp_path):
    import fsspec
    files = fsspec.filesystem("memory")
    for path in sorted(corpus[0].rglob("*.txt")):
        files.pipe(f"/curated/{path.relative_to(corpus[0])}", path.read_bytes())
    first = curate(recipe())
    second = curate(recipe(input="memory://curated", output=str(tmp_path / "again")), workers=1)
    assert content(tmp_path / "out") == content(tmp_path / "again")
    assert second.parents[0]["path"] == "memory://curated" and second.version == first.version


def test_curation_loads_no_jax_and_starts_quickly():
    code = ("import sys, time; t = time.perf_counter(); import data_pipelines.run, "
            "data_pipelines.text; from data_pipelines.recipe import *\n"
            "resolve_steps(read_recipe(data_pipelines.text.get_config().to_dict()))\n"
            "bad = {'jax', 'flax', 'grain', 'torch', 'tensorflow'} & set(sys.modules)\n"
            "assert not bad, bad")
    started = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert time.monotonic() - started < 20
