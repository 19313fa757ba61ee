"""The recipes that come with the package, each run on a little real data where that is present.

Every input row is accounted for: in = kept + dropped, in the manifest and in documents.jsonl.gz.
"""

import gzip
import importlib.util
import inspect
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipelines.recipe import read_recipe, resolve_steps, resolve_target
from data_pipelines.run import Sizes, curate
from ssljax.core.errors import ConfigError
from ssljax.runs.config import load_config, to_plain
from ssljax.sources import array_record, images, token_shards
from ssljax.sources import parquet as parquet_source
from ssljax.sources.manifest import verify

SHARED = Path(__file__).parents[4] / "shared/data"
HOME = Path(importlib.import_module("data_pipelines.recipes").__file__).parent
NAMES = sorted(f.stem for f in HOME.glob("[a-z]*.py"))


def needs(path):
    if not (SHARED / path).exists():
        pytest.skip(f"../shared/data/{path} is not beside this checkout")
    return SHARED / path


def load(name, tmp_path, options=None, **changes):
    """Return a recipe with some of its values and of its steps' options changed."""
    found = to_plain(load_config(str(HOME / f"{name}.py"), []))
    merged = {n: given | (options or {}).get(n, {}) for n, given in found["options"].items()}
    return found | {"options": (options or {}) | merged, "output": str(tmp_path / "out")} | changes


def lines(config):
    content = gzip.decompress(Path(config["output"], "documents.jsonl.gz").read_bytes())
    return [json.loads(line) for line in content.splitlines()]


def checked(config, workers=1):
    """Run a recipe; return its manifest and lines once everything is accounted for."""
    manifest = curate(config, workers=workers)
    told = lines(config)
    assert manifest.read == len(told) == manifest.kept + sum(manifest.dropped.values())
    assert len({r["id"] for r in told}) == len(told)
    for reason, count in manifest.dropped.items():
        assert count == sum(r["reason"] == reason and r["step"] is not None for r in told)
    assert sum(s.records for s in manifest.shards) == manifest.kept == sum(
        r["verdict"] == "kept" for r in told)
    for split in ("train", "validation"):
        records = sorted(r["record"] for r in told if r["split"] == split)
        assert records == list(range(manifest.splits[split]["documents"]))
    verify(config["output"], manifest, "checksum")
    return manifest, told


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


def test_a_step_can_be_left_out_and_put_in_from_the_command_line(tmp_path):
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


def test_fineweb_like_on_real_web_pages_and_archives(tmp_path):
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


def test_code_on_real_problems_and_planted_bad_files(tmp_path):
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


def compare(first, second):
    """Return the files in which two datasets differ."""
    found = [{p.relative_to(folder): p.read_bytes() for p in Path(folder).rglob("*")
              if p.is_file()} for folder in (first, second)]
    return [p for p in {**found[0], **found[1]} if found[0].get(p) != found[1].get(p)]


def cut_zip(path, target, names):
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as out:
        for name in names(archive.namelist()):
            out.writestr(name, archive.read(name))


def test_images_of_a_real_zip_and_planted_bad_ones(tmp_path):
    pytest.importorskip("array_record", reason="needs ssljax[train]")
    from PIL import Image
    raw = tmp_path / "raw"
    raw.mkdir()
    cut_zip(needs("cifar10_test.zip"), raw / "cifar.zip",
            lambda names: [n for n in names if n.endswith(".jpg")][::200])
    with zipfile.ZipFile(raw / "cifar.zip") as archive:
        first = archive.namelist()[0]
        data = archive.read(first)
    (raw / "planted").mkdir()
    (raw / "planted/copy.jpg").write_bytes(data)
    (raw / "planted/cut.jpg").write_bytes(data[:300])
    with Image.open(io.BytesIO(data)) as picture:
        picture.resize((64, 64), Image.Resampling.LANCZOS).save(raw / "planted/large.png")
    Image.new("RGB", (40, 40), (9, 9, 9)).save(raw / "planted/flat.png")
    config = load("images", tmp_path, input=str(raw), validation_fraction=0.2,
                  options={"image_quality": {"min_side": 32}})
    config["target"] |= {"shard_bytes": 10_000}
    manifest, told = checked(config)
    reasons = {r["source"]: r["reason"] for r in told}
    assert manifest.read == 50 + 4 and manifest.kept >= 40
    assert reasons["planted/cut.jpg"] == "image_unreadable"
    assert reasons["planted/flat.png"] in ("image_blurred", "image_flat")
    assert manifest.dropped["exact_duplicate"] == 1
    copies = ("planted/large.png", "planted/copy.jpg", f"cifar.zip!{first}")
    assert sorted(str(reasons[n]) for n in copies) == ["None", "exact_duplicate", "image_duplicate"]
    offset = next(r for r in told if r["source"] == f"cifar.zip!{first}")["offset"]
    with zipfile.ZipFile(raw / "cifar.zip") as archive:
        size = archive.getinfo(first).compress_size
    assert (raw / "cifar.zip").read_bytes()[offset:offset + size] == data
    again = curate(config | {"output": str(tmp_path / "again")}, workers=2,
                   sizes=Sizes(block=8000, partition=9000, files=10_000))
    assert again == manifest and not compare(config["output"], tmp_path / "again")
    source = images.make(path=f"{config['output']}/train", cache=str(tmp_path / "cache"))
    for record in source.read(np.arange(len(source))):
        assert Image.open(io.BytesIO(record["image"])).size in ((32, 32), (64, 64))


