"""One spelling for equal text: Unicode NFC, line feeds, no control characters or byte order marks.

Nothing a reader sees changes: compatibility forms, case and spacing stay. Reads and returns the
table of documents.
"""

import re
import unicodedata

import pyarrow as pa

from data_pipelines.table import Step, column, replace

ROWWISE = True

NEWLINE = re.compile("\r\n?|\u2028|\u2029|\x85")
# C0 (but tab and newline), DEL, C1, and U+FEFF, a byte order mark when files were joined.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")


def make() -> Step:
    """Return the step that normalises every text."""
    def apply(table: pa.Table) -> pa.Table:
        return replace(table, "text", [normalise(t) for t in column(table, "text")])

    return apply


def normalise(text: str) -> str:
    """Return `text` in its one spelling; normalising twice changes nothing."""
    return unicodedata.normalize("NFC", CONTROL.sub("", NEWLINE.sub("\n", text)))
