"""Records of web archives a CPU-second, beside fastwarc alone and warcio.

    make bench-env-curate && .venv/bin/python tools/bench/curate_warc.py [--json FILE]
        [--data DIR] [--copies 40]

DIR has warc_samples.zip; its warcfile.warc (requests, responses and metadata of a crawl, 11 kB a
record in the mean) is copied end to end, plain and with each record in gzip. Counted are all
records, those of no interest to a reader too, and CPU-seconds (user and system), best of three.
Ours takes HTTP apart and yields documents, with and without comparing the checksums that records
carry; fastwarc reads every payload and parses HTTP headers; warcio does the same. Ratios above 1
mean ours is better.
"""

import argparse
import gzip
import io
import json
import os
import platform
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rounds
from fastwarc.warc import ArchiveIterator, WarcRecordType

from data_pipelines.readers import warc

ROOT = Path(__file__).parents[2]
PEER_PYTHON = ROOT / ".bench-env-curate" / "bin" / "python"
TURNS = 3
WARCIO = """
import json, sys, time
from warcio.archiveiterator import ArchiveIterator
best = 1e9
for turn in range(3):
    began = time.process_time()
    with open(sys.argv[1], "rb") as file:
        for record in ArchiveIterator(file):
            record.content_stream().read()
    best = min(best, time.process_time() - began)
print(json.dumps(best))
"""


def main() -> None:
    """Run everyone over the same archives and report."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "web",
                        help="folder of the archive of samples")
    parser.add_argument("--copies", type=int, default=40, help="of the sample, end to end")
    args = parser.parse_args()
    report = []
    with tempfile.TemporaryDirectory() as folder:
        paths = write_archives(args.data, Path(folder), args.copies)
        records = sum(1 for _ in ArchiveIterator(paths["plain"].open("rb"),
                                                 record_types=WarcRecordType.any_type))
        for case, path in paths.items():
            report += contest(case, path, records)
        machine = {"cpu": platform.processor(), "cores": os.cpu_count(), "records": records,
                   "bytes": paths["plain"].stat().st_size}
    rounds.show(report)
    rounds.write(args.json, "curate_warc", machine, report)


def write_archives(data: Path, folder: Path, copies: int) -> dict[str, Path]:
    """Write the sample as often as asked, plain and compressed; return both paths."""
    paths = {"plain": folder / "a.warc", "gzip": folder / "a.warc.gz"}
    with zipfile.ZipFile(data / "warc_samples.zip") as archive:
        sample = archive.read("resiliparse/warcfile.warc")
    paths["plain"].write_bytes(sample * copies)
    with paths["plain"].open("rb") as source, paths["gzip"].open("wb") as target:
        for record in ArchiveIterator(source, parse_http=False):
            block = io.BytesIO()
            record.write(block)
            target.write(gzip.compress(block.getvalue(), 6))
    return paths


def contest(case: str, path: Path, records: int) -> list[dict[str, Any]]:
    """Return the rows of one archive."""
    ours = {f"{case}, checksums compared": timed(lambda: drain(path, True)),
            f"{case}, not compared": timed(lambda: drain(path, False))}
    theirs = {"fastwarc": (timed(lambda: bare(path)), ""), "warcio": run_warcio(path)}
    return [rounds.row(name, "records", "records/CPU-s", records / seconds,
                       records / other if other else None, peer, why)
            for name, seconds in ours.items() for peer, (other, why) in theirs.items()]


def timed(run: Callable[[], Any]) -> float:
    """Return the least CPU-seconds of a few runs."""
    found = []
    for _ in range(TURNS):
        began = time.process_time()
        run()
        found.append(time.process_time() - began)
    return min(found)


def drain(path: Path, digests: bool) -> int:
    """Read an archive as a recipe does; return its documents."""
    return sum(not raw.error for raw in warc.read(path, digests=digests))


def bare(path: Path) -> int:
    """Read every payload by fastwarc; return their bytes."""
    with path.open("rb") as file:
        return sum(len(record.reader.read()) for record in ArchiveIterator(file, parse_http=True))


def run_warcio(path: Path) -> tuple[float | None, str]:
    """Return the CPU-seconds of warcio; None and why where it is not there."""
    if not PEER_PYTHON.exists():
        return None, "no .bench-env-curate; make bench-env-curate"
    done = subprocess.run([PEER_PYTHON, "-c", WARCIO, path], capture_output=True, text=True)
    if done.returncode:
        return None, done.stderr.strip().splitlines()[-1]
    return json.loads(done.stdout), ""


if __name__ == "__main__":
    main()
