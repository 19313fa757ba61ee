"""Changes of a table that other writers may be changing too: whole, or done again.

pyiceberg commits against the table it read. When another writer was first it would carry the
appended files over to that writer's table, and two versions would be in one; so its own retries are
off (table property RETRIES), and the whole change is made again on the table as it is now.
"""

import contextlib
import fcntl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ssljax.core.errors import DataError

if TYPE_CHECKING:
    from pyiceberg.table import Table, Transaction

T = TypeVar("T")
ATTEMPTS = 8                   # of a change that other writers overtake
RETRIES = "commit.retry.num-retries"
LOCK = ".lock"


def change(table: "Table", make: Callable[["Transaction"], T]) -> T:
    """Make a change in one commit; again where another writer was first.

    Args:
        table: refreshed before each attempt but the first.
        make: given an open transaction; may find that nothing is left to do.

    Returns:
        What `make` returned the last time.

    Raises:
        DataError: other writers were first ATTEMPTS times.
    """
    from pyiceberg.exceptions import CommitFailedException, ValidationException
    for attempt in range(ATTEMPTS):
        try:
            if table.properties.get(RETRIES) != "0":
                with table.transaction() as transaction:
                    transaction.set_properties({RETRIES: "0"})
            with table.transaction() as transaction:
                return make(transaction)
        except (CommitFailedException, ValidationException):
            time.sleep(0.1 * 2**attempt)
            table.refresh()
    raise DataError(f"Table {table.name()[-1]} was changed by others {ATTEMPTS} times while this "
                    "change was being committed; run the same command again.")


def add_name(transaction: "Transaction", name: str, snapshot: int) -> None:
    """Tag a snapshot within a transaction, unless it has the tag."""
    from pyiceberg.table.update.snapshot import ManageSnapshots
    known = transaction.table_metadata.refs.get(name)
    if known is None or known.snapshot_id != snapshot:
        ManageSnapshots(transaction).create_tag(snapshot, name).commit()


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder's lock: SQLite's tables are made by one process at a time."""
    with open(folder / LOCK, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
