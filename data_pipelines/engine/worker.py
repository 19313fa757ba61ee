"""One worker process: reads tasks from standard input until it ends, answers None or the error."""

import os
import signal
import sys

import pyarrow as pa

from data_pipelines.engine import commit
from data_pipelines.engine.local import read_frame, write_frame
from ssljax.core.errors import DataError, SsljaxError


def main() -> None:
    """Serve until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)   # Ctrl-C is for the driver, which ends us
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)                  # what a library prints must not enter the answers
    # One thread a process: the processes are the parallelism, and each pool has its own memory.
    pa.set_cpu_count(1)
    while True:
        try:
            call = read_frame(sys.stdin.buffer)
        except EOFError:
            return
        write_frame(answers, attempt(call))


def attempt(call: commit.Call) -> Exception | None:
    """Run a task; return its error, as one that crosses processes."""
    try:
        commit.run(call)
    except (SsljaxError, OSError) as err:
        return err
    except Exception as err:
        error = DataError(f"Task {call.function.__name__} failed: {type(err).__name__}: {err}")
        error.__cause__ = err
        return error
    return None


if __name__ == "__main__":
    main()
