"""Drop documents whose text was in earlier runs, by a filter that these left: for streams.

The filter is read and never changed here, so a step that runs twice judges alike; `remember` makes
the next one from what a run kept, and the caller stores it when the run is whole. Reads and returns
the table of documents; `detail` is the rate at which a new text is taken for seen.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

from data_pipelines.equal_keys import digest
from data_pipelines.kernels import bloom
from data_pipelines.table import Step, drop, kept, texts
from ssljax.core.errors import DataError

ROWWISE = True
READS = ("path",)


def make(*, path: str) -> Step:
    """Return the step.

    Args:
        path: file with what `remember` returned, as bytes.

    Raises:
        DataError: no such file, or it is damaged.
    """
    try:
        seen = bloom.from_bytes(Path(path).read_bytes())
    except OSError as err:
        raise DataError(f"The filter {path} cannot be read: {err.strerror}; write one with "
                        "data_pipelines.steps.seen_before.remember.") from err

    def apply(table: pa.Table) -> pa.Table:
        rows = kept(table)
        gone = rows[bloom.contains(seen, keys(table, rows))]
        return drop(table, dict.fromkeys(gone.tolist(), ("seen_before", f"{seen.rate:g}")))

    return apply


def remember(table: pa.Table, seen: bloom.Bloom) -> bloom.Bloom:
    """Return the filter with the texts of all kept rows added."""
    return bloom.added(seen, keys(table, kept(table)))


def keys(table: pa.Table, rows: np.ndarray) -> np.ndarray:
    """Return a key for the text of each row, uint64 [n]."""
    return np.array([int.from_bytes(digest(t.strip())[:8], "little") for t in texts(table, rows)],
                    np.uint64)