def test_audio_of_a_real_zip_and_planted_bad_ones(tmp_path):
    pytest.importorskip("array_record", reason="needs ssljax[train]")
    import soundfile
    raw = tmp_path / "raw"
    raw.mkdir()
    cut_zip(needs("fsdd.zip"), raw / "fsdd.zip",
            lambda names: sorted(n for n in names if n.endswith(".wav"))[::50])
    with zipfile.ZipFile(raw / "fsdd.zip") as archive:
        names = archive.namelist()[::12]
        for n, member in enumerate(names):
            data = archive.read(member)
            (raw / f"copy{n}.wav").write_bytes(data)
    (raw / "cut.wav").write_bytes(data[:20])
    rate, noise = 8000, np.random.default_rng(0).normal(size=8000)
    for name, samples in (("silent", np.zeros(8000)), ("clipped", np.clip(noise * 9, -1, 1)),
                          ("noisy", noise / 10), ("short", noise[:100] / 10)):
        soundfile.write(raw / f"{name}.wav", samples, rate)
    config = load("audio", tmp_path, input=str(raw), validation_fraction=0.2)
    manifest, told = checked(config)
    reasons = {r["source"]: r["reason"] for r in told}
    assert manifest.read == 60 + 5 + 5 and manifest.kept > 20
    assert {n: reasons[f"{n}.wav"] for n in ("cut", "silent", "clipped", "noisy", "short")} == {
        "cut": "audio_unreadable", "silent": "audio_silent", "clipped": "audio_clipped",
        "noisy": "audio_noisy", "short": "audio_short"}
    pairs = [(reasons[f"fsdd.zip!{n}"], reasons[f"copy{i}.wav"]) for i, n in enumerate(names)]
    # Of a pair one is a copy of the other, unless neither was good enough.
    assert all({"exact_duplicate", None} == {*pair} or pair[0] == pair[1] for pair in pairs)
    assert manifest.dropped["exact_duplicate"] == sum(p[0] != p[1] for p in pairs) > 0
    source = array_record.make(path=f"{config['output']}/train", cache=str(tmp_path / "cache"))
    for record in source.read(np.arange(len(source))):
        assert soundfile.info(io.BytesIO(record["audio"])).samplerate == rate


@pytest.fixture
def plant(tmp_path):
    """Return a folder of two CSV files of sensors, with bad rows, and a table of calibrations."""
    raw, draw = tmp_path / "raw", np.random.default_rng(0)
    raw.mkdir()
    for sensor in "ab":
        rows = [f"{t},{sensor},{20 + 5 * np.sin(t / 50) + draw.normal():.4f},{draw.normal():.4f}"
                for t in range(0, 2000, 10)]
        rows[50] = f"500,{sensor},broken,1.0"
        rows[51] = f"510,{sensor},,1.0"
        rows[52] = f"520,{sensor}"
        (raw / f"{sensor}.csv").write_text("\n".join(["time,sensor,temperature,current", *rows]))
    other = pa.table({"time": [100, 1000, 300], "sensor": pa.array(
        ["a", "a", "b"]), "offset_of": [1.0, 2.0, 3.0]})
    pq.write_table(other, tmp_path / "calibration.parquet")
    return raw, tmp_path / "calibration.parquet"


def test_sensors_are_joined_summarised_split_and_scaled_without_leaks(tmp_path, plant):
    raw, calibration = plant
    config = load("sensors", tmp_path, input=str(raw), options={
        "split_by_time": {"validation_from": 1500.0}})
    manifest, told = checked(config)
    assert manifest.dropped == {"split_gap": 12, "bad_value": 2, "bad_row": 2}
    assert manifest.read == 400 and manifest.splits["validation"]["documents"] == 100
    source = parquet_source.make(path=f"{config['output']}/train", cache=str(tmp_path / "cache"))
    train = source.read(np.arange(len(source)))
    vectors = np.stack([r["features"] for r in train])
    assert vectors.shape == (len(train), 6) and vectors.dtype == np.float32
    # Mean 0 and deviation 1 over the training rows, and over no others.
    np.testing.assert_allclose(np.nanmean(vectors, axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.nanstd(vectors, axis=0), 1, atol=0.02)
    assert {r["sensor"] for r in train} == {"a", "b"} and max(r["time"] for r in train) < 1440
    assert np.isnan(vectors[[r["time"] == 510 for r in train], 0]).all()
    names = json.loads(Path(config["output"], "features.json").read_bytes())["features"]
    assert names[0] == "temperature_scaled" and len(names) == 6


def test_what_was_known_of_a_sensor_is_joined_as_of_the_time(tmp_path, plant):
    raw, calibration = plant
    found = load("sensors", tmp_path, input=str(raw))
    config = load("sensors", tmp_path, input=str(raw), options={
        "split_by_time": {"validation_from": 1500.0},
        "join_asof": {"use": True, "path": str(calibration), "columns": ["offset_of"],
                      "oldest": 10_000}})
    config["target"] = {**found["target"], "others": ["sensor", "time", "offset_of"]}
    checked(config)
    rows = pq.read_table(f"{config['output']}/train").to_pylist()
    for row in rows:
        known = {"a": [(100, 1.0), (1000, 2.0)], "b": [(300, 3.0)]}[row["sensor"]]
        wanted = [v for t, v in known if t <= row["time"]]
        assert row["offset_of"] == (wanted[-1] if wanted else None)


def test_the_recipes_show_their_steps_defaults_where_they_repeat_them():
    for name in ("code", "images", "audio"):
        config = to_plain(load_config(str(HOME / f"{name}.py"), []))
        for step, given in config["options"].items():
            if step in ("near_duplicates", "exact_duplicates", "pii", "decontaminate"):
                continue
            make = importlib.import_module(f"data_pipelines.steps.{step}").make
            defaults = {n: p.default for n, p in inspect.signature(make).parameters.items()}
            assert given.items() <= defaults.items(), (name, step)
