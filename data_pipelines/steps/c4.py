"""Cut pages down to their sentences as C4 does, and drop those with too little left or with code.

Raffel et al. 2020 (https://arxiv.org/abs/1910.10683); data_pipelines/kernels/c4.py has the rules
and the two sets of constants. Reads and returns the table of documents, `text` without the lines
that are no sentences; a dropped page keeps its text. `detail` is the line or the value measured.
"""

import pyarrow as pa

from data_pipelines.kernels import c4
from data_pipelines.kernels.dialect_words import spacy_sentences
from data_pipelines.table import Step, column, drop, kept, replace
from ssljax.core.errors import ConfigError, nearest

ROWWISE = True

CONSTANTS = {"datatrove": c4.DATATROVE, "tfds": c4.TFDS}
SENTENCES = ("spacy", "marks")


def make(*, constants: str = "datatrove", terminal_punctuation: bool = True,
         sentences: str = "spacy", min_words: int | None = None,
         min_sentences: int | None = None) -> Step:
    """Return the step.

    Args:
        constants: "datatrove" (3 words, 5 sentences) or "tfds" (C4's own code and DCLM: 5, 3).
        terminal_punctuation: whether lines must end in a mark; FineWeb keeps those that do not.
        sentences: counted by "spacy" as datatrove does (the extra [spacy]) or by end "marks".
        min_words: fewest words of a line, instead of the constant; 0: any.
        min_sentences: fewest sentences of a page, instead of the constant; 0: any.

    Raises:
        ConfigError: other constants or another way to count.
        MissingExtraError: spaCy is not installed.
    """
    if constants not in CONSTANTS:
        raise ConfigError(f'c4: constants "{constants}"; {nearest(constants, CONSTANTS)}')
    if sentences not in SENTENCES:
        raise ConfigError(f'c4: sentences "{sentences}"; {nearest(sentences, SENTENCES)}')
    bounds = CONSTANTS[constants]
    bounds = bounds._replace(
        end_marks=bounds.end_marks if terminal_punctuation else (),
        min_words=bounds.min_words if min_words is None else min_words,
        min_sentences=bounds.min_sentences if min_sentences is None else min_sentences)
    count = spacy_sentences() if sentences == "spacy" else c4.count_marks

    def apply(table: pa.Table) -> pa.Table:
        written, verdicts = column(table, "text"), {}
        for row in kept(table).tolist():
            written[row], verdict = c4.clean(written[row] or "", bounds, count)
            if verdict:
                verdicts[row] = verdict
        return drop(replace(table, "text", written), verdicts)

    return apply
