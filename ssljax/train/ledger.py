"""The goodput ledger: every second of a run's wall time in one named bucket, across restarts.

A clock that is always in exactly one bucket cannot lose a second. Lines of ledger.jsonl hold the
seconds of one attempt (one process from start to end) so far; `summarise` adds the attempts up,
moves steps that a restart had to repeat to "lost", and counts the time without a process as "down".
"Goodput" as in Google's ML Goodput, https://cloud.google.com/blog/products/ai-machine-learning/goodput-metric-as-measure-of-ml-productivity.
"""

import contextlib
import itertools
import json
import os
import pathlib
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ssljax.core.files import read_json_lines

# start: imports, set-up, building; step: the device computes; data_wait: it waits for a batch;
# lost: steps computed again after a restart; down: no process ran.
BUCKETS = ("start", "compile", "restore", "data_wait", "step", "save", "evaluate", "lost", "down")
FLUSH_S = 5.0       # longest time between lines, so that a killed run loses little of its story
STATES = ("starting", "running", "finished", "interrupted", "failed")


def process_age() -> float:
    """Return the seconds since this process was started; 0 where the system does not tell."""
    try:
        fields = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        uptime = float(pathlib.Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return 0.0
    return uptime - int(fields[19]) / os.sysconf("SC_CLK_TCK")


class Ledger:
    """The clock of one attempt; writes to `path`, or nowhere on processes other than the first."""

    def __init__(self, path: pathlib.Path | None, *, total: int, age: float = 0.0):
        """Begin `age` seconds ago in the bucket "start".

        Args:
            path: ledger.jsonl, continued where it exists.
            total: the run's last step.
            age: seconds the process had run before.
        """
        self.seconds = dict.fromkeys(BUCKETS[:-2], 0.0)
        self.step, self.state = 0, "starting"
        earlier = read_json_lines(path) if path else []
        self.before = total_seconds(earlier)
        self._attempt = 1 + max((line["attempt"] for line in earlier), default=-1)
        self._total, self._resumed = total, None
        self._bucket, self._since = "start", time.perf_counter() - age
        self._file = path.open("a") if path else None
        self._began = time.time() - age
        self._flushed = 0.0
        self.flush()

    def switch(self, bucket: str) -> str:
        """Count the time from now on into `bucket`; return the one before."""
        before, now = self._bucket, time.perf_counter()
        self.seconds[before] += now - self._since
        self._bucket, self._since = bucket, now
        return before

    @contextlib.contextmanager
    def spend(self, bucket: str) -> Iterator[None]:
        """Count the time of a block into `bucket`."""
        before = self.switch(bucket)
        try:
            yield
        finally:
            self.switch(before)

    def reassign(self, seconds: float, bucket: str) -> None:
        """Move the last `seconds` from the present bucket to another."""
        self.switch(self._bucket)
        self.seconds[self._bucket] -= seconds
        self.seconds[bucket] += seconds

    def resumed(self, step: int) -> None:
        """Note that the steps start from `step`: what an earlier attempt did beyond it is lost."""
        self.step = self._resumed = step
        self.state = "running"
        self.flush()

    def beat(self, step: int) -> None:
        """Note the last finished step; write a line when the last one is old."""
        self.step = step
        if time.perf_counter() - self._flushed > FLUSH_S:
            self.flush()

    def goodput(self) -> float:
        """Return the fraction of the run's wall time, restarts included, in which it stepped."""
        self.switch(self._bucket)
        now = {b: self.before[b] + self.seconds.get(b, 0.0) for b in BUCKETS}
        return now["step"] / max(sum(now.values()), 1e-9)

    def flush(self) -> None:
        """Write a line."""
        self.switch(self._bucket)
        self._flushed = time.perf_counter()
        if self._file:
            self._file.write(json.dumps({
                "time": time.time(), "began": self._began, "attempt": self._attempt,
                "pid": os.getpid(), "host": socket.gethostname(), "step": self.step,
                "total": self._total, "state": self.state, "resumed_at": self._resumed,
                "seconds": self.seconds}) + "\n")
            self._file.flush()

    def close(self, state: str) -> None:
        """Write the last line of this attempt, with how it ended: one of STATES."""
        self.state = state
        self.flush()
        if self._file:
            self._file.close()
            self._file = None


def lost_seconds(lines: list[Mapping[str, Any]], resumed_at: int) -> float:
    """Return the seconds an attempt stepped beyond the step that the next one resumed at."""
    kept = [line for line in lines if line["step"] <= resumed_at] or lines[:1]
    return max(0.0, lines[-1]["seconds"]["step"] - kept[-1]["seconds"]["step"])


def total_seconds(lines: list[Mapping[str, Any]]) -> dict[str, float]:
    """Return the seconds of every bucket over all attempts; they add up to the wall time."""
    attempts: dict[int, list[Mapping[str, Any]]] = {}
    for line in lines:
        attempts.setdefault(line["attempt"], []).append(line)
    sums = dict.fromkeys(BUCKETS, 0.0)
    runs = [attempts[n] for n in sorted(attempts)]
    for run in runs:
        for bucket, seconds in run[-1]["seconds"].items():
            sums[bucket] += seconds
    for now, after in itertools.pairwise(runs):
        # What a killed process did after its last line is counted here too: at most FLUSH_S.
        sums["down"] += max(0.0, after[0]["began"] - now[-1]["time"])
        resumed = next((x["resumed_at"] for x in after if x["resumed_at"] is not None), None)
        lost = lost_seconds(now, resumed) if resumed is not None else 0.0
        sums["step"] -= lost
        sums["lost"] += lost
    return sums


def summarise(path: pathlib.Path) -> dict[str, float]:
    """Return the seconds of every bucket of a run's ledger.jsonl, over all its attempts."""
    return total_seconds(read_json_lines(path))
