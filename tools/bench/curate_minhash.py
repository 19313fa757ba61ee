"""Near-duplicates of web pages, end to end: speed, recall, precision and memory, beside datatrove.

    python tools/bench/curate_minhash.py [--json FILE] [--data DIR] [--times 10]
        [--limit-mib 1024] [--peer-documents 3000]

Every contestant reads JSON lines, makes signatures, finds candidates, settles them and writes the
survivors, in a process of its own whose CPU-seconds (user and system, children included) count from
its start. Ours is the engine with the step `near_duplicates`, its tasks committed as in a recipe.
DIR has web_docs.jsonl.gz and near_duplicate_pairs.jsonl.gz: recall is the share of these pairs of
which a side was removed; precision is judged by word 5-grams of a regular expression between what
was removed and its survivor. Then --times as many documents, every copy of the corpus in an
alphabet of its own, under a hard limit of memory. datatrove runs from .bench-env-curate on the
first --peer-documents. Ratios above 1 mean ours is better.
"""

import argparse
import gzip
import itertools
import json
import os
import platform
import re
import resource
import shutil
import string
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import rounds

from data_pipelines.engine.engine import Engine, Given
from data_pipelines.steps import near_duplicates
from data_pipelines.table import document_id, documents

ROOT = Path(__file__).parents[2]
PEER_PYTHON = ROOT / ".bench-env-curate" / "bin" / "python"
BATCH = 2000                   # documents
SOURCE = "corpus.jsonl"
BINS = ((0.9, 1.01), (0.8, 0.9), (0.7, 0.8))
# The four jobs of https://github.com/huggingface/datatrove/blob/main/examples/minhash_deduplication.py
# one after the other in one process.
DATATROVE = """
import sys
from datatrove.executor import LocalPipelineExecutor as Run
from datatrove.pipeline.dedup import minhash as m
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers import JsonlWriter
source, out = sys.argv[1:]
config = m.MinhashConfig()
read = lambda: JsonlReader(source, glob_pattern="*.jsonl")
stages = [[read(), m.MinhashDedupSignature(f"{out}/signatures", config=config)],
          [m.MinhashDedupBuckets(f"{out}/signatures", f"{out}/buckets", config=config)],
          [m.MinhashDedupCluster(f"{out}/buckets", f"{out}/remove", config=config)],
          [read(), m.MinhashDedupFilter(f"{out}/remove"), JsonlWriter(f"{out}/kept")]]
for number, stage in enumerate(stages):
    tasks = config.num_buckets if number == 1 else 1
    Run(stage, tasks=tasks, workers=1, logging_dir=f"{out}/log{number}").run()
"""


class Cost(NamedTuple):
    """What a process took, or why it failed."""

    seconds: float
    mib: float
    why: str


def read_tables(path: str) -> Iterator[pa.Table]:
    """Yield the documents of a JSON-lines file, BATCH at a time."""
    with open(path, "rb") as file:
        for first in itertools.count(0, BATCH):
            lines = list(itertools.islice(file, BATCH))
            if not lines:
                return
            yield documents([{"source": SOURCE, "row": first + n, "licence": "unknown",
                              "text": json.loads(line)["text"]} for n, line in enumerate(lines)])


def deduplicate(source: str, folder: str) -> None:
    """Write the survivors of a JSON-lines file, and what became of the others."""
    work = Path(folder) / "work"
    engine = Engine(work)
    blocks = engine.read(Given(lambda files: read_tables(source), "read"),
                         [pa.table({"source": [SOURCE], "size": [0]})], "")
    blocks = engine.grouped(blocks, Given(near_duplicates.make(), "near_duplicates"), "")
    with open(source, "rb") as lines, open(f"{folder}/kept.jsonl", "wb") as out, \
            open(f"{folder}/dropped.jsonl", "w") as dropped:
        for row, detail in enumerate(itertools.chain.from_iterable(
                t["detail"].to_pylist() for t in engine.tables(blocks))):
            line = next(lines)
            if detail is None:
                out.write(line)
            else:
                json.dump([row, detail.split()[0]], dropped)
                dropped.write("\n")
    shutil.rmtree(work)


def run(command: list[str], limit_mib: int = 0) -> Cost:
    """Run a process to its end; limit_mib: of its data segments, 0 for none."""
    def limit() -> None:
        if limit_mib:
            resource.setrlimit(resource.RLIMIT_DATA, (limit_mib << 20, limit_mib << 20))

    env = {**os.environ, "PYTHONPATH": str(ROOT), "ARROW_DEFAULT_MEMORY_POOL": "system",
           "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=env, preexec_fn=limit, text=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read().strip().splitlines()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    why = (errors or ["failed"])[-1] if process.returncode else ""
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, why)


