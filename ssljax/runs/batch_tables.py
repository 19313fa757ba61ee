"""Rows of JSON lines, Parquet and folders of images in; JSON lines and Parquet out.

Parquet needs pyarrow, which serving does without: it is imported where a table is named.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssljax.core.cache import users_folder
from ssljax.core.errors import DataError, UnreadableRecordError, needed
from ssljax.core.files import write_atomic
from ssljax.core.source import Source, read_each
from ssljax.sources.images import make as make_images

INPUTS = "a .jsonl or .parquet file, or a folder, zip or tar of images"
ROWS = 256                     # of a table held at a time: images may be large


class Row(NamedTuple):
    """One row of input: the cell to embed or why there is none, and the other columns."""

    cell: Any
    others: Mapping[str, Any]


class Format(NamedTuple):
    """A format of output.

    write: (path of a part, rows, names of our columns) -> None; the part is whole or absent
    join:  (parts, path) -> (rows, those with an error)
    """

    write: Callable[[Path, Sequence[Mapping[str, Any]], Sequence[str]], None]
    join: Callable[[Sequence[Path], Path], tuple[int, int]]


def arrow() -> Any:
    """Return pyarrow and its Parquet module.

    Raises:
        MissingExtraError: it is not installed.
    """
    with needed("pyarrow", "curate"):
        import pyarrow
        import pyarrow.parquet
    return pyarrow


def read_rows(source: Path, column: str) -> Iterator[Row]:
    """Yield the rows of an input, in its order.

    Raises:
        DataError: it is of no kind that we read, or has no such column.
    """
    if source.suffix == ".jsonl":
        return json_rows(source, column)
    if source.suffix == ".parquet":
        return table_rows(source, column)
    return image_rows(source)


def count_rows(source: Path, column: str) -> int:
    """Return the number of rows of an input.

    Raises:
        DataError: as `read_rows` does.
    """
    if source.suffix == ".jsonl":
        with source.open("rb") as lines:
            return sum(1 for _ in lines)
    if source.suffix == ".parquet":
        return open_table(source, column).metadata.num_rows
    return len(open_images(source))


def json_rows(source: Path, column: str) -> Iterator[Row]:
    """Yield the rows of JSON lines; a line that is no object has no cell, and says so."""
    with source.open("rb") as lines:
        for number, line in enumerate(lines):
            try:
                fields = json.loads(line)
            except ValueError as err:
                raise DataError(f"{source}, line {number + 1}, is not JSON ({err}).") from err
            if not isinstance(fields, dict) or column not in fields:
                raise DataError(f'{source}, line {number + 1}, has no "{column}"; say which field '
                                "to embed with --column.")
            yield Row(fields[column], fields)


def open_table(source: Path, column: str) -> Any:
    """Return a Parquet file that has a column."""
    pa = arrow()
    try:
        table = pa.parquet.ParquetFile(source)
    except (OSError, pa.ArrowInvalid) as err:
        raise DataError(f"{source} is not a readable Parquet file: {err}") from err
    names = table.schema_arrow.names
    if column not in names:
        raise DataError(f'{source} has no column "{column}", only {", ".join(names)}; say which to '
                        "embed with --column.")
    return table


def table_rows(source: Path, column: str) -> Iterator[Row]:
    """Yield the rows of a Parquet file; images may be bytes or Hugging Face's {"bytes", "path"}."""
    for batch in open_table(source, column).iter_batches(ROWS):
        for fields in batch.to_pylist():
            cell = fields[column]
            yield Row(cell.get("bytes") if isinstance(cell, dict) else cell, fields)


def open_images(source: Path) -> Source:
    """Return the images of a folder or archive."""
    return make_images(path=str(source), cache=users_folder())


def image_rows(source: Path) -> Iterator[Row]:
    """Yield the images of a folder or archive, in the order of their ids."""
    images = open_images(source)
    for place in range(len(images)):
        [record] = read_each(images, np.array([place]))
        if isinstance(record, UnreadableRecordError):
            yield Row(record, {})
            continue
        high, low = (int(n) for n in record["id"])
        others = {"id": f"{high:08x}{low:08x}"}
        if "label" in record:
            others["label"] = int(record["label"])
        yield Row(record["image"], others)


