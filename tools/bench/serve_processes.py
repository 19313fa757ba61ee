"""Start servers as processes, know when they answer, what CPU they took, and end them."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

HERE = pathlib.Path(__file__).parent
URL = re.compile(r"http://[\w.]+:\d+")
PATIENCE = 600.0        # seconds that a server may take to be ready
TICK = os.sysconf("SC_CLK_TCK")


class Server:
    """A server in a process of its own, with its children."""

    def __init__(self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None,
                 url: str = ""):
        """Start it.

        Args:
            name: in reports.
            command: what to run; it prints its URL once it is ready, unless `url` is told.
            env: added to this process's environment.
            url: of a server that says nothing; it is ready when /health answers.
        """
        self.name, self.url, self.why, self.ready_after = name, url, "", 0.0
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by close()
        self._started = time.perf_counter()
        self._process = subprocess.Popen(
            command, stdout=self._log, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **(env or {})}, start_new_session=True)

    def wait(self) -> bool:
        """Return whether it got ready; if not, `why` says why."""
        told = bool(self.url)
        while time.perf_counter() - self._started < PATIENCE:
            if self._process.poll() is not None:
                lines = self.words().strip().splitlines() or [f"exit {self._process.returncode}"]
                errors = [line for line in lines if "Error" in line] or lines
                self.why = errors[-1].strip()[-300:]
                return False
            if not told and (found := URL.search(self.words())):
                self.url = found[0]
            if self.url and (not told or answers(f"{self.url}/health")):
                self.ready_after = self.age()
                return True
            time.sleep(0.02)
        self.why = f"not ready after {PATIENCE:.0f} s"
        return False

    def words(self) -> str:
        """Return all it has printed."""
        with open(f"/proc/self/fd/{self._log.fileno()}") as file:
            return file.read()

    def age(self) -> float:
        """Return seconds since it was started."""
        return time.perf_counter() - self._started

    def cpu(self) -> float:
        """Return CPU seconds of the process and its living descendants so far."""
        return sum(map(cpu_of, family(self._process.pid)))

    def close(self) -> None:
        """End it, by force where a minute is not enough."""
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._log.close()


def family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    parents: dict[int, list[int]] = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        fields = fields_of(stat)
        if fields:
            parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def fields_of(stat: pathlib.Path) -> list[str]:
    """Return the fields of a /proc/PID/stat after the name, which may hold blanks; [] if gone."""
    try:
        return stat.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu_of(pid: int) -> float:
    """Return user and system seconds of one process and of its children that have ended."""
    fields = fields_of(pathlib.Path(f"/proc/{pid}/stat"))
    return sum(map(int, fields[11:15])) / TICK if fields else 0.0


def answers(url: str) -> bool:
    """Say whether a GET has the status 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def free_port() -> int:
    """Return a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def load(server: Server, plan: Mapping[str, Any]) -> dict[str, Any]:
    """Let a client process ask as `plan` says (serve_load.py); adds the server's "cpu" seconds."""
    before = server.cpu()
    done = subprocess.run([sys.executable, str(HERE / "serve_load.py"), server.url],
                          input=json.dumps(plan), stdout=subprocess.PIPE, text=True, check=True)
    return {**json.loads(done.stdout), "cpu": server.cpu() - before}
