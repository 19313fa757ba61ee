"""What the check of an API key costs a request: `python tools/bench/serve_keys.py [--json FILE]`.

A file of 1,000 keys, each with limits on requests, tokens and concurrency; callers in random order.
One check is a call that begins and ends: hash of the secret, look-up, limits, and the tokens paid.
CPU time of one thread, the median of rounds.
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from pathlib import Path

from rounds import row, show, write

from ssljax.serve.keys import from_file, keys_of, new_key, write_keys

KEYS, CHECKS, ROUNDS = 1000, 20_000, 7
GOAL = 20.0                        # microseconds


def main() -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="also write the rows here")
    args = parser.parse_args()
    made = [new_key(f"caller {i}", requests_per_minute=1e9, tokens_per_minute=1e12, concurrency=4,
                    models=("a",)) for i in range(KEYS)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys.json"
        write_keys(path, [key for key, _ in made])
        keys = keys_of(from_file(path))
        headers = [f"Bearer {secret}".encode() for _, secret in made]
        order = random.Random(0).choices(headers, k=CHECKS)
        rounds = [microseconds(keys, order) for _ in range(ROUNDS)]
    cost = statistics.median(rounds)
    rows = [row(f"{KEYS:,} keys", "checks a CPU-second", "1/s", 1e6 / cost, None, "none",
                f"{cost:.1f} us a check; the goal is at most {GOAL:g} us")]
    show(rows)
    write(args.json, "serve_keys", {"cpus": os.cpu_count()}, rows)


def microseconds(keys, order) -> float:
    """Return the CPU time of one check."""
    begun = time.process_time()
    for header in order:
        keys.leave(keys.enter(header), 12)
    return 1e6 * (time.process_time() - begun) / len(order)


if __name__ == "__main__":
    main()
