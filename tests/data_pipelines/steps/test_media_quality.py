"""Images and recordings: each rule fires on its kind of rubbish, and real ones pass."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.kernels import audio_quality as audio_kernel
from data_pipelines.kernels import image_quality as image_kernel
from data_pipelines.steps import audio_quality, image_quality
from data_pipelines.table import add_column, column, drop
from ssljax.core.errors import ConfigError

Image = pytest.importorskip("PIL.Image")
soundfile = pytest.importorskip("soundfile")
DATA = Path(__file__).parents[4] / "shared/data"
RATE = 8000


def encoded(pixels):
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def recorded(samples):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width))


def refuse_small_files(data):
    return 1.0 if len(data) < 20_000 else 0.0


def test_measures_are_those_of_their_definitions():
    grey = noise(9, 7).astype(np.uint8)
    x = grey.astype(int)
    loop = [x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1] - 4 * x[i, j]
            for i in range(1, 8) for j in range(1, 6)]
    assert image_kernel.sharpness(grey) == pytest.approx(np.var(loop))
    assert image_kernel.entropy(np.arange(256, dtype=np.uint8).reshape(16, 16)) == 8
    assert image_kernel.entropy(np.zeros((4, 4), np.uint8)) == 0


IMAGES = {
    None: lambda: encoded(noise(100, 120)),
    "image_small": lambda: encoded(noise(40, 200)),
    "image_aspect": lambda: encoded(noise(64, 300)),
    "image_blurred": lambda: encoded(np.tile(np.arange(200) % 256, (100, 1))),
    "image_flat": lambda: encoded(np.where(noise(100, 100) > 128, 255, 0)),
    "image_unreadable": lambda: encoded(noise(100, 100))[:500],
}


@pytest.mark.parametrize("reason", IMAGES)
def test_each_rule_on_images_names_its_rubbish(table, reason):
    documents = add_column(table(["a"]), "image", pa.array([IMAGES[reason]()], pa.binary()))
    assert column(image_quality.make()(documents), "dropped") == [reason]


def test_images_have_their_measures_and_a_users_judge_has_a_say(table):
    images = pa.array([encoded(noise(100, 300)), encoded(noise(80, 90)), None], pa.binary())
    documents = drop(add_column(table(["a", "b", "c"]), "image", images), {2: ("no", "")})
    step = image_quality.make(judge=f"{__name__}.refuse_small_files")
    out = step(documents)
    assert column(out, "image_width") == [300, 90, None]
    assert column(out, "dropped") == [None, "image_unsafe", "no"]
    with pytest.raises(ConfigError, match="cannot be imported"):
        image_quality.make(judge="mylab.nsfw.score")


def test_a_decompression_bomb_is_not_decoded(table, monkeypatch):
    monkeypatch.setattr(image_quality, "LARGEST", 5000)
    documents = add_column(table(["a"]), "image", pa.array([encoded(noise(100, 100))]))
    assert column(image_quality.make()(documents), "dropped") == ["image_unreadable"]


def speech(seconds=1.0, level=0.3, floor=1e-3):
    """Return bursts of a tone with pauses, over a little noise."""
    time = np.arange(int(seconds * RATE)) / RATE
    tone = level * np.sin(2 * np.pi * 440 * time) * (np.sin(2 * np.pi * 3 * time) > -0.3)
    return tone + floor * np.random.default_rng(0).normal(size=len(time))


RECORDINGS = {
    None: lambda: recorded(speech()),
    "audio_short": lambda: recorded(speech(0.05)),
    "audio_long": lambda: recorded(speech(12)),
    "audio_silent": lambda: recorded(speech(level=1e-4, floor=1e-5)),
    "audio_clipped": lambda: recorded(np.clip(speech(level=3), -1, 1)),
    "audio_noisy": lambda: recorded(speech(floor=0.2)),
    "audio_unreadable": lambda: b"RIFF" + b"\0" * 100,
}


@pytest.mark.parametrize("reason", RECORDINGS)
def test_each_rule_on_recordings_names_its_rubbish(table, reason):
    documents = add_column(table(["a"]), "audio", pa.array([RECORDINGS[reason]()], pa.binary()))
    assert column(audio_quality.make(max_seconds=10)(documents), "dropped") == [reason]


def test_levels_and_ratio_are_those_of_known_signals():
    tone = np.sin(2 * np.pi * 400 * np.arange(RATE) / RATE)
    assert audio_kernel.levels(tone, RATE) == pytest.approx(np.full(50, -3.01), abs=0.01)
    quiet = np.concatenate([tone, tone * 10**(-30 / 20)])
    assert audio_kernel.signal_to_noise(audio_kernel.levels(quiet, RATE)) == pytest.approx(30)
    assert audio_kernel.clipping(np.array([1.0, 0, 1, 1, 0, -1, -1, -1, 0, 0])) == 0.5


@pytest.mark.skipif(not (DATA / "fsdd.zip").exists(), reason="needs the shared recordings")
def test_real_digits_are_kept(table):
    with zipfile.ZipFile(DATA / "fsdd.zip") as archive:
        names = [n for n in sorted(archive.namelist()) if n.endswith(".wav")][::60]
        sounds = [archive.read(n) for n in names]
    out = audio_quality.make()(add_column(table(names), "audio", pa.array(sounds, pa.binary())))
    assert out["dropped"].null_count > 0.9 * len(names), column(out, "detail")
