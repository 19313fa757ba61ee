"""Long jobs exactly once, whatever is killed: their output grows in parts, each by one rename.

A job has a hidden folder beside its output, locked by whoever works on it. A part is whole or
absent, so the next process does those that are absent; parts of another job there are thrown away.
"""

import contextlib
import fcntl
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ssljax.core.errors import DataError
from ssljax.core.files import write_json

T = TypeVar("T")


@contextlib.contextmanager
def workplace(output: Path, job: Mapping[str, Any]) -> Iterator[Path]:
    """Enter the folder of a job's parts, ours alone; parts of another job there go.

    Raises:
        DataError: another process is at work on this output.
    """
    folder = output.with_name(f".{output.name}.work")
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            raise DataError(f"Another process is writing {output}; wait for it, or choose another "
                            "--output.") from err
        told = folder / "job.json"
        if not told.exists() or json.loads(told.read_text()) != job:
            for path in folder.iterdir():
                if path.name != "lock":
                    path.unlink()
            write_json(told, job)
        yield folder


def in_parts(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield rows in lists of `size`, the last shorter; one empty list where there are none."""
    part: list[T] = []
    some = False
    for row in rows:
        part.append(row)
        if len(part) == size:
            yield part
            part, some = [], True
    if part or not some:
        yield part
