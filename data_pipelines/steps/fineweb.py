"""Drop documents whose lines are no prose, by FineWeb's own rules; the first failing names it.

Penedo et al. 2024 (https://arxiv.org/abs/2406.17557): few lines that end in a mark, mostly short
lines, repeated lines, lists. Reads and returns the table of documents; `detail` is the value.
"""

import pyarrow as pa

from data_pipelines.kernels import fineweb
from data_pipelines.kernels.dialect_words import DIALECTS, count_words
from data_pipelines.table import Step, drop, kept, texts
from ssljax.core.errors import ConfigError, nearest

ROWWISE = True


def make(*, dialect: str = "datatrove") -> Step:
    """Return the step.

    Args:
        dialect: whose words are counted against line breaks: "datatrove" (needs the extra
            [spacy]), "dclm", "dolma" or "fast".

    Raises:
        ConfigError: another dialect.
        MissingExtraError: the tokenizer of the dialect is not installed.
    """
    if dialect not in DIALECTS:
        raise ConfigError(f'fineweb: dialect "{dialect}"; {nearest(dialect, DIALECTS)}')
    count = count_words(dialect)

    def apply(table: pa.Table) -> pa.Table:
        rows = kept(table)
        found = (fineweb.judge(text or "", count) for text in texts(table, rows))
        return drop(table, {row: v for row, v in zip(rows.tolist(), found, strict=True) if v})

    return apply
