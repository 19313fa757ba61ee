"""Name the language of each document; drop what is not in the allowed ones.

Adds the columns language (ISO 639-1, "und" where none is seen) and language_score (0 to 1), by
which later steps and mixtures route. Reads and returns the table of documents; drops
"language" (not allowed) and "language_unsure" (allowed, and the score is too low).
"""

from collections.abc import Sequence

import pyarrow as pa

from data_pipelines.kernels.language import SAME, identify
from data_pipelines.table import Step, add_column, drop, kept, texts

ROWWISE = True


def make(*, allowed: Sequence[str] = (), min_score: float = 0.5) -> Step:
    """Return the step.

    Args:
        allowed: codes to keep; none keeps every language, "und" included.
        min_score: least score of a document in an allowed language; FineWeb asks .65 of fastText
            alone, and the score of a contested vote is scaled by .7 here.
    """
    wanted = {SAME.get(code, code) for code in allowed}

    def apply(table: pa.Table) -> pa.Table:
        rows = kept(table)
        found = dict(zip(rows.tolist(), map(identify, texts(table, rows)), strict=True))
        verdicts = {}
        for row, language in found.items():
            if wanted and language.code not in wanted:
                verdicts[row] = ("language", f"{language.code} {language.score:.2f}")
            elif wanted and language.score < min_score:
                verdicts[row] = ("language_unsure", f"{language.score:.2f} < {min_score:g}")
        numbers = range(table.num_rows)
        codes = [found[i].code if i in found else None for i in numbers]
        scores = [found[i].score if i in found else None for i in numbers]
        named = add_column(table, "language", pa.array(codes, pa.string()))
        return drop(add_column(named, "language_score", pa.array(scores, pa.float64())), verdicts)

    return apply
