"""Contestants of a benchmark in processes of their own, timed in turns. Standard library only.

Machines drift: a neighbour wakes up, a core slows down. So every contestant first prepares
(imports, compiles, warms up), then all take turns, a few steps each, round after round, and the
median of the rounds counts. A contestant is a script that calls `serve(step, about)`: it answers
"ready {json}", then for each line "go N" runs N steps and answers with its seconds.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

# What `ssljax pretrain` asks of the C library for itself, here for every contestant alike: memory
# freed by a step stays with the process instead of being zeroed, page by page, for the next step.
KEEP_MEMORY = {"GLIBC_TUNABLES": "glibc.malloc.mmap_max=0:glibc.malloc.arena_max=1:"
                                 "glibc.malloc.trim_threshold=100000000000"}


def serve(step: Callable[[int], None], about: Mapping[str, Any]) -> None:
    """Run step(n) for every "go n" on the standard input; print the seconds it took."""
    answer(f"ready {json.dumps(dict(about))}")
    for line in sys.stdin:
        count = int(line.removeprefix("go "))
        began = time.perf_counter()
        step(count)
        answer(repr(time.perf_counter() - began))


def answer(text: str) -> None:
    """Print one line of the protocol, marked, since libraries print too."""
    print(f"@@{text}", flush=True)


class Contestant:
    """A child process that runs steps when told to."""

    def __init__(self, name: str, command: Sequence[str], env: Mapping[str, str] | None = None):
        """Start it; `prepare` waits until it is ready."""
        self.name, self.seconds, self.about = name, [], {}
        self._why = ""
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env={**os.environ, **KEEP_MEMORY, **(env or {})})

    def _answer(self) -> str:
        for line in self._process.stdout:
            if line.startswith("@@"):
                return line[2:].strip()
        errors = self._process.stderr.read().strip().splitlines()
        self._why = errors[-1] if errors else f"exit code {self._process.wait()}"
        return ""

    @property
    def why(self) -> str:
        """Return why it gave up; empty while it runs."""
        return self._why

    def prepare(self) -> None:
        """Wait until it has compiled."""
        ready = self._answer()
        if ready:
            self.about = json.loads(ready.removeprefix("ready "))

    def turn(self, steps: int) -> None:
        """Let it run `steps` steps."""
        if self._why:
            return
        try:
            self._process.stdin.write(f"go {steps}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass                                # its last words are read below
        taken = self._answer()
        if taken:
            self.seconds.append(float(taken) / steps)

    def median(self) -> float | None:
        """Return the median seconds a step; None if it never finished a turn."""
        return statistics.median(self.seconds) if self.seconds else None

    def close(self) -> None:
        """End it."""
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()


def race(contestants: Sequence[Contestant], *, rounds: int, steps: int) -> None:
    """Prepare everyone, then let everyone run in turns; the order turns around every round."""
    for one in contestants:
        one.prepare()
        print(f"  {one.name}: {one.why or 'ready'}", flush=True)
    for i in range(rounds):
        for one in contestants[::1 if i % 2 == 0 else -1]:
            one.turn(steps)
        print(f"  round {i + 1} of {rounds}", flush=True)
    for one in contestants:
        one.close()


def row(case: str, metric: str, unit: str, ours: float | None, peer: float | None,
        peer_name: str, why: str = "") -> dict[str, Any]:
    """Return a line of the report; the ratio is above 1 where ours is better (more is better)."""
    ratio = ours / peer if ours and peer else None
    line = {"case": case, "metric": metric, "unit": unit, "ours": ours, "peer": peer,
            "peer_name": peer_name, "ratio": ratio}
    return {**line, "why": why} if ratio is None else line


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the rows as a table."""
    number = lambda x: "-" if x is None else f"{x:,.3g}" if abs(x) < 100 else f"{x:,.0f}"  # noqa: E731
    lines = [("case", "metric", "ours", "peer", "ratio", "peer is")]
    lines += [(r["case"], f"{r['metric']} [{r['unit']}]", number(r["ours"]), number(r["peer"]),
               number(r["ratio"]), r["peer_name"] + (f" ({r['why']})" if r.get("why") else ""))
              for r in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    for line in lines:
        print("  ".join(cell.ljust(w) for cell, w in zip(line, [*widths, 0], strict=True)).rstrip())


def write(path: str | None, benchmark: str, machine: Mapping[str, Any],
          rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the report where --json asked for it."""
    if path:
        with open(path, "w") as file:
            json.dump({"benchmark": benchmark, "machine": dict(machine), "rows": list(rows)}, file,
                      indent=1)
            file.write("\n")
