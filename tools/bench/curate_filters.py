"""Quality filters of web pages in sequence: documents per CPU-second, verdicts beside datatrove.

    make bench-env-curate && .venv/bin/python tools/bench/curate_filters.py [--json FILE]
        [--data DIR] [--documents 26061]

Gopher's repetition and quality, C4 without end marks and FineWeb's rules, as FineWeb runs them:
dialects "datatrove" and "fast" here, and datatrove itself from .bench-env-curate. DIR has
web_docs.jsonl.gz and article_extraction.zip. --documents takes every n-th document, all articles
among them. Counted are CPU-seconds (user and system) from the texts in memory to the verdicts;
caches are cold. Two agree on a document if the reason is the same, or both keep it with the same
text. Ratios above 1 mean ours is better.
"""

import argparse
import collections
import gzip
import hashlib
import json
import os
import platform
import subprocess
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import rounds

from data_pipelines.steps import c4, fineweb, gopher
from data_pipelines.table import column, documents

ROOT = Path(__file__).parents[2]
PEER_PYTHON = ROOT / ".bench-env-curate" / "bin" / "python"
BATCH = 1000            # documents of a table
# Prints CPU-seconds and a verdict a line; what datatrove raises on is its verdict too.
DATATROVE = """
import hashlib, json, sys, time
from datatrove.data import Document
from datatrove.pipeline import filters as f
texts = json.load(open(sys.argv[1]))
steps = [f.GopherRepetitionFilter(), f.GopherQualityFilter(),
         f.C4QualityFilter(filter_no_terminal_punct=False), f.FineWebQualityFilter()]
def judge(step, document):
    try:
        answer = step.filter(document)
    except Exception as error:
        return type(error).__name__
    return answer[1] if isinstance(answer, tuple) else "" if answer else "dropped"
for step in steps:
    judge(step, Document(text="Loads the tokenizer. " * 50, id=""))
verdicts, began = [], time.process_time()
for text in texts:
    document = Document(text=text, id="")
    reason = next(filter(None, (judge(s, document) for s in steps)), "")
    verdicts.append(reason or document.text)        # C4 has changed the text by now
seconds = time.process_time() - began
names = [hashlib.sha256(v.encode("utf-8", "surrogatepass")).hexdigest() for v in verdicts]
json.dump({"seconds": seconds, "verdicts": names}, open(sys.argv[2], "w"))
"""


def main() -> None:
    """Run everyone over the same documents and report."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="write the rows to this file")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "web",
                        help="folder of the corpus")
    parser.add_argument("--documents", type=int, default=1 << 30, help="about how many")
    args = parser.parse_args()
    texts = read_texts(args.data, args.documents)
    peer, why = run_peer(texts)
    report = []
    for dialect in ("datatrove", "fast"):
        seconds, verdicts, reasons = run_ours(texts, dialect)
        peer_rate = len(texts) / peer["seconds"] if peer else None
        report.append(rounds.row(f"dialect {dialect}", "filters in sequence", "documents/CPU-s",
                                 len(texts) / seconds, peer_rate, "datatrove", why))
        if peer:
            same = sum(a == b for a, b in zip(verdicts, peer["verdicts"], strict=True))
            report.append(rounds.row(f"dialect {dialect}", "same reason or text", "share",
                                     same / len(texts), 1.0, "datatrove with itself"))
        print(f"{dialect}: {dict(reasons.most_common())}")
    rounds.show(report)
    machine = {"cpu": platform.processor(), "cores": os.cpu_count(), "documents": len(texts),
               "characters": sum(map(len, texts))}
    rounds.write(args.json, "curate_filters", machine, report)


def read_texts(folder: Path, most: int) -> list[str]:
    """Return the articles, and as many of the corpus as fit, spread over it."""
    with zipfile.ZipFile(folder / "article_extraction.zip") as archive:
        truth = json.loads(archive.read("ground-truth.json"))
    articles = [truth[name]["articleBody"] for name in sorted(truth)]
    with gzip.open(folder / "web_docs.jsonl.gz", "rt", encoding="utf-8") as file:
        pages = [json.loads(line)["text"] for line in file]
    return articles + pages[::max(1, -(-len(pages) // max(1, most - len(articles))))]


def run_ours(texts: list[str], dialect: str) -> tuple[float, list[str], collections.Counter]:
    """Return CPU-seconds, a hash of each verdict or kept text, and how often each reason was."""
    steps = [gopher.make(dialect=dialect),
             c4.make(terminal_punctuation=False,
                     sentences="spacy" if dialect == "datatrove" else "marks"),
             fineweb.make(dialect=dialect)]
    verdicts: list[str] = []
    reasons: collections.Counter = collections.Counter()
    seconds = 0.0
    for start in range(0, len(texts), BATCH):
        table = documents([{"source": str(i), "row": 0, "licence": "", "text": text}
                           for i, text in enumerate(texts[start:start + BATCH])])
        began = time.process_time()
        for step in steps:
            table = step(table)
        seconds += time.process_time() - began
        for reason, text in zip(column(table, "dropped"), column(table, "text"), strict=True):
            reasons[reason or "kept"] += 1
            verdicts.append(hashlib.sha256((reason or text).encode()).hexdigest())
    return seconds, verdicts, reasons


def run_peer(texts: list[str]) -> tuple[dict[str, Any] | None, str]:
    """Return what datatrove took and said; None and why where it is not there."""
    if not PEER_PYTHON.exists():
        return None, "no .bench-env-curate; make bench-env-curate"
    with tempfile.TemporaryDirectory() as folder:
        source, answer = Path(folder, "texts.json"), Path(folder, "answer.json")
        source.write_text(json.dumps(texts))
        done = subprocess.run([PEER_PYTHON, "-c", DATATROVE, source, answer],
                              capture_output=True, text=True)
        if done.returncode:
            return None, done.stderr.strip().splitlines()[-1]
        return json.loads(answer.read_text()), ""


if __name__ == "__main__":
    main()
