"""A run from image files: damaged ones cost nothing but a line in the log and a count."""

import io

import numpy as np
from PIL import Image

from ssljax.core.files import read_json_lines
from ssljax.runs.pretrain import pretrain
from tests.contracts.cases import config_of

STEPS, FILES = 3, 40


def write_pictures(folder):
    """Write pictures of many shapes; every fifth is empty and every seventh is cut."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(FILES):
        file = io.BytesIO()
        shape = (*rng.integers(8, 30, 2), 3)
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(file, "jpeg")
        data = b"" if i % 5 == 0 else file.getvalue()[:-30] if i % 7 == 0 else file.getvalue()
        (folder / f"{i}.jpg").write_bytes(data)
    return str(folder)


def test_damaged_files_are_counted_and_the_run_goes_on(tmp_path, caplog):
    base = config_of("mae")
    run = {**base, "source": {"name": "images", "path": write_pictures(tmp_path / "pictures")},
           "cache": str(tmp_path / "cache"), "mesh": {"data": -1}, "total_steps": STEPS,
           "compute_dtype": "float32", "accumulate": 1, "log_steps": 1, "checkpoint_steps": STEPS,
           "keep_checkpoints": 1}
    pretrain(run, tmp_path / "run")
    rows = read_json_lines(tmp_path / "run" / "metrics.jsonl")
    assert np.isfinite([row["loss"] for row in rows]).all()
    counts = {name: x for name, x in rows[-1].items() if name.startswith("unreadable/")}
    # 48 rows are a pass over all 40 files and a fifth of the next: each damaged one came up.
    assert set(counts) == {"unreadable/empty", "unreadable/truncated"}
    assert counts["unreadable/empty"] >= FILES // 5
    assert "unreadable records" in caplog.text
