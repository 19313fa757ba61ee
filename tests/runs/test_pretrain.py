"""Steps that are not taken: recorded, seen again, rewound; what a run leaves in its folder."""

import json

import numpy as np
import pytest

from ssljax.core.errors import ConfigError
from ssljax.core.files import read_json_lines
from ssljax.runs.build import build_method, build_stream
from ssljax.runs.config import with_defaults
from ssljax.runs.pretrain import pretrain
from ssljax.runs.replay import replay
from ssljax.train.checkpoint import load_items, step_dirs
from ssljax.train.ledger import summarise
from ssljax.train.meter import DivergedError
from tests.contracts.cases import config_of

STEPS = 12


def config(**changes):
    """Return a tiny run on digits; changes["objective"] says which records break it."""
    base = config_of("mae")
    decoder = base["objective"]["decoder"]
    told = changes.pop("objective", {})
    return {**base, "objective": {"name": "tests.runs.brittle", "decoder": decoder, **told},
            "source": {"name": "digits", "split": "train"}, "mesh": {"data": -1},
            "total_steps": STEPS, "compute_dtype": "float32", "accumulate": 1, "log_steps": 1,
            "checkpoint_steps": 4, "keep_checkpoints": 9, **changes}


def records_of(*batches):
    """Return the first half of the id of one record in each of these batches of the stream."""
    plain = with_defaults(config())
    stream = build_stream(plain, build_method(plain).pretext)
    return [int(stream.host_rows(t, 0, 1)["id"][3, 0]) for t in batches]


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """Return a finished run that had to reject the step that reads batch 6, and that record."""
    workdir = tmp_path_factory.mktemp("runs") / "broken"
    (record,) = records_of(6)
    pretrain(config(objective={"broken": [record]}), workdir)
    return workdir, record


def logged(workdir, name):
    return [row[name] for row in read_json_lines(workdir / "metrics.jsonl")]


def test_one_bad_record_costs_one_step_and_is_recorded(broken):
    workdir, _ = broken
    (row,) = read_json_lines(workdir / "rejected.jsonl")
    assert (row["step"], row["batch"], row["seed"]) == (7, 6, 3)
    assert np.isnan(row["loss"])
    assert logged(workdir, "rejected") == [0.0] * 6 + [1.0] * 6
    assert np.isfinite(np.delete(logged(workdir, "loss"), 6)).all()
    norms = logged(workdir, "update_norm")
    assert norms[6] == 0
    assert norms[0] == 0                # the learning rate warms up from 0
    assert min(np.delete(norms, [0, 6])) > 0


def test_replay_repeats_the_numbers_and_names_the_record(broken):
    workdir, record = broken
    before = sorted(p.name for p in workdir.rglob("*"))
    found = replay(workdir, 7)
    assert (found.since, found.batch, found.rejected, found.same) == (4, 6, True, True)
    assert any(g["not_finite"] for g in found.gradients.values())
    bad = np.flatnonzero(~np.isfinite(found.rows))
    assert found.arrays["id"][bad][:, 0].tolist() == [record]
    assert sorted(p.name for p in workdir.rglob("*")) == before


@pytest.mark.slow
def test_any_step_can_be_replayed(broken):
    workdir, _ = broken
    good = replay(workdir, 6)
    assert (good.rejected, good.recorded, good.same) == (False, None, None)
    assert good.loss == logged(workdir, "loss")[5]
    assert good.grad_norm == logged(workdir, "grad_norm")[5]


def test_a_step_that_never_was_or_a_folder_that_is_no_run_is_refused(broken, tmp_path):
    with pytest.raises(ConfigError, match="expected 1 to 12"):
        replay(broken[0], 13)
    with pytest.raises(ConfigError, match="is not a run"):
        replay(tmp_path, 1)


def test_the_folder_tells_norms_by_block_and_where_the_time_went(broken):
    workdir, _ = broken
    row = read_json_lines(workdir / "metrics.jsonl")[0]
    stacks = {n for n in row if n.startswith("grad_norm/") and "/blocks/" in n}
    assert stacks == {"grad_norm/encoder/encoder/blocks/0", "grad_norm/encoder/encoder/blocks/1",
                      "grad_norm/decoder/decoder/blocks/0", "grad_norm/decoder/decoder/blocks/1"}
    blocks = [v for n, v in row.items() if n.startswith("grad_norm/")]
    assert np.sqrt(np.sum(np.square(blocks))) == pytest.approx(row["grad_norm"], rel=1e-5)
    seconds = summarise(workdir / "ledger.jsonl")
    lines = read_json_lines(workdir / "ledger.jsonl")
    assert lines[-1]["state"] == "finished"
    wall = lines[-1]["time"] - lines[0]["began"]
    assert sum(seconds.values()) == pytest.approx(wall, rel=0.01)
    assert seconds["compile"] > seconds["step"]        # a tiny run is mostly compilation


def test_too_many_in_a_row_end_the_run_unless_it_may_rewind(tmp_path):
    """Batches 5, 6 and 7 are bad: it goes back to step 4 and reads on at batch 8."""
    bad = config(objective={"broken": records_of(5, 6, 7)}, max_rejected=3)
    with pytest.raises(DivergedError, match="last 3 steps up to 8 were rejected"):
        pretrain(bad, tmp_path / "ends")
    assert read_json_lines(tmp_path / "ends" / "ledger.jsonl")[-1]["state"] == "failed"
    # The same folder goes on when it is allowed to.
    pretrain({**bad, "rewinds": 1}, tmp_path / "ends")
    assert json.loads((tmp_path / "ends" / "rewinds.json").read_text()) == [[4, 4]]
    assert logged(tmp_path / "ends", "rejected")[-1] == 0
    assert len(logged(tmp_path / "ends", "loss")) == STEPS
    assert list(step_dirs(tmp_path / "ends" / "checkpoints"))[-1] == STEPS
    # From step 5 on it reads four batches further, and later checkpoints know.
    data = load_items(tmp_path / "ends" / "checkpoints" / "8")["data"]
    assert data["skips"] == [[4, 4]]


@pytest.mark.slow
def test_what_was_skipped_is_skipped_when_replayed(tmp_path):
    bad = config(objective={"broken": records_of(5, 6, 7)}, max_rejected=3, rewinds=1)
    pretrain(bad, tmp_path / "run")
    again = replay(tmp_path / "run", 5)
    assert again.batch == 8
    assert again.loss == logged(tmp_path / "run", "loss")[4]


def test_a_spike_is_rejected_when_the_run_says_what_one_is(tmp_path, monkeypatch):
    monkeypatch.setattr("ssljax.train.guard.WARMUP", 3)
    (record,) = records_of(6)
    spiky = {"broken": [record], "factor": 1e4}
    pretrain(config(objective=spiky, spike_factor=50.0), tmp_path / "guarded")
    assert logged(tmp_path / "guarded", "rejected")[-1] == 1
    (row,) = read_json_lines(tmp_path / "guarded" / "rejected.jsonl")
    assert row["step"] == 7
    assert np.isfinite(row["grad_norm"])
