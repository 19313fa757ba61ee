"""A run's state is told from its folder, and a run that cannot say that it died is found out."""

import json
import os
import subprocess
import sys
import time

import pytest

from ssljax.core.errors import DataError
from ssljax.runs.listing import find_runs, list_runs, newest_metrics, read_run, size_of
from tests.runs.folders import line, make_run, write_lines

NOW = time.time()
STEPS = [{"step": s, "loss": 5.0 - s / 50, "tokens_per_second": 1000.0 + s, "mfu": 0.25}
         for s in range(10, 60, 10)] + [{"step": 50, "knn/accuracy": 0.5}]


def dead_pid() -> int:
    """Return the number of a process that has ended."""
    return subprocess.Popen([sys.executable, "-c", ""]).wait() or max(
        int(p) for p in os.listdir("/proc") if p.isdigit()) + 10_000


def state(tmp_path, **kwargs) -> str:
    return read_run(make_run(tmp_path / "r", ledger=[line(**kwargs)]), now=NOW).state


@pytest.mark.parametrize("said", ["finished", "interrupted", "failed"])
def test_a_run_that_said_how_it_ended_ended_so(tmp_path, said):
    assert state(tmp_path, state=said, time=NOW - 1e6, step=50, pid=1, host="gone") == said


@pytest.mark.parametrize("said", ["starting", "running"])
def test_a_run_is_alive_by_a_fresh_line_or_by_its_process(tmp_path, said):
    assert state(tmp_path, state=said, time=NOW - 5, step=50, pid=1, host="elsewhere") == said
    # No line for an hour, as in a long compilation, but this very process says it is the run.
    folder = make_run(tmp_path / "quiet", ledger=[line(said, time=time.time(), step=0)])
    assert read_run(folder, now=time.time() + 3600).state == said


@pytest.mark.parametrize("who", [{"host": "elsewhere"}, {"pid": -1}, {}],
                         ids=["another host", "process ended", "number of a younger process"])
def test_a_run_that_claims_to_run_with_nobody_behind_it_died(tmp_path, who):
    who = {"pid": dead_pid()} if who.get("pid") else who
    # This process is younger than the line, so it cannot be the one that wrote it.
    assert state(tmp_path, state="running", time=NOW - 1e7, step=50, **who) == "died"


def test_the_figures_of_a_run(tmp_path):
    ledger = [line("running", time=60, step=40, seconds={"start": 20, "step": 40}),
              line("finished", time=160, step=100, attempt=1, began=60.0, resumed_at=40,
                   seconds={"start": 10, "step": 90})]
    run = read_run(make_run(tmp_path / "r", ledger=ledger, metrics=STEPS, checkpoints=[20, 40]))
    assert (run.method, run.step, run.total, run.checkpoint) == ("gpt next_token", 100, 100, 40)
    assert (run.loss, run.rate, run.unit, run.mfu) == (4.0, 1050.0, "tokens", 0.25)
    assert run.goodput == 130 / 160
    assert run.bytes == 2000 + sum(
        (tmp_path / "r" / n).stat().st_size for n in ("config.json", "ledger.jsonl",
                                                      "metrics.jsonl"))


@pytest.mark.parametrize("last, idle, expected", [(100, 1e6, "finished"), (40, 1e6, "stopped"),
                                                  (40, 0, "running")])
def test_a_run_without_a_ledger_is_told_from_its_files(tmp_path, last, idle, expected):
    folder = make_run(tmp_path / "r", metrics=[{"step": last, "loss": 2.0}], checkpoints=[20])
    run = read_run(folder, now=time.time() + idle)
    assert (run.state, run.step, run.goodput) == (expected, last, None)


def test_only_the_end_of_a_long_file_is_read_and_cut_lines_are_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_lines(path, [{"step": s, "loss": float(s), f"m{s}": 1.0} for s in range(5000)])
    path.write_text(path.read_text() + '{"step": 5000, "lo')
    newest = newest_metrics(path)
    assert (newest["step"], newest["loss"]) == (4999, 4999.0)
    assert "m0" not in newest and "m4990" in newest
    assert newest_metrics(tmp_path / "absent") == {}


def test_runs_are_found_once_below_several_roots_the_last_active_first(tmp_path):
    for i, name in enumerate(("a/old", "b/new", ".hidden/x")):
        folder = make_run(tmp_path / name, ledger=[
            line("finished", time=NOW + 100 * (i + 1), step=100)])
        (folder / "inner").mkdir()
        make_run(folder / "inner", checkpoints=[1])          # a run's own folders are its own
    make_run(tmp_path / "not-a-run")
    (tmp_path / "link").symlink_to(tmp_path / "a")           # no second time through a link
    runs = list_runs([tmp_path, tmp_path / "a"])
    assert [r.path.name for r in runs] == ["new", "old"]
    assert list(find_runs(tmp_path / "a" / "old")) == [tmp_path / "a" / "old"]


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="no/where is not a folder"):
        list_runs([tmp_path / "no" / "where"])
    folder = make_run(tmp_path / "r", checkpoints=[1])
    (folder / "config.json").write_text("{")
    with pytest.raises(DataError, match=r"r/config.json cannot be read"):
        list_runs([tmp_path])
    assert size_of(folder) == 1001


def test_the_verb_prints_a_table_or_json_without_loading_jax(tmp_path):
    make_run(tmp_path / "first", metrics=STEPS, checkpoints=[40],
             ledger=[line("interrupted", time=NOW, step=50)])
    code = ("import sys; from ssljax.cli.main import main; code = main(sys.argv[1:]); "
            "assert 'jax' not in sys.modules; sys.exit(code)")

    def runs(*arguments) -> str:
        return subprocess.run([sys.executable, "-c", code, "runs", *map(str, arguments)],
                              check=True, capture_output=True, text=True, cwd=tmp_path,
                              env={**os.environ, "COLUMNS": "200"}).stdout

    table = runs()
    assert "first" in table and "interrupted" in table and "50/100" in table
    assert "1,050 tokens/s" in table and "25.0 %" in table
    (only,) = json.loads(runs(tmp_path, "--json"))
    assert (only["path"], only["checkpoint"]) == (str(tmp_path / "first"), 40)
    (tmp_path / "empty").mkdir()
    assert runs(tmp_path / "empty") == f"No run folders below {tmp_path / 'empty'}.\n"
