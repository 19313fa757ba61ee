"""Records of tables, databases and streams as rows with columns of stated types.

Types are stated and not guessed, so that a column has one whatever file or batch comes first. A
value that is not of its column's type drops its row as "bad_value". Reads raw records; returns
tables of documents.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import pyarrow as pa

from data_pipelines.raw_rows import bad, encodable, place
from data_pipelines.readers.record import Raw
from data_pipelines.table import SCHEMA, add_column, documents, replace
from ssljax.core.errors import ConfigError, nearest
from ssljax.core.rng import hash64

BATCH = 4096                   # rows held as Python objects
OURS = frozenset(SCHEMA.names)


class Fields(NamedTuple):
    """What is taken of a record.

    columns: name here -> its type, one of TYPES
    names:   name here -> name in the record, where they differ
    text:    field that is the text of the document; "" for none
    entity:  column whose equal values belong together: they share a cluster, so that `split` keeps
             them on one side; "" for none
    """

    columns: Mapping[str, str]
    names: Mapping[str, str]
    text: str
    entity: str


def check_fields(fields: Fields) -> Fields:
    """Return the fields.

    Raises:
        ConfigError: a type that is none, a name that is taken, or nothing to take.
    """
    for name, kind in fields.columns.items():
        if kind not in TYPES:
            raise ConfigError(f'columns.{name} = "{kind}"; {nearest(kind, TYPES)}')
        if name in OURS:
            raise ConfigError(f'The column "{name}" is one of every table of documents; choose '
                              f'another name and say where it comes from: names.NAME="{name}".')
    for name in (*fields.names, *([fields.entity] if fields.entity else [])):
        if name not in fields.columns:
            raise ConfigError(f'No column "{name}"; {nearest(name, fields.columns)}')
    if not fields.columns and not fields.text:
        raise ConfigError("Nothing is read: name some columns and their types, or the text.")
    return fields


def typed_tables(records: Iterable[Raw], fields: Fields, licence: str) -> Iterator[pa.Table]:
    """Yield records as tables of documents, one at least, some thousand rows at a time."""
    made = (typed_row(record, fields, licence) for record in records)
    while True:
        some = list(itertools.islice(made, BATCH))
        yield rows_table(some, fields)
        if len(some) < BATCH:
            return


def rows_table(rows: list[dict[str, Any]], fields: Fields) -> pa.Table:
    """Return rows as a table of documents with the typed columns."""
    table = documents(rows)
    for name, kind in fields.columns.items():
        table = add_column(table, name, pa.array([r.get(name) for r in rows], TYPES[kind][0]))
    if fields.entity:
        own = table["id"].to_pylist()
        table = replace(table, "cluster", [
            i if r.get(fields.entity) is None else f"{hash64('entity', str(r[fields.entity])):016x}"
            for i, r in zip(own, rows, strict=True)])
    return table


def typed_row(record: Raw, fields: Fields, licence: str) -> dict[str, Any]:
    """Return the row of one record, dropped where a value is not of its type."""
    if record.error or not isinstance(record.payload, Mapping):
        return {"licence": licence, **bad(record, record.error or "no_fields", record.detail)}
    found, row = record.payload, {"licence": licence, **place(record), "text": ""}
    own = found.get("licence") or found.get("license")
    row |= {n: encodable(v) for n, v in (("licence", own), ("url", found.get("url")))
            if isinstance(v, str)}
    for name, kind in fields.columns.items():
        value = found.get(fields.names.get(name, name))
        try:
            row[name] = None if value is None or value == "" else TYPES[kind][1](value)
        except (ValueError, TypeError, OverflowError):
            return row | {"dropped": "bad_value",
                          "detail": f"{name}: {encodable(str(value))[:100]!r} is no {kind}"}
    if fields.text:
        value = found.get(fields.text)
        value = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        if not isinstance(value, str):
            return row | {"dropped": "no_text", "detail": f'expected a string "{fields.text}"'}
        row["text"] = encodable(value)
    return row


def whole(value: Any) -> int:
    """Return a whole number; ValueError for one with a fraction, or beyond 64 bits."""
    number = int(value) if isinstance(value, int | str) else int(float(value))
    if number != (float(value) if isinstance(value, float) else number) or not -2**63 <= number < (
            2**63):
        raise ValueError(value)
    return number


def moment(value: Any) -> datetime:
    """Return a time without a zone, in UTC: of ISO 8601, or a time as databases have it."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    made = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return made.astimezone(UTC).replace(tzinfo=None) if made.tzinfo else made


def truth(value: Any) -> bool:
    """Return a truth value of its usual spellings."""
    known = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
    try:
        return known[str(value).lower()]
    except KeyError:
        raise ValueError(value) from None


# name -> (Arrow's type, what makes a value of one found); booleans and dates are no numbers
TYPES: Mapping[str, tuple[pa.DataType, Callable[[Any], Any]]] = {
    "float64": (pa.float64(), float), "int64": (pa.int64(), whole),
    "string": (pa.string(), lambda value: encodable(str(value))), "bool": (pa.bool_(), truth),
    "timestamp": (pa.timestamp("us"), moment)}
