"""Cut headings, counters and buttons out of pages as DCLM does; drop pages that lose too much.

Li et al. 2024 (https://arxiv.org/abs/2406.11794); data_pipelines/kernels/dclm_lines.py has the
rules. Reads and returns the table of documents, `text` without these lines; a dropped page keeps
its text. `detail` is the share of words that would have gone.
"""

import pyarrow as pa

from data_pipelines.kernels import dclm_lines
from data_pipelines.kernels.dialect_words import count_words
from data_pipelines.table import Step, column, drop, kept, replace

ROWWISE = True


def make() -> Step:
    """Return the step.

    Raises:
        MissingExtraError: uniseg, which counts the words, is not installed.
    """
    count = count_words("dclm")

    def apply(table: pa.Table) -> pa.Table:
        written, verdicts = column(table, "text"), {}
        for row in kept(table).tolist():
            written[row], verdict = dclm_lines.clean(written[row] or "", count)
            if verdict:
                verdicts[row] = verdict
        return drop(replace(table, "text", written), verdicts)

    return apply
