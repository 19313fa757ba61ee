"""Recipes of images, audio and sensors on real data and planted bad files."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_pipelines.run import Sizes, curate
from ssljax.sources import array_record, images
from ssljax.sources import parquet as parquet_source


def compare(first, second):
    """Return the files in which two datasets differ."""
    found = [{p.relative_to(folder): p.read_bytes() for p in Path(folder).rglob("*")
              if p.is_file()} for folder in (first, second)]
    return [p for p in {**found[0], **found[1]} if found[0].get(p) != found[1].get(p)]


def cut_zip(path, target, names):
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(target, "w") as out:
        for name in names(archive.namelist()):
            out.writestr(name, archive.read(name))


def test_images_of_a_real_zip_and_planted_bad_ones(tmp_path, needs, load, checked):
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


def test_audio_of_a_real_zip_and_planted_bad_ones(tmp_path, needs, load, checked):
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


def test_sensors_are_summarised_split_and_scaled_without_leaks(tmp_path, plant, load, checked):
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


def test_what_was_known_of_a_sensor_is_joined_as_of_the_time(tmp_path, plant, load, checked):
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
