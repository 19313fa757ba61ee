"""Calls on data from strangers, in child processes with hard limits of time and memory.

Extractors hang, leak and crash on pages that nobody foresaw (adbar/trafilatura issues 189, 651,
657, 704), in C where no Python timeout reaches. A child that exceeds a limit is killed and
replaced; its call becomes a Failure and the others are not touched. Results come in the order of
the inputs, so that they do not depend on the number of children.
"""

import multiprocessing
import resource
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

WALL = 20                 # wall seconds allowed a CPU-second: machines are shared
AHEAD = 4                 # inputs in flight a child, those done that wait for their turn included


class Failure(NamedTuple):
    """Why a call has no result: "timeout", "out_of_memory", "crashed" or "failed"."""

    reason: str
    detail: str


class Limits(NamedTuple):
    """What one call may use.

    seconds: of CPU, so that a busy machine changes no result; WALL times that for calls that sleep
    memory:  bytes beyond what the child holds when it starts
    """

    seconds: float = 5.0
    memory: int = 1 << 30


class Child:
    """A process that answers one call at a time."""

    def __init__(self, function: Callable[[Any], Any], limits: Limits):
        """Start it; `function` is importable by name."""
        # Spawned: a fork of a process with threads can hang before it does anything.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=answer, args=(theirs, function, limits), daemon=True)
        self.process.start()
        theirs.close()
        self.number, self.deadline = -1, 0.0

    def send(self, number: int, value: Any, limits: Limits) -> None:
        """Hand it one input."""
        self.number = number
        # A child that is starting may need seconds to import the libraries.
        self.deadline = time.monotonic() + limits.seconds * WALL + 60
        self.pipe.send(value)

    def stop(self) -> int:
        """Kill it; return its exit code, the negative number of the signal that ended it."""
        self.process.kill()
        self.process.join()
        code = self.process.exitcode
        self.pipe.close()
        self.process.close()
        return code


def limited_map(function: Callable[[Any], Any], values: Iterable[Any], *,
                limits: Limits = Limits(), children: int = 1,  # noqa: B008
                kept: list[Child] | None = None) -> Iterator[Any]:
    """Yield function(value) of each value in order, or the Failure of that call.

    Args:
        function: importable by name, since children are fresh interpreters.
        values: picklable; read only a few ahead of what has been yielded.
        limits: of one call.
        children: processes.
        kept: children of an earlier call with the same function and limits, who stay there for the
            next one, since to start one takes a second; the caller stops them.
    """
    source = enumerate(values)
    before = [] if kept is None else kept[:]
    idle = before or [Child(function, limits) for _ in range(children)]
    busy: list[Child] = []
    done: dict[int, Any] = {}
    turn, ended = 0, False
    try:
        while not ended or busy or done:
            while idle and not ended and len(done) + len(busy) < AHEAD * children:
                number, value = next(source, (-1, None))
                ended = number < 0
                if not ended:
                    idle[-1].send(number, value, limits)
                    busy.append(idle.pop())
            for child in finished(busy):
                busy.remove(child)
                done[child.number], alive = collect(child)
                idle.append(child if alive else Child(function, limits))
            while turn in done:
                yield done.pop(turn)
                turn += 1
    finally:
        stays = [] if kept is None else idle[:]
        for child in (*idle, *busy):
            if child not in stays:
                child.stop()
        if kept is not None:
            kept[:] = stays


def finished(busy: list[Child]) -> list[Child]:
    """Return the children that answered, ended or are overdue, after waiting for one."""
    if not busy:
        return []
    left = max(0.0, min(child.deadline for child in busy) - time.monotonic())
    ready = wait([child.pipe for child in busy], left)
    now = time.monotonic()
    return [child for child in busy if child.pipe in ready or child.deadline <= now]


def collect(child: Child) -> tuple[Any, bool]:
    """Return the result of a child's call and whether it lives on."""
    if child.pipe.poll():
        try:
            result = child.pipe.recv()
            return result, not (isinstance(result, Failure) and result.reason == "out_of_memory")
        except (EOFError, OSError):
            child.process.join(10)
            ended_by = child.stop()
            if ended_by == -signal.SIGPROF:
                return Failure("timeout", "CPU time"), False
            return Failure("crashed", f"exit code {ended_by}"), False
    child.stop()
    return Failure("timeout", "wall time"), False


def answer(pipe: Connection, function: Callable[[Any], Any], limits: Limits) -> None:
    """Answer calls until the pipe closes: the life of a child."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)     # Ctrl-C is for the parent, which ends children
    signal.signal(signal.SIGPROF, signal.SIG_DFL)    # ends the process even inside C code
    limit = address_space() + limits.memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    while True:
        try:
            value = pipe.recv()
        except (EOFError, OSError):
            return
        signal.setitimer(signal.ITIMER_PROF, limits.seconds)
        result = call(function, value)
        signal.setitimer(signal.ITIMER_PROF, 0)
        pipe.send(result)


def call(function: Callable[[Any], Any], value: Any) -> Any:
    """Return function(value), or the Failure of its exception."""
    try:
        return function(value)
    except MemoryError:
        return Failure("out_of_memory", "")
    except Exception as err:                # whatever a library raises on a page is that page's
        return Failure("failed", f"{type(err).__name__}: {err}"[:500])


def address_space() -> int:
    """Return the bytes of address space that this process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
