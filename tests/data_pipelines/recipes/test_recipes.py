"""The recipes that come with the package, those of text run on a little real data.

Every input row is accounted for: in = kept + dropped, in the manifest and in documents.jsonl.gz.
"""

import gzip
import importlib.util
import inspect
import json
import zipfile
from pathlib import Path

import pytest

from data_pipelines.recipe import read_recipe, resolve_steps, resolve_target
from ssljax.core.errors import ConfigError
from ssljax.runs.config import load_config, to_plain
from ssljax.sources import token_shards

HOME = Path(importlib.import_module("data_pipelines.recipes").__file__).parent
NAMES = sorted(f.stem for f in HOME.glob("[a-z]*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_is_a_list_of_known_steps_with_arguments_they_take(name):
    config = to_plain(load_config(str(HOME / f"{name}.py"), []))
    config |= {"input": config["input"] or str(HOME)}
    recipe = read_recipe(config)
    if recipe.target["name"] != "array_record" or importlib.util.find_spec("array_record"):
        assert resolve_target(recipe).columns
    assert [n for n, _ in resolve_steps(recipe)] == [s["name"] for s in recipe.steps]
    source = (HOME / f"{name}.py").read_text()
    assert len(source.splitlines()) <= 80 and "ssljax curate --config" in source


def test_a_step_can_be_left_out_and_put_in_from_the_command_line(tmp_path, load):
    path = str(HOME / "fineweb_like.py")
    without = read_recipe(to_plain(load_config(path, [])))
    assert "url_lists" not in [s["name"] for s in without.steps]
    (tmp_path / "domains").write_text("bad.example\n")
    found = read_recipe(to_plain(load_config(path, [
        "--config.options.url_lists.use=True",
        f"--config.options.url_lists.domains={tmp_path}/domains"])))
    assert "url_lists" in [n for n, _ in resolve_steps(found)]
    with pytest.raises(ConfigError, match="expected True or False"):
        read_recipe(load("code", tmp_path, options={"pii": {"use": "no"}}))


def test_an_option_of_a_target_is_set_and_a_mistake_named_from_the_command_line():
    path = str(HOME / "images.py")
    found = to_plain(load_config(path, ["--config.target.shard_bytes=9"]))
    assert found["target"]["shard_bytes"] == 9
    with pytest.raises(ConfigError, match='did you mean "target.shard_bytes"'):
        load_config(path, ["--config.target.shard_byte=9"])


def test_fineweb_like_on_real_web_pages_and_archives(tmp_path, needs, load, checked):
    samples, docs = needs("web/warc_samples.zip"), needs("web/web_docs.jsonl.gz")
    raw = tmp_path / "raw"
    raw.mkdir()
    with zipfile.ZipFile(samples) as archive:
        for name in ("resiliparse/warcfile.warc.gz", "whirlwind-python/whirlwind.warc.wet.gz",
                     "resiliparse/clipped.warc.gz", "warcio/example-trunc.warc",
                     "warcio/example-wrong-chunks.warc.gz"):
            (raw / Path(name).name).write_bytes(archive.read(name))
    with gzip.open(docs) as file:
        rows = [json.loads(next(file)) for _ in range(400)]
    for n, row in enumerate(rows):
        row["url"] = f"https://{'bad' if n % 40 == 0 else 'good'}.example/{n}"
    (raw / "pages.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "domains").write_text("bad.example\n")
    config = load("fineweb_like", tmp_path, input=str(raw), vocab_size=400, options={
        "url_lists": {"use": True, "domains": str(tmp_path / "domains")},
        "decontaminate": {"use": True, "evals": [str(needs("evals/copa.jsonl"))]}},
        validation_fraction=0.2)
    manifest, told = checked(config)
    assert manifest.read == 400 + 21 and 5 < manifest.kept < 300
    assert manifest.dropped["url_domain"] == 10
    assert {"truncated", "bad_digest", "bad_warc", "language"} <= manifest.dropped.keys()
    assert {r["step"] for r in told} >= {"read_files", "url_lists", "language", "gopher"}
    crawled = [r for r in told if r["source"] == "warcfile.warc.gz"]
    assert all(r["url"].startswith("http") for r in crawled) and len(crawled) == 16
    assert len({r["offset"] for r in crawled}) == 16
    assert len(token_shards.make(path=config["output"])) == manifest.splits["train"]["documents"]


def test_code_on_real_problems_and_planted_bad_files(tmp_path, needs, load, checked):
    problems = needs("code/humaneval.jsonl")
    raw = tmp_path / "raw"
    raw.mkdir()
    with open(problems) as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        name = row["task_id"].replace("/", "_")
        (raw / f"{name}.py").write_text("# SPDX-License-Identifier: MIT\n" + row["prompt"]
                                        + row["canonical_solution"])
    mit = "# SPDX-License-Identifier: MIT\n"
    body = rows[0]["prompt"] + rows[0]["canonical_solution"]
    key = "AKIAIOSFODNN7EXAMPLQ"
    planted = {"gpl.py": "# SPDX-License-Identifier: GPL-3.0-only\n" + body,
               "none.js": "function f() { return 1 }\n" * 3,
               "long.js": mit + "x = [" + "1, " * 600 + "]\n",
               "made.go": "// Code generated by protoc. DO NOT EDIT.\n" + mit + "package a\n" * 9,
               "copy.py": mit + rows[3]["prompt"] + rows[3]["canonical_solution"],
               "secret.py": mit + f"aws_key = '{key}'\n" + rows[5]["prompt"].upper()}
    for name, text in planted.items():
        (raw / name).write_text(text)
    config = load("code", tmp_path, input=str(raw), vocab_size=400, validation_fraction=0.2)
    manifest, told = checked(config)
    reasons = {r["source"]: r["reason"] for r in told}
    assert reasons["gpl.py"] == "licence" and reasons["none.js"] == "licence_unknown"
    assert reasons["long.js"] == "code_long_line" and reasons["made.go"] == "code_generated"
    assert manifest.dropped["exact_duplicate"] == 1 and manifest.kept > 120
    assert manifest.licences == {"MIT": manifest.kept}
    assert key.encode() not in Path(config["output"], "tokenizer.json").read_bytes()
    assert next(r for r in told if r["source"] == "secret.py")["pii_secret"] == 1


def test_the_recipes_show_their_steps_defaults_where_they_repeat_them():
    for name in ("code", "images", "audio"):
        config = to_plain(load_config(str(HOME / f"{name}.py"), []))
        for step, given in config["options"].items():
            if step in ("near_duplicates", "exact_duplicates", "pii", "decontaminate"):
                continue
            make = importlib.import_module(f"data_pipelines.steps.{step}").make
            defaults = {n: p.default for n, p in inspect.signature(make).parameters.items()}
            assert given.items() <= defaults.items(), (name, step)