def answered(rows: Sequence[Row], first: int, column: str,
             answers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of output: the other columns of the input, the row's number, its answer.

    Args:
        rows: of a part.
        first: number of its first row.
        column: that was answered, which is left out.
        answers: a row's columns of ours, `error` among them.
    """
    return [{**{name: value for name, value in row.others.items()
                if name not in (column, "row", *ours)}, "row": first + at, **ours}
            for at, (row, ours) in enumerate(zip(rows, answers, strict=True))]


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]], ours: Sequence[str]) -> None:
    """Write a part in the format of its name, or raise DataError where that holds no such cell."""
    OUTPUTS[path.suffix].write(path, rows, ours)


def write_json_part(path: Path, rows: Sequence[Mapping[str, Any]], ours: Sequence[str]) -> None:
    """Write rows as JSON lines; vectors have as many digits as float32 needs."""
    lines = [json.dumps(row, ensure_ascii=False, default=digits) + "\n" for row in rows]
    write_atomic(path, "".join(lines).encode())


def digits(value: np.ndarray) -> list[Any]:
    """Return an array as nested lists that JSON spells in no more digits than tell it apart."""
    return [digits(row) if row.ndim else float(str(row)) for row in value]


def join_json(parts: Sequence[Path], whole: Path) -> tuple[int, int]:
    """Join parts of JSON lines."""
    rows = errors = 0
    with whole.open("wb") as out:
        for part in parts:
            with part.open("rb") as lines:
                for line in lines:
                    rows, errors = rows + 1, errors + has_failed(json.loads(line))
                    out.write(line)
        out.flush()
        os.fsync(out.fileno())
    return rows, errors


def has_failed(row: Mapping[str, Any]) -> bool:
    """Say whether a row has no answer; OpenAI's lines, which have no number, say so by status."""
    return row["error"] is not None or ("row" not in row and row["response"]["status_code"] != 200)


def write_table_part(path: Path, rows: Sequence[Mapping[str, Any]], ours: Sequence[str]) -> None:
    """Write rows as a Parquet file.

    Raises:
        DataError: a column of the input holds values of several types.
    """
    pa = arrow()
    known = kinds(pa)
    theirs = dict.fromkeys(name for row in rows for name in row if name not in ours)
    columns = {}
    for name in (*theirs, *ours):
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array([list(v) if isinstance(v, np.ndarray) else v for v in values],
                                     known[name] if name in ours else None)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as err:
            raise DataError(f'The column "{name}" holds values of several types ({err}); choose a '
                            ".jsonl file for --output.") from err
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(pa.table(columns), sink)
    write_atomic(path, sink.getvalue().to_pybytes())


def kinds(pa: Any) -> dict[str, Any]:
    """Return the types of the columns that are ours: a part may have nothing but nulls in one."""
    vector, numbers = pa.list_(pa.float32()), pa.list_(pa.float64())
    return {"row": pa.int64(), "embedding": vector, "sequence": pa.list_(vector),
            "predicted": pa.string(), "probs": numbers, "labels": pa.list_(pa.string()),
            "completion": pa.string(), "finish_reason": pa.string(), "tokens": pa.int64(),
            "token_ids": pa.list_(pa.int64()), "logprobs": numbers, "error": pa.string()}


def join_tables(parts: Sequence[Path], whole: Path) -> tuple[int, int]:
    """Join parts of Parquet; columns that a part has only nulls of take the others' type.

    Raises:
        DataError: parts have one column in types that no type holds both of.
    """
    pa = arrow()
    try:
        schema = pa.unify_schemas([pa.parquet.read_schema(p) for p in parts],
                                  promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as err:
        raise DataError(f"A column of the input holds values of several types ({err}); choose a "
                        ".jsonl file for --output.") from err
    rows = errors = 0
    with whole.open("wb") as out:
        with pa.parquet.ParquetWriter(out, schema) as writer:
            for part in parts:
                table = pa.parquet.read_table(part)
                rows, errors = rows + len(table), errors + len(table) - table["error"].null_count
                missing = [n for n in schema.names if n not in table.schema.names]
                for name in missing:
                    table = table.append_column(name, pa.nulls(len(table), schema.field(name).type))
                writer.write_table(table.select(schema.names).cast(schema))
        out.flush()
        os.fsync(out.fileno())
    return rows, errors


OUTPUTS = {".jsonl": Format(write_json_part, join_json),
           ".parquet": Format(write_table_part, join_tables)}
