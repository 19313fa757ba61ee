"""Parquet, Arrow (files and streams) and CSV by pyarrow: one record a row, a batch at a time.

Yields a mapping of columns. Errors: "bad_table" where pyarrow cannot go on (the rest of the file
is lost) and "bad_row" for CSV lines with too many or too few fields, which are passed over.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from data_pipelines.readers.opening import name_of, opened, unpacked
from data_pipelines.readers.record import Raw, failed

BATCH = 1024              # rows held at once


def read(source: str | Path | BinaryIO, *, kind: str) -> Iterator[Raw]:
    """Yield the rows of a file of `kind` "parquet", "arrow" or "csv"; rows count from 0."""
    name, row = name_of(source), 0
    bad: list[pa.csv.InvalidRow] = []
    open_batches = {"parquet": parquet_batches, "arrow": arrow_batches,
                    "csv": lambda file: csv_batches(file, bad)}[kind]
    try:
        with opened(source) as file:
            for batch in open_batches(file):
                for fields in rows(batch):
                    yield Raw(name, row, -1, fields, "row")
                    row += 1
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as err:
        yield failed(name, row, -1, "bad_table", err)
        row += 1
    for number, invalid in enumerate(bad, start=row):
        yield failed(name, number, -1, "bad_row", f"{invalid.actual_columns} fields; expected "
                                                  f"{invalid.expected_columns}: {invalid.text}")


def rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch, a slice of it as Python values at a time."""
    for start in range(0, batch.num_rows, BATCH):
        yield from batch.slice(start, BATCH).to_pylist()


def parquet_batches(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    """Yield batches of a Parquet file."""
    yield from pa.parquet.ParquetFile(file).iter_batches(BATCH)


def arrow_batches(file: BinaryIO) -> Iterator[pa.RecordBatch]:
    """Yield batches of an Arrow file, whose footer allows it, or of a stream."""
    is_file = file.read(6) == b"ARROW1"
    file.seek(0)
    if is_file:
        reader = pa.ipc.open_file(file)
        yield from (reader.get_batch(i) for i in range(reader.num_record_batches))
    else:
        yield from pa.ipc.open_stream(file)


def csv_batches(file: BinaryIO, bad: list[pa.csv.InvalidRow]) -> Iterator[pa.RecordBatch]:
    """Yield batches of a CSV file with a header line; rows of another width go to `bad`."""
    def pass_over(row: pa.csv.InvalidRow) -> str:
        bad.append(row)
        return "skip"

    yield from pa.csv.open_csv(
        unpacked(file), parse_options=pa.csv.ParseOptions(
            newlines_in_values=True, invalid_row_handler=pass_over,
            delimiter="\t" if name_of(file).lower().endswith((".tsv", ".tsv.gz")) else ","))
