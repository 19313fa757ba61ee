"""Cut spans of text that stand word for word in a better document or earlier in the same one.

50 tokens of English are some 200 bytes, 100 bytes the length of Lee et al. 2021 for bytes
(https://arxiv.org/abs/2107.06499). The first copy stays: that of best quality, then of the longest
document, then of the smallest id. A document of which little is left is dropped with its text as
it was. Reads and returns the table of documents; `detail` of dropped rows is the repeating share.
"""

import pyarrow as pa

from data_pipelines.kernels.paragraphs import cut
from data_pipelines.kernels.substring import repeated_spans
from data_pipelines.survivors import rank
from data_pipelines.table import Step, column, drop, replace, texts
from ssljax.core.errors import ConfigError


def make(*, length: int = 100, min_left: float = 0.3, quality: str = "") -> Step:
    """Return the step; it holds 15 times the text of the table it is handed.

    Args:
        length: bytes of the shortest span that counts.
        min_left: share of bytes that must be left of a document, or it is dropped.
        quality: column of numbers by which survivors are preferred; empty: length and id decide.

    Raises:
        ConfigError: settings that cannot be.
    """
    if length < 8 or not 0 <= min_left <= 1:
        raise ConfigError(f"repeated_spans: length {length}, min_left {min_left}; expected at "
                          "least 8 bytes, and a share from 0 to 1.")

    def apply(table: pa.Table) -> pa.Table:
        ranked = rank(table, quality)
        data = [t.encode() for t in texts(table, ranked)]
        changed, verdicts = column(table, "text"), {}
        for row, text, spans in zip(ranked.tolist(), data, repeated_spans(data, length),
                                    strict=True):
            gone = (spans[:, 1] - spans[:, 0]).sum() / max(1, len(text))
            if 1 - gone < min_left:
                verdicts[row] = ("repeated_spans", f"{gone:.3f}")
            elif len(spans):
                changed[row] = cut(text.decode("latin-1"), spans).encode("latin-1").decode()
        return replace(drop(table, verdicts), "text", changed)

    return apply
