"""What executors of curation cost: seconds until the first tasks are done, and of each one after.

    make cluster-env
    .cluster-env/bin/python tools/bench/curate_executors.py [--ray-address HOST:PORT] [--json FILE]

Each runs in a process of its own: two empty tasks (start-up, without Python's and our imports), ten
stages of two, then one of 200. Tasks commit as any other does, with their files flushed to the
disk. Ray's rows need a running cluster. The peer is `local`.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rounds import row, show, write

STAGES, TASKS = 10, 200


def empty(folder: Path) -> dict[str, int]:
    """Do nothing, as a task."""
    return {}


def measure(name: str, address: str) -> dict[str, float]:
    """Return seconds of start-up, of a stage and of a task."""
    from data_pipelines.engine.daft import make_executor
    from data_pipelines.engine.plan import Call

    executor = make_executor(name, 2, address=address)
    with tempfile.TemporaryDirectory() as work:
        def stage(key: str, count: int) -> float:
            (Path(work) / key).mkdir()
            began = time.perf_counter()
            done = list(executor.run([Call(empty, {}, f"{work}/{key}/{n}") for n in range(count)]))
            assert len(done) == count
            return time.perf_counter() - began

        try:
            start = stage("start", 2)
            stages = [stage(f"stage{n}", 2) for n in range(STAGES)]
            tasks = stage("tasks", TASKS)
        finally:
            executor.close()
    return {"start-up": start, "a stage": sorted(stages)[STAGES // 2], "a task": tasks / TASKS}


def child(name: str, address: str) -> dict[str, float]:
    """Measure in a process of its own."""
    code = ("import json, sys, curate_executors as c\n"
            "print('@@' + json.dumps(c.measure(*sys.argv[1:])))")
    told = subprocess.run([sys.executable, "-c", code, name, address], text=True, check=True,
                          stdout=subprocess.PIPE, cwd=Path(__file__).parent).stdout
    return json.loads(told.split("@@")[1])


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ray-address", metavar="HOST:PORT", help="a running cluster")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    names = ["local", "daft", *(["ray"] if args.ray_address else [])]
    found = {name: child(name, args.ray_address or "auto") for name in names}
    rows = [row(name, metric, "s", seconds, found["local"][metric], "local")
            for name in names for metric, seconds in found[name].items()]
    for each in rows:                          # less is better
        each["ratio"] = each["peer"] / each["ours"]
    show(rows)
    write(args.json, "curate_executors", {"machine": platform.platform()}, rows)


if __name__ == "__main__":
    main()
