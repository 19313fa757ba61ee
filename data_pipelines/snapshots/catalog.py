"""Where versions of document tables are kept: an Apache Iceberg catalog (https://iceberg.apache.org).

Embedded, it is a SQLite file and Parquet files in the folder `catalog` beside the datasets; any
other (REST, Glue, Hive, SQL) is named by its pyiceberg properties. Returns pyiceberg's objects.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_pipelines.snapshots.changes import alone
from ssljax.core.errors import DataError, nearest, needed

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

NAMESPACE = "ssljax"
FOLDER = "catalog"


def embedded(folder: Path) -> dict[str, str]:
    """Return the properties of the catalog in a folder, made if it is not there."""
    folder = folder.absolute()
    return {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db",
            "warehouse": folder.joinpath("warehouse").as_uri()}


def open_catalog(folder: Path, properties: Mapping[str, Any] | None = None) -> "Catalog":
    """Open a catalog and make its namespace.

    Args:
        folder: of the embedded one, used where there are no properties.
        properties: of another, as pyiceberg takes them ("type", "uri", ...).

    Raises:
        MissingExtraError: pyiceberg is not installed.
    """
    with needed("pyiceberg", "curate"):
        from pyiceberg.catalog import load_catalog
    if properties:
        catalog = load_catalog("ssljax", **dict(properties))
        catalog.create_namespace_if_not_exists(NAMESPACE)
        return catalog
    folder.mkdir(parents=True, exist_ok=True)
    with alone(folder):
        catalog = load_catalog("ssljax", **embedded(folder))
        catalog.create_namespace_if_not_exists(NAMESPACE)
    return catalog


def table_name(name: str) -> str:
    """Return the identifier of a recipe's table."""
    return f"{NAMESPACE}.{''.join(c if c.isalnum() else '_' for c in name).lower()}"


def load_table(catalog: "Catalog", name: str) -> "Table":
    """Return the table of a recipe's name.

    Raises:
        DataError: there is none.
    """
    from pyiceberg.exceptions import NoSuchTableError
    try:
        return catalog.load_table(table_name(name))
    except NoSuchTableError as err:
        known = [t[-1] for t in catalog.list_tables(NAMESPACE)]
        raise DataError(f'No table "{name}" in this catalog; {nearest(name, known)}') from err
