"""Processes of this machine as an executor: started when needed, one task each at a time.

Each is `python -m data_pipelines.engine.worker` behind a pair of pipes: nothing is forked (threads
of Arrow and the tokenizer would not survive it), no script of the user's is imported a second time,
and a worker ends by itself when this process does, however it ends. One that dies under a task (out
of memory) is replaced and the task tried once more. 0.4 s until the first task runs, most of it
the import of Arrow.
"""

import contextlib
import os
import pickle
import selectors
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from data_pipelines.engine import commit
from data_pipelines.engine.plan import Call
from ssljax.core.errors import DataError

HEADER = struct.Struct("<Q")   # bytes of the pickle that follows
ATTEMPTS = 2


class Worker:
    """One process; the number of the call it has, or None."""

    def __init__(self, threads: int):
        """Start it, with that many threads for its tokenizer."""
        environment = os.environ | {"RAYON_NUM_THREADS": str(threads), "OMP_NUM_THREADS": "1",
                                    "PYTHONPATH": os.pathsep.join(p or "." for p in sys.path)}
        self.process = subprocess.Popen([sys.executable, "-m", "data_pipelines.engine.worker"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=environment)
        self.call: int | None = None

    def give(self, number: int, call: Call) -> None:
        """Hand over a task."""
        self.call = number
        write_frame(self.process.stdin, call)

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Local:
    """Runs tasks on `workers` processes; on none for one worker or one task."""

    def __init__(self, workers: int):
        """Start nothing yet."""
        self.workers = workers
        self.running: list[Worker] = []

    def run(self, calls: Sequence[Call]) -> Iterator[int]:
        """Run calls and yield the number of each as it is done.

        Raises:
            SsljaxError: a task failed.
            DataError: a worker died twice under one task.
        """
        if self.workers == 1 or len(calls) < 2:
            for number, call in enumerate(calls):
                commit.run(call)
                yield number
            return
        self.start(min(self.workers, len(calls)))
        yield from self.share(calls)

    def start(self, count: int) -> None:
        """Have at least `count` workers."""
        threads = max(1, (os.cpu_count() or 1) // self.workers)
        while len(self.running) < count:
            self.running.append(Worker(threads))

    def share(self, calls: Sequence[Call]) -> Iterator[int]:
        """Hand out calls to whoever is free, and yield what is done."""
        waiting = deque(range(len(calls)))
        attempts = [0] * len(calls)
        with selectors.DefaultSelector() as ready:
            for worker in self.running:
                ready.register(worker.process.stdout, selectors.EVENT_READ, worker)
                self.next(worker, waiting, calls)
            done = 0
            while done < len(calls):
                for key, _ in ready.select():
                    worker, number = key.data, key.data.call
                    worker.call = None
                    try:
                        answer = read_frame(worker.process.stdout)
                    except EOFError:
                        ready.unregister(worker.process.stdout)
                        worker = self.replace(worker)
                        ready.register(worker.process.stdout, selectors.EVENT_READ, worker)
                        attempts[number] += 1
                        answer = self.died(worker, calls[number], attempts[number])
                        waiting.appendleft(number)
                    else:
                        if answer is None:
                            done += 1
                            yield number
                    if answer is not None and not isinstance(answer, str):
                        raise answer
                    self.next(worker, waiting, calls)

    def died(self, worker: Worker, call: Call, attempts: int) -> Exception | str:
        """Return what a worker's death means: an error once it has happened ATTEMPTS times."""
        return "again" if attempts < ATTEMPTS else killed(call, attempts)

    def next(self, worker: Worker, waiting: deque[int], calls: Sequence[Call]) -> None:
        """Give a free worker the next call, if there is one."""
        if worker.call is None and waiting:
            number = waiting.popleft()
            with contextlib.suppress(BrokenPipeError):    # it has died; its end of file says so
                worker.give(number, calls[number])

    def replace(self, worker: Worker) -> Worker:
        """Start a worker in the place of one that died."""
        worker.close()
        fresh = Worker(max(1, (os.cpu_count() or 1) // self.workers))
        self.running[self.running.index(worker)] = fresh
        return fresh

    def close(self) -> None:
        """End all workers; a task that is running has committed nothing."""
        for worker in self.running:
            worker.close()
        self.running = []


def killed(call: Call, attempts: int) -> DataError:
    """Return the error of a task under which workers died."""
    return DataError(f"A worker was killed {attempts} times in {call.function.__name__} of "
                     f"{call.folder}, likely for want of memory; use fewer --workers. What is done "
                     "is kept: the same command continues.")


def write_frame(stream: Any, value: Any) -> None:
    """Write one pickled value behind its length."""
    data = pickle.dumps(value)
    stream.write(HEADER.pack(len(data)) + data)
    stream.flush()


def read_frame(stream: Any) -> Any:
    """Return the next value of a stream from our own process.

    Raises:
        EOFError: the other side has ended.
    """
    header = stream.read(HEADER.size)
    if len(header) < HEADER.size:
        raise EOFError
    data = stream.read(HEADER.unpack(header)[0])
    return pickle.loads(data)
