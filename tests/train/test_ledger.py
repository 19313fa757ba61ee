"""The ledger: every second is somewhere, once."""

import json
import subprocess
import sys
import time

import pytest

from ssljax.train.ledger import BUCKETS, Ledger, process_age, summarise, total_seconds


def test_the_buckets_add_up_to_the_wall_time(tmp_path):
    began = time.perf_counter()
    ledger = Ledger(tmp_path / "ledger.jsonl", total=10, age=2.0)
    with ledger.spend("compile"):
        time.sleep(0.05)
        with ledger.spend("save"):
            time.sleep(0.03)
    with ledger.spend("step"):
        time.sleep(0.04)
        ledger.reassign(0.01, "data_wait")
    ledger.close("finished")
    wall = 2.0 + time.perf_counter() - began
    seconds = summarise(tmp_path / "ledger.jsonl")
    assert set(seconds) == set(BUCKETS)
    assert sum(seconds.values()) == pytest.approx(wall, rel=0.01)
    assert seconds["start"] >= 2
    assert seconds["compile"] >= 0.05
    assert seconds["save"] >= 0.03
    assert seconds["data_wait"] == pytest.approx(0.01)
    assert 0.03 <= seconds["step"] < seconds["compile"] + 0.01


def line(attempt, began, time, at, resumed_at, **seconds):
    return {"attempt": attempt, "began": began, "time": time, "step": at,
            "resumed_at": resumed_at, "seconds": seconds}


def test_steps_that_a_restart_repeats_are_lost_and_the_pause_is_down():
    """Killed at step 9 with a checkpoint of 5: four of nine seconds of stepping are lost."""
    lines = [line(0, 100, 103, 0, 0, start=3, step=0),
             line(0, 100, 108, 5, 0, start=3, step=5),
             line(0, 100, 112, 9, 0, start=3, step=9),
             line(1, 120, 122, 0, None, start=2, step=0),
             line(1, 120, 123, 5, 5, start=2, restore=1, step=0),
             line(1, 120, 128, 10, 5, start=2, restore=1, step=5)]
    seconds = total_seconds(lines)
    assert seconds["lost"] == 4
    assert seconds["step"] == 9 - 4 + 5
    assert seconds["down"] == 120 - 112
    assert sum(seconds.values()) == 128 - 100


def test_an_attempt_that_never_stepped_loses_nothing():
    lines = [line(0, 0, 1, 0, None, start=1, step=0), line(1, 5, 7, 0, 0, start=1, step=1)]
    assert total_seconds(lines)["lost"] == 0
    assert sum(total_seconds(lines).values()) == 1 + 4 + 2


def test_a_line_is_written_at_least_now_and_then_and_a_cut_one_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("ssljax.train.ledger.FLUSH_S", 0.0)
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path, total=3)
    ledger.resumed(0)
    for step in (1, 2, 3):
        ledger.beat(step)
    lines = [json.loads(text) for text in path.read_text().splitlines()]
    assert [x["step"] for x in lines] == [0, 0, 1, 2, 3]
    assert lines[-1]["state"] == "running"
    ledger.close("failed")
    path.write_text(path.read_text() + '{"attempt": 0, "sec')
    again = Ledger(path, total=3)
    assert again.goodput() >= 0
    again.close("failed")


def test_goodput_counts_earlier_attempts(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_text(json.dumps(line(0, 0, 1000, 7, 0, start=500, step=500) | {"state": "failed"})
                    + "\n")
    ledger = Ledger(path, total=9)
    assert ledger.goodput() == pytest.approx(0.5, abs=0.01)
    ledger.close("finished")


def test_a_process_knows_its_age():
    code = ("import time; time.sleep(0.3); from ssljax.train.ledger import process_age;"
            "print(process_age())")
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    age = float(done.stdout)
    assert 0.25 < age <= time.perf_counter() - began + 0.05
    assert process_age() > 0
