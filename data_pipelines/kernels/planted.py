"""How well decontamination finds what is known to be there: items planted into real documents.

Every edit a leak comes with: verbatim, re-cased, re-spaced, and one word in ten exchanged for a
word of the host. Reads items and hosts; returns the share found for each set and edit. The draws
depend on the seed and the item's number alone.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pyarrow as pa

from data_pipelines.kernels.contamination import Index, find_items
from ssljax.core.rng import hash64

EDITED = 0.1                   # share of words exchanged
BATCH = 256                    # documents searched at a time
Edit = Callable[[str, Sequence[str], np.random.Generator], str]


def verbatim(item: str, words: Sequence[str], draw: np.random.Generator) -> str:
    """Return the item as it is."""
    return item


def recased(item: str, words: Sequence[str], draw: np.random.Generator) -> str:
    """Return the item in capitals, small letters or title case."""
    return (item.upper, item.lower, item.title)[draw.integers(3)]()


def respaced(item: str, words: Sequence[str], draw: np.random.Generator) -> str:
    """Return the item with other white space between its words."""
    return re.sub(r"\s+", lambda _: ("  ", "\n", "\t", "\r\n")[draw.integers(4)], item)


def edited(item: str, words: Sequence[str], draw: np.random.Generator) -> str:
    """Return the item with one word in ten, at random, exchanged for a word of the host."""
    pick = lambda: words[draw.integers(len(words))]  # noqa: E731
    return " ".join(pick() if draw.random() < EDITED else w for w in item.split())


EDITS: Mapping[str, Edit] = {"verbatim": verbatim, "recased": recased, "respaced": respaced,
                             "edited": edited}


def plant(item: str, host: str, edit: Edit, draw: np.random.Generator) -> str:
    """Return the host with the edited item between two of its words."""
    words = host.split() or ["word"]
    at = host.find(" ", int(draw.integers(len(host) + 1)))
    at = len(host) if at < 0 else at
    return f"{host[:at]} {edit(item, words, draw)} {host[at:]}"


def planted_recall(index: Index, items: Sequence[str], sets: Sequence[str], hosts: Sequence[str],
                   *, at_least: float, count: int = 1000,
                   seed: int = 0) -> dict[str, dict[str, float]]:
    """Return the share of planted items found, by edit and by set ("all" first).

    Args:
        index: of `items`.
        items: texts of the items; those too short to be searched for are not planted.
        sets: the evaluation set of each item.
        hosts: documents to plant into.
        at_least: as in `find_items`.
        count: items planted for each edit, drawn without repetition.
        seed: of the draws.
    """
    sought = np.flatnonzero(index.enough)
    sought = np.array(sorted(sought, key=lambda i: hash64("plant", seed, int(i)))[:count], np.int64)
    report = {}
    for name, edit in EDITS.items():
        found, planted = Counter(), Counter()
        for start in range(0, len(sought), BATCH):
            some = sought[start:start + BATCH]
            draws = [np.random.default_rng(hash64(name, seed, int(i))) for i in some]
            texts = [plant(items[i], hosts[d.integers(len(hosts))], edit, d)
                     for i, d in zip(some, draws, strict=True)]
            hits = find_items(index, pa.array(texts, pa.large_string()), at_least)
            right = some[hits.documents] == hits.items
            for which, numbers in ((planted, some), (found, hits.items[right])):
                which.update(sets[i] for i in numbers)
                which["all"] += len(numbers)
        report[name] = {s: found[s] / planted[s] for s in ["all", *sorted(set(planted) - {"all"})]
                        if planted[s]}
    return report
