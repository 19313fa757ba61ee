"""Tasks as rows of a Daft dataframe: on this machine, or on a Ray cluster's.

The same calls as local.py runs, so the same bytes: Daft decides where and when a task runs, and
commit.py that it happens once. Rows are (number of the call, the call), answers (number, error).
A machine that is lost with its tasks is replaced by Ray; what it had not committed runs again.
"""

import contextlib
import functools
import importlib
import os
import pickle
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_pipelines.engine import node
from data_pipelines.engine.local import Local
from data_pipelines.engine.plan import Call, Executor
from ssljax.core.errors import ConfigError, DataError, MissingExtraError

EXECUTORS = ("local", "daft", "ray")
ATTEMPTS = 4                   # dataframes that lose a machine before we give up
PATIENCE = 60                  # seconds for another machine's folder to appear in ours
# Daft reports every import and query to its makers unless told not to.
QUIET = {"DO_NOT_TRACK": "1", "DAFT_ANALYTICS_ENABLED": "0", "DAFT_PROGRESS_BAR": "0"}


def make_executor(name: str, workers: int, *, address: str = "auto",
                  reads: Sequence[str] = ()) -> Executor:
    """Return the executor of a name; it starts nothing before its first task.

    Args:
        name: one of EXECUTORS.
        workers: processes of this machine; Ray's nodes have one for each core.
        address: of the Ray cluster, HOST:PORT or "auto".
        reads: local folders that tasks read, beside what the engine writes.

    Raises:
        ConfigError: there is no such executor.
    """
    if name == "local":
        return Local(workers)
    if name == "daft":
        return Daft(native, workers=workers)
    if name == "ray":
        return Daft(lambda stage: on_ray(address, [stage, *reads]), spread=True)
    raise ConfigError(f'There is no executor "{name}"; known: {", ".join(EXECUTORS)}.')


class Daft:
    """Runs tasks as one dataframe a stage."""

    def __init__(self, connect: Callable[[str], None], *, workers: int = 0, spread: bool = False):
        """Start nothing yet.

        Args:
            connect: chooses where Daft runs, given the first stage's folder.
            workers: processes of a machine; 0: one for each core.
            spread: make every task a partition, which is what Daft sends to other machines.
        """
        self.connect = connect
        self.workers = workers
        self.spread = spread
        self.owner = uuid.uuid4().hex
        self.connected = False

    def run(self, calls: Sequence[Call]) -> Iterator[int]:
        """Run calls and yield the number of each as it is done.

        Raises:
            SsljaxError: a task failed, or a machine cannot take part.
        """
        if not calls:
            return
        if not self.connected:
            os.environ.update(QUIET)
            self.connect(str(Path(calls[0].folder).parent))
            self.connected = True
        for number, error in self.answers(calls):
            if error is not None:
                raise error
            appear(calls[number].folder)
            yield number

    def answers(self, calls: Sequence[Call]) -> Iterator[tuple[int, Exception | None]]:
        """Yield the number and the error of each call; those lost with a machine run again."""
        left = dict(enumerate(calls))
        lost: Exception | None = None
        for _ in range(ATTEMPTS):
            try:
                for number, error in self.frame(dict(left)):
                    if left.pop(number, None) is not None:
                        yield number, error
                if not left:
                    return
            # Tasks' errors are values: what is raised here is Daft's or Ray's, of any type.
            except Exception as err:
                lost = err
        raise DataError(f"{len(left)} tasks were lost with their machines {ATTEMPTS} times; the "
                        f"last: {lost}. What is done is kept: the same command continues."
                        ) from lost

    def frame(self, calls: Mapping[int, Call]) -> Iterator[tuple[int, Exception | None]]:
        """Run calls as a dataframe and yield its rows as they are done."""
        import daft

        attempt = daft.func.batch(return_dtype=daft.DataType.binary(), batch_size=1,
                                  use_process=False)(node.attempt)
        rows = daft.from_pydict({"number": list(calls),
                                 "call": [pickle.dumps(call) for call in calls.values()]})
        if self.spread:
            rows = rows.into_partitions(len(calls))
        error = attempt(rows["call"], self.owner, self.workers).alias("error")
        done = rows.select(rows["number"], error)
        for row in done.iter_rows():
            yield row["number"], pickle.loads(row["error"])

    def close(self) -> None:
        """End this machine's workers; those of a cluster go when this process does.

        Daft cannot connect to Ray a second time, so a process stays connected.
        """
        node.pool(self.owner, self.workers).close()


def native(stage: str) -> None:
    """Have Daft run in this process.

    Raises:
        MissingExtraError: Daft is not installed.
        ConfigError: this process runs Daft on Ray already.
    """
    choose("native", load("daft").set_runner_native)


def on_ray(address: str, folders: Sequence[str]) -> None:
    """Have Daft run on a cluster, once all of its nodes are found fit.

    Raises:
        MissingExtraError: Daft or Ray is not installed.
        ConfigError: there is no cluster at the address, or a node has other software.
        DataError: a node does not see one of the folders.
    """
    load("ray")
    daft = load("daft")
    from data_pipelines.engine import ray_cluster

    ray_cluster.connect(address, QUIET)
    ray_cluster.check_nodes(folders)
    choose("ray", functools.partial(daft.set_runner_ray, noop_if_initialized=True))


def choose(runner: str, use: Callable[[], Any]) -> None:
    """Have this process run Daft on a runner, unless it does.

    Raises:
        ConfigError: it runs Daft on another one, which Daft allows no process to change.
    """
    with contextlib.suppress(Exception):       # Daft's own type says only that one is chosen
        use()
    found = load("daft").get_or_infer_runner_type()
    if found != runner:
        raise ConfigError(f'This process runs Daft on "{found}" already; start another for '
                          f'"{runner}".')


def load(name: str) -> Any:
    """Return a package that an extra of its name brings."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as err:
        raise MissingExtraError(err.name or name, name) from err


def appear(folder: str) -> None:
    """Wait until a folder that another machine committed is here.

    A network file system may remember for a while that it was not; listing its parent ends that.

    Raises:
        DataError: it does not appear.
    """
    until = time.monotonic() + PATIENCE
    while not Path(folder).exists():
        if time.monotonic() > until:
            raise DataError(f"A node has written {folder}, which is not here {PATIENCE} s later: "
                            "the output is not on a file system that all nodes share.")
        os.listdir(Path(folder).parent)
        time.sleep(0.05)
