"""Article extraction: F1 and pages per CPU-second, beside trafilatura and resiliparse alone.

    python tools/bench/curate_extract.py article_extraction.zip [--json FILE] [--fit]

F1 as https://github.com/scrapinghub/article-extraction-benchmark defines it: four-word shingles,
means of precision and recall over pages. The line model and the doubt were fitted on every other
page in order of name ("fitted"); the rest is "held out". --fit prints new weights instead.
"""

import argparse
import gzip
import json
import os
import platform
import re
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import mean

import numpy as np
import rounds
import trafilatura
from resiliparse.extract.html2text import extract_plain_text

from data_pipelines.kernels import extract, page_lines

Pages = Mapping[str, tuple[str, str]]          # name -> (html, gold article)


def main() -> None:
    """Parse arguments, run every contestant on every page, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive")
    parser.add_argument("--json")
    parser.add_argument("--fit", action="store_true")
    args = parser.parse_args()
    pages = load(args.archive)
    names = sorted(pages)
    if args.fit:
        print(np.array2string(fit(pages, names[::2]), separator=", ", precision=4,
                              max_line_width=95))
        return
    halves = {"all": names, "fitted": names[::2], "held out": names[1::2]}
    report(args.json, pages, halves)


def report(path: str | None, pages: Pages, halves: Mapping[str, Sequence[str]]) -> None:
    """Run the contestants and show ours beside each peer."""
    methods: dict[str, Callable[[str], str]] = {
        "cascade": lambda page: extract.extract(page).text,
        "fast half of the cascade": lambda page: extract.fast(page)[0],
        "trafilatura": lambda page: trafilatura.extract(page, include_comments=False) or "",
        "trafilatura fast": extract.slow,
        "resiliparse": lambda page: extract_plain_text(page, main_content=True)}
    results = {name: run(method, pages) for name, method in methods.items()}
    speed = {name: found[1] for name, found in results.items()}
    rows = []
    for peer in [name for name in methods if name != "cascade"]:
        rows += [rounds.row(case, "F1", "share",
                            *(score(results[m][0], pages, part)[2] for m in ("cascade", peer)),
                            peer) for case, part in halves.items()]
        rows.append(rounds.row("all", "speed", "pages/CPU-s", speed["cascade"], speed[peer], peer))
    asked = mean(extract.extract(page).method == "slow" for page, _ in pages.values())
    rows.append(rounds.row("all", "given to trafilatura", "share", asked, None, "", "no peer"))
    rounds.show(rows)
    rounds.write(path, "curate_extract", {"cpu": platform.processor(), "cores": os.cpu_count()},
                 rows)


def load(archive: str) -> dict[str, tuple[str, str]]:
    """Return the pages of the benchmark's archive."""
    with zipfile.ZipFile(archive) as file:
        gold = json.loads(file.read("ground-truth.json"))
        return {name: (gzip.decompress(file.read(f"html/{name}.html.gz")).decode(),
                       fields["articleBody"]) for name, fields in gold.items()}


def run(method: Callable[[str], str], pages: Pages) -> tuple[dict[str, str], float]:
    """Return each page's text and the pages a CPU-second (user and system)."""
    method(next(iter(pages.values()))[0])          # load tables and compile before the clock
    began = time.process_time()
    found = {name: method(page) for name, (page, _) in pages.items()}
    return found, len(found) / (time.process_time() - began)


def score(found: Mapping[str, str], pages: Pages, names: Sequence[str]) -> tuple[float, ...]:
    """Return precision, recall and F1 over pages, as the benchmark defines them."""
    precisions, recalls = [], []
    for name in names:
        gold, text = shingles(pages[name][1]), shingles(found[name])
        shared = (gold & text).total()
        if text:
            precisions.append(shared / text.total())
        if gold:
            recalls.append(shared / gold.total())
    precision, recall = mean(precisions), mean(recalls)
    return precision, recall, 2 * precision * recall / (precision + recall)


def shingles(text: str) -> Counter:
    """Return the counts of runs of four words."""
    words = re.findall(r"\w+", text)
    runs = (tuple(words[i:i + 4]) for i in range(max(1, len(words) - 3)))
    return Counter(run for run in runs if run)


def fit(pages: Pages, names: Sequence[str]) -> np.ndarray:
    """Return the weights of the line model on some pages; each page counts the same."""
    from sklearn.linear_model import LogisticRegression
    columns, labels, weights = [], [], []
    for page, gold in (pages[name] for name in names):
        lines = extract.marked(page)
        if lines:
            texts = [line.text for line in lines]
            sizes = np.array([len(text.split()) + 2 for text in texts])
            columns.append(page_lines.features(lines))
            runs = shingles(gold)
            labels += [is_article(text, gold, runs) for text in texts]
            weights.append(sizes / sizes.sum())
    x, w = np.concatenate(columns), np.concatenate(weights)
    centre, scale = x.mean(0), x.std(0) + 1e-6
    model = LogisticRegression(C=0.3, max_iter=2000)
    model.fit((x - centre) / scale, labels, sample_weight=w * len(w) / w.sum())
    slope = model.coef_[0] / scale
    return np.concatenate([model.intercept_ - (slope * centre).sum(), slope])


def is_article(line: str, gold: str, runs: Counter) -> bool:
    """Return whether most of a line stands in the gold article."""
    found = shingles(line)
    if len(re.findall(r"\w+", line)) < 4:
        return line.strip() in gold
    return sum(run in runs for run in found) > len(found) / 2


if __name__ == "__main__":
    main()
