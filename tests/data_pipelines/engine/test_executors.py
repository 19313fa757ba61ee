"""Executors: the same bytes from processes, Daft and Daft on Ray, whatever is killed."""

import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from data_pipelines.engine import commit, node
from data_pipelines.engine import daft as executors
from data_pipelines.engine.daft import Daft, make_executor
from data_pipelines.engine.local import Local
from data_pipelines.engine.plan import Call
from data_pipelines.snapshots import versions
from data_pipelines.snapshots.catalog import load_table, open_catalog
from ssljax.core.errors import ConfigError, DataError, MissingExtraError

NAMES = ("local", "daft", "ray")
RUN = """
import json, os, sys
from data_pipelines.run import Sizes, curate
import pyiceberg.catalog.sql
config, executor, address = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]
if executor != "local":
    os.environ["DO_NOT_TRACK"] = "1"
    import daft
if executor == "ray":
    from data_pipelines.engine import ray_cluster
    ray_cluster.connect(address, {})
print("go", flush=True)
try:
    curate(config, workers=2, sizes=Sizes(100_000, 200_000, 100_000), executor=executor,
           ray_address=address)
except KeyboardInterrupt:
    sys.exit(130)
print("done", flush=True)
"""


def installed(*packages):
    """Skip the test unless all packages are here."""
    for name in packages:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed; `make test-cluster` has it")


