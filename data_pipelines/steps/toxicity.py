"""Drop documents that a small linear model takes for toxic.

The model of alt-profanity-check (https://github.com/dimitrismistriotis/alt-profanity-check, MIT): a
linear SVM on words, trained on 200,000 comments in English, inside its wheel. A document is as
toxic as its worst passage, since one insult is lost among a hundred words. Reads and returns the
table of documents, with a column `toxicity` (float32, a probability); drops "toxic".
"""

import numpy as np
import pyarrow as pa

from data_pipelines.table import Step, add_column, drop, kept, texts
from ssljax.core.errors import ConfigError, needed

ROWWISE = True


def make(*, max_toxicity: float = 0.9, passage: int = 200) -> Step:
    """Return the step.

    Args:
        max_toxicity: greatest probability of a document that is kept; 1 scores and drops nothing.
        passage: characters judged at a time, cut at line feeds where there are some.

    Raises:
        ConfigError: no passage.
        MissingExtraError: [toxicity] is not installed.
    """
    if passage < 1:
        raise ConfigError(f"toxicity: passage {passage}; expected at least 1 character.")
    with needed("alt-profanity-check", "toxicity"):
        from profanity_check import predict_prob

    def apply(table: pa.Table) -> pa.Table:
        rows = kept(table)
        cut = [passages(text or "", passage) for text in texts(table, rows)]
        flat = [p for some in cut for p in some]
        scores = np.asarray(predict_prob(flat)) if flat else np.empty(0)
        starts = np.cumsum([0, *map(len, cut)])
        column = np.full(table.num_rows, np.nan, np.float32)
        verdicts = {}
        for row, start, stop in zip(rows.tolist(), starts, starts[1:]):
            column[row] = worst = scores[start:stop].max(initial=0.0)
            if worst > max_toxicity:
                verdicts[row] = ("toxic", f"{worst:.3f} > {max_toxicity:g}")
        return drop(add_column(table, "toxicity", pa.array(column, from_pandas=True)), verdicts)

    return apply


def passages(text: str, size: int) -> list[str]:
    """Return pieces of at most `size` characters that make up the text."""
    found, start = [], 0
    while start < len(text):
        stop = start + size
        if stop < len(text):
            stop = text.rfind("\n", start, stop) + 1 or text.rfind(" ", start, stop) + 1 or stop
        found.append(text[start:stop])
        start = stop
    return found
