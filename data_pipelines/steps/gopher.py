"""Drop documents by Gopher's rules of repetition and quality; the first failing rule names it.

Rae et al. 2021 (https://arxiv.org/abs/2112.11446), as four code bases read it: see
data_pipelines/kernels/repetition.py and gopher.py for what differs. `datatrove` gives the verdicts
of datatrove 0.10.1, spaCy's words included; `fast` has its rules over white-space words and is
twenty times as fast. Reads and returns the table of documents; `detail` is the value measured.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from data_pipelines.kernels import gopher, repetition
from data_pipelines.kernels.dialect_words import DIALECTS, Read, gram_words, rule_words
from data_pipelines.kernels.lexicon import select
from data_pipelines.kernels.repetition import Verdict
from data_pipelines.table import Step, drop, kept, texts
from ssljax.core.errors import ConfigError, nearest

ROWWISE = True

RULES = ("repetition", "quality")
CHARACTERS, DOCUMENTS = 300_000, 128    # judged at once: their arrays stay in the cache


def make(*, dialect: str = "datatrove", rules: Sequence[str] = RULES) -> Step:
    """Return the step.

    Args:
        dialect: "datatrove" (needs the extra [spacy]), "dclm", "dolma" or "fast".
        rules: "repetition", "quality" or both; in this order, as FineWeb has them.

    Raises:
        ConfigError: another dialect or rule.
        MissingExtraError: the tokenizer of the dialect is not installed.
    """
    if dialect not in DIALECTS:
        raise ConfigError(f'gopher: dialect "{dialect}"; {nearest(dialect, DIALECTS)}')
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown or not rules:
        raise ConfigError(f"gopher: rules {list(rules)}; expected some of {', '.join(RULES)}.")
    read, other = gram_words(dialect), rule_words(dialect)

    def apply(table: pa.Table) -> pa.Table:
        rows = kept(table)
        found: list[Verdict] = []
        for some in batches([text or "" for text in texts(table, rows)]):
            found += judge(some, dialect, rules, read, other)
        return drop(table, {row: v for row, v in zip(rows.tolist(), found, strict=True) if v})

    return apply


def batches(documents: Sequence[str]) -> Iterator[list[str]]:
    """Yield documents a few at a time; verdicts do not depend on which come together."""
    some: list[str] = []
    characters = 0
    for text in documents:
        some.append(text)
        characters += len(text)
        if characters >= CHARACTERS or len(some) >= DOCUMENTS:
            yield some
            some, characters = [], 0
    if some:
        yield some


def judge(documents: Sequence[str], dialect: str, rules: Sequence[str], read: Read,
          other: Read | None) -> list[Verdict]:
    """Return the first rule that each document breaks.

    Args:
        documents: texts.
        dialect: one of DIALECTS.
        rules: one or both of RULES.
        read: finds the words whose n-grams count.
        other: finds those that rules of quality measure, where they are others.
    """
    measure = repetition.DIALECTS[dialect]
    repeats = "repetition" in rules
    verdicts = [measure.segments(text) if repeats else None for text in documents]
    left = [i for i, verdict in enumerate(verdicts) if verdict is None]
    some = [documents[i] for i in left]
    words = read(some)
    if repeats:
        found = repetition.judge(some, words, measure)
        for i, verdict in zip(left, found, strict=True):
            verdicts[i] = verdict
        sound = np.array([verdict is None for verdict in found], bool)
        left = [i for i in left if verdicts[i] is None]
        some, words = [documents[i] for i in left], select(words, sound)
    if "quality" in rules:
        own = other(some) if other else words
        for i, verdict in zip(left, gopher.judge(some, own, gopher.DIALECTS[dialect], words),
                              strict=True):
            verdicts[i] = verdict
    return verdicts