class Nodes:
    """A Ray cluster of two nodes, in a process of its own."""

    def __init__(self):
        path = Path(__file__).with_name("two_nodes.py")
        self.process = subprocess.Popen(
            [sys.executable, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL, start_new_session=True,
            env=os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1"})
        self.address = self.process.stdout.readline().strip()
        assert self.address

    def tell(self, word):
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() == "done\n"

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(60)


@pytest.fixture(scope="module")
def two_nodes():
    """Return a running cluster."""
    installed("daft", "ray")
    nodes = Nodes()
    yield nodes
    nodes.close()


@pytest.fixture
def address(request):
    """Return a function from an executor's name to the address it is given."""
    def find(name):
        if name == "daft":
            installed("daft")
        return request.getfixturevalue("two_nodes").address if name == "ray" else "auto"

    return find


@pytest.fixture
def library(recipe, tmp_path):
    """Return a function from a folder to the recipe of text over modules of Python's library."""
    source = tmp_path / "library"
    source.mkdir()
    for path in sorted(Path(json.__file__).parent.parent.glob("[ab]*.py")):
        shutil.copy(path, source)
    return lambda folder: recipe(input=str(source), output=str(tmp_path / folder / "out"))


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*"))
            if p.is_file()}


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


def interruptible():
    """Take Ctrl-C again, which a shell's background jobs ignore and hand on to their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(config, name, address):
    child = subprocess.Popen([sys.executable, "-c", RUN, json.dumps(config), name, address],
                             start_new_session=True, stdout=subprocess.PIPE,
                             preexec_fn=interruptible)
    assert child.stdout.readline() == b"go\n"
    return child


def finish(child):
    """Wait for a run and say whether it finished its recipe; Ray prints lines before and after."""
    return b"done" in child.communicate(timeout=180)[0].splitlines()


def write_number(folder, *, number):
    (folder / "value").write_text(str(number))
    return {}


def refuse(folder, *, extra):
    raise MissingExtraError("nothing", extra)


def die_once(folder, *, marker):
    if not Path(marker).exists():
        Path(marker).write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return {}


def die(folder):
    os.kill(os.getpid(), signal.SIGKILL)


def calls_of(folder, function, *arguments):
    folder.mkdir(exist_ok=True)
    return [Call(function, some, str(folder / str(n))) for n, some in enumerate(arguments)]


class Fake(Daft):
    """Daft without Daft: runs calls here, and loses its machine after some of them."""

    def __init__(self, *lasts):
        super().__init__(lambda folder: None, workers=1)
        self.lasts, self.seen = list(lasts), []

    def frame(self, calls):
        last = self.lasts.pop(0)
        for count, (number, call) in enumerate(calls.items()):
            if count == last:
                raise RuntimeError("the node died")
            self.seen.append(number)
            yield number, node.run_here(call, self.owner, 1)


def test_an_unknown_executor_is_refused():
    with pytest.raises(ConfigError, match='no executor "spark"; known: local, daft, ray'):
        make_executor("spark", 1)


@pytest.mark.parametrize("name, absent, extra", [
    ("daft", "daft", "daft"), ("ray", "ray", "ray"), ("ray", "daft", "daft")])
def test_a_package_that_is_absent_is_named_with_its_extra(tmp_path, monkeypatch, name, absent,
                                                          extra):
    for package in ("daft", "ray"):
        monkeypatch.setitem(sys.modules, package, None if package == absent else object())
    executor = make_executor(name, 1)
    with pytest.raises(MissingExtraError, match=rf"ssljax\[{extra}\]"):
        list(executor.run(calls_of(tmp_path / "s", write_number, {"number": 1})))


def test_executors_start_nothing_before_a_task():
    for name in NAMES:
        executor = make_executor(name, 2)
        assert list(executor.run([])) == []
        if isinstance(executor, Local):
            assert executor.running == []
        executor.close()


def test_threads_share_no_more_workers_than_asked_and_each_task_runs_once(tmp_path):
    pool = node.Pool(2)
    calls = calls_of(tmp_path / "s", write_number, *({"number": n} for n in range(8)))
    threads = [threading.Thread(target=pool.run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [Path(c.folder, "value").read_text() for c in calls] == list("01234567")
    assert 1 <= len(pool.running) <= 2 and set(pool.idle) == pool.running
    workers = [w.process for w in pool.running]
    pool.close()
    assert all(w.poll() is not None for w in workers)
    assert "closed" in str(pool.run(calls[0]))


def test_a_worker_that_dies_once_is_replaced_and_twice_is_an_error(tmp_path):
    pool = node.Pool(1)
    once, = calls_of(tmp_path / "s", die_once, {"marker": str(tmp_path / "m")})
    always, = calls_of(tmp_path / "t", die, {})
    assert pool.run(once) is None
    assert "killed 2 times in die" in str(pool.run(always))
    assert not pool.running
    pool.close()


def test_a_node_that_does_not_see_the_stage_says_so_and_writes_nothing(tmp_path):
    call = Call(write_number, {"number": 1}, str(tmp_path / "elsewhere" / "0"))
    error = node.run_here(call, "me", 1)
    assert isinstance(error, DataError) and "cannot see" in str(error)
    assert not (tmp_path / "elsewhere").exists()


def test_a_writer_that_outlives_its_driver_commits_nothing_that_was_pruned(tmp_path):
    stage = tmp_path / "s"

    def pruned(folder):
        (folder / "value").write_text("whole")
        commit.prune(stage)
        return {}

    with pytest.raises(FileNotFoundError):
        commit.run(Call(pruned, {}, str(stage / "0")))
    assert not list(stage.iterdir())


def test_what_another_machine_wrote_is_awaited_and_missed_at_last(tmp_path, monkeypatch):
    threading.Timer(0.2, (tmp_path / "late").mkdir).start()
    executors.appear(str(tmp_path / "late"))
    monkeypatch.setattr(executors, "PATIENCE", 0)
    with pytest.raises(DataError, match="not on a file system that all nodes share"):
        executors.appear(str(tmp_path / "never"))


def test_what_was_lost_with_a_machine_runs_again_and_nothing_else(tmp_path):
    calls = calls_of(tmp_path / "s", write_number, *({"number": n} for n in range(5)))
    fake = Fake(2, 0, None)
    assert list(fake.run(calls)) == [0, 1, 2, 3, 4]
    assert fake.seen == [0, 1, 2, 3, 4]
    fake.close()


def test_machines_lost_over_and_over_are_an_error_with_the_cause(tmp_path):
    calls = calls_of(tmp_path / "s", write_number, {"number": 1})
    fake = Fake(*[0] * executors.ATTEMPTS)
    with pytest.raises(DataError, match="1 tasks were lost .* the node died"):
        list(fake.run(calls))
    fake.close()


@pytest.mark.parametrize("name", [*NAMES[:2], "daft"])   # Daft twice in a process
def test_an_error_arrives_as_it_is(tmp_path, address, name):
    address(name)
    executor = make_executor(name, 2)
    calls = calls_of(tmp_path / "s", refuse, {"extra": "a"}, {"extra": "a"})
    try:
        with pytest.raises(MissingExtraError, match=r"nothing .*ssljax\[a\]"):
            list(executor.run(calls))
    finally:
        executor.close()
    assert not list((tmp_path / "s").glob("[0-9]*"))


@pytest.mark.parametrize("name", NAMES[1:])
def test_the_bytes_are_those_of_this_machines_processes(library, tmp_path, address, name):
    where = address(name)
    for each in ("local", name):
        assert finish(start(library(each), each, where))
    assert content(tmp_path / name / "out") == content(tmp_path / "local" / "out")
    assert rows_of(tmp_path / name).equals(rows_of(tmp_path / "local"))


def killed(config, name, where, moment, nodes=None):
    """Run a recipe, kill its driver after some seconds, say whether that was before the end.

    With `nodes`, the second of them is killed and replaced instead, and the driver goes on.
    """
    child = start(config, name, where)
    time.sleep(moment)
    landed = child.poll() is None
    if nodes is not None:
        assert nodes.tell("kill") and nodes.tell("add")
        assert finish(child)
        return landed
    if landed:
        os.killpg(child.pid, signal.SIGKILL)
    finish(child)
    return landed


def survive(library, tmp_path, name, where, kills, seed, nodes=None):
    """Kill until `kills` have landed; whatever is finished has the bytes of a calm run."""
    assert finish(start(library("calm"), "local", where))
    calm, rows = content(tmp_path / "calm" / "out"), rows_of(tmp_path / "calm")
    child, began = start(library("timed"), name, where), time.monotonic()
    assert finish(child)
    span = time.monotonic() - began
    config, draw, landed, compared = library("hard"), random.Random(seed), 0, 0
    while landed < kills or not compared:
        landed += killed(config, name, where, draw.uniform(0, span), nodes)
        if landed >= kills and not Path(config["output"]).exists():
            assert finish(start(config, name, where))
        if Path(config["output"]).exists():
            assert content(tmp_path / "hard" / "out") == calm
            assert rows_of(tmp_path / "hard").equals(rows)
            shutil.rmtree(tmp_path / "hard")
            compared += 1
    assert landed >= kills


@pytest.mark.parametrize("name, kills", [
    ("daft", 1), ("ray", 1), *(pytest.param(n, 50, marks=pytest.mark.slow) for n in NAMES)])
def test_a_driver_killed_anywhere_continues_to_the_same_bytes(library, tmp_path, address, name,
                                                              kills):
    survive(library, tmp_path, name, address(name), kills, seed=kills)


@pytest.mark.parametrize("kills", [1, pytest.param(50, marks=pytest.mark.slow)])
def test_a_node_killed_anywhere_is_survived(library, tmp_path, two_nodes, kills):
    survive(library, tmp_path, "ray", two_nodes.address, kills, kills, two_nodes)


@pytest.mark.parametrize("name", NAMES)
def test_ctrl_c_ends_the_stage_and_its_processes(library, tmp_path, address, name):
    for attempt in range(5):            # on a busy machine a run may end before it is interrupted
        child = start(library(f"out{attempt}"), name, address(name))
        work = tmp_path / f"out{attempt}" / ".out.work"
        until = time.monotonic() + 30
        while not list(work.glob("*/*/done.json")) and time.monotonic() < until:
            time.sleep(0.02)
        os.killpg(child.pid, signal.SIGINT)
        finish(child)
        if child.returncode:
            break
    assert child.returncode == 130
    with pytest.raises(ProcessLookupError):
        os.killpg(child.pid, 0)


def test_an_error_on_a_node_arrives_as_it_is(tmp_path, two_nodes):
    code = ("import sys; from pathlib import Path\n"
            "from tests.data_pipelines.engine.test_executors import *\n"
            "executor = make_executor('ray', 1, address=sys.argv[1])\n"
            "calls = calls_of(Path(sys.argv[2]), refuse, {'extra': 'a'}, {'extra': 'a'})\n"
            "list(executor.run(calls))")
    told = subprocess.run([sys.executable, "-c", code, two_nodes.address, str(tmp_path / "s")],
                          capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert told.stderr.strip().endswith(
        "MissingExtraError: nothing is not installed; run: pip install 'ssljax[a]'")


@pytest.mark.parametrize("where, says", [
    ("ray://somewhere:1", "client protocol"),
    ("127.0.0.1:1", "No Ray cluster answers at 127.0.0.1:1"),
    ("nowhere", "No Ray cluster answers at nowhere")])
def test_no_cluster_at_the_address_is_a_clear_error(tmp_path, where, says):
    installed("daft", "ray")
    executor = make_executor("ray", 1, address=where)
    with pytest.raises(ConfigError, match=says):
        list(executor.run(calls_of(tmp_path / "s", write_number, {"number": 1})))


def test_a_node_that_does_not_mount_the_output_is_named(tmp_path, two_nodes):
    (tmp_path / "hidden" / "s").mkdir(parents=True)
    if not two_nodes.tell(f"blind {tmp_path / 'hidden'}"):
        pytest.skip("this user may not make a mount namespace")
    code = ("import sys; from data_pipelines.engine.daft import make_executor\n"
            "from data_pipelines.engine.plan import Call\n"
            "list(make_executor('ray', 1, address=sys.argv[1]).run(["
            "Call(print, {}, sys.argv[2])]))")
    told = subprocess.run([sys.executable, "-c", code, two_nodes.address,
                           str(tmp_path / "hidden" / "s" / "0")], capture_output=True, text=True)
    assert "cannot see" in told.stderr and "every node mounts" in told.stderr
