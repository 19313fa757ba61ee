"""Give each document a vector by an exported model: `ssljax batch` in a process of its own.

Curation imports no jax; the child does, from the extra [serve], with one thread, so that several
workers neither crowd the cores nor change a bit of the result. Reads and returns the table of
documents, with a column `embedding` (list of float32) for semantic_duplicates; null where dropped
before, and where the model could not read the row.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_pipelines.table import Step, add_column, kept
from ssljax.core.errors import ConfigError, DataError

ROWWISE = True
READS = ("artefact",)
ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"
LAST = 2000                    # characters of a failed child's words


def make(*, artefact: str, column: str = "text", into: str = "embedding") -> Step:
    """Return the step.

    Args:
        artefact: folder that `ssljax export` wrote, of a language model or an image encoder.
        column: of texts, or of encoded images.
        into: the column of vectors.

    Raises:
        ConfigError: there is no artefact.
    """
    if not Path(artefact, "manifest.json").is_file():
        raise ConfigError(f"embed: artefact {artefact!r} has no manifest.json; expected a folder "
                          "that `ssljax export RUN --output DIR` wrote.")

    def apply(table: pa.Table) -> pa.Table:
        rows = kept(table)
        vectors = pa.nulls(table.num_rows, pa.list_(pa.float32()))
        if len(rows):
            made = embed(artefact, table.select([column]).take(pa.array(rows)), column)
            place = np.full(table.num_rows, -1)
            place[rows] = np.arange(len(rows))
            vectors = made.take(pa.array(place, mask=place < 0))
        return add_column(table, into, vectors)

    return apply


def embed(artefact: str, cells: pa.Table, column: str) -> pa.ChunkedArray:
    """Return the vectors of a table's rows.

    Raises:
        DataError: the child failed; its last words say why.
    """
    with tempfile.TemporaryDirectory() as folder:
        source, output = Path(folder, "rows.parquet"), Path(folder, "vectors.parquet")
        pq.write_table(cells, source)
        flags = f"{os.environ.get('XLA_FLAGS', '')} {ONE_THREAD}".strip()
        done = subprocess.run(
            [sys.executable, "-m", "ssljax.cli.main", "batch", artefact, "--input", str(source),
             "--output", str(output), "--column", column], capture_output=True, text=True,
            check=False, env=os.environ | {"XLA_FLAGS": flags})
        if done.returncode:
            raise DataError(f"embed: `ssljax batch {artefact}` failed: {done.stderr[-LAST:]}")
        return pq.read_table(output, columns=["embedding"])["embedding"]
