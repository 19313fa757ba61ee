"""A fitted palette: right where the answer is known, and read by the pretext."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from ssljax.nn.palette import make_palette

ROOT = Path(__file__).resolve().parents[2]


def test_images_of_four_colours_have_these_as_their_palette(tmp_path):
    wanted = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [30, 60, 250]], np.uint8)
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for i in range(6):
        Image.fromarray(wanted[rng.integers(0, 4, (8, 8))]).save(tmp_path / f"images/{i}.png")
    out = tmp_path / "palette.json"
    done = subprocess.run(
        [sys.executable, ROOT / "tools/fit_palette.py", "--data", tmp_path / "images", "--out", out,
         "--colours", "4", "--size", "8", "--pixels", "300"], capture_output=True, text=True,
        cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "error 0.0000" in done.stdout
    found = np.array(json.loads(out.read_text())["colours"])
    assert sorted(np.round(255 * found).astype(int).tolist()) == sorted(wanted.astype(int).tolist())
    assert make_palette(8, str(out), 3).colours.shape == (4, 3)