def words(text: str) -> set[tuple[str, ...]]:
    """Return the word 5-grams of a text, by another rule than the one under test."""
    found = re.findall(r"\w+", text.lower())
    return {tuple(found[i:i + 5]) for i in range(max(1, len(found) - 4))}


def judge(folder: str, rows: list[dict[str, Any]], gold: list[dict[str, Any]]) -> dict[str, float]:
    """Return recall by similarity, and the share of removed documents unlike their survivor."""
    with open(f"{folder}/dropped.jsonl") as file:
        dropped = dict(map(json.loads, file))
    numbers = {document_id(SOURCE, row): row for row in range(len(rows))}
    gone = {rows[r]["id"] for r in dropped}
    report = {}
    for low, high in BINS:
        some = [p for p in gold if low <= p["jaccard5"] < high]
        report[f"recall {low}-{min(high, 1.0)}"] = float(np.mean(
            [p["a"] in gone or p["b"] in gone for p in some]))
    sets = [(words(rows[r]["text"]), words(rows[numbers[s]]["text"])) for r, s in dropped.items()]
    report["removed under .7"] = float(np.mean([len(a & b) / len(a | b) < 0.7 for a, b in sets]))
    report["removed"] = len(dropped)
    return report


def write_corpus(path: str, rows: list[dict[str, Any]], times: int) -> None:
    """Write the corpus so many times, each copy in an alphabet of its own."""
    letters = string.ascii_lowercase
    with open(path, "w") as file:
        for copy in range(times):
            turned = letters[copy:] + letters[:copy]
            table = str.maketrans(letters + letters.upper(), turned + turned.upper())
            file.writelines(json.dumps({"id": f"{r['id']}-{copy}",
                                        "text": r["text"].translate(table)}) + "\n" for r in rows)


def contest(rows: list[dict[str, Any]], gold: list[dict[str, Any]], scratch: str,
            arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of the report."""
    ours = [sys.executable, __file__, "--child"]
    report, case = [], f"{len(rows):,} documents"
    Path(f"{scratch}/peer").mkdir()
    write_corpus(f"{scratch}/one.jsonl", rows, 1)
    write_corpus(f"{scratch}/peer/some.jsonl", rows[:arguments.peer_documents], 1)
    peer, why = None, "no .bench-env-curate; make bench-env-curate"
    if PEER_PYTHON.exists() and arguments.peer_documents:
        cost = run([str(PEER_PYTHON), "-c", DATATROVE, f"{scratch}/peer", f"{scratch}/out"])
        why = cost.why
        peer = None if why else min(arguments.peer_documents, len(rows)) / cost.seconds
    cost = run([*ours, f"{scratch}/one.jsonl", scratch])
    report.append(rounds.row(case, "end to end", "documents/CPU-s",
                             None if cost.why else len(rows) / cost.seconds, peer, "datatrove",
                             cost.why or why))
    report.append(rounds.row(case, "peak memory", "MiB", cost.mib, None, "", "no peer"))
    for metric, value in ({} if cost.why else judge(scratch, rows, gold)).items():
        report.append(rounds.row(case, metric, "documents" if metric == "removed" else "fraction",
                                 value, None, "", "no peer"))
    if arguments.times > 1:
        case = f"{arguments.times} times, limit {arguments.limit_mib} MiB"
        write_corpus(f"{scratch}/many.jsonl", rows, arguments.times)
        cost = run([*ours, f"{scratch}/many.jsonl", scratch], arguments.limit_mib)
        speed = None if cost.why else arguments.times * len(rows) / cost.seconds
        report.append(rounds.row(case, "end to end", "documents/CPU-s", speed, None, "",
                                 cost.why or "no peer"))
        report.append(rounds.row(case, "peak memory", "MiB", cost.mib, None, "",
                                 cost.why or "no peer"))
    return report


def main() -> None:
    """Parse arguments, run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default=str(ROOT.parent / "shared" / "data" / "web"))
    parser.add_argument("--times", type=int, default=10, help="size of the large corpus")
    parser.add_argument("--limit-mib", type=int, default=1024, help="hard limit on the large one")
    parser.add_argument("--peer-documents", type=int, default=3000, help="0: no peer")
    parser.add_argument("--json")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        deduplicate(*arguments.child)
        return
    with gzip.open(f"{arguments.data}/web_docs.jsonl.gz") as file:
        rows = [json.loads(line) for line in file]
    with gzip.open(f"{arguments.data}/near_duplicate_pairs.jsonl.gz") as file:
        gold = [json.loads(line) for line in file]
    with tempfile.TemporaryDirectory() as scratch:
        report = contest(rows, gold, scratch, arguments)
    rounds.show(report)
    rounds.write(arguments.json, "curate_minhash", {"machine": platform.machine(),
                 "cores": os.cpu_count(), "python": platform.python_version()}, report)


if __name__ == "__main__":
    main()
