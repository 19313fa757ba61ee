"""metrics.jsonl is one clean sequence, whatever killed the run before."""

import json

from ssljax.core.files import read_json_lines
from ssljax.track import jsonl


def test_a_resumed_run_continues_after_its_checkpoint(tmp_path):
    path = tmp_path / "metrics.jsonl"
    writer = jsonl.make(path, start=0)
    for step in (1, 2, 3, 4):
        writer.write(step, {"loss": step / 3})
    writer.close()
    path.write_text(path.read_text() + '{"step": 5, "lo')        # cut by the kill
    writer = jsonl.make(path, start=2)
    writer.write(3, {"loss": 9.0})
    writer.close()
    assert [row["step"] for row in read_json_lines(path)] == [1, 2, 3]
    assert [row["loss"] for row in read_json_lines(path)] == [1 / 3, 2 / 3, 9.0]


def test_floats_keep_their_full_precision(tmp_path):
    writer = jsonl.make(tmp_path / "m.jsonl", start=0)
    writer.write(1, {"loss": 0.1 + 0.2})
    writer.close()
    assert json.loads((tmp_path / "m.jsonl").read_text())["loss"] == 0.1 + 0.2
