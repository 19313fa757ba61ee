"""Items of evaluation sets in a corpus: what is found of planted ones, false positives, speed.

    python tools/bench/curate_decontaminate.py [--json FILE] [--data DIR] [--planted 1000]
        [--peer-documents 2000]

DIR has web/web_docs.jsonl.gz and evaluation sets in evals/, text/gsm8k_test.jsonl and
code/humaneval.jsonl. Items are planted into web pages verbatim, re-cased, re-spaced and with one
word in ten exchanged; recall is of (page, item) pairs, by evaluation set. Whatever the web pages as
they are have of them counts as false, true leaks included. CPU-seconds are user and system of this
process, from Arrow strings to verdicts; datatrove's NgramsDecontamFilter runs from
.bench-env-curate on the first --peer-documents, with its own time measured inside. Ratios above 1
mean ours is better.
"""

import argparse
import gzip
import json
import os
import platform
import resource
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import rounds

from data_pipelines.evaluation_sets import Items, read_items
from data_pipelines.kernels.contamination import Index, build_index, find_items
from data_pipelines.kernels.planted import planted_recall

ROOT = Path(__file__).parents[2]
PEER_PYTHON = ROOT / ".bench-env-curate" / "bin" / "python"
SETS = ("evals", "text/gsm8k_test.jsonl", "code/humaneval.jsonl")
AT_LEAST = 0.75                # the step's default
BATCH = 256                    # documents searched at a time
# An index written as datatrove's indexer writes it, then its filter over the same pages: the
# indexer itself loads its sets through another package.
DATATROVE = """
import json, sys, time
from datatrove.data import Document
from datatrove.pipeline.decont import n_grams
from datatrove.utils.hashing import HashConfig, create_hash_func
from datatrove.utils.text import simplify_text, ngrams
from datatrove.utils.word_tokenizers import load_word_tokenizer
pages, items, folder = sys.argv[1:]
pages, items = (json.load(open(f)) for f in (pages, items))
config = n_grams.NGramsDecontConfig()
hashed = create_hash_func(config.hash_config)
split = load_word_tokenizer("eng").word_tokenize
import numpy as np
grams = {hashed(" ".join(g)) for t in items
         for g in ngrams(split(simplify_text(t, config.norm_config)), config.n_grams)}
np.array(sorted(grams), np.dtype(config.hash_config.np_descr)).tofile(f"{folder}/quiz.index.hashes")
judge = n_grams.NGramsDecontFilter(folder, config)
judge.filter(Document(text="warm up", id="0"))
began = time.process_time()
dropped = sum(judge.filter(Document(text=t, id=str(i))) is not True for i, t in enumerate(pages))
print("@@" + json.dumps([time.process_time() - began, dropped]))
"""


def read_data(folder: str) -> tuple[list[str], Items]:
    """Return the web pages and all evaluation items."""
    with gzip.open(f"{folder}/web/web_docs.jsonl.gz") as file:
        pages = [json.loads(line)["text"] for line in file]
    read = [read_items(f"{folder}/{name}") for name in SETS]
    return pages, Items(*(sum(field, ()) for field in zip(*read, strict=True)))


def search(index: Index, pages: list[str]) -> tuple[float, set[int]]:
    """Return CPU-seconds, and the pages that seem to hold an item."""
    texts = pa.array(pages, pa.large_string())
    began, found = time.process_time(), set()
    for start in range(0, len(pages), BATCH):
        hits = find_items(index, texts.slice(start, BATCH), AT_LEAST)
        found.update((hits.documents + start).tolist())
    return time.process_time() - began, found


def peer(pages: list[str], items: Items) -> tuple[float | None, int, str]:
    """Return datatrove's pages a CPU-second, how many it drops, and why not where it cannot."""
    if not PEER_PYTHON.exists() or not pages:
        return None, 0, "no .bench-env-curate; make bench-env-curate"
    with tempfile.TemporaryDirectory() as folder:
        Path(f"{folder}/index").mkdir()
        for name, value in (("pages", pages), ("items", items.texts)):
            Path(f"{folder}/{name}.json").write_text(json.dumps(value))
        done = subprocess.run(
            [str(PEER_PYTHON), "-c", DATATROVE, f"{folder}/pages.json", f"{folder}/items.json",
             f"{folder}/index"], capture_output=True, text=True)
    answers = [line[2:] for line in done.stdout.splitlines() if line.startswith("@@")]
    if not answers:
        return None, 0, (done.stderr.strip().splitlines() or ["failed"])[-1]
    seconds, dropped = json.loads(answers[0])
    return len(pages) / seconds, dropped, ""


def contest(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows of the report."""
    pages, items = read_data(arguments.data)
    began = time.process_time()
    index = build_index(pa.array(items.texts, pa.large_string()))
    built = time.process_time() - began
    seconds, found = search(index, pages)
    some = pages[:arguments.peer_documents]
    speed, dropped, why = peer(some, items)
    case = f"{len(pages):,} pages, {len(items.names):,} items"
    why = why or "no peer"
    add = rounds.row
    report = [
        add(case, "search", "documents/CPU-s", len(pages) / seconds, speed, "datatrove", why),
        add(case, "index", "items/CPU-s", len(items.names) / built, None, "", "no peer"),
        add(case, "items too short to search for", "fraction",
            float((index.enough == 0).mean()), None, "", "no peer"),
        add(case, "pages dropped", "fraction", len(found) / len(pages), None, "", "no peer"),
        add(case, "peak memory", "MiB",
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, None, "", "no peer")]
    if speed:
        ours = len([p for p in found if p < len(some)]) / len(some)
        report.append(add(f"first {len(some):,} pages", "pages dropped", "fraction", ours,
                          dropped / len(some), "datatrove", "a share, not a score"))
        report[-1]["ratio"] = None
    recall = planted_recall(index, items.texts, items.sets(), pages, at_least=AT_LEAST,
                            count=arguments.planted)
    report += [add(f"planted {edit}", f"recall {name}", "fraction", value, None, "", "no peer")
               for edit, by_set in recall.items() for name, value in by_set.items()]
    return report


def main() -> None:
    """Parse arguments, run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default=str(ROOT.parent / "shared" / "data"))
    parser.add_argument("--planted", type=int, default=1000, help="items planted for each edit")
    parser.add_argument("--peer-documents", type=int, default=2000, help="0: no peer")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    report = contest(arguments)
    rounds.show(report)
    rounds.write(arguments.json, "curate_decontaminate", {"machine": platform.machine(),
                 "cores": os.cpu_count(), "python": platform.python_version()}, report)


if __name__ == "__main__":
    main()
