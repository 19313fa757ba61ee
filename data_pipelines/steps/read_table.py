"""Rows of CSV, Parquet, Arrow and JSON-lines files, with columns of stated types.

The first step of recipes of sensors and tables, and of texts in a column. The input is a folder or
a URL. Returns tables of documents; drops "bad_value", "no_text" and the readers' own reasons.
"""

import functools
from collections.abc import Iterator, Mapping

import pyarrow as pa

from data_pipelines.listing import inside
from data_pipelines.readers.record import Raw
from data_pipelines.source import Source
from data_pipelines.steps.read_files import list_input, named
from data_pipelines.table import column
from data_pipelines.typed_rows import Fields, check_fields, typed_tables
from ssljax.core.errors import ConfigError


def make(*, columns: Mapping[str, str], names: Mapping[str, str] | None = None, text: str = "",
         entity: str = "", input: str = "", licence: str = "unknown") -> Source:
    """Return the source.

    Args:
        columns: column -> "float64", "int64", "string", "bool" or "timestamp".
        names: column -> its name in the files, where that is another.
        text: column that is the document's text.
        entity: column whose equal values `split` keeps on one side, such as a sensor's name.
        input: folder, or URL of one.
        licence: of the rows; a column "licence" goes before it.

    Raises:
        ConfigError: no input, an unknown type, or a name that is taken.
    """
    if not input:
        raise ConfigError("recipe.input is empty; expected a folder of tables: --input DIR.")
    fields = check_fields(Fields(columns, names or {}, text, entity))

    def read(files: pa.Table) -> Iterator[pa.Table]:
        yield from typed_tables(records(input, column(files, "source")), fields, licence)

    return Source(functools.partial(list_input, input), read)


def records(folder: str, sources: list[str]) -> Iterator[Raw]:
    """Yield the records of some files."""
    from data_pipelines.readers import any_format  # lxml and fastwarc take a while
    for source in sources:
        for record in any_format.read(inside(folder, source)):
            yield record._replace(source=named(record.source, source))
