"""What each machine of a Daft executor does: hand the tasks it is given to processes of its own.

Daft calls `attempt` on threads, of this process or of one that Ray keeps on each node. Kernels hold
Python's lock, and one of them may be killed for want of memory, so a thread passes its task on to a
worker process (local.py) and waits. Daft's own processes for functions start anew for every stage,
0.8 s each, where these stay. What a task failed with goes back as a value, so that it arrives
as the error it was.
"""

import functools
import os
import pickle
import socket
import threading
from collections.abc import Iterable
from pathlib import Path

from data_pipelines.engine.local import ATTEMPTS, Worker, killed, read_frame, write_frame
from data_pipelines.engine.plan import Call
from ssljax.core.errors import DataError

LEAVE = 10                     # seconds for threads to notice that their workers are gone


class Pool:
    """At most `most` worker processes, started when needed, for threads to share."""

    def __init__(self, most: int):
        """Start nothing yet."""
        self.free = threading.Semaphore(most)
        self.threads = max(1, (os.cpu_count() or 1) // most)
        self.state = threading.Condition()
        self.active = 0            # threads inside `run`
        self.idle: list[Worker] = []
        self.running: set[Worker] = set()
        self.closed = False

    def run(self, call: Call) -> Exception | None:
        """Run a task in a worker, a second time where that dies under it; return its error."""
        with self.state:
            self.active += 1
        try:
            with self.free:
                return self.share(call)
        finally:
            with self.state:
                self.active -= 1
                self.state.notify_all()

    def share(self, call: Call) -> Exception | None:
        """Have a worker run a task while no more than `most` do."""
        for _ in range(ATTEMPTS):
            worker = self.take()
            if worker is None:
                return DataError("The executor was closed.")
            try:
                write_frame(worker.process.stdin, call)
                answer = read_frame(worker.process.stdout)
            except (EOFError, OSError):
                self.end(worker)
                continue
            with self.state:
                self.idle.append(worker)
            return answer
        return killed(call, ATTEMPTS)

    def take(self) -> Worker | None:
        """Return a worker that has nothing to do, or a new one; None once closed."""
        with self.state:
            if self.closed:
                return None
            if self.idle:
                return self.idle.pop()
            worker = Worker(self.threads)
            self.running.add(worker)
            return worker

    def end(self, worker: Worker) -> None:
        """Forget a worker that has died."""
        with self.state:
            self.running.remove(worker)
        worker.close()

    def close(self) -> None:
        """Kill all workers; a task that is running has committed nothing.

        Returns once their threads have ended too: one of Daft's that comes back into Python while
        the interpreter exits aborts the process.
        """
        with self.state:
            self.closed = True
            for worker in self.running:
                worker.process.kill()
            self.state.wait_for(lambda: self.active == 0, LEAVE)
            idle, self.idle = self.idle, []
            self.running -= set(idle)
        for worker in idle:
            worker.close()


@functools.cache
def pool(owner: str, most: int) -> Pool:
    """Return the workers that this process has for an executor."""
    return Pool(most or os.cpu_count() or 1)


def attempt(calls: Iterable[bytes], owner: str, most: int) -> list[bytes]:
    """Run pickled tasks; return the pickled error of each, or None's.

    Args:
        calls: of `Call`.
        owner: a name of the executor, nobody else's.
        most: worker processes; 0: one for each core of the machine.
    """
    return [pickle.dumps(run_here(pickle.loads(call), owner, most)) for call in calls]


def run_here(call: Call, owner: str, most: int) -> Exception | None:
    """Run a task on this machine, if it sees the stage's folder, which the driver made."""
    stage = Path(call.folder).parent
    if not stage.is_dir():
        return unseen(socket.gethostname(), stage)
    return pool(owner, most).run(call)


def unseen(node: str, folder: Path | str) -> DataError:
    """Return the error of a node that does not see a folder."""
    return DataError(f"Node {node} cannot see {folder}. On a cluster, input and output have to be "
                     "on a file system that every node mounts at the same path, such as NFS or "
                     "Lustre; choose another --output or --input, or mount it there.")
