"""The engine: the same bytes for any workers, blocks, partitions and kills; no row is lost."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data_pipelines.engine import commit, tasks
from data_pipelines.engine.engine import Engine, Given, Once
from data_pipelines.engine.local import Local
from data_pipelines.engine.plan import Call
from data_pipelines.engine.sort import by_prefix, read_partition, write_partitions
from data_pipelines.kernels import stars
from data_pipelines.run import Sizes, curate
from data_pipelines.snapshots import versions
from data_pipelines.snapshots.catalog import load_table, open_catalog
from data_pipelines.steps import exact_duplicates, near_duplicates
from data_pipelines.table import drop, kept
from ssljax.core.errors import DataError

SMALL = Sizes(block=9_000, partition=12_000, files=6_000)


@pytest.fixture
def families(corpus, prose, edited):
    """Add copies, edited copies and broken files to the corpus, and lines of JSON."""
    for i in range(8):
        corpus[1](f"more/{i}-copy.txt", prose(i))
        corpus[1](f"more/{i}-edited.txt", edited(prose(i + 10, 240), 60, "x"))
        corpus[1](f"more/{i}-original.txt", prose(i + 10, 240))
    corpus[1]("binary.txt", b"a\x00b")
    rows = [{"text": prose(200 + i)} for i in range(30)]
    corpus[1]("rows.jsonl", "\n".join(map(json.dumps, rows)) + "\n{broken\n")


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*"))
            if p.is_file()}


def test_blocks_partitions_and_workers_change_no_byte(recipe, families, tmp_path):
    first = curate(recipe(output=str(tmp_path / "one")), workers=1)
    expected = content(tmp_path / "one")
    assert first.dropped["exact_duplicate"] == 8 and first.dropped["near_duplicate"] == 8
    for workers, sizes in ((1, SMALL), (2, SMALL), (4, Sizes(block=4000, partition=5000))):
        curate(recipe(output=str(tmp_path / f"w{workers}{sizes.block}")), workers=workers,
               sizes=sizes)
        assert content(tmp_path / f"w{workers}{sizes.block}") == expected


def test_every_dropped_row_names_its_step(recipe, families, tmp_path):
    curate(recipe(), sizes=SMALL)
    rows = map(json.loads, gzip.decompress(
        (tmp_path / "out" / "documents.jsonl.gz").read_bytes()).splitlines())
    steps = {(r["reason"], r["step"]) for r in rows}
    assert steps == {(None, None), ("not_text", "read_files"), ("bad_json", "read_files"),
                     ("exact_duplicate", "exact_duplicates"), ("near_duplicate", "near_duplicates")}


KILLED = """
import json, sys
from data_pipelines.run import Sizes, curate
import pyiceberg.catalog.sql
print("go", flush=True)
curate(json.loads(sys.argv[1]), workers=int(sys.argv[2]), sizes=Sizes(9000, 12000, 6000))
print("done", flush=True)
"""


def killed_until(config, workers, kills, seed):
    """Run a recipe over and over, killed at random moments; yield the kills whenever it is done.

    What it made is then removed, so that kills fall into every stage again and again.
    """
    command = [sys.executable, "-c", KILLED, json.dumps(config), str(workers)]
    draw = random.Random(seed)
    landed = 0
    while landed < kills:
        child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)
        assert child.stdout.readline() == b"go\n"
        time.sleep(draw.uniform(0, 0.7))
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            landed += 1
        done = child.communicate()[0] == b"done\n"
        if done or Path(config["output"]).exists():
            yield landed
            shutil.rmtree(config["output"])
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    yield landed


def rows_of(folder):
    """Return every row of the only version in the catalog beside a dataset."""
    catalog = open_catalog(folder / "catalog")
    try:
        table = load_table(catalog, "text")
        found = versions.versions(table)
        assert len(found) == 1
        return versions.scan(table, found[0], [f.name for f in table.schema().fields])
    finally:
        catalog.close()


@pytest.mark.slow
@pytest.mark.parametrize("workers, kills, seed", [(1, 10, 0), (2, 50, 1)])
def test_killed_anywhere_the_next_run_ends_in_the_same_bytes(recipe, families, tmp_path, workers,
                                                             kills, seed):
    steps = [{"name": n} for n in ("read_files", "normalise", "exact_duplicates", "near_duplicates",
                                   "paragraph_duplicates", "repeated_spans", "split")]
    config = recipe(steps=steps, options={}, output=str(tmp_path / "calm" / "out"))
    curate(config)
    calm, rows = content(tmp_path / "calm" / "out"), rows_of(tmp_path / "calm")
    config["output"] = str(tmp_path / "hard" / "out")
    landed = []
    for count in killed_until(config, workers, kills, seed):
        landed.append(count)
        assert content(tmp_path / "hard" / "out") == calm
        assert rows_of(tmp_path / "hard").equals(rows)
    assert landed[-1] == kills
    assert sorted(p.name for p in (tmp_path / "hard").iterdir()) == ["catalog", "out"]


def stop_after(commits):
    """Return a commit.run that dies after some commits, and the list of those."""
    real, made = commit.run, []

    def run(call):
        if len(made) == commits:
            raise KeyboardInterrupt
        real(call)
        made.append(call.folder)

    return run, made


def test_stopped_after_any_commit_nothing_is_done_twice(recipe, families, tmp_path, monkeypatch):
    curate(recipe(output=str(tmp_path / "calm")))
    done: list[str] = []
    for at in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55):
        run, made = stop_after(at)
        with monkeypatch.context() as patch:
            patch.setattr(commit, "run", run)
            try:
                curate(recipe(), sizes=SMALL, workers=1)
                break
            except KeyboardInterrupt:
                pass
            finally:
                done += made
    else:
        curate(recipe(), sizes=SMALL, workers=1)
    assert len(done) == len(set(done)) > 50
    assert content(tmp_path / "out") == content(tmp_path / "calm")


def write_number(folder, *, number):
    (folder / "value").write_text(str(number))
    return {}


def die_once(folder, *, marker):
    if not Path(marker).exists():
        Path(marker).write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def refuse(folder, *, message):
    raise DataError(message)


def test_a_task_commits_once_and_the_first_output_stands(tmp_path):
    for number in (1, 2):
        commit.run(Call(write_number, {"number": number}, str(tmp_path / "s" / "0")))
    assert (tmp_path / "s" / "0" / "value").read_text() == "1"
    half = tmp_path / "late"
    half.mkdir()
    (half / "value").write_text("3")
    commit.settle(half, tmp_path / "s" / "0")
    assert (tmp_path / "s" / "0" / "value").read_text() == "1"


def test_a_failed_task_leaves_nothing(tmp_path):
    with pytest.raises(DataError, match="so"):
        commit.run(Call(refuse, {"message": "so"}, str(tmp_path / "s" / "0")))
    assert not list((tmp_path / "s").iterdir())


def test_a_row_that_a_step_fails_on_is_dropped_and_the_others_are_judged(table):
    def step(found):
        if "bad" in found["text"].to_pylist():
            raise ValueError("on bad")
        return drop(found, {0: ("first", "x")}) if found["text"][0].as_py() == "b" else found

    made = tasks.apply_rowwise(Given(step, "judge"), table(["a", "bad", "b", "c"]))
    assert made["dropped"].to_pylist() == [None, "step_failed", "first", None]
    assert made["detail"].to_pylist()[1] == "judge: ValueError: on bad"
    assert made["step"].to_pylist() == [None, "judge", "judge", None]


def test_a_step_that_loses_rows_is_refused(table):
    with pytest.raises(DataError, match="lossy returned 1 rows for 2"):
        tasks.apply_rowwise(Given(lambda t: t.slice(1), "lossy"), table(["a", "b"]))


def test_a_step_that_takes_the_whole_table_is_refused_a_large_one(tmp_path, table, monkeypatch):
    engine = Engine(tmp_path, executor=Once())
    held = engine.hold(table(["a" * 60, "b" * 60]))
    step = Given(lambda t: drop(t, {1: ("second", "")}), "second")
    found, = engine.tables(engine.whole(held, step, "x"))
    assert found["dropped"].to_pylist() == [None, "second"]
    monkeypatch.setattr("data_pipelines.engine.engine.WHOLE_BYTES", 100)
    with pytest.raises(DataError, match="second takes the whole table.* 120 .*ROWWISE"):
        engine.whole(held, step, "y")


def test_partitions_are_the_sorted_whole(tmp_path):
    keys = np.random.default_rng(0).integers(0, 2**64, 5000, np.uint64)
    paths = []
    for part in range(4):
        some = keys[part::4]
        paths.append(str(tmp_path / f"{part}.arrow"))
        write_partitions(Path(paths[-1]), pa.table({"key": some}), by_prefix(some, 7), 7)
    found = [np.sort(read_partition(paths, p)["key"].to_numpy()) for p in range(7)]
    assert (np.concatenate(found) == np.sort(keys)).all()
    assert min(map(len, found)) > 500


def test_stars_find_the_components_that_union_find_does():
    rng = np.random.default_rng(1)
    for _ in range(20):
        edges = np.sort(rng.integers(0, 120, (70, 2)), axis=1)
        edges = edges[edges[:, 0] != edges[:, 1]]
        chain = np.stack([np.arange(200, 260), np.arange(201, 261)], axis=1)
        edges = np.concatenate([edges, chain])
        parent = {n: n for n in edges.ravel().tolist()}

        def root(n, parent=parent):
            return n if parent[n] == n else root(parent[n])
        for a, b in edges.tolist():
            a, b = sorted((root(a), root(b)))
            parent[b] = a
        links = np.concatenate([edges, edges[:, ::-1]])
        for _ in range(12):
            after = stars.small_star(stars.large_star(links))
            if len(after) == len(links) and (after == stars.distinct(links)).all():
                break
            links = after
        else:
            pytest.fail("did not settle")
        least = {n: min(n, m) for n, m in reversed(links.tolist())}
        assert {n: least[n] for n in parent} == {n: root(n) for n in parent}


def test_rounds_over_many_blocks_and_partitions_judge_as_one_table_does(tmp_path, table, prose,
                                                                       edited):
    family = [edited(prose(1, 300), 5 + 3 * i, f"w{i}") for i in range(20)]
    loose = [prose(2, 150) + prose(30 + i, 70) for i in range(6)]
    copies = [prose(i, 100) for i in (50, 51, 50, 51, 50)]
    made = table(family + loose + copies)
    expected = near_duplicates.make()(exact_duplicates.make()(made))
    for partitions in (1, 5):
        folder = tmp_path / str(partitions)
        folder.mkdir()
        engine = Engine(folder, executor=Once(), block_bytes=3000, partitions=partitions)
        listed = pa.table({"source": ["x"], "size": [0]})
        blocks = engine.read(Given(lambda _: made), [listed], "cut")
        assert len(blocks.blocks) > 5
        for step in (exact_duplicates.make(), near_duplicates.make()):
            blocks = engine.grouped(blocks, Given(step), str(step.rounds[0].name))
        found = pa.concat_tables(engine.tables(blocks))
        for name in ("dropped", "detail", "cluster"):
            assert found[name].to_pylist() == expected[name].to_pylist()
        assert blocks.kept == len(kept(found)) == len(kept(expected))


def test_a_worker_that_dies_is_replaced_and_its_task_tried_again(tmp_path):
    executor = Local(2)
    calls = [Call(die_once, {"marker": str(tmp_path / "m")}, str(tmp_path / "s" / str(n)))
             for n in range(3)]
    try:
        assert sorted(executor.run(calls)) == [0, 1, 2]
    finally:
        executor.close()


def test_an_error_in_a_worker_arrives_as_it_is(tmp_path):
    executor = Local(2)
    calls = [Call(refuse, {"message": f"no {n}"}, str(tmp_path / "s" / str(n))) for n in range(2)]
    try:
        with pytest.raises(DataError, match="no "):
            list(executor.run(calls))
    finally:
        executor.close()
